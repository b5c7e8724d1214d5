"""An `ssl.SSLContext` whose files may change: each connection gets a context of the newest ones."""

import socket
import ssl
from typing import Any, Never, TypeVar

from mtls_auth.generations import Generation, Generations, Objection

T = TypeVar("T", ssl.SSLSocket, ssl.SSLObject)

HANDSHAKE_TIMEOUT = 10.0  # seconds

_OBJECTION = "mtls_auth_objection"


class ReloadingContext(ssl.SSLContext):
    """Delegates every connection to the newest context. Nothing can be set on it: `ServerTLS` has the parameters.

    A new context knows no old session: who resumes after the files changed makes a full handshake.
    """

    _generations: Generations[ssl.SSLContext]

    def __new__(cls, generations: Generations[ssl.SSLContext]) -> "ReloadingContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, generations: Generations[ssl.SSLContext]) -> None:
        self._generations = generations

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Wrap an accepted socket, or a listening one, whose `accept()` then comes here and makes no handshake."""
        if _is_listening(sock):
            return super().wrap_socket(sock, *args, **{**kwargs, "do_handshake_on_connect": False})
        accepted = self._generations.current()
        patience = sock.gettimeout()
        if patience is None:  # a client that says nothing must not hold up a thread for ever
            sock.settimeout(HANDSHAKE_TIMEOUT)
        tls = accepted.context.wrap_socket(sock, *args, **kwargs)
        tls.settimeout(patience)
        return self._bound(accepted, tls)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        accepted = self._generations.current()
        return self._bound(accepted, accepted.context.wrap_bio(*args, **kwargs))

    @property  # read by servers, and never to be written
    def verify_mode(self) -> ssl.VerifyMode:  # type: ignore[override]
        return self._generations.current().context.verify_mode

    def _fixed(self, *args: object, **kwargs: object) -> Never:
        raise TypeError("this context comes from a ServerTLS: set it there")

    def __setattr__(self, name: str, value: object) -> None:
        if any(name in vars(kind) for kind in type(self).__mro__):
            raise AttributeError(f"{name} of this context comes from a ServerTLS: set it there")
        super().__setattr__(name, value)

    load_cert_chain = load_verify_locations = load_default_certs = _fixed
    set_ciphers = set_alpn_protocols = _fixed

    def _bound(self, accepted: Generation[ssl.SSLContext], tls: T) -> T:
        setattr(tls, _OBJECTION, self._generations.objection_under(accepted))
        return tls


def objection_of(tls: Any) -> Objection | None:
    """Return what to ask, before each request, of a connection that may be older than the files; None if nothing."""
    found: Objection | None = getattr(tls, _OBJECTION, None)
    return found


def _is_listening(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
