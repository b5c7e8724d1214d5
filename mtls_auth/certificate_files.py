"""Certificates in what people paste and upload: PEM, DER or PKCS#7. Private keys are refused, never read."""

import binascii
import re
from warnings import catch_warnings, simplefilter

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from mtls_auth.certificate import Certificate, load_certificate
from mtls_auth.errors import CertificateRejected, Reason

MAX_FILE_BYTES = 256 * 1024

# RFC 7468 §3. No body holds a "-", which keeps the search linear.
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----([^-]*)-----END \1-----")
# Explanatory text around the blocks is text; what is not might be a key in DER.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_CERTIFICATE_LABELS = {b"CERTIFICATE", b"X509 CERTIFICATE"}
_PKCS7_LABELS = {b"PKCS7", b"CMS"}
# The first elements inside the outer SEQUENCE: PKCS#12 (version 3), PKCS#8 (0), RSA and EC keys (0, 1).
_KEY_STARTS = (b"\x02\x01\x03\x30", b"\x02\x01\x00\x30", b"\x02\x01\x00\x02", b"\x02\x01\x01\x04", b"\x02\x01\x01\x30")
# An encrypted PKCS#8 key starts with an AlgorithmIdentifier of PKCS#5 or PKCS#12.
_ENCRYPTED_KEY = re.compile(rb"\x30.{1,3}\x06.\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c\x01)", re.DOTALL)
# Java's key stores (JKS, JCEKS) and PuTTY's keys.
_KEY_FILES = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce", b"PuTTY-User-Key-File")


def certificates_in(data: bytes) -> tuple[bytes, ...]:
    """Return the DER of every certificate in *data*, in order; never empty.

    Raises `private_key` for anything that holds a private key, PKCS#12 included, and `malformed_certificate`
    for everything else that is no certificate. Does not read the certificates: `load_certificate` does.
    """
    if len(data) > MAX_FILE_BYTES:
        raise _malformed(f"the file is larger than {MAX_FILE_BYTES // 1024} kB")
    if b"PRIVATE KEY" in data or data.startswith(_KEY_FILES):
        raise _private_key()
    found = _from_pem(data) if b"-----BEGIN" in data else _from_der(data)
    if not found:
        raise _malformed("there is no certificate in it")
    return found


def client_certificate_in(data: bytes) -> Certificate:
    """Return the one end-entity certificate in *data*; CA certificates beside it are ignored, v1 roots too.

    Raises `CertificateRejected` as `certificates_in` and `load_certificate` do, and where there is not just one.
    """
    certificates = [load_certificate(der) for der in dict.fromkeys(certificates_in(data))]
    leaves = certificates
    if len(certificates) > 1:
        leaves = [item for item in certificates if not item.is_ca and item.subject != item.issuer]
    if len(leaves) != 1:
        raise _malformed(f"it holds {len(leaves)} client certificates: give one at a time")
    return leaves[0]


def _from_pem(data: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    if _BINARY.search(data):
        raise _malformed("it is neither text with PEM blocks nor DER")
    for block in _PEM_BLOCK.finditer(data):
        if block[1] in _CERTIFICATE_LABELS:
            found += _from_der(_base64(block[2]))
        elif block[1] in _PKCS7_LABELS:
            found += _from_pkcs7(_base64(block[2]))
    return tuple(found)


def _base64(body: bytes) -> bytes:
    # RFC 7468 §3: parsers may ignore white space, and what is pasted has lost or won some.
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error as error:
        raise _malformed("a PEM block holds characters or padding that are not base64") from error


def _from_der(data: bytes) -> tuple[bytes, ...]:
    if not data.startswith(b"\x30"):
        raise _malformed("it is neither PEM nor DER")
    body = data[2:] if len(data) > 1 and data[1] < 0x80 else data[2 + (data[1] & 0x7F if len(data) > 1 else 0) :]
    if body.startswith(_KEY_STARTS) or _ENCRYPTED_KEY.match(body):
        raise _private_key()
    if body.startswith(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"):  # signedData
        return _from_pkcs7(data)
    return (data,)


def _from_pkcs7(data: bytes) -> tuple[bytes, ...]:
    try:
        with catch_warnings():
            simplefilter("ignore")  # BER, as `openssl cms -stream` writes it, is read with a complaint
            loaded = pkcs7.load_der_pkcs7_certificates(data)
            return tuple(certificate.public_bytes(Encoding.DER) for certificate in loaded)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _malformed("the PKCS#7 structure cannot be read") from error


def _private_key() -> CertificateRejected:
    return CertificateRejected(
        Reason.PRIVATE_KEY, "it holds a private key, which nobody but its owner may have: give the certificate alone"
    )


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_CERTIFICATE, detail)
