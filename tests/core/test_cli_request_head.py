"""A request head is read as a strict server reads it, or refused."""

import pytest

from mtls_auth.cli.request_head import MAX_HEAD_BYTES, RequestHead
from mtls_auth.errors import CertificateRejected, Reason

GOOD = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", (), id="no header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ((b"Host", b"a"),), id="CRLF"),
    pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", ((b"Host", b"a"),), id="LF"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", ((b"Host", b"a"),), id="no empty line"),
    pytest.param(b"POST / HTTP/1.0\r\nA: b\r\n\r\nbody\n\0\r:", ((b"A", b"b"),), id="body"),
    pytest.param(
        b"GET / HTTP/1.1\r\nsSl_cLient.cErt:\t a b \t\r\n\r\n", ((b"sSl_cLient.cErt", b"a b"),), id="spelling"
    ),
    pytest.param(b"GET / HTTP/1.1\r\nA:\r\nA: \xff\r\n\r\n", ((b"A", b""), (b"A", b"\xff")), id="empty and obs-text"),
    pytest.param(b"GET / HTTP/1.1\r\nA: b:c\r\n\r\n", ((b"A", b"b:c"),), id="colon in value"),
]


@pytest.mark.parametrize(("data", "headers"), GOOD)
def test_headers_come_as_spelled(data: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Names keep their spelling and order, values lose the blanks around them, the body is ignored."""
    assert RequestHead.parse(data).headers == headers


def line(text: bytes) -> bytes:
    """A request with this one header line."""
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + text + b"\r\n\r\n"


MALFORMED = [
    pytest.param(b"", "there is no request", id="empty"),
    pytest.param(b"\r\n\r\n", "the first line", id="empty request line"),
    pytest.param(b"GET /\r\n\r\n", "the first line", id="HTTP/0.9"),
    pytest.param(b"GET  / HTTP/1.1\r\n\r\n", "the first line", id="two blanks"),
    pytest.param(b"GET /\0 HTTP/1.1\r\n\r\n", "the first line", id="NUL in target"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a", "in the middle of a line", id="cut off"),
    pytest.param(b"GET / HTTP/1.1", "in the middle of a line", id="no line end"),
    pytest.param(b"GET / HTTP/1.1\r\n A: b\r\n\r\n", "begins with a blank", id="blank after request line"),
    pytest.param(line(b" folded"), "line 3 begins with a blank", id="folded with blank"),
    pytest.param(line(b"\tfolded: x"), "begins with a blank", id="folded with tab"),
    pytest.param(line(b"A: b\rC: d"), "line 3 holds a bare CR", id="bare CR"),
    pytest.param(line(b"A: b\r"), "holds a bare CR", id="CR CR LF"),
    pytest.param(line(b"A: b\nC: d"), "ends in a bare LF", id="LF in CRLF head"),
    pytest.param(line(b"A: b\n"), "ends in a bare LF", id="LF CRLF"),
    pytest.param(b"GET / HTTP/1.1\nA: b\r\n\n", "line 2 ends in CRLF", id="CRLF in LF head"),
    pytest.param(b"GET / HTTP/1.1\nA: b\n\r\n", "line 3 ends in CRLF", id="empty CRLF line in LF head"),
    pytest.param(b"GET / HTTP/1.1\nA: b\rc\n\n", "holds a bare CR", id="bare CR in LF head"),
    pytest.param(line(b"A: b\0c"), "holds a control character", id="NUL"),
    pytest.param(line(b"A: b\x7fc"), "holds a control character", id="DEL"),
    pytest.param(line(b"A : b"), "a blank before the colon", id="blank before the colon"),
    pytest.param(line(b"A\t: b"), "a blank before the colon", id="tab before the colon"),
    pytest.param(line(b": b"), "an empty header name", id="empty name"),
    pytest.param(line(b"A b"), "has no colon", id="no colon"),
    pytest.param(line(b"A(b): c"), "no name may have", id="parenthesis in name"),
    pytest.param(line(b"A b: c"), "no name may have", id="blank in name"),
    pytest.param(line(b"A\xe9: c"), "no name may have", id="name not ASCII"),
]


@pytest.mark.parametrize(("data", "detail"), MALFORMED)
def test_malformed_head_is_refused(data: bytes, detail: str) -> None:
    """What a strict server refuses raises `malformed_header` and tells the line."""
    with pytest.raises(CertificateRejected, match=detail) as caught:
        RequestHead.parse(data)

    assert caught.value.reason is Reason.MALFORMED_HEADER


def test_long_head_is_refused() -> None:
    """A head whose end does not come in time is refused, however its lines are."""
    with pytest.raises(CertificateRejected) as caught:
        RequestHead.parse(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEAD_BYTES)

    assert caught.value.reason is Reason.OVERSIZED_HEADER
