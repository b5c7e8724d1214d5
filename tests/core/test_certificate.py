"""The strict loader: what it reads, and that hostile certificates are refused with a reason and nothing else."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_auth import (
    Assurance,
    Certificate,
    CertificateRejected,
    Evidence,
    PathVerifier,
    Reason,
    load_certificate,
    load_client_certificate,
)
from mtls_auth.certificate import MAX_CERTIFICATE_BYTES, signature_hash_name, spki_sha256
from mtls_auth.testing import CertificateAuthority, KeyType, generate_key
from tests.core.conftest import reason_of
from tests.pki import BrokenLeaves

HOSTILE = Path(__file__).parent.parent / "vectors" / "hostile"
INDEX = json.loads((HOSTILE / "index.json").read_text(encoding="utf-8"))
JUDGE_AT = datetime.fromisoformat(INDEX["judge_at"])
FILES = {case["file"]: case["safe"] for case in INDEX["cases"] if case["file"].endswith(".der")}
PARSE_ONLY = {"ok_v1.der", "sig_flipped.der", "sig_other_ca.der", "same_subject_other_ca.der"}

MALFORMED, UNUSABLE = Reason.MALFORMED_CERTIFICATE, Reason.UNUSABLE_NAME
REASONS = {
    "cn_crlf.der": UNUSABLE,
    "cn_empty.der": UNUSABLE,
    "cn_nul_prefix.der": UNUSABLE,
    "cn_two.der": UNUSABLE,
    "rdn_2000.der": UNUSABLE,
    "san_email_8bit.der": UNUSABLE,
    "san_email_display.der": UNUSABLE,
    "san_email_nul.der": UNUSABLE,
    "san_empty.der": UNUSABLE,
    "san_upn_not_utf8.der": UNUSABLE,
    "san_uri_two_spiffe.der": UNUSABLE,
    "subject_empty.der": UNUSABLE,
    "eku_any.der": Reason.WRONG_KEY_USAGE,
    "eku_server.der": Reason.WRONG_KEY_USAGE,
    "ku_empty.der": Reason.WRONG_KEY_USAGE,
    "key_rsa_16384.der": Reason.WEAK_KEY,
    "time_expired.der": Reason.EXPIRED,
    "time_reversed.der": Reason.EXPIRED,
}


def read(file: str) -> bytes:
    """Return one of the hostile certificates."""
    return (HOSTILE / file).read_bytes()


def judge(der: bytes) -> None:
    """Read a certificate and look at its validity."""
    load_client_certificate(der).check_validity(JUDGE_AT)


def judge_with_trust(der: bytes) -> None:
    """Build the path to the vectors' only trust anchor."""
    verifier = PathVerifier([x509.load_der_x509_certificate(read(INDEX["trust_anchor"]))])
    verifier.verify(Evidence("test", (der,), Assurance.TLS_SOCKET, lambda _raw: (der,)), at=JUDGE_AT)


def test_the_hostile_files_are_complete() -> None:
    """Every file of the index is there."""
    assert {path.name for path in HOSTILE.glob("*.der")} == {*FILES, INDEX["trust_anchor"]}
    assert {"accept", "reject", "opaque"} == set(FILES.values())
    assert set(FILES) >= PARSE_ONLY


@pytest.mark.parametrize("file", sorted(file for file, safe in FILES.items() if safe == "accept"))
def test_sound_certificates(file: str) -> None:
    """A certificate that is merely unusual is accepted, with trust and without."""
    judge(read(file))
    judge_with_trust(read(file))


@pytest.mark.filterwarnings("ignore")  # cryptography warns of an empty common name and of a negative serial number
@pytest.mark.parametrize("file", sorted({file for file, safe in FILES.items() if safe == "reject"} - PARSE_ONLY))
def test_hostile_certificates(file: str) -> None:
    """A broken or ambiguous certificate is refused for its reason, whoever vouches for it."""
    assert reason_of(judge, read(file)) is REASONS.get(file, MALFORMED)
    assert reason_of(judge_with_trust, read(file)) is REASONS.get(file, MALFORMED)


