"""The ASGI TLS extension that is added for servers without one."""

import asyncio
import copy
import ssl
from typing import Any, cast

import pytest

from mtls_auth import AnyVerifiedCertificate, Authenticated, Authenticator, Connection, TLSSocket
from mtls_auth.asgi import Receive, Scope, Send
from mtls_auth.known_headers import known_headers
from mtls_auth.server_tls import PEER_EXTENSION, ScopeFacts
from mtls_auth.servers.tls_extension import ConnectionApp, client_chain, extensions_of
from tests.core.conftest import FakeSocket, FakeTransport, Message, drive
from tests.pki import BrokenLeaves

LEAF, ISSUER = b"0\x03\x02\x01\x00", b"0\x03\x02\x01\x01"


class FakeTLS:
    """The TLS layer of a connection, as Python up to 3.12 shows it."""

    def __init__(self, leaf: bytes | None, version: str | None = "TLSv1.3") -> None:
        self.leaf = leaf
        self._version = version

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        assert binary_form
        return self.leaf

    def version(self) -> str | None:
        return self._version


class FakeTLSWithChain(FakeTLS):
    """The same since Python 3.13."""

    def __init__(self, leaf: bytes | None, *chain: bytes) -> None:
        super().__init__(leaf)
        self.chain = chain

    def get_verified_chain(self) -> list[bytes]:
        return list(self.chain)


class LostSocket(FakeSocket):
    """A socket that cannot say who is at its other end."""

    def getpeername(self) -> object:
        raise OSError(107, "Transport endpoint is not connected")


def pem(*ders: bytes) -> tuple[str, ...]:
    """Return certificates as the extension carries them."""
    return tuple(ssl.DER_cert_to_PEM_cert(der) for der in ders)


@pytest.mark.parametrize(
    ("tls", "chain"),
    [
        (FakeTLS(None), ()),
        (FakeTLS(LEAF), (LEAF,)),
        (FakeTLSWithChain(LEAF, LEAF, ISSUER), (LEAF, ISSUER)),
        (FakeTLSWithChain(LEAF), (LEAF,)),
        (FakeTLSWithChain(LEAF, ISSUER), (LEAF,)),
        (FakeTLSWithChain(None, LEAF, ISSUER), ()),
    ],
    ids=["none", "leaf", "chain", "resumed: empty chain", "chain of another leaf", "chain without a leaf"],
)
def test_client_chain(tls: FakeTLS, chain: tuple[bytes, ...]) -> None:
    """The leaf is the peer's certificate and nothing else; the chain is added where it belongs to it."""
    assert client_chain(cast(ssl.SSLObject, tls)) == chain


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        ({"socket": FakeSocket("10.0.0.1")}, {PEER_EXTENSION: "10.0.0.1"}),
        ({"socket": FakeSocket("unix:/run/app.sock")}, {PEER_EXTENSION: "unix:/run/app.sock"}),
        ({"socket": FakeSocket("unix:")}, {}),
    ],
    ids=["nothing", "TCP", "Unix", "unnamed"],
)
def test_peer(extra: dict[str, object], expected: dict[str, object]) -> None:
    """The peer is a plain text in the extensions; where nobody knows it there is none."""
    extensions = extensions_of(FakeTransport(extra))
    assert extensions == expected
    assert [type(value) for value in extensions.values()] == [str] * len(expected)


@pytest.mark.parametrize(("peer", "expected"), [("unix:/run/app.sock", "unix:/run/app.sock"), ("10.0.0.1", None)])
def test_a_peer_that_cannot_be_asked(peer: str, expected: str | None) -> None:
    """Where the socket does not tell its peer, a Unix socket has still its path, and TLS its certificate."""
    extra = {"socket": LostSocket(peer), "ssl_object": FakeTLS(LEAF)}
    extensions = extensions_of(FakeTransport(extra))
    assert extensions.get(PEER_EXTENSION) == expected
    assert extensions["tls"]["client_cert_chain"] == pem(LEAF)


