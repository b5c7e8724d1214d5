"""Verifiers: who vouches for a certificate, and the path to the application's own trust anchors."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_auth import (
    Assurance,
    Certificate,
    CertificateRejected,
    ConfigurationError,
    Evidence,
    PathVerifier,
    Reason,
    Statement,
    VerifiedCertificate,
    Verifier,
    VouchedFor,
)
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, distinguished_name
from mtls_auth.verification import MAX_CHAIN
from tests.core.conftest import reason_of
from tests.pki import BrokenLeaves

HOSTILE = Path(__file__).parents[1] / "vectors" / "hostile"

NOW = datetime.now(UTC)


def evidence(
    *ders: bytes, vouched: Assurance | None = Assurance.PROXY_VERDICT, chain: Sequence[x509.Certificate] = ()
) -> Evidence:
    """Return evidence of these certificates."""
    raw = (*ders, *(certificate.public_bytes(Encoding.DER) for certificate in chain))
    return Evidence("test", raw, vouched, lambda _raw: raw)


def certificate_of(verified: VerifiedCertificate) -> Certificate:
    """Return the certificate, which is there."""
    assert isinstance(verified.certificate, Certificate)
    return verified.certificate


def verify(verifier: Verifier, issued: IssuedCertificate) -> VerifiedCertificate:
    """Verify a leaf that comes with its intermediates."""
    return verifier.verify(evidence(issued.der, chain=issued.chain), at=NOW)


@pytest.mark.parametrize("assurance", Assurance)
def test_vouched_for(leaves: BrokenLeaves, ca: CertificateAuthority, assurance: Assurance) -> None:
    """What somebody vouches for is verified with that one's assurance; the chain is kept, not read."""
    verified = VouchedFor().verify(evidence(leaves.good.der, b"junk", vouched=assurance), at=NOW)
    assert verified.assurance is assurance
    assert certificate_of(verified).common_name == "alice"
    assert verified.chain == (b"junk",)
    assert verified.source == "test"
    assert verified.good_until == certificate_of(verified).not_after


def test_nobody_vouches(leaves: BrokenLeaves) -> None:
    """What nobody vouches for is unverified, and is not even decoded."""
    unread = Evidence("test", ("x",), None, lambda _raw: pytest.fail("decoded"))
    assert reason_of(VouchedFor().verify, unread, at=NOW) is Reason.UNVERIFIED


def stating(statement: Statement, *, vouched: Assurance | None = Assurance.PROXY_VERDICT) -> Evidence:
    """Return evidence of a certificate that its terminator keeps to itself."""
    return Evidence("test", ("x",), vouched, lambda _raw: statement)


@pytest.mark.parametrize("statement", [Statement(fingerprint="ab" * 20), Statement(name="bob")], ids=["digest", "name"])
def test_vouched_for_a_statement(statement: Statement) -> None:
    """What is stated of a certificate is taken from whoever vouches; it says nothing of validity, and has no end."""
    verified = VouchedFor().verify(stating(statement), at=NOW)
    assert verified.certificate == statement
    assert (verified.chain, verified.source, verified.assurance) == ((), "test", Assurance.PROXY_VERDICT)
    for moment in (datetime.min.replace(tzinfo=UTC), NOW, datetime.max.replace(tzinfo=UTC)):
        verified.check_validity(moment)
        assert moment <= verified.good_until
    assert reason_of(VouchedFor().verify, stating(statement, vouched=None), at=NOW) is Reason.UNVERIFIED


def test_no_path_for_a_statement(ca: CertificateAuthority) -> None:
    """There is no path for what is not there, whoever vouches for it."""
    verifier = PathVerifier([ca.certificate])
    for vouched in (Assurance.PROXY_VERDICT, None):
        evidence = stating(Statement(fingerprint="ab" * 32), vouched=vouched)
        assert reason_of(verifier.verify, evidence, at=NOW) is Reason.INSUFFICIENT_EVIDENCE


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [("server_only", Reason.WRONG_KEY_USAGE), ("two_common_names", Reason.UNUSABLE_NAME), ("without_eku", None)],
)
def test_vouching_does_not_help_a_wrong_certificate(leaves: BrokenLeaves, leaf: str, reason: Reason | None) -> None:
    """A certificate that is not for clients, or that nobody can read in one way only, is refused all the same."""
    assert reason_of(verify, VouchedFor(), getattr(leaves, leaf)) is reason


def test_vouching_for_an_expired_certificate(leaves: BrokenLeaves) -> None:
    """Validity is not the verifier's: it is asked on every request."""
    verified = verify(VouchedFor(), leaves.expired)
    assert reason_of(verified.check_validity, NOW) is Reason.EXPIRED