@pytest.mark.parametrize("file", sorted(PARSE_ONLY))
def test_certificates_that_only_trust_can_refuse(file: str) -> None:
    """A certificate that reads well, signed by nobody that we know or in version 1, is untrusted."""
    judge(read(file))
    assert reason_of(judge_with_trust, read(file)) is Reason.UNTRUSTED


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", sorted(file for file, safe in FILES.items() if safe == "opaque"))
def test_opaque_certificates(file: str) -> None:
    """A certificate whose names need care is read or refused, but raises nothing else."""
    assert reason_of(judge, read(file)) in {None, MALFORMED, UNUSABLE}
    assert reason_of(judge_with_trust, read(file)) in {None, MALFORMED, UNUSABLE}


def test_two_opaque_certificates_in_numbers() -> None:
    """A name in the subject's e-mail attribute is no alternative name; a URL inside is not followed."""
    assert load_certificate(read("subject_email.der")).alternative_names.email == ("alice@example.org",)
    assert load_certificate(read("cn_slash_injection.der")).common_name == "alice/CN=admin/O=Staff"
    assert load_certificate(read("cn_casefold.der")).common_name == "ADMIN"


def test_record(ca: CertificateAuthority) -> None:
    """The record says what the certificate says."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    san = [x509.RFC822Name("alice@example.com"), x509.DNSName("alice.example.com")]
    issued = ca.issue("alice", organizational_unit="Ops", san=san, not_before=start, not_after=end)

    certificate = load_certificate(issued.der)

    assert certificate == Certificate(
        der=issued.der,
        fingerprint_sha256=sha256(issued.der).hexdigest(),
        version=3,
        serial_number=issued.certificate.serial_number,
        subject=issued.certificate.subject,
        issuer=ca.certificate.subject,
        common_name="alice",
        alternative_names=certificate.alternative_names,
        not_before=start,
        not_after=end,
        key_type="EC secp256r1",
        key_bits=256,
        key_usage=certificate.key_usage,
        extended_key_usage=frozenset({ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string}),
        is_ca=False,
    )
    assert list(certificate.alternative_names) == [("email", "alice@example.com"), ("dns", "alice.example.com")]
    assert certificate.key_usage is not None
    assert certificate.key_usage.digital_signature
    assert int(certificate.serial_hex, 16) == issued.certificate.serial_number
    assert not certificate.serial_hex.startswith("0")


def test_the_record_does_not_show_the_certificate(leaves: BrokenLeaves) -> None:
    """The record's text holds no DER: it may come into a log."""
    assert "der=" not in repr(load_certificate(leaves.good.der))


