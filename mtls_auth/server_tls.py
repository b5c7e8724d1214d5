"""What the server itself knows of a connection: the true transport peer, and the certificate on its socket.

| server | environ or scope | what it is |
|---|---|---|
| gunicorn sync, gthread, gevent | `environ["gunicorn.socket"]` | `ssl.SSLSocket` (plain socket without TLS) |
| gunicorn gevent_pywsgi | `environ["gunicorn.sock"]` | the same |
| werkzeug | `environ["werkzeug.socket"]` | the same |
| WSGI servers through `mtls_auth.servers` | `environ["mtls_auth.socket"]` | the same |
| ASGI servers through `mtls_auth.servers` | `scope["extensions"]["tls"]` | ASGI TLS extension 0.2, PEM chain |
| ASGI servers with their own extension | `scope["extensions"]["tls"]` | the same, or `client_cert`, the DER leaf |
| ASGI servers through `mtls_auth.servers` | `scope["extensions"]["mtls_auth.peer"]` | transport peer as text |

A scheme other than https is no TLS, whatever else is there: without TLS there is no certificate.

`REMOTE_ADDR` and `scope["client"]` are not the peer: servers rewrite them from `X-Forwarded-For`. They are
kept apart as `stated_address` and believed only where the operator says that nothing rewrites them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mtls_auth.errors import CertificateRejected, Reason
from mtls_auth.peers import Peer
from mtls_auth.reloading_context import objection_of

PEER_EXTENSION = "mtls_auth.peer"
SOCKET_KEY = "mtls_auth.socket"
_REASONS = frozenset(Reason)
_CHAIN = "mtls_auth_chain"
_SOCKET_KEYS = ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket", SOCKET_KEY)


class ServerFacts(Protocol):
    """What one server says about one connection. Absence of a fact is None or empty, never a guess."""

    def peer(self) -> str | None:
        """Return who is at the other end of the transport; None where this server hides it."""

    def stated_address(self) -> str | None:
        """Return `REMOTE_ADDR` or `scope["client"]`, which something may have rewritten."""

    def client_chain(self) -> tuple[str | bytes, ...]:
        """Return the client's certificates that the TLS layer verified, PEM or DER, leaf first; () without one.

        Raises `CertificateRejected` where the TLS layer has, or has by now, an objection to the certificate.
        """

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
        tls = self._socket()
        if not hasattr(tls, "getpeercert") or self._environ.get("wsgi.url_scheme") != "https":
            return ()
        try:
            chain = verified_chain(tls)
        except (OSError, ValueError, AttributeError):  # closed meanwhile, or the handshake is not done
            return ()
        if chain and (objection := objection_of(tls)) is not None and (reason := objection(chain[0])) is not None:
            raise _objected(reason)
        return chain

    def variable(self, path: tuple[str, ...]) -> object:
        return _nested(self._environ, path)

    def _socket(self) -> Any:
        for key in _SOCKET_KEYS:
            found = self._environ.get(key)
            if found is not None:
                return found
        return None


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
        if error := tls.get("client_cert_error"):
            raise _objected(error)
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


def verified_chain(tls: Any) -> tuple[bytes, ...]:
    """Return the chain that a socket's TLS verified, in DER, where Python has it (3.13), else the leaf; () without.

    The leaf never comes from the chain: that is empty on a resumed session. Nor from memory: a connection may get a
    certificate later, or another.
    """
    leaf: bytes | None = tls.getpeercert(True)
    if not leaf:
        return ()
    known: tuple[bytes, ...] | None = getattr(tls, _CHAIN, None)
    if known is None or known[0] != leaf:
        chain = tuple(tls.get_verified_chain()) if hasattr(tls, "get_verified_chain") else ()
        known = chain if chain and chain[0] == leaf else (leaf,)
        setattr(tls, _CHAIN, known)  # asking for it again costs more than all the rest of a request
    return known


def _objected(error: str) -> CertificateRejected:
    reason = Reason(error) if error in _REASONS else Reason.UNTRUSTED
    return CertificateRejected(reason, "the server's TLS layer does not accept the certificate")


def _nested(mapping: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: object = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
