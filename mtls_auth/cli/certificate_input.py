"""The certificates of one file, one by one: a broken one does not hide the others, and no private key gets out.

`certificate_files` reads what people upload and refuses the whole of a doubtful file; this reads block by block.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mtls_auth.certificate_files import certificates_in
from mtls_auth.errors import CertificateRejected, Reason

# RFC 7468 §3: the boundary has the line for itself, but for a byte order mark. Text may stand around the blocks.
_BEGIN = re.compile(rb"^(?:\xef\xbb\xbf)?-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?$", re.MULTILINE)
_CERTIFICATE_LABELS = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"PKCS7", b"CMS"})


@dataclass(frozen=True, slots=True)
class Found:
    """One place for a certificate: bytes that may be one, and why they are not where that is known already."""

    der: bytes | None
    rejected: CertificateRejected | None = None


@dataclass(frozen=True, slots=True)
class CertificateInput:
    """What a file holds: never empty, and whether there is a private key beside it, of which nothing is kept."""

    found: tuple[Found, ...]
    has_private_key: bool

    @classmethod
    def read(cls, data: bytes) -> "CertificateInput":
        """Split PEM, DER or PKCS#7. Never raises; does not look into the certificates."""
        # A certificate may carry a PEM block as text: bytes that are DER are not searched for PEM.
        found = _from_bytes(data) if is_der(data) or b"-----BEGIN" not in data else tuple(_from_pem(data))
        # In whatever text: nobody should find a key here that this did not tell of.
        has_private_key = b"PRIVATE KEY-----" in data or any(_is_key(item) for item in found)
        return cls(found or (Found(None, _nothing(data, has_private_key)),), has_private_key)


def is_der(data: bytes) -> bool:
    """Whether *data* starts like a DER or BER SEQUENCE; text that starts with the digit 0 does not."""
    return len(data) > 1 and data[0] == 0x30 and (0x80 <= data[1] <= 0x84 or data[1] == len(data) - 2)


def _from_bytes(data: bytes) -> tuple[Found, ...]:
    if b"-----BEGIN" in data:  # `certificates_in` would take it for PEM
        return (Found(data),)
    try:
        return tuple(Found(der) for der in certificates_in(data) if is_der(der))
    except CertificateRejected as rejected:
        if rejected.reason is Reason.PRIVATE_KEY:
            return (Found(None, rejected),)
        return (Found(data, rejected),) if is_der(data) else ()


def _from_pem(data: bytes) -> Iterator[Found]:
    begins = list(_BEGIN.finditer(data))
    for begin, following in zip(begins, [*begins[1:], None], strict=False):
        label = begin[1]
        if label not in _CERTIFICATE_LABELS:
            continue
        block, end, _ = data[begin.start() : following.start() if following else None].partition(
            b"-----END %b-----" % label
        )
        if not end:
            yield Found(None, _malformed(f"the {label.decode()} block has no END line: the file was cut off"))
            continue
        try:
            yield from (Found(der) for der in certificates_in(block + end))
        except CertificateRejected as rejected:
            yield Found(None, rejected)


def _nothing(data: bytes, has_private_key: bool) -> CertificateRejected:
    if has_private_key:
        return CertificateRejected(Reason.PRIVATE_KEY, "the file holds a private key and no certificate")
    if not data:
        return _malformed("the file is empty")
    labels = sorted({begin[1].decode() for begin in _BEGIN.finditer(data)})
    if labels:
        return _malformed(f"the file holds {', '.join(labels)} and no certificate")
    return _malformed("the file is neither DER nor PEM with -----BEGIN CERTIFICATE----- on a line of its own")


def _is_key(found: Found) -> bool:
    return found.rejected is not None and found.rejected.reason is Reason.PRIVATE_KEY


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_CERTIFICATE, detail)
