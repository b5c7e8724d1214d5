"""What the server itself knows of a connection: the true transport peer, and the certificate on its socket.

| server | environ or scope | what it is |
|---|---|---|
| gunicorn sync, gthread | `environ["gunicorn.socket"]` | `ssl.SSLSocket` (plain socket without TLS) |
| werkzeug | `environ["werkzeug.socket"]` | the same |
| ASGI servers through `mtls_auth.servers` | `scope["extensions"]["tls"]` | ASGI TLS extension 0.2, PEM chain |
| ASGI servers with an extension of their own | `scope["extensions"]["tls"]["client_cert"]` | DER leaf |
| ASGI servers through `mtls_auth.servers` | `scope["extensions"]["mtls_auth.peer"]` | transport peer as text |

`REMOTE_ADDR` and `scope["client"]` are not the peer: servers rewrite them from `X-Forwarded-For`. They are
kept apart as `stated_address` and believed only where the operator says that nothing rewrites them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mtls_auth.peers import Peer

PEER_EXTENSION = "mtls_auth.peer"


class ServerFacts(Protocol):
    """What one server says about one connection. Absence of a fact is None or empty, never a guess."""

    def peer(self) -> str | None:
        """Return who is at the other end of the transport; None where this server hides it."""

    def stated_address(self) -> str | None:
        """Return `REMOTE_ADDR` or `scope["client"]`, which something may have rewritten."""

    def client_chain(self) -> tuple[str | bytes, ...]:
        """Return the client's certificates that the TLS layer verified, PEM or DER, leaf first; () without one."""

    def variable(self, path: tuple[str, ...]) -> object:
        """Return what the server has under these nested keys of its environ or scope; None without it."""


class EnvironFacts:
    """Facts from a WSGI environ."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def peer(self) -> str | None:
        socket = self._socket()
        return None if socket is None else Peer.of(socket)

    def stated_address(self) -> str | None:
        return self._environ.get("REMOTE_ADDR")

    def client_chain(self) -> tuple[str | bytes, ...]:
        getpeercert = getattr(self._socket(), "getpeercert", None)
        if getpeercert is None:
            return ()
        try:
            der: bytes | None = getpeercert(True)
        except (OSError, ValueError):  # closed meanwhile, or the handshake is not done
            return ()
        return (der,) if der else ()

    def variable(self, path: tuple[str, ...]) -> object:
        return _nested(self._environ, path)

    def _socket(self) -> Any:
        socket = self._environ.get("gunicorn.socket")
        return self._environ.get("werkzeug.socket") if socket is None else socket


class ScopeFacts:
    """Facts from an ASGI HTTP or WebSocket scope."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope

    def peer(self) -> str | None:
        extensions = self._scope.get("extensions")
        return (extensions.get(PEER_EXTENSION) or None) if extensions else None

    def stated_address(self) -> str | None:
        client = self._scope.get("client")
        return client[0] if client else None

    def client_chain(self) -> tuple[str | bytes, ...]:
        tls = self._extensions().get("tls")
        if not tls or self._scope.get("scheme") not in {"https", "wss"}:
            return ()
        leaf: str | bytes | None = tls.get("client_cert")
        chain: Iterable[str | bytes] = tls.get("client_cert_chain") or ()
        return (leaf,) if leaf else tuple(chain)

    def variable(self, path: tuple[str, ...]) -> object:
        return _nested(self._scope, path)

    def _extensions(self) -> Mapping[str, Any]:
        return self._scope.get("extensions") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFacts:
    """Facts given by hand: to the command line's `explain`, and to tests."""

    transport_peer: Peer | None = None
    address: str | None = None
    chain: tuple[str | bytes, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict)

    def peer(self) -> str | None:
        return self.transport_peer

    def stated_address(self) -> str | None:
        return self.address

    def client_chain(self) -> tuple[str | bytes, ...]:
        return self.chain

    def variable(self, path: tuple[str, ...]) -> object:
        return _nested(self.variables, path)


def _nested(mapping: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: object = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
