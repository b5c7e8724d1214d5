"""uvicorn's protocols with the client certificate, driven without a network."""

import asyncio
import base64
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from h2.connection import H2Connection
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol as PlainH11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as PlainHttpToolsProtocol
from uvicorn.protocols.http.zttp_impl import ZttpProtocol as PlainZttpProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState

from mtls_auth.asgi import ASGIApp, Receive, Scope, Send
from mtls_auth.server_tls import PEER_EXTENSION, ScopeFacts
from mtls_auth.servers import uvicorn as shim
from tests.core.conftest import FakeSocket, FakeTransport
from tests.core.test_servers_tls_extension import LEAF, FakeTLS, pem

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: http\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
NAMES = {
    "h11": "H11Protocol",
    "httptools": "HttpToolsProtocol",
    "zttp": "ZttpProtocol",
    "auto": "HTTPProtocol",
    "http2": "HTTP2Protocol",
}
HTTP_PROTOCOLS = [getattr(shim, name) for name in NAMES.values()]
on_every_protocol = pytest.mark.parametrize("protocol", HTTP_PROTOCOLS, ids=NAMES)


def over_tls(peer: str = "203.0.113.9", leaf: bytes | None = LEAF, alpn: str | None = None) -> FakeTransport:
    """Return the transport of a TLS connection."""
    tls = FakeTLS(leaf, alpn=alpn)
    return FakeTransport({"socket": FakeSocket(peer), "ssl_object": tls, "sslcontext": object()})


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Say as little as possible."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    else:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def scopes_of(
    protocol_class: Any, transport: FakeTransport, data: bytes, app: ASGIApp = answer, **options: Any
) -> list[Scope]:
    """Feed bytes to a protocol and return the scopes that the application was called with."""
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await app(scope, receive, send)

    async def run() -> None:
        config = Config(application, lifespan="off", log_config=None, **options)
        config.load()
        state = ServerState()
        protocol = protocol_class(config=config, server_state=state, app_state={})
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.get_protocol().data_received(data)
        while state.tasks or not transport.written:
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 10))
    return seen


