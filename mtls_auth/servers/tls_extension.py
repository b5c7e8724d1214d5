"""The ASGI TLS extension for servers that do not provide it: one wrapper an accepted connection.

Puts `scope["extensions"]["tls"]` (ASGI TLS extension 0.2: text and numbers only, so that a scope can be copied)
and the true transport peer into HTTP and WebSocket scopes. A server's own extension is left as it is, if it tells of
the certificate what there is to tell.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from typing import Any, Protocol, Self

from cryptography import x509

from mtls_auth.asgi import Scope
from mtls_auth.certificate import PARSER_ERRORS
from mtls_auth.errors import Reason
from mtls_auth.peers import Peer
from mtls_auth.reloading_context import objection_of
from mtls_auth.server_tls import PEER_EXTENSION, verified_chain

# hypercorn passes two arguments more than ASGI has.
ServedApp = Callable[..., Awaitable[None]]

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_TELLING = ("client_cert", "client_cert_chain", "client_cert_error")


class Transport(Protocol):
    """The part of `asyncio.BaseTransport` that is needed, as uvloop has it too."""

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class ConnectionApp:
    """The server's application, bound to one accepted connection whose handshake is done.

    `objection` is asked at each request for what has changed since the handshake.
    """

    __slots__ = ("_app", "_extensions", "_objection")

    def __init__(
        self, app: ServedApp, extensions: Mapping[str, Any], objection: Callable[[], Reason | None] | None = None
    ) -> None:
        self._app = app
        self._extensions = extensions
        self._objection = objection

    @classmethod
    def over(cls, app: ServedApp, sock: Any, tls: ssl.SSLObject | None) -> Self:
        """Bind *app* to an accepted socket and the TLS over it, None for plain text."""
        extensions: dict[str, Any] = {} if (peer := _peer(sock)) is None else {PEER_EXTENSION: peer}
        if tls is None:
            return cls(app, extensions)
        chain = verified_chain(tls)
        cipher = tls.cipher()
        extensions["tls"] = tls_extension(chain, version=tls.version(), cipher=cipher[0] if cipher else None)
        objection = objection_of(tls)
        return cls(app, extensions, partial(objection, chain[0]) if chain and objection is not None else None)

    @classmethod
    def on(cls, app: ServedApp, transport: Transport) -> Self:
        """Bind *app* to an asyncio transport, which forgets both socket and TLS when it closes."""
        return cls.over(app, transport.get_extra_info("socket"), transport.get_extra_info("ssl_object"))

    def __call__(self, scope: Scope, *rest: Any) -> Awaitable[None]:
        if scope["type"] in {"http", "websocket"}:
            extensions = {**self._extensions}
            if theirs := scope.get("extensions"):
                extensions = {**theirs, **extensions}
                if (tls := theirs.get("tls")) and any(map(tls.get, _TELLING)):
                    extensions["tls"] = tls
            if self._objection is not None and (reason := self._objection()) is not None:
                extensions["tls"] = {**extensions["tls"], "client_cert_error": reason.value}
            scope["extensions"] = extensions
        return self._app(scope, *rest)


def tls_extension(chain: tuple[bytes, ...], *, version: str | None, cipher: str | None) -> dict[str, Any]:
    """Return the extension for a chain in DER, leaf first, and OpenSSL's names of the version and the cipher."""
    return {
        "server_cert": None,
        "client_cert_chain": tuple(map(ssl.DER_cert_to_PEM_cert, chain)),
        "client_cert_name": _subject(chain[0]) if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(version or ""),
        "cipher_suite": _cipher_suites().get(cipher or ""),
    }


def _peer(sock: socket.socket | None) -> str | None:
    peer = None if sock is None else Peer.of(sock)
    return None if peer is None else str(peer)


def _subject(leaf: bytes) -> str | None:
    try:
        return x509.load_der_x509_certificate(leaf).subject.rfc4514_string()
    except PARSER_ERRORS:  # the source's own decoder says what is wrong with it
        return None


@cache
def _cipher_suites() -> Mapping[str, int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {found["name"]: found["id"] & 0xFFFF for found in context.get_ciphers()}
