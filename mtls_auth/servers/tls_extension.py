"""The ASGI TLS extension for servers that do not provide it: one wrapper an accepted connection.

Puts `scope["extensions"]["tls"]` (ASGI TLS extension 0.2: text and numbers only, so that a scope can be copied)
and the true transport peer into HTTP and WebSocket scopes. A server's own extension is left as it is.
"""

import ssl
from collections.abc import Awaitable
from typing import Any, Protocol

from mtls_auth.asgi import ASGIApp, Receive, Scope, Send
from mtls_auth.peers import Peer
from mtls_auth.server_tls import PEER_EXTENSION

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Transport(Protocol):
    """The part of `asyncio.BaseTransport` that is needed, as uvloop has it too."""

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class ConnectionApp:
    """The server's application, bound to one accepted connection."""

    __slots__ = ("_app", "_extensions")

    def __init__(self, app: ASGIApp, transport: Transport) -> None:
        self._app = app
        # Once a connection, and while it is open: asyncio's transport forgets both when it closes.
        self._extensions = extensions_of(transport)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] in {"http", "websocket"}:
            scope["extensions"] = {**self._extensions, **(scope.get("extensions") or {})}
        return self._app(scope, receive, send)


def extensions_of(transport: Transport) -> dict[str, Any]:
    """Return the scope extensions that describe an accepted connection."""
    extensions: dict[str, Any] = {}
    sock = transport.get_extra_info("socket")
    if sock is not None and (peer := Peer.of(sock)) is not None:
        extensions[PEER_EXTENSION] = str(peer)
    ssl_object = transport.get_extra_info("ssl_object")
    if ssl_object is not None:
        extensions["tls"] = _tls_extension(ssl_object)
    return extensions


def _tls_extension(ssl_object: ssl.SSLObject) -> dict[str, Any]:
    return {
        "server_cert": None,
        "client_cert_chain": tuple(ssl.DER_cert_to_PEM_cert(der) for der in client_chain(ssl_object)),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(ssl_object.version() or ""),
        "cipher_suite": None,
    }


def client_chain(ssl_object: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return the verified chain in DER where Python has it (3.13), else the leaf; () without a certificate.

    The leaf never comes from the chain: that is empty on a resumed session.
    """
    leaf = ssl_object.getpeercert(True)
    if leaf is None:
        return ()
    get_verified_chain = getattr(ssl_object, "get_verified_chain", None)
    chain: tuple[bytes, ...] = tuple(get_verified_chain()) if get_verified_chain is not None else ()
    return chain if chain and chain[0] == leaf else (leaf,)