def test_a_record_is_not_changed(leaves: BrokenLeaves) -> None:
    """A record is frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_certificate(leaves.good.der).common_name = "admin"  # type: ignore[misc]


def test_a_ca_is_told_from_a_leaf(ca: CertificateAuthority) -> None:
    """A CA certificate is read, and is a CA; it may not authenticate a client."""
    assert load_certificate(ca.der).is_ca
    assert reason_of(load_client_certificate, ca.der) is Reason.WRONG_KEY_USAGE


@pytest.mark.parametrize(
    ("key_type", "name", "bits"), [("ec", "EC secp256r1", 256), ("rsa", "RSA", 2048), ("ed25519", "Ed25519", 256)]
)
def test_key(leaves: BrokenLeaves, key_type: KeyType, name: str, bits: int) -> None:
    """The kind and size of the key are known."""
    certificate = load_certificate(leaves.of_key(key_type).der)
    assert (certificate.key_type, certificate.key_bits) == (name, bits)


def signed(
    ca: CertificateAuthority,
    key: CertificatePublicKeyTypes | None = None,
    subject: x509.Name | None = None,
    *extensions: tuple[x509.ExtensionType, bool],
) -> bytes:
    """Return a bare leaf of this key, subject and extensions in DER."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")]))
        .issuer_name(ca.subject)
        .public_key(key or generate_key().public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("bits", [512, 1016])
def test_short_rsa_key(ca: CertificateAuthority, bits: int) -> None:
    """An RSA key of less than 1024 bits is weak."""
    key = rsa.RSAPublicNumbers(65537, 2 ** (bits - 1) + 1).public_key()
    assert reason_of(load_certificate, signed(ca, key)) is Reason.WEAK_KEY


def test_dsa_key(ca: CertificateAuthority) -> None:
    """A DSA key is weak, whatever its size."""
    key = dsa.generate_private_key(2048).public_key()
    assert reason_of(load_certificate, signed(ca, key)) is Reason.WEAK_KEY


def test_other_key(ca: CertificateAuthority) -> None:
    """A key of another modern kind goes by its name."""
    key = ed448.Ed448PrivateKey.generate().public_key()
    assert load_certificate(signed(ca, key)).key_type == "Ed448"


def test_bare_certificate(ca: CertificateAuthority) -> None:
    """A certificate without extensions restricts nothing."""
    certificate = load_client_certificate(signed(ca))
    assert certificate.key_usage is None
    assert certificate.extended_key_usage is None
    assert not certificate.is_ca
    assert certificate.serial_hex == "7"


@pytest.mark.parametrize(
    ("extension", "critical", "reason"),
    [
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), False, None),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True, MALFORMED),
        (x509.TLSFeature([x509.TLSFeatureType.status_request]), True, None),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False, Reason.WRONG_KEY_USAGE),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False, Reason.WRONG_KEY_USAGE),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), True, None),
    ],
    ids=["unknown", "unknown critical", "known critical", "serverAuth", "any", "server and client"],
)
def test_extension(
    ca: CertificateAuthority, extension: x509.ExtensionType, critical: bool, reason: Reason | None
) -> None:
    """Unknown critical extensions and usages without clientAuth are refused, everything else is taken."""
    assert reason_of(load_client_certificate, signed(ca, None, None, (extension, critical))) is reason


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        ({"digital_signature"}, None),
        ({"key_agreement"}, None),
        ({"key_encipherment"}, Reason.WRONG_KEY_USAGE),
        ({"content_commitment"}, Reason.WRONG_KEY_USAGE),
        ({"key_cert_sign", "crl_sign"}, Reason.WRONG_KEY_USAGE),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else None,
)
def test_key_usage(ca: CertificateAuthority, bits: set[str], reason: Reason | None) -> None:
    """A client signs the handshake, or agrees on a key."""
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    usage = x509.KeyUsage(**{name: name in bits for name in names.split()})
    assert reason_of(load_client_certificate, signed(ca, None, None, (usage, True))) is reason


def test_names_of_other_attributes(ca: CertificateAuthority) -> None:
    """Every attribute of the subject is under the name policy; one that is no text is left alone."""
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, "alice")
    number = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0\1", _ASN1Type.BitString)
    assert load_certificate(signed(ca, None, x509.Name([number, common_name]))).common_name == "alice"
    hostile = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a\nb")
    assert reason_of(load_certificate, signed(ca, None, x509.Name([hostile, common_name]))) is UNUSABLE


def test_names_of_the_issuer(ca: CertificateAuthority) -> None:
    """The issuer's names are under the same policy; it may have two common names."""
    two = CertificateAuthority()
    two.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("a", "b")])
    assert load_certificate(two.issue("alice").der).common_name == "alice"
    two.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\u202eb")])
    assert reason_of(load_certificate, two.issue("alice").der) is UNUSABLE


