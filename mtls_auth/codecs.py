"""Header text to DER: one pure function an encoding. They raise `CertificateRejected` and nothing else.

What comes out is bytes of the right shape, not a certificate yet: `certificate.load_certificate` reads it. No
function guesses: what is valid in two encodings is never the same text with two meanings.
"""

import binascii
import re
from hashlib import sha1, sha256

from mtls_auth.errors import CertificateRejected, Reason
from mtls_auth.evidence import SHA256_DIGITS, Statement

MAX_CERTIFICATES = 16

_BEGIN = b"-----BEGIN CERTIFICATE-----\n"
_END = b"\n-----END CERTIFICATE-----\n"
_FOLDED = re.compile(r"-----BEGIN CERTIFICATE-----(?P<body>[A-Za-z0-9+/= \t\r\n]+)-----END CERTIFICATE-----[ \t\r\n]*")
_OCTET = "[0-9A-Fa-f]{2}"
_FINGERPRINT = re.compile(
    f"(?:{_OCTET}){{20}}|(?:{_OCTET}){{32}}|{_OCTET}(?::{_OCTET}){{19}}|{_OCTET}(?::{_OCTET}){{31}}"
)
# The client's name in a mesh: a DNS-like name or a URI; nothing that another reader could cut in two.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~/:@+-]{0,254}")
_NO_NAMES = frozenset({"none", "null", "nil", "undefined", "unknown", "true", "false", "0", "1"})
# What SHA-1 and SHA-256 make of nothing, which some terminators send when no certificate came.
OF_NOTHING = frozenset(
    {
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
)


def escaped_pem(text: str) -> bytes:
    """Decode one percent-encoded PEM block, as nginx's `$ssl_client_escaped_cert` writes it.

    Does not turn `+` into a blank, and accepts no text around the block. RFC 3986 §2.1, RFC 7468 §5.
    """
    if not _may_be_escaped(text):
        raise _twice_or_malformed(text, "is not percent-encoded PEM")
    return _one_block(_unescape(text))


def pem(text: str) -> bytes:
    """Decode exactly one PEM CERTIFICATE block, with no text around it. RFC 7468 §5."""
    return _one_block(_ascii(text))


def escaped_pem_list(text: str) -> tuple[bytes, ...]:
    """Decode percent-encoded PEM blocks, one after the other, as AWS and Envoy write a chain. RFC 3986 §2.1."""
    if not _may_be_escaped(text):
        raise _twice_or_malformed(text, "is not percent-encoded PEM")
    head, *blocks = _unescape(text).replace(b"\r\n", b"\n").split(_BEGIN, MAX_CERTIFICATES + 1)
    if head or not blocks:
        raise _malformed("is not a list of PEM CERTIFICATE blocks")
    if len(blocks) > MAX_CERTIFICATES:
        raise _too_many()
    return tuple(_one_block(_BEGIN + block) for block in blocks)


def folded_pem(text: str) -> bytes:
    """Decode one PEM block whose newlines became blanks, tabs, folds, `\\n` or nothing, as Apache writes it.

    The blank inside the boundaries stays. RFC 7468 §5.
    """
    block = _FOLDED.fullmatch(text.replace("\\n", "\n")) if text.isascii() else None
    if block is None:
        raise _twice_or_malformed(text, "is not one PEM CERTIFICATE block")
    return _base64("".join(block["body"].split()).encode())


def escaped_or_folded_pem(text: str) -> bytes:
    """Decode one PEM block, percent-encoded or folded: for terminators that do not document which.

    A percent sign is no character of folded PEM, so no text has two meanings.
    """
    return escaped_pem(text) if "%" in text else folded_pem(text)


def base64_der(text: str) -> bytes:
    """Decode bare base64 of one DER certificate, with padding, in quotes or not. RFC 4648 §4."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if "," in text:
        raise _twice_or_malformed(text, "is not base64")
    return _base64(_ascii(text))


def base64_der_list(text: str) -> tuple[bytes, ...]:
    """Decode base64 of DER certificates, one after the other, as HAProxy's `ssl_c_chain_der`. X.690 §8.1.3."""
    return _split_der(base64_der(text))


def base64_list(text: str) -> tuple[bytes, ...]:
    """Decode base64 DER items between commas, plain or percent-encoded as a whole, as Traefik writes a chain."""
    if "%" in text:
        if not _may_be_escaped(text):
            raise _malformed("is percent-encoded in part only")
        text = _ascii_text(_unescape(text))
    return tuple(_base64(_ascii(item)) for item in _members(text))


def base64_pem(text: str) -> bytes:
    """Decode base64 of one PEM block, as Apache's `%{base64:…}` writes it. RFC 4648 §4, RFC 7468 §5."""
    return _one_block(base64_der(text))


def fingerprint(text: str) -> Statement:
    """Read a SHA-1 or SHA-256 fingerprint in hex, any case, colons allowed. The digest of nothing is refused."""
    if not _FINGERPRINT.fullmatch(text):
        raise _twice_or_malformed(text, "is not a SHA-1 or SHA-256 fingerprint")
    digits = text.replace(":", "").lower()
    if digits in OF_NOTHING:
        raise _malformed("is the fingerprint of nothing")
    return Statement(fingerprint=digits)


def check_fingerprint(der: bytes, text: str) -> None:
    """Raise `contradictory_evidence` unless *text* is the SHA-1 or SHA-256 fingerprint of *der*."""
    stated = fingerprint(text).fingerprint or ""
    digest = sha256(der) if len(stated) == SHA256_DIGITS else sha1(der, usedforsecurity=False)
    if digest.hexdigest() != stated:
        raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "the fingerprint is not that of the certificate")


