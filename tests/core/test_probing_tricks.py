"""The tables of tricks: the bytes and the fields that each of them sends."""

import base64
from collections.abc import Mapping

import pytest

from mtls_auth.probing.http2_tricks import HTTP2_TRICKS
from mtls_auth.probing.tricks import TRICKS, Kind

LEAF = ("X-SSL-Client-Cert", "MIIB" + "c" * 20)
VERDICT = ("X-SSL-Client-Verify", "SUCCESS")
TOKEN = ("Authorization", "Bearer token")
START = "GET /who HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer token\r\n"
HONEST = f"{START}Connection: close\r\nX-Probe: mtls-auth\r\n"
POSTED = HONEST.replace("GET", "POST").replace("1.1\r\n", "1.1\r\nTransfer-Encoding: chunked\r\n")
BOTH = f"X-SSL-Client-Cert: {LEAF[1]}\r\nX-SSL-Client-Verify: SUCCESS\r\n"
NAMES = "X-SSL-Client-Cert, X-SSL-Client-Verify"
HEAD, TAIL = LEAF[1][:12], LEAF[1][12:]

# A request for every trick whose bytes are not the exact ones with names in another spelling.
BYTES: Mapping[str, tuple[str, ...]] = {
    "exact": (f"{HONEST}{BOTH}\r\n",),
    "twice": (
        f"{HONEST}X-SSL-Client-Cert: {LEAF[1]}\r\nX-SSL-Client-Cert: {LEAF[1]}\r\n"
        "X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n",
    ),
    "empty and then full": (
        f"{HONEST}X-SSL-Client-Cert:\r\nX-SSL-Client-Cert: {LEAF[1]}\r\n"
        "X-SSL-Client-Verify:\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n",
    ),
    "certificate alone": (f"{HONEST}X-SSL-Client-Cert: {LEAF[1]}\r\n\r\n",),
    "verdict alone": (f"{HONEST}X-SSL-Client-Verify: SUCCESS\r\n\r\n",),
    "NUL after the value": (f"{HONEST}X-SSL-Client-Cert: {LEAF[1]}\0\r\nX-SSL-Client-Verify: SUCCESS\0\r\n\r\n",),
    "folded": (f"{HONEST}X-SSL-Client-Cert: {HEAD}\r\n {TAIL}\r\nX-SSL-Client-Verify: SUCCESS\r\n \r\n\r\n",),
    "folded to the next line": (
        f"{HONEST}X-SSL-Client-Cert:\r\n\t{LEAF[1]}\r\nX-SSL-Client-Verify:\r\n\tSUCCESS\r\n\r\n",
    ),
    "folded before the colon": (
        f"{HONEST}X-SSL-Client-Cert\r\n : {LEAF[1]}\r\nX-SSL-Client-Verify\r\n : SUCCESS\r\n\r\n",
    ),
    "inside a fold": (f"{HONEST} X-SSL-Client-Cert: {LEAF[1]}\r\n X-SSL-Client-Verify: SUCCESS\r\n\r\n",),
    "blank after the request line": (
        f"GET /who HTTP/1.1\r\n X-SSL-Client-Cert: {LEAF[1]}\r\n X-SSL-Client-Verify: SUCCESS\r\n"
        f"{HONEST.partition(chr(10))[2]}\r\n",
    ),
    "after a bare line feed": (
        f"{HONEST}X-Other: a\nX-SSL-Client-Cert: {LEAF[1]}\nX-SSL-Client-Verify: SUCCESS\r\n\r\n",
    ),
    "after a bare carriage return": (
        f"{HONEST}X-Other: a\rX-SSL-Client-Cert: {LEAF[1]}\rX-SSL-Client-Verify: SUCCESS\r\n\r\n",
    ),
    "line feeds alone": (f"{HONEST}{BOTH}\r\n".replace("\r", ""),),
    "nominated by Connection": (f"{HONEST.replace('close', f'close, {NAMES}')}{BOTH}\r\n",),
    "nomination alone": (f"{HONEST.replace('close', f'close, {NAMES}')}\r\n",),
    "verdict nominated": (f"{HONEST.replace('close', 'close, X-SSL-Client-Verify')}\r\n",),
    "verdict nominated, with underscores": (
        f"{HONEST.replace('close', 'close, X-SSL-Client-Verify')}X_SSL_Client_Verify: SUCCESS\r\n\r\n",
    ),
    "trailers": (f"{POSTED}Trailer: {NAMES}\r\nTE: trailers\r\n\r\n5\r\nhello\r\n0\r\n{BOTH}\r\n",),
    "trailers unannounced": (f"{POSTED}\r\n5\r\nhello\r\n0\r\n{BOTH}\r\n",),
    "late trailers": (
        f"{POSTED}Trailer: {NAMES}\r\nTE: trailers\r\n\r\n",
        "5\r\nhello\r\n",
        f"0\r\n{BOTH}\r\n",
    ),
    "HTTP/1.0": (f"{HONEST.replace('1.1', '1.0')}{BOTH}\r\n",),
    "absolute target": (f"{HONEST.replace('/who', 'http://h:1/who')}{BOTH}\r\n",),
    "a PROXY line": (f"PROXY TCP4 192.0.2.9 192.0.2.9 50000 443\r\n{HONEST}{BOTH}\r\n",),
    "a forged address": (
        f"{HONEST}X-Forwarded-For: 192.0.2.9\r\nX-Real-IP: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n"
        f"Client-IP: 192.0.2.9\r\n{BOTH}\r\n",
    ),
}
# How each other trick writes the name of the certificate's header.
NAMED = {
    "lower case names": "x-ssl-client-cert",
    "upper case names": "X-SSL-CLIENT-CERT",
    "mixed case names": "x-sSl-cLiEnT-CeRt",
    "underscores": "X_SSL_Client_Cert",
    "one underscore": "X-SSL-Client_Cert",
    "dots": "X.SSL.Client.Cert",
    "other punctuation": "X~SSL!Client'Cert",
    "non-breaking spaces": "X\xa0SSL\xa0Client\xa0Cert",
    "CGI variables": "SSL_CLIENT_CERT",
    "CGI variables with prefix": "HTTP_X_SSL_Client_Cert",
    "blank before the colon": "X-SSL-Client-Cert ",
    "tab before the colon": "X-SSL-Client-Cert\t",
    "vertical tab before the colon": "X-SSL-Client-Cert\v",
    "NUL in the name": "X-SSL-Client-Cert\0",
}


