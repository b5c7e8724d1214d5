"""Handshakes that failed over a client's certificate: who was refused, and why, in the log.

The application is never asked about them, and asyncio's servers say nothing of them.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from mtls_auth.errors import Reason
from mtls_auth.peers import Peer

if TYPE_CHECKING:
    _TLS = ssl.SSLSocket
else:
    _TLS = object

logger = logging.getLogger("mtls_auth")

# X509_V_ERR_… of OpenSSL's x509_vfy.h; whatever is not here leads to no trusted CA in some other way.
_BY_VERIFY_CODE = {
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    23: Reason.REVOKED,
    26: Reason.WRONG_KEY_USAGE,
    66: Reason.WEAK_KEY,  # of the client
    67: Reason.WEAK_KEY,  # of a CA
    68: Reason.WEAK_KEY,  # the digest of a signature
}
_NOT_YET = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def log_refusal(peer: str | None, *, verify_code: int | None, message: str) -> None:
    """Log a handshake that failed: with OpenSSL's verify code where it was over the client's certificate."""
    reason = None if verify_code is None else _BY_VERIFY_CODE.get(verify_code, Reason.UNTRUSTED)
    if _NO_CERTIFICATE in message:
        reason, message = Reason.CERTIFICATE_REQUIRED, "the client sent no certificate"
    logger.log(
        logging.INFO if reason is None else logging.WARNING,  # scanners and plain HTTP fail in any number
        "TLS handshake with %s failed: %s (%s)",
        peer or "a client that is gone",
        "no client certificate was looked at" if reason is None else reason.value,
        message,
        extra={"reason": None if reason is None else reason.value, "peer": peer},
    )


class Logged(_TLS):
    """A server's TLS socket, or its TLS over memory, that logs its failed handshake."""

    # Of TLS over memory, as asyncio and trio have it: set by whoever accepted the connection.
    peer: str | None = None
    _is_done = False
    send_alert: Callable[[], None] | None = None

    def do_handshake(self, *args: Any) -> None:
        try:
            super().do_handshake(*args)
            self._is_done = True
        except _NOT_YET:
            raise
        except ssl.SSLError as error:
            self._log(error)
            if self.send_alert is not None:
                self.send_alert()
            raise

    def read(self, *args: Any) -> Any:
        try:
            found = super().read(*args)
        except _NOT_YET:
            raise
        except ssl.SSLError as error:
            if not self._is_done:  # a socket that made no handshake when it was accepted makes it here
                self._log(error)
            raise
        self._is_done = True
        return found

    def _log(self, error: ssl.SSLError) -> None:
        peer = Peer.of(self) if isinstance(self, socket.socket) else self.peer
        if isinstance(error, ssl.SSLCertVerificationError):
            log_refusal(peer, verify_code=error.verify_code, message=error.verify_message)
        else:
            log_refusal(peer, verify_code=None, message=error.reason or str(error))


def log_failures_of(context: ssl.SSLContext) -> None:
    """Make the handshakes of a context log why they fail."""
    # Derived from what is there: gevent puts classes of its own into its contexts.
    for name in ("sslsocket_class", "sslobject_class"):
        setattr(context, name, _logged(getattr(context, name)))


@cache
def _logged(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (Logged, kind), {})
