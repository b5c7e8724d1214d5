"""Header text to DER: one pure function an encoding. They raise `CertificateRejected` and nothing else.

What comes out is bytes of the right shape, not a certificate yet: `certificate.load_certificate` reads it.
"""

import binascii
from urllib.parse import unquote_to_bytes

from mtls_auth.errors import CertificateRejected, Reason

_BEGIN = b"-----BEGIN CERTIFICATE-----\n"
_END = b"\n-----END CERTIFICATE-----\n"


def escaped_pem(text: str) -> bytes:
    """Decode one percent-encoded PEM block, as nginx's `$ssl_client_escaped_cert` writes it.

    Does not turn `+` into a blank, and accepts no text around the block. RFC 3986 §2.1, RFC 7468 §5.
    """
    # Blanks and newlines are escaped, or this is another encoding. What is no escape sequence stays as it is and
    # fails as base64 below.
    if not text.isascii() or not text.isprintable() or " " in text or "," in text:
        raise _twice_or_malformed(text, "is not percent-encoded PEM")
    return _one_block(_unescape(text))


def pem(text: str) -> bytes:
    """Decode exactly one PEM CERTIFICATE block, with no text around it. RFC 7468 §5."""
    return _one_block(_ascii(text))


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
    return tuple(byte_sequence(member.strip(" \t")) for member in text.split(","))


def _unescape(text: str) -> bytes:
    """Decode percent-encoding in printable ASCII. RFC 3986 §2.1."""
    if "=" in text:  # padding that was left as it is
        return unquote_to_bytes(text)
    # Quoted-printable is the same escape under another sign (RFC 2045 §6.7), and decoded in C: a cold header costs a
    # fifth less. What is no escape stays as it is, and makes the result longer.
    block = binascii.a2b_qp(text.replace("%", "="))
    if len(block) != len(text) - 2 * text.count("%"):
        raise _malformed("is not percent-encoded PEM")
    return block


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
    if not der:
        raise _malformed("is empty")
    return der


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise _malformed("holds characters that are not ASCII") from error


def _twice_or_malformed(text: str, detail: str) -> CertificateRejected:
    # WSGI servers join a repeated field with commas, which no single certificate contains.
    if "," in text:
        return CertificateRejected(Reason.AMBIGUOUS_HEADER, "the certificate field came more than once")
    return _malformed(detail)


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_HEADER, f"the certificate field {detail}")