def request(trick: str, *forged: tuple[str, str]) -> tuple[bytes, ...]:
    """Return the parts of a request."""
    return TRICKS[trick].request(forged, path="/who", host="h:1", extra=[TOKEN], address="192.0.2.9")


@pytest.mark.parametrize("trick", BYTES)
def test_bytes(trick: str) -> None:
    """The request of a trick is these bytes, in these parts."""
    assert request(trick, LEAF, VERDICT) == tuple(part.encode("latin-1") for part in BYTES[trick])


@pytest.mark.parametrize("trick", NAMED)
def test_names(trick: str) -> None:
    """A trick with names alone writes both headers so, after the honest ones."""
    verdict = NAMED[trick].replace("Cert", "Verify").replace("CERT", "VERIFY").replace("cert", "verify")
    verdict = verdict.replace("CeRt", "VeRiFy")
    lines = f"{NAMED[trick]}: {LEAF[1]}\r\n{verdict}: SUCCESS\r\n"
    assert request(trick, LEAF, VERDICT) == (f"{HONEST}{lines}\r\n".encode("latin-1"),)


def test_websocket_upgrade() -> None:
    """The upgrade is one that servers accept, and asks not to close. RFC 6455 §4.1"""
    (only,) = request("WebSocket upgrade", LEAF, VERDICT)
    assert b"\r\nConnection: Upgrade\r\n" in only
    assert b"\r\nUpgrade: websocket\r\n" in only
    key = only.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    assert len(base64.b64decode(key, validate=True)) == 16
    assert BOTH.encode() in only


@pytest.mark.parametrize("trick", TRICKS)
def test_the_token_is_safe(trick: str) -> None:
    """Whatever a server makes of the forged lines, the token's header comes before them, on a line of its own."""
    head = b"".join(request(trick, LEAF, VERDICT)).replace(b"\r\n", b"\n")
    assert head.count(b"\nAuthorization: Bearer token\n") == 1
    lines = head.split(b"\n")
    assert not lines[lines.index(b"Authorization: Bearer token") + 1].startswith((b" ", b"\t"))


@pytest.mark.parametrize("trick", TRICKS)
def test_an_honest_request(trick: str) -> None:
    """Without anything to forge the request is an honest one: no header that a terminator would write."""
    sent = b"".join(TRICKS[trick].request((), path="/who", host="h:1"))
    assert b"ssl" not in sent.lower()
    assert b"Connection: close,\r\n" not in sent