@pytest.mark.parametrize(
    ("version", "number"),
    [("TLSv1.3", 0x0304), ("TLSv1.2", 0x0303), ("TLSv1.1", 0x0302), ("TLSv1", 0x0301), ("TLSv9", None), (None, None)],
)
def test_tls_extension(version: str | None, number: int | None) -> None:
    """The extension has the keys of ASGI's TLS extension; it is text and numbers, which can be copied."""
    extensions = extensions_of(FakeTransport({"ssl_object": FakeTLS(LEAF, version)}))
    assert extensions == {
        "tls": {
            "server_cert": None,
            "client_cert_chain": pem(LEAF),
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": number,
            "cipher_suite": None,
        }
    }
    assert copy.deepcopy(extensions) == extensions


def scopes_through(transport: FakeTransport, *scopes: Scope) -> list[Scope]:
    """Return scopes as an application on this connection gets them."""
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    connection = ConnectionApp(application, transport)
    for scope in scopes:
        drive(cast(Any, connection), scope, {"type": "x"})
    return seen


TRANSPORT = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(LEAF)})


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("before", [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {"x": {}}}])
def test_scope(kind: str, before: dict[str, Any]) -> None:
    """HTTP and WebSocket scopes get the extensions, beside those that the server has."""
    (seen,) = scopes_through(TRANSPORT, {"type": kind, **before})
    assert seen["extensions"][PEER_EXTENSION] == "10.0.0.1"
    assert seen["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    assert set(seen["extensions"]) == {PEER_EXTENSION, "tls", *(before.get("extensions") or {})}


def test_the_server_s_own_extension() -> None:
    """An extension of the server's own is left as it is."""
    own = {"client_cert": ISSUER}
    (seen,) = scopes_through(TRANSPORT, {"type": "http", "extensions": {"tls": own}})
    assert seen["extensions"]["tls"] is own


def test_other_scopes() -> None:
    """A scope of another type is left alone."""
    (seen,) = scopes_through(TRANSPORT, {"type": "lifespan"})
    assert seen == {"type": "lifespan"}


def test_requests_of_one_connection_share_nothing() -> None:
    """What one request does to its extensions the next one does not see."""
    first, second = scopes_through(TRANSPORT, {"type": "http"}, {"type": "http"})
    first["extensions"]["tls"] = None
    first["extensions"][PEER_EXTENSION] = "192.0.2.1"
    assert second["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    (third,) = scopes_through(TRANSPORT, {"type": "http"})
    assert third["extensions"][PEER_EXTENSION] == "10.0.0.1"


def test_the_connection_is_asked_once() -> None:
    """The transport is asked when the connection is made: it forgets both facts when it closes."""
    extra: dict[str, object] = {"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(LEAF)}
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    connection = ConnectionApp(application, FakeTransport(extra))
    extra.clear()
    drive(cast(Any, connection), {"type": "http"})
    assert set(seen[0]["extensions"]) == {PEER_EXTENSION, "tls"}


def test_it_is_what_the_core_reads(leaves: BrokenLeaves) -> None:
    """The certificate and the peer arrive at the authenticator."""
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(leaves.good.der)})
    (scope,) = scopes_through(transport, {"type": "http", "scheme": "https", "headers": []})
    assert ScopeFacts(scope).peer() == "10.0.0.1"
    decision = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()).authenticate(
        Connection.from_scope(scope, known_headers())
    )
    assert isinstance(decision, Authenticated)
    assert decision.identity.fingerprint_sha256 == leaves.good.fingerprint_sha256


def test_the_application_s_answer_is_awaited() -> None:
    """What the application raises comes out of the call."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("from the application")

    async def nothing() -> Message:
        return {}

    async def send(message: Message) -> None: ...

    with pytest.raises(LookupError, match="from the application"):
        asyncio.run(cast(Any, ConnectionApp(application, TRANSPORT))({"type": "http"}, nothing, send))
