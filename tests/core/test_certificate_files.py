"""What people paste and upload: certificates are found in every usual form, private keys are refused."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason
from mtls_auth.certificate_files import MAX_FILE_BYTES, certificates_in, client_certificate_in
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, KeyType
from tests.core.conftest import reason_of
from tests.pki import BrokenLeaves

MALFORMED, PRIVATE_KEY = Reason.MALFORMED_CERTIFICATE, Reason.PRIVATE_KEY
LEAF = CertificateAuthority().issue("alice")
PEM = LEAF.pem
P7 = pkcs7.serialize_certificates([LEAF.certificate, LEAF.root], Encoding.DER)


def armoured(label: str, der: bytes) -> bytes:
    """Return DER between lines of this label."""
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(LEAF.der, 1, id="DER"),
        pytest.param(PEM, 1, id="PEM"),
        pytest.param(b"subject=alice\n\xc3\xa9\n" + PEM + b"\nbye", 1, id="text around"),
        pytest.param(PEM.replace(b"\n", b"\r\n"), 1, id="CRLF"),
        pytest.param(PEM.replace(b"\n", b" "), 1, id="blanks for newlines"),
        pytest.param(b"  " + PEM.replace(b"\n", b"\n  "), 1, id="indented"),
        pytest.param(PEM.replace(b"CERTIFICATE", b"X509 CERTIFICATE"), 1, id="old label"),
        pytest.param(PEM + PEM, 2, id="twice"),
        pytest.param(P7, 2, id="PKCS#7"),
        pytest.param(armoured("PKCS7", P7), 2, id="PKCS#7 in PEM"),
        pytest.param(armoured("CMS", P7), 2, id="CMS"),
        pytest.param(armoured("CERTIFICATE", P7), 2, id="PKCS#7 that calls itself a certificate"),
        pytest.param(armoured("X509 CRL", b"0\x00") + PEM, 1, id="other blocks beside it"),
    ],
)
def test_certificates(data: bytes, count: int) -> None:
    """Certificates are found in order, whatever surrounds them."""
    found = certificates_in(data)
    assert len(found) == count
    assert LEAF.der in found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\x00" + PEM, id="NUL before PEM"),
        pytest.param(LEAF.der[:40] + PEM, id="DER and PEM"),
        pytest.param(PEM[:-10], id="no end"),
        pytest.param(PEM.replace(b"END CERTIFICATE", b"END X509 CERTIFICATE"), id="ends that differ"),
        pytest.param(PEM.replace(b"CERTIFICATE", b"certificate"), id="lower-case label"),
        pytest.param(armoured("X509 CRL", b"0\x00"), id="revocation list"),
        pytest.param(armoured("TRUSTED CERTIFICATE", LEAF.der), id="OpenSSL's trusted certificate"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----", id="not base64"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", id="empty block"),
        pytest.param(armoured("CERTIFICATE", b"hello"), id="text in base64"),
        pytest.param(P7[:-20], id="PKCS#7 cut short"),
        pytest.param(armoured("PKCS7", b"0\x00"), id="empty PKCS#7"),
        pytest.param(b"0" * (MAX_FILE_BYTES + 1), id="too large"),
    ],
)
def test_nothing_found(data: bytes) -> None:
    """What holds no certificate, or cannot be read in full, is malformed."""
    assert reason_of(certificates_in, data) is MALFORMED


def key_files(key_type: KeyType) -> list[object]:
    """Return a key of this type in every form that its kind has."""
    key = CertificateAuthority(key_type=key_type).issue("alice", key_type=key_type).key
    secret = BestAvailableEncryption(b"password")
    forms = {"PKCS#8": PrivateFormat.PKCS8, "OpenSSH": PrivateFormat.OpenSSH}
    if key_type != "ed25519":
        forms["traditional"] = PrivateFormat.TraditionalOpenSSL
    files: list[object] = []
    for name, form in forms.items():
        for encryption in (NoEncryption(), *([] if name == "OpenSSH" else [secret])):  # that needs bcrypt
            text = f"{key_type} {name}{' encrypted' if encryption is secret else ''}"
            files.append(pytest.param(key.private_bytes(Encoding.PEM, form, encryption), id=f"{text} PEM"))
            if name == "PKCS#8" or (name == "traditional" and encryption is not secret):
                files.append(pytest.param(key.private_bytes(Encoding.DER, form, encryption), id=f"{text} DER"))
    return files


@pytest.mark.parametrize(
    "data",
    [
        *key_files("ec"),
        *key_files("rsa"),
        *key_files("ed25519"),
        pytest.param(LEAF.p12("password", "alice"), id="PKCS#12"),
        pytest.param(PEM + LEAF.key_pem, id="certificate and key"),
        pytest.param(LEAF.key_pem + PEM, id="key and certificate"),
        pytest.param(
            armoured("CERTIFICATE", LEAF.p12("password", "alice")), id="PKCS#12 that calls itself a certificate"
        ),
        pytest.param(b"\xfe\xed\xfe\xed\x00\x00\x00\x02", id="Java key store"),
        pytest.param(b"PuTTY-User-Key-File-3: ssh-ed25519", id="PuTTY"),
    ],
)
def test_private_keys(data: bytes) -> None:
    """A private key is refused in every form, alone and beside a certificate."""
    assert reason_of(certificates_in, data) is PRIVATE_KEY


def test_the_refusal_does_not_show_the_key() -> None:
    """The message repeats nothing of the file."""
    with pytest.raises(CertificateRejected) as refused:
        certificates_in(LEAF.key_pem)
    assert LEAF.key_pem.decode().splitlines()[1] not in str(refused.value)


def test_one_client_certificate(leaves: BrokenLeaves) -> None:
    """The one end-entity certificate is taken; CAs beside it, and copies of it, do no harm."""
    below = leaves.through_intermediate
    assert client_certificate_in(below.chain_pem + root_pem(below) + below.pem).der == below.der
    assert client_certificate_in(below.der).der == below.der


def root_pem(issued: IssuedCertificate) -> bytes:
    """Return the root of a leaf in PEM."""
    return issued.root.public_bytes(Encoding.PEM)


def test_a_ca_alone(ca: CertificateAuthority) -> None:
    """A CA certificate alone is the one that is meant."""
    assert client_certificate_in(ca.pem).is_ca


@pytest.mark.parametrize("count", [0, 2])
def test_not_one_client_certificate(ca: CertificateAuthority, leaves: BrokenLeaves, count: int) -> None:
    """Two clients, or two CAs and no client, are refused: which one is meant?"""
    data = CertificateAuthority().pem + ca.pem if count == 0 else leaves.good.pem + leaves.without_eku.pem
    with pytest.raises(CertificateRejected, match=f"it holds {count} client certificates") as refused:
        client_certificate_in(data)
    assert refused.value.reason is MALFORMED


def test_a_hostile_certificate(leaves: BrokenLeaves) -> None:
    """The loader's rules hold for uploads."""
    assert reason_of(client_certificate_in, leaves.two_common_names.pem) is Reason.UNUSABLE_NAME