@on_every_protocol
def test_http(protocol: Any) -> None:
    """The scope of a request has the certificate, and the true peer whatever `X-Forwarded-For` made of `client`."""
    (scope,) = scopes_of(protocol, over_tls(), REQUEST, forwarded_allow_ips="*")
    assert scope["client"][0] == "10.9.9.9"
    assert scope["extensions"][PEER_EXTENSION] == "203.0.113.9"
    assert scope["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)


@on_every_protocol
def test_keep_alive(protocol: Any) -> None:
    """Every request of a connection has them."""
    scopes = scopes_of(protocol, over_tls(), REQUEST * 3)
    assert [scope["extensions"][PEER_EXTENSION] for scope in scopes] == ["203.0.113.9"] * 3
    assert all("tls" in scope["extensions"] for scope in scopes)


@on_every_protocol
def test_connections_do_not_mix(protocol: Any) -> None:
    """A connection has its own peer and certificate."""
    (first,) = scopes_of(protocol, over_tls("192.0.2.1"), REQUEST)
    (second,) = scopes_of(protocol, over_tls("192.0.2.2", leaf=None), REQUEST)
    assert first["extensions"][PEER_EXTENSION] == "192.0.2.1"
    assert second["extensions"][PEER_EXTENSION] == "192.0.2.2"
    assert first["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    assert second["extensions"]["tls"]["client_cert_chain"] == ()


def http2_requests(*bodies: bytes) -> bytes:
    """Return what an HTTP/2 client sends on a new connection: its preface, and a request for each body."""
    client = H2Connection()
    client.initiate_connection()
    for number, body in enumerate(bodies):
        stream = 2 * number + 1
        head = {":method": "POST" if body else "GET", ":path": "/", ":scheme": "https", ":authority": "localhost"}
        client.send_headers(stream, [*head.items(), ("x-forwarded-for", "10.9.9.9")], end_stream=not body)
        if body:
            client.send_data(stream, body, end_stream=True)
    return client.data_to_send()


@pytest.mark.parametrize("secure", [True, False], ids=["TLS", "plain text"])
def test_http2(secure: bool) -> None:
    """Each request of an HTTP/2 connection has the certificate and the true peer; without TLS the peer alone."""
    transport = over_tls(alpn="h2") if secure else FakeTransport({"socket": FakeSocket("203.0.113.9")})
    scopes = scopes_of(shim.HTTP2Protocol, transport, http2_requests(b"", b"", b""), forwarded_allow_ips="*")
    assert [scope["http_version"] for scope in scopes] == ["2"] * 3
    for scope in scopes:
        assert scope["client"][0] == "10.9.9.9"
        assert scope["extensions"][PEER_EXTENSION] == "203.0.113.9"
        assert ScopeFacts(scope).client_chain() == (pem(LEAF) if secure else ())


def test_http2_bodies() -> None:
    """A request ends for the application where it ends on the wire: with its head, or with its body."""
    bodies: list[bytes] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        bodies.append(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    scopes_of(shim.HTTP2Protocol, over_tls(alpn="h2"), http2_requests(b"", b"with a body", b""), application)
    assert sorted(bodies) == [b"", b"", b"with a body"]


def test_http2_or_http1() -> None:
    """Over TLS it is ALPN that chooses, and nothing that a client says later."""
    for alpn in (None, "http/1.1"):
        (scope,) = scopes_of(shim.HTTP2Protocol, over_tls(alpn=alpn), REQUEST)
        assert scope["http_version"] == "1.1"
        assert ScopeFacts(scope).client_chain() == pem(LEAF)


@on_every_protocol
def test_a_connection_that_cannot_be_described(protocol: Any) -> None:
    """A connection whose TLS cannot be asked is ended: it must not reach the application without its facts."""
    tls = SimpleNamespace(selected_alpn_protocol=lambda: "h2")
    transport = FakeTransport({"socket": FakeSocket(), "ssl_object": tls, "sslcontext": object()})
    with pytest.raises(AttributeError):
        scopes_of(protocol, transport, b"")
    assert transport.aborted


@pytest.mark.parametrize("peer", ["10.0.0.1", "unix:/run/app.sock"])
def test_plain(peer: str) -> None:
    """Without TLS there is the peer alone."""
    (scope,) = scopes_of(shim.HTTPProtocol, FakeTransport({"socket": FakeSocket(peer)}), REQUEST)
    assert scope["extensions"] == {PEER_EXTENSION: peer}
    assert ScopeFacts(scope).client_chain() == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("http", HTTP_PROTOCOLS, ids=NAMES)
@pytest.mark.parametrize("websocket", ["websockets-sansio", "wsproto"])
def test_websocket(http: Any, websocket: str) -> None:
    """A WebSocket that the HTTP protocol upgrades to has both, without an option of its own."""
    (scope,) = scopes_of(http, over_tls(), UPGRADE, ws=websocket)
    assert scope["type"] == "websocket"
    assert scope["extensions"][PEER_EXTENSION] == "203.0.113.9"
    assert scope["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    assert ScopeFacts(scope).client_chain() == pem(LEAF)


@on_every_protocol
def test_without_websockets(protocol: Any) -> None:
    """With WebSockets switched off there is none to derive from, and HTTP works."""
    (scope,) = scopes_of(protocol, over_tls(), REQUEST, ws="none")
    assert scope["extensions"][PEER_EXTENSION] == "203.0.113.9"


@pytest.mark.parametrize(
    "plain",
    [PlainH11Protocol, PlainHttpToolsProtocol, WebSocketsSansIOProtocol, WSProtocol],
    ids=lambda kind: kind.__name__,
)
def test_derived_classes(plain: Any) -> None:
    """A derived class is of the same name and kind, made once, and not derived twice."""
    derived = shim.with_client_certificate(plain)
    assert derived is not plain
    assert issubclass(derived, plain)
    assert derived.__name__ == plain.__name__
    assert shim.with_client_certificate(plain) is derived
    assert shim.with_client_certificate(derived) is derived


def test_names() -> None:
    """The module offers one class for each of uvicorn's HTTP protocols, by uvicorn's names."""
    assert issubclass(shim.H11Protocol, PlainH11Protocol)
    assert issubclass(shim.HttpToolsProtocol, PlainHttpToolsProtocol)
    assert issubclass(shim.ZttpProtocol, PlainZttpProtocol)
    assert shim.HTTPProtocol in {shim.H11Protocol, shim.HttpToolsProtocol}
    assert shim.HTTP2Protocol.alpn_protocols == ["h2", "http/1.1"]
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        shim.Other  # noqa: B018


def test_made_on_demand() -> None:
    """Importing the module imports no parser that may not be installed; a class is made once."""
    program = (
        "import sys, mtls_auth.servers.uvicorn as shim; "
        "print([name for name in ('h11', 'httptools', 'zttp', 'uvicorn.protocols') if name in sys.modules]); "
        "print(shim.H11Protocol is shim.H11Protocol, 'zttp' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "True False"]


@pytest.mark.parametrize("name", NAMES.values())
def test_uvicorn_loads_it_by_name(name: str) -> None:
    """`--http mtls_auth.servers.uvicorn:…` is what uvicorn imports."""
    config = Config("x:y", http=f"mtls_auth.servers.uvicorn:{name}", lifespan="off", log_config=None)
    config.app = lambda: None
    config.load()
    assert config.http_protocol_class is getattr(shim, name)