@pytest.mark.parametrize("count", [MAX_CHAIN, MAX_CHAIN + 1])
@pytest.mark.parametrize("kind", ["vouched", "path"])
def test_length_of_the_chain(ca: CertificateAuthority, leaves: BrokenLeaves, count: int, kind: str) -> None:
    """More than eight certificates beside the leaf are too many."""
    verifier: Verifier = VouchedFor() if kind == "vouched" else PathVerifier([ca.certificate])
    reason = Reason.OVERSIZED_HEADER if count > MAX_CHAIN else None
    assert reason_of(verifier.verify, evidence(leaves.good.der, *[ca.der] * count), at=NOW) is reason


def test_needs_vouching(ca: CertificateAuthority) -> None:
    """Only the verifier that looks at no signature needs somebody who did."""
    assert VouchedFor().needs_vouching
    assert not PathVerifier([ca.certificate]).needs_vouching


@pytest.mark.parametrize("vouched", [None, Assurance.TLS_SOCKET])
def test_path(ca: CertificateAuthority, leaves: BrokenLeaves, vouched: Assurance | None) -> None:
    """A path to a trust anchor is this application's own assurance, whoever else vouches."""
    verified = PathVerifier([ca.certificate]).verify(evidence(leaves.good.der, vouched=vouched), at=NOW)
    assert verified.assurance is Assurance.PATH
    assert verified.source == "test"
    assert certificate_of(verified).der == leaves.good.der


def test_path_through_an_intermediate(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """The intermediates that came along are used; without them there is no path."""
    verifier = PathVerifier([ca.certificate])
    leaf = leaves.through_intermediate
    assert verify(verifier, leaf).chain == tuple(link.public_bytes(Encoding.DER) for link in leaf.chain)
    assert reason_of(verifier.verify, evidence(leaf.der), at=NOW) is Reason.UNTRUSTED


def test_path_with_company(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """Unrelated certificates and the root itself in the chain do no harm, in any order."""
    leaf, other = leaves.through_intermediate, CertificateAuthority()
    chain = (other.certificate, ca.certificate, *leaf.chain, leaves.good.certificate)
    assert PathVerifier([ca.certificate]).verify(evidence(leaf.der, chain=chain), at=NOW)


def test_path_to_one_of_several_anchors(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """Any of the anchors will do."""
    verifier = PathVerifier([CertificateAuthority().certificate, ca.certificate])
    assert certificate_of(verify(verifier, leaves.good)).common_name == "alice"


def test_an_intermediate_may_be_the_anchor(leaves: BrokenLeaves) -> None:
    """An anchor needs no root above it."""
    leaf = leaves.through_intermediate
    assert PathVerifier(leaf.chain).verify(evidence(leaf.der), at=NOW)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        ("expired", Reason.EXPIRED),
        ("not_yet_valid", Reason.NOT_YET_VALID),
        ("server_only", Reason.WRONG_KEY_USAGE),
        ("without_eku", None),
        ("impostor", Reason.UNTRUSTED),
        ("from_impostor_ca", Reason.UNTRUSTED),
        ("without_name", Reason.UNUSABLE_NAME),
    ],
)
def test_path_of_leaves(ca: CertificateAuthority, leaves: BrokenLeaves, leaf: str, reason: Reason | None) -> None:
    """Each broken leaf is refused for its own reason; names prove nothing."""
    assert reason_of(verify, PathVerifier([ca.certificate]), getattr(leaves, leaf)) is reason


def test_the_impostor_brings_its_ca(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """A root that the client sends along is no trust anchor."""
    impostor = leaves.from_impostor_ca
    chain = evidence(impostor.der, chain=[impostor.root])
    assert reason_of(PathVerifier([ca.certificate]).verify, chain, at=NOW) is Reason.UNTRUSTED


def test_a_leaf_signs_no_other(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """A client certificate may not issue another one."""
    clever = CertificateAuthority()
    clever.key, clever.subject = leaves.good.key, leaves.good.certificate.subject
    forged = evidence(clever.issue("admin").der, leaves.good.der)
    assert reason_of(PathVerifier([ca.certificate]).verify, forged, at=NOW) is Reason.UNTRUSTED


def test_a_leaf_that_is_an_anchor(leaves: BrokenLeaves) -> None:
    """A leaf that the operator himself put among the anchors is trusted; one of the same name is not."""
    verifier = PathVerifier([leaves.impostor.certificate])
    assert verify(verifier, leaves.impostor)
    assert reason_of(verify, verifier, leaves.good) is Reason.UNTRUSTED


def test_a_ca_is_no_client() -> None:
    """Neither an anchor nor a CA below it may be the client, even where its usage says nothing."""
    root = root_with(IS_CA)
    below = root_with(IS_CA)
    below.certificate = (
        x509.CertificateBuilder()
        .subject_name(distinguished_name("alice"))
        .issuer_name(root.subject)
        .public_key(below.key.public_key())
        .serial_number(2)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(IS_CA, critical=True)
        .sign(root.key, hashes.SHA256())
    )
    for authority in (root, below):
        client = evidence(authority.der)
        assert reason_of(PathVerifier([root.certificate]).verify, client, at=NOW) is Reason.UNTRUSTED


def test_path_length() -> None:
    """A root's path length is kept."""
    root = CertificateAuthority(path_length=0)
    assert verify(PathVerifier([root.certificate]), root.issue("alice"))
    below = root.intermediate().issue("alice")
    assert reason_of(verify, PathVerifier([root.certificate]), below) is Reason.UNTRUSTED


def usage(*names: str) -> x509.KeyUsage:
    """Return a keyUsage of these bits."""
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in names for name in every.split()})


def root_with(*extensions: x509.ExtensionType) -> CertificateAuthority:
    """Return a root with these extensions alone."""
    root = CertificateAuthority()
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(root.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.UnrecognizedExtension))
    root.certificate = builder.sign(root.key, hashes.SHA256())
    return root


