"""Identities: the field's own terms for one verified certificate, or for what a terminator states of one."""

import base64
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from mtls_auth import Assurance, Evidence, Identity, Reason, Statement, VouchedFor
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.core.conftest import reason_of
from tests.pki import BrokenLeaves


def identify(issued: IssuedCertificate, assurance: Assurance = Assurance.TLS_SOCKET) -> Identity:
    """Return the identity of a leaf."""
    evidence = Evidence("test", (issued.der,), assurance, lambda _raw: (issued.der,))
    return Identity.from_verified(VouchedFor().verify(evidence, at=datetime.now(UTC)))


def state(*, fingerprint: str | None = None, name: str | None = None) -> Identity:
    """Return the identity of a certificate that its terminator keeps to itself."""
    statement = Statement(fingerprint=fingerprint, name=name)
    evidence = Evidence("test", ("x",), Assurance.PROXY_VERDICT, lambda _raw: statement)
    return Identity.from_verified(VouchedFor().verify(evidence, at=datetime.now(UTC)))


def test_terms(leaves: BrokenLeaves) -> None:
    """An identity tells name, fingerprint, thumbprint and assurance of its certificate."""
    identity = identify(leaves.good, Assurance.PROXY_VERDICT)
    assert identity.subject_cn == "alice"
    assert identity.assurance is Assurance.PROXY_VERDICT
    assert identity.certificate is identity.verified.certificate
    assert identity.certificate.der == leaves.good.der
    assert identity.fingerprint_sha256 == leaves.good.fingerprint_sha256


def test_thumbprint(leaves: BrokenLeaves) -> None:
    """`x5t#S256` is the same hash in base64url without padding. RFC 8705 §3.1."""
    thumbprint = identify(leaves.good).x5t_s256
    assert len(thumbprint) == 43
    assert base64.urlsafe_b64decode(thumbprint + "=").hex() == leaves.good.fingerprint_sha256


@pytest.mark.parametrize(
    ("common_name", "text"), [("alice", "alice (SHA-256 "), (None, "no common name (SHA-256 ")], ids=["name", "none"]
)
def test_text(ca: CertificateAuthority, common_name: str | None, text: str) -> None:
    """The text for logs is the name and the start of the fingerprint."""
    identity = identify(ca.issue(common_name, organizational_unit="Ops"))
    assert str(identity) == f"{text}{identity.fingerprint_sha256[:16]}…)"
    assert identity.subject_cn == common_name


def test_equality(leaves: BrokenLeaves) -> None:
    """Identities are equal if certificate and assurance are."""
    assert identify(leaves.good) == identify(leaves.good)
    assert identify(leaves.good) != identify(leaves.good, Assurance.PINNED)
    assert identify(leaves.good) != identify(leaves.without_eku)


def test_frozen(leaves: BrokenLeaves) -> None:
    """An identity is not changed."""
    with pytest.raises(FrozenInstanceError):
        identify(leaves.good).verified = identify(leaves.without_eku).verified  # type: ignore[misc]


def test_a_certificate_has_no_statement(leaves: BrokenLeaves) -> None:
    """Where the certificate is forwarded nothing is stated, and its fingerprint is what it goes by."""
    identity = identify(leaves.good)
    assert identity.statement is None
    assert identity.fingerprint == identity.reference == leaves.good.fingerprint_sha256


SHA1, SHA256 = "0123456789abcdef0123456789abcdef01234567", "0123456789abcdef" * 4
SPIFFE = "spiffe://example.org/bob"


@pytest.mark.parametrize(
    ("identity", "reference", "text"),
    [
        (state(fingerprint=SHA1), SHA1, "no name (SHA-1 0123456789abcdef…)"),
        (state(fingerprint=SHA256), SHA256, "no name (SHA-256 0123456789abcdef…)"),
        (state(fingerprint=SHA256, name=SPIFFE), SHA256, f"{SPIFFE} (SHA-256 0123456789abcdef…)"),
        (state(name=SPIFFE), f"name:{SPIFFE}", SPIFFE),
    ],
    ids=["SHA-1", "SHA-256", "both", "name"],
)
def test_statements(identity: Identity, reference: str, text: str) -> None:
    """What is stated is told, and tells identities apart; the text for logs is the name and the digest's start."""
    assert identity.statement == identity.verified.certificate
    assert identity.reference == reference
    assert str(identity) == text
    assert identity.assurance is Assurance.PROXY_VERDICT


@pytest.mark.parametrize("attribute", ["certificate", "subject_cn", "fingerprint_sha256", "x5t_s256"])
@pytest.mark.parametrize("identity", [state(fingerprint=SHA1, name=SPIFFE), state(name=SPIFFE)], ids=["SHA-1", "name"])
def test_what_is_not_stated(identity: Identity, attribute: str) -> None:
    """Whatever needs the certificate is refused where there is none, and never empty."""
    assert reason_of(getattr, identity, attribute) is Reason.INSUFFICIENT_EVIDENCE


def test_a_stated_sha256(leaves: BrokenLeaves) -> None:
    """A stated SHA-256 is the fingerprint, in both its forms; the certificate is still not there."""
    stated, known = state(fingerprint=leaves.good.fingerprint_sha256), identify(leaves.good)
    assert stated.fingerprint == stated.fingerprint_sha256 == known.fingerprint_sha256
    assert stated.x5t_s256 == known.x5t_s256
    assert stated != known
    assert reason_of(getattr, stated, "certificate") is Reason.INSUFFICIENT_EVIDENCE


@pytest.mark.parametrize(
    ("fingerprint", "name"),
    [
        *((digits, None) for digits in ("", "ab", "ab" * 19, "ab" * 33, "AB" * 20, "gh" * 20, "ab:" * 20)),
        *((None, None), (None, ""), ("ab" * 20, "")),
    ],
)
def test_what_states_nothing(fingerprint: str | None, name: str | None) -> None:
    """A statement has a digest in lower-case hex, or a name; an empty one is refused as it is made."""
    assert reason_of(Statement, fingerprint=fingerprint, name=name) is Reason.MALFORMED_HEADER