def client_name(text: str) -> Statement:
    """Read the name that a mesh gives its client: a DNS-like name or a SPIFFE ID, compared exactly ever after."""
    if not _NAME.fullmatch(text) or text.lower() in _NO_NAMES:
        raise _twice_or_malformed(text, "is not the name of a client")
    return Statement(name=text)


def byte_sequence(text: str) -> bytes:
    """Decode one structured-field byte sequence, `:base64:`, without parameters. RFC 8941 §3.3.5.

    Missing padding is accepted as RFC 8941 §4.2.7 asks; an empty sequence is refused.
    """
    if len(text) < 3 or text[0] != ":" or text[-1] != ":" or "," in text:
        raise _twice_or_malformed(text, "is not one byte sequence between colons")
    body = text[1:-1]
    return _base64(_ascii(body) + b"=" * (-len(body) % 4))


def byte_sequence_list(text: str) -> tuple[bytes, ...]:
    """Decode a structured-field list of byte sequences, without parameters. RFC 8941 §3.1, RFC 9440 §2.3."""
    return tuple(byte_sequence(member.strip(" \t")) for member in _members(text))


def _members(text: str) -> list[str]:
    members = text.split(",", MAX_CERTIFICATES)
    if len(members) > MAX_CERTIFICATES:
        raise _too_many()
    return members


def _may_be_escaped(text: str) -> bool:
    # Blanks, newlines and commas are escaped, or this is another encoding. What is no escape sequence stays as it is
    # and fails as base64.
    return text.isascii() and not ("\n" in text or "\r" in text or " " in text or "," in text)


def _unescape(text: str) -> bytes:
    """Decode percent-encoding in printable ASCII. RFC 3986 §2.1."""
    # Quoted-printable is the same escape under another sign (RFC 2045 §6.7), and decoded in C: a cold header costs a
    # fifth less. What is no escape stays as it is, and makes the result longer.
    text = text.replace("=", "%3D")  # padding that was left as it is
    block = binascii.a2b_qp(text.replace("%", "="))
    if len(block) != len(text) - 2 * text.count("%"):
        raise _malformed("is not percent-encoded PEM")
    return block


def _split_der(data: bytes) -> tuple[bytes, ...]:
    """Cut concatenated SEQUENCEs of definite length apart; what they hold is not looked at."""
    items: list[bytes] = []
    start = 0
    while start < len(data):
        if len(items) == MAX_CERTIFICATES:
            raise _too_many()
        end = _end_of_der(data, start)
        items.append(data[start:end])
        start = end
    return tuple(items)


def _end_of_der(data: bytes, start: int) -> int:
    header = data[start : start + 2]
    if len(header) < 2 or header[0] != 0x30:
        raise _malformed("does not hold DER certificates")
    octets = header[1] & 0x7F if header[1] & 0x80 else 0
    if header[1] == 0x80 or octets > 3:
        raise _malformed("holds DER of indefinite or absurd length")
    length = int.from_bytes(data[start + 2 : start + 2 + octets], "big") if octets else header[1]
    end = start + 2 + octets + length
    if end > len(data):
        raise _malformed("ends in the middle of a certificate")
    return end


def _one_block(block: bytes) -> bytes:
    lines = block.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
    if not lines.startswith(_BEGIN) or not lines.endswith(_END):
        raise _malformed("is not exactly one PEM CERTIFICATE block")
    return _base64(lines[len(_BEGIN) : -len(_END)].replace(b"\n", b""))


def _base64(body: bytes) -> bytes:
    try:
        der = binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error as error:
        raise _malformed("holds characters or padding that are not base64") from error
    # CPython before 3.13 lets padding pass after a whole group, even in strict mode.
    if len(body) != (len(der) + 2) // 3 * 4:
        raise _malformed("holds characters or padding that are not base64")
    if not der:
        raise _malformed("is empty")
    return der


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise _malformed("holds characters that are not ASCII") from error


def _ascii_text(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise _malformed("holds characters that are not ASCII") from error


def _too_many() -> CertificateRejected:
    return CertificateRejected(Reason.OVERSIZED_HEADER, f"more than {MAX_CERTIFICATES} certificates came")


def _twice_or_malformed(text: str, detail: str) -> CertificateRejected:
    # WSGI servers join a repeated field with commas, which no single certificate contains.
    if "," in text:
        return CertificateRejected(Reason.AMBIGUOUS_HEADER, "the certificate field came more than once")
    return _malformed(detail)


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_HEADER, f"the certificate field {detail}")
