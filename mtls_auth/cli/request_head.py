"""The head of an HTTP/1 request as bytes, read as a strict server reads it: refused rather than repaired.

Proxies and servers disagree about repairs, and that is how one header becomes another: no line is folded, no
lone CR or LF ends one, no blank is trimmed from a name. RFC 9112 §2.2, §3, §5.
"""

import re
from dataclasses import dataclass
from typing import Self

from mtls_auth.errors import CertificateRejected, Reason

MAX_HEAD_BYTES = 1024 * 1024

# request-line = method SP request-target SP HTTP-version; the target is visible ASCII.
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/[0-9]\.[0-9]")
# field-name = token (RFC 9110 §5.6.2)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# field-value: VCHAR, obs-text, SP and HTAB (RFC 9110 §5.5)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The header fields in order: names as spelled, values without blanks around them. Nothing is decoded."""

    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the head; what follows the empty line is ignored. Raises `malformed_header` and `oversized_header`.

        The file may end after a complete line, without the empty one.
        """
        request_line, *lines = _lines(data)
        if not _REQUEST_LINE.fullmatch(request_line):
            raise _malformed("the first line is not METHOD TARGET HTTP/1.1")
        return cls(tuple(_field(line, number) for number, line in enumerate(lines, 2)))


def _lines(data: bytes) -> list[bytes]:
    """Return the lines up to the empty one. Either every line ends in CRLF or every line ends in LF."""
    lines: list[bytes] = []
    start, crlf = 0, False
    while (end := data.find(b"\n", start, MAX_HEAD_BYTES)) >= 0:
        line, start, number = data[start:end], end + 1, len(lines) + 1
        if number == 1:
            crlf = line.endswith(b"\r")
        elif line.endswith(b"\r") != crlf:
            raise _malformed(f"line {number} ends in {'a bare LF' if crlf else 'CRLF'}, unlike the first line")
        line = line.removesuffix(b"\r")
        if b"\r" in line:
            raise _malformed(f"line {number} holds a bare CR")
        if not line and lines:
            return lines
        lines.append(line)
    if len(data) > MAX_HEAD_BYTES:
        raise CertificateRejected(Reason.OVERSIZED_HEADER, f"the head is longer than {MAX_HEAD_BYTES} bytes")
    if start < len(data) or not lines:
        raise _malformed("the head ends in the middle of a line" if data else "there is no request")
    return lines


def _field(line: bytes, number: int) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if line.startswith((b" ", b"\t")):
        raise _malformed(f"line {number} begins with a blank: a folded line")
    if not colon:
        raise _malformed(f"line {number} has no colon")
    if not name:
        raise _malformed(f"line {number} has an empty header name")
    if name.endswith((b" ", b"\t")):
        raise _malformed(f"line {number} has a blank before the colon")
    if not _TOKEN.fullmatch(name):
        raise _malformed(f"line {number} has characters in its header name that no name may have")
    if not _VALUE.fullmatch(value):
        raise _malformed(f"line {number} holds a control character")
    return name, value.strip(b" \t")


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_HEADER, detail)