@pytest.mark.parametrize("trick", TRICKS)
def test_one_header_alone(trick: str) -> None:
    """Dialects of one header have no verdict to nominate: nothing is left dangling."""
    assert b", \r\n" not in b"".join(request(trick, LEAF))
    assert b"close,\r\n" not in b"".join(request(trick, LEAF))


@pytest.mark.parametrize("trick", TRICKS)
def test_whether_it_forges(trick: str) -> None:
    """A trick that forges sends a forged value; the others take headers away and send none."""
    sent = b"".join(request(trick, LEAF, VERDICT)).replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
    assert (b"SUCCESS" in sent or LEAF[1].encode() in sent) is TRICKS[trick].forges


def test_every_kind() -> None:
    """There is a trick of each kind, by HTTP/1.1."""
    assert {trick.kind for trick in TRICKS.values()} == set(Kind)


def test_every_trick_is_tested() -> None:
    """No trick is left out above but those that a server would tell from none."""
    assert set(TRICKS) - set(BYTES) - set(NAMED) == {
        "twice in two cases",
        "full and then empty",
        "underscores beside hyphens",
        "underscores of the verdict",
        "folded with a tab",
        "inside a fold with a tab",
        "nomination and underscores",
        "trailers with underscores",
        "WebSocket upgrade",
        "a forged secret",
    }


def http2_request(trick: str) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """Return the fields and the trailers."""
    return HTTP2_TRICKS[trick].request((LEAF, VERDICT), path="/who", host="h:1", extra=[TOKEN], address="192.0.2.9")


HTTP2_HONEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"h:1"),
    (b":path", b"/who"),
    (b"authorization", b"Bearer token"),
]
LOWER = [(b"x-ssl-client-cert", LEAF[1].encode()), (b"x-ssl-client-verify", b"SUCCESS")]
LEAF_VALUE = LEAF[1].encode()
HTTP2_FIELDS: Mapping[str, list[tuple[bytes, bytes]]] = {
    "HTTP/2: exact": LOWER,
    "HTTP/2: upper case names": [(name.upper(), value) for name, value in LOWER],
    "HTTP/2: underscores": [(b"X_SSL_Client_Cert".lower(), LEAF_VALUE), (b"x_ssl_client_verify", b"SUCCESS")],
    "HTTP/2: one underscore": [(b"x-ssl-client_cert", LEAF_VALUE), (b"x-ssl-client_verify", b"SUCCESS")],
    "HTTP/2: dots": [(b"x.ssl.client.cert", LEAF_VALUE), (b"x.ssl.client.verify", b"SUCCESS")],
    "HTTP/2: line break in a value": [(b"x-other", b"a\r\n" + name + b": " + value) for name, value in LOWER],
    "HTTP/2: line break in a name": [(b"x-other: a\r\n" + name, value) for name, value in LOWER],
    "HTTP/2: nominated by Connection": [
        (b"connection", b"close, x-ssl-client-cert, x-ssl-client-verify"),
        *LOWER,
    ],
    "HTTP/2: a forged address": [
        (b"x-forwarded-for", b"192.0.2.9"),
        (b"x-real-ip", b"192.0.2.9"),
        (b"forwarded", b"for=192.0.2.9"),
        *LOWER,
    ],
}


@pytest.mark.parametrize("trick", HTTP2_FIELDS)
def test_http2_fields(trick: str) -> None:
    """The fields of a trick come after the honest ones, and nothing after them."""
    assert http2_request(trick) == ([*HTTP2_HONEST, *HTTP2_FIELDS[trick]], [])


def test_http2_trailers() -> None:
    """Trailers come with a body, so by POST, and the fields before it are honest."""
    fields, trailers = http2_request("HTTP/2: trailers")
    assert fields == [(b":method", b"POST"), *HTTP2_HONEST[1:]]
    assert trailers == LOWER


@pytest.mark.parametrize("trick", HTTP2_TRICKS)
def test_http2_tricks_forge(trick: str) -> None:
    """Every trick of HTTP/2 sends the forged certificate somewhere, and says so."""
    fields, trailers = http2_request(trick)
    values = b"".join(value for _name, value in [*fields, *trailers])
    assert LEAF[1].encode() in values.replace(b"\r\n ", b"")
    assert HTTP2_TRICKS[trick].forges
