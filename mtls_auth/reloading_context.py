"""An `ssl.SSLContext` whose files may change: each connection gets a context of the newest ones."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never, TypeAlias, TypeVar

from mtls_auth.errors import Reason
from mtls_auth.reloading import Reloading
from mtls_auth.trust import Trust

T = TypeVar("T", ssl.SSLSocket, ssl.SSLObject)
Objection: TypeAlias = Callable[[bytes], Reason | None]

_OBJECTION = "mtls_auth_objection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one generation of files makes."""

    context: ssl.SSLContext
    trust: Trust


class ReloadingContext(ssl.SSLContext):
    """Delegates every connection to the newest context. Nothing can be set on it: `ServerTLS` has the parameters.

    A new context knows no old session: who resumes after the files changed makes a full handshake.
    """

    _reloading: Reloading[Loaded]

    def __new__(cls, reloading: Reloading[Loaded]) -> "ReloadingContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, reloading: Reloading[Loaded]) -> None:
        self._reloading = reloading

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Wrap an accepted socket, or a listening one, whose `accept()` then comes here and makes no handshake."""
        if _is_connected(sock):
            loaded = self._reloading.current()
            return self._bound(loaded, loaded.context.wrap_socket(sock, *args, **kwargs))
        return super().wrap_socket(sock, *args, **{**kwargs, "do_handshake_on_connect": False})

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        loaded = self._reloading.current()
        return self._bound(loaded, loaded.context.wrap_bio(*args, **kwargs))

    @property  # read by servers, and never to be written
    def verify_mode(self) -> ssl.VerifyMode:  # type: ignore[override]
        return self._reloading.current().context.verify_mode

    def _fixed(self, *args: object, **kwargs: object) -> Never:
        raise TypeError("this context comes from a ServerTLS: set it there")

    load_cert_chain = load_verify_locations = load_default_certs = _fixed
    set_ciphers = set_alpn_protocols = _fixed

    def _bound(self, loaded: Loaded, tls: T) -> T:
        """Bind one connection to what may be said against it later: its client was accepted under *loaded*."""

        def objection(leaf: bytes) -> Reason | None:
            return self._reloading.current().trust.objection_to(leaf, accepted_under=loaded.trust)

        setattr(tls, _OBJECTION, objection)
        return tls


def objection_of(tls: Any) -> Objection | None:
    """Return what to ask, before each request, of a connection that may be older than the files; None if nothing."""
    found: Objection | None = getattr(tls, _OBJECTION, None)
    return found


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