IS_CA = x509.BasicConstraints(ca=True, path_length=None)


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        pytest.param((IS_CA,), None, id="private CA without keyUsage"),
        pytest.param((IS_CA, usage("key_cert_sign")), None, id="may sign"),
        pytest.param((IS_CA, usage("digital_signature", "crl_sign")), Reason.UNTRUSTED, id="may not sign"),
        pytest.param((usage("key_cert_sign"),), Reason.UNTRUSTED, id="not a CA"),
        pytest.param((), Reason.UNTRUSTED, id="no extension"),
        pytest.param((x509.BasicConstraints(ca=False, path_length=None),), Reason.UNTRUSTED, id="says that it is none"),
        pytest.param((IS_CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])), None, id="for clients"),
        pytest.param((IS_CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])), None, id="for any"),
        pytest.param(
            (IS_CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), Reason.UNTRUSTED, id="for servers"
        ),
        pytest.param(
            (IS_CA, x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")),
            Reason.UNTRUSTED,
            id="unknown critical extension",
        ),
    ],
)
def test_issuers(extensions: tuple[x509.ExtensionType, ...], reason: Reason | None) -> None:
    """An issuer is a CA that may sign, and may do so for clients; what private CAs leave out is not asked for."""
    root = root_with(*extensions)
    assert reason_of(verify, PathVerifier([root.certificate]), root.issue("alice")) is reason


def test_name_constraints() -> None:
    """A CA's name constraints are kept. RFC 5280 §4.2.1.10."""
    root = root_with(IS_CA, x509.NameConstraints([x509.DNSName("example.com")], None))
    verifier = PathVerifier([root.certificate])
    assert verify(verifier, root.issue("alice", san=[x509.DNSName("a.example.com")]))
    assert reason_of(verify, verifier, root.issue("alice", san=[x509.DNSName("a.example.org")])) is Reason.UNTRUSTED


def test_ed25519_issuer() -> None:
    """An Ed25519 issuer is refused: the engine does not take it."""
    root = CertificateAuthority(key_type="ed25519")
    assert reason_of(verify, PathVerifier([root.certificate]), root.issue("alice")) is Reason.UNTRUSTED