@pytest.mark.parametrize(("count", "reason"), [(64, None), (65, UNUSABLE)])
def test_number_of_attributes(ca: CertificateAuthority, count: int, reason: Reason | None) -> None:
    """A subject has at most 64 attributes."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")] * count)
    assert reason_of(load_certificate, signed(ca, None, subject)) is reason


@pytest.mark.parametrize("leaf", ["two_common_names", "two_common_names_in_one_rdn", "without_name"])
def test_no_single_name(leaves: BrokenLeaves, leaf: str) -> None:
    """Two common names are refused in either form, and so is no name at all."""
    assert reason_of(load_certificate, getattr(leaves, leaf).der) is UNUSABLE


def test_size() -> None:
    """What is larger than the limit is refused unread."""
    with pytest.raises(CertificateRejected, match="is larger than 65536 bytes") as refused:
        load_certificate(b"\x30" * (MAX_CERTIFICATE_BYTES + 1))
    assert refused.value.reason is MALFORMED


@pytest.mark.parametrize(
    ("offset", "reason"),
    [(-1, Reason.NOT_YET_VALID), (0, None), (1800, None), (3600, None), (3601, Reason.EXPIRED)],
)
def test_validity(ca: CertificateAuthority, offset: int, reason: Reason | None) -> None:
    """A certificate is in force from its first second to its last, both included."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = load_certificate(ca.issue("a", not_before=start, not_after=start + timedelta(hours=1)).der)
    assert reason_of(certificate.check_validity, start + timedelta(seconds=offset)) is reason


def test_spki(ca: CertificateAuthority) -> None:
    """The hash of the public key is the same for every certificate of the key, and differs between keys."""
    key = generate_key().public_key()
    first, second, other = (load_certificate(signed(ca, public)) for public in (key, key, None))
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert first.der != second.der
    assert spki_sha256(first) == spki_sha256(second) == sha256(spki).hexdigest() != spki_sha256(other)


ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")


@pytest.mark.parametrize(
    ("change", "key_type", "name"),
    [
        (lambda der: der, "ec", "sha256"),
        (lambda der: der, "rsa", "sha256"),
        (lambda der: der, "ed25519", None),
        (lambda der: der.replace(ECDSA_WITH_SHA256, ECDSA_WITH_SHA256[:-1] + b"\x01"), "ec", "sha224"),
        (lambda der: der.replace(ECDSA_WITH_SHA256, ECDSA_WITH_SHA256[:-1] + b"\x7f"), "ec", "unknown"),
    ],
    ids=["EC", "RSA", "Ed25519", "SHA-224", "unknown"],
)
def test_signature_hash(change: Callable[[bytes], bytes], key_type: KeyType, name: str | None) -> None:
    """The name of the issuer's hash is known, None where the algorithm has none, unknown where it is unknown."""
    certificate = load_certificate(change(CertificateAuthority(key_type=key_type).issue("alice").der))
    assert signature_hash_name(certificate) == name


SEEDS = [read(file) for file in ("ok_plain.der", "ok_utf8_names.der", "subject_empty_san.der", "san_x400.der")]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Return a valid certificate with some bytes changed, taken out or put in."""
    der = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(der) - 1))
        match draw(st.sampled_from("bit byte delete insert".split())):
            case "bit":
                der[position] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                der[position] = draw(st.integers(0, 255))
            case "delete":
                del der[position]
            case _:
                der.insert(position, draw(st.integers(0, 255)))
    return bytes(der)


@settings(max_examples=300)
@given(st.one_of(mutations(), st.binary(max_size=200)))
def test_mutations_raise_nothing_else(der: bytes) -> None:
    """Whatever happens to the bytes of a certificate, it is read in full or refused, with trust and without."""
    if reason_of(judge, der) is None:
        assert load_certificate(der).der == der
    if der not in SEEDS:
        # A signature holds for every byte but its own: nothing that was changed may pass.
        assert reason_of(judge_with_trust, der) is not None


def test_every_bit_of_a_certificate_counts() -> None:
    """No single bit of a certificate can be flipped without the path verifier's notice."""
    der = SEEDS[0]
    for position in range(0, len(der) * 8, 7):
        flipped = bytearray(der)
        flipped[position // 8] ^= 1 << position % 8
        assert reason_of(judge_with_trust, bytes(flipped)) is not None, position