FRAGMENTS = st.sampled_from(
    [PEM, LEAF.der, P7, b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"0", b"\n"]
)


@given(st.one_of(st.binary(), st.lists(FRAGMENTS | st.binary(max_size=8), max_size=5).map(b"".join)))
def test_no_other_exception(data: bytes) -> None:
    """Whatever the bytes, there are certificates or a reason."""
    assert reason_of(client_certificate_in, data) in {None, MALFORMED, PRIVATE_KEY}


def test_loaded_certificates_are_the_same() -> None:
    """What comes out of PKCS#7 is what went in, byte for byte."""
    assert set(certificates_in(P7)) == {LEAF.der, LEAF.root.public_bytes(Encoding.DER)}
    assert x509.load_der_x509_certificate(certificates_in(PEM)[0]) == LEAF.certificate


def test_a_v1_root_beside_the_leaf() -> None:
    """A root that signed itself is no client certificate, also where no extension says that it is a CA."""
    ca = CertificateAuthority()
    ca.certificate = (
        x509.CertificateBuilder()
        .subject_name(ca.subject)
        .issuer_name(ca.subject)
        .public_key(ca.key.public_key())
        .serial_number(1)
        .not_valid_before(ca.certificate.not_valid_before_utc)
        .not_valid_after(ca.certificate.not_valid_after_utc)
        .sign(ca.key, hashes.SHA256())
    )
    alice = ca.issue("alice")
    assert client_certificate_in(alice.pem + ca.pem).common_name == "alice"
    assert client_certificate_in(ca.pem).common_name == "Test CA"