def test_a_hostile_chain(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """A certificate of the chain that cannot be read spoils it."""
    junk = evidence(leaves.good.der, b"junk")
    assert reason_of(PathVerifier([ca.certificate]).verify, junk, at=NOW) is Reason.MALFORMED_CERTIFICATE


def test_good_until() -> None:
    """What is verified is good until the first certificate of its path expires."""
    root = CertificateAuthority()
    soon = (NOW + timedelta(days=2)).replace(microsecond=0)
    below = CertificateAuthority("Short CA", parent=root, not_before=NOW - timedelta(days=1), not_after=soon)
    verified = verify(PathVerifier([root.certificate]), below.issue("alice"))
    assert verified.good_until == soon < certificate_of(verified).not_after
    assert reason_of(verified.check_validity, soon) is None
    with pytest.raises(CertificateRejected, match="a certificate of the path expired") as refused:
        verified.check_validity(soon + timedelta(seconds=1))
    assert refused.value.reason is Reason.EXPIRED


def test_an_expired_root(leaves: BrokenLeaves) -> None:
    """An anchor that has expired anchors nothing."""
    root = CertificateAuthority(not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
    assert reason_of(verify, PathVerifier([root.certificate]), root.issue("alice")) is Reason.UNTRUSTED


class _Unreadable:
    """An engine that fails on what it reads."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def time(self, at: datetime) -> "_Unreadable":
        return self

    def build_client_verifier(self) -> "_Unreadable":
        return self

    def verify(self, leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("odd"), x509.UnsupportedGeneralNameType("odd")])
def test_an_engine_that_fails(
    ca: CertificateAuthority, leaves: BrokenLeaves, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An extension that the engine cannot read makes no path."""
    verifier = PathVerifier([ca.certificate])
    monkeypatch.setattr(verifier, "_builder", _Unreadable(error))
    assert reason_of(verify, verifier, leaves.good) is Reason.UNTRUSTED


def test_the_detail_names_no_certificate(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """The engine's message is cut before it shows the certificate."""
    root = root_with(IS_CA)  # as a client it is refused while it is being processed, and the message shows it
    refused: list[tuple[PathVerifier, bytes]] = [
        (PathVerifier([ca.certificate]), leaves.from_impostor_ca.der),
        (PathVerifier([root.certificate]), root.der),
    ]
    for verifier, der in refused:
        with pytest.raises(CertificateRejected) as error:
            verifier.verify(evidence(der), at=NOW)
        assert error.value.detail.startswith("validation failed")
        assert "alice" not in error.value.detail
        assert "Certificate(" not in error.value.detail


def test_no_anchor() -> None:
    """Without an anchor there is nothing to verify against."""
    with pytest.raises(ConfigurationError, match="no trust anchor is given"):
        PathVerifier([])
    with pytest.raises(ConfigurationError, match="no trust anchor is given"):
        PathVerifier.from_files()


def test_from_files(tmp_path: Path, ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """Anchors are read from PEM files, each of which may hold several, with text around them."""
    bundle, other = tmp_path / "bundle.pem", tmp_path / "other.pem"
    bundle.write_bytes(b"Our roots\n" + CertificateAuthority().pem + ca.pem)
    other.write_bytes(CertificateAuthority().pem)
    verifier = PathVerifier.from_files(str(other), bundle)
    assert verify(verifier, leaves.good)
    assert reason_of(verify, verifier, leaves.impostor) is Reason.UNTRUSTED


def test_from_bad_files(tmp_path: Path, ca: CertificateAuthority) -> None:
    """Every file that holds no anchor is named."""
    (tmp_path / "good.pem").write_bytes(ca.pem)
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "der.pem").write_bytes(ca.der)
    (tmp_path / "broken.pem").write_bytes(ca.pem.replace(b"M", b"!"))
    names = ["good.pem", "empty.pem", "der.pem", "broken.pem", "missing.pem"]
    with pytest.raises(ConfigurationError) as error:
        PathVerifier.from_files(*(tmp_path / name for name in names), tmp_path)
    for problem, name in zip(error.value.problems, [*names[1:], ""], strict=True):
        assert str(tmp_path / name) in problem
    assert error.value.problems[-2].endswith("No such file or directory")
    assert error.value.problems[-1].endswith("Is a directory")


def test_a_subject_is_no_anchor(ca: CertificateAuthority) -> None:
    """An anchor counts by its key: another root of the same name does not do."""
    twin = CertificateAuthority()
    assert twin.subject == ca.subject == distinguished_name("Test CA")
    assert reason_of(verify, PathVerifier([twin.certificate]), ca.issue("alice")) is Reason.UNTRUSTED


def test_useless_anchors(caplog: pytest.LogCaptureFixture) -> None:
    """Anchors by which nothing can be verified are said, and refuse; they do not hide those that work."""
    weak = CertificateAuthority("Ed25519 CA", key_type="ed25519")
    unreadable = x509.load_der_x509_certificate((HOSTILE / "key_ec_unknown_curve.der").read_bytes())
    old = x509.load_der_x509_certificate((HOSTILE / "ok_v1.der").read_bytes())
    good = CertificateAuthority()
    verifier = PathVerifier([weak.certificate, unreadable, old, good.certificate])
    kinds = ("a key that verifies nobody", "cannot be read", "is X.509 v1")
    assert [kind in problem for kind, problem in zip(kinds, verifier.useless, strict=True)] == [True, True, True]
    assert len(caplog.records) == 3
    assert verify(verifier, good.issue("alice"))
    assert reason_of(verify, verifier, weak.issue("alice")) is Reason.UNTRUSTED
