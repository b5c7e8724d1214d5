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

HANDSHAKE_TIMEOUT = 10.0  # seconds

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
        if _is_listening(sock):
            return super().wrap_socket(sock, *args, **{**kwargs, "do_handshake_on_connect": False})
        loaded = self._reloading.current()
        patience = sock.gettimeout()
        if patience is None:  # a client that says nothing must not hold up a thread for ever
            sock.settimeout(HANDSHAKE_TIMEOUT)
        tls = loaded.context.wrap_socket(sock, *args, **kwargs)
        tls.settimeout(patience)
        return self._bound(loaded, tls)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        loaded = self._reloading.current()
        return self._bound(loaded, loaded.context.wrap_bio(*args, **kwargs))

    @property  # read by servers, and never to be written
    def verify_mode(self) -> ssl.VerifyMode:  # type: ignore[override]
        return self._reloading.current().context.verify_mode

    def _fixed(self, *args: object, **kwargs: object) -> Never:
        raise TypeError("this context comes from a ServerTLS: set it there")

    def __setattr__(self, name: str, value: object) -> None:
        if any(name in vars(kind) for kind in type(self).__mro__):
            raise AttributeError(f"{name} of this context comes from a ServerTLS: set it there")
        super().__setattr__(name, value)

    load_cert_chain = load_verify_locations = load_default_certs = _fixed
    set_ciphers = set_alpn_protocols = _fixed

    def _bound(self, loaded: Loaded, tls: T) -> T:
        """Bind one connection to what may be said against it later: its client was accepted under *loaded*."""

        known: tuple[Trust, bytes | None, Reason | None] = (loaded.trust, None, None)

        def objection(leaf: bytes) -> Reason | None:
            nonlocal known  # replaced as a whole: HTTP/2 has several threads on a connection
            newest, found = self._reloading.current().trust, known
            if newest is loaded.trust:
                return None
            if newest is not found[0] or leaf is not found[1]:
                known = found = (newest, leaf, newest.objection_to(leaf, accepted_under=loaded.trust))
            return found[2]

        setattr(tls, _OBJECTION, objection)
        return tls


def objection_of(tls: Any) -> Objection | None:
    """Return what to ask, before each request, of a connection that may be older than the files; None if nothing."""
    found: Objection | None = getattr(tls, _OBJECTION, None)
    return found


def _is_listening(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
