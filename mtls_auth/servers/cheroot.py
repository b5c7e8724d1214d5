"""cheroot with mutual TLS: `python -m mtls_auth.servers.cheroot mysite.wsgi:application …`, or `Server` from code."""

import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cheroot import errors, wsgi
from cheroot.server import HTTPConnection
from cheroot.ssl.builtin import BuiltinSSLAdapter

from mtls_auth.errors import CertificateRejected
from mtls_auth.server_context import ServerTLS
from mtls_auth.server_tls import SOCKET_KEY, EnvironFacts
from mtls_auth.servers.command_line import Served, main

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS = 10
HANDSHAKE_TIMEOUT = 3  # seconds, in which one of these threads is taken


class Adapter(BuiltinSSLAdapter):
    """cheroot's adapter on the context of a `ServerTLS`. The `SSL_SERVER_…` variables stay those of the start."""

    def __init__(self, tls: ServerTLS) -> None:
        # The parent makes a context of its own, and verifies nobody.
        super().__init__(tls.certificate, tls.key, private_key_password=tls.key_password)
        self.context = tls.context()

    def wrap(self, sock: Any) -> tuple[ssl.SSLSocket, dict[str, str]]:
        """Wrap without a handshake, which would hold up all other clients here: `Connection` makes it."""
        try:
            return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}
        except OSError as error:
            raise errors.FatalSSLAlert(*error.args) from error


class Connection(HTTPConnection):
    """A connection whose handshake is the first thing that a thread does for it, within three seconds."""

    def communicate(self) -> bool:
        if not self.ssl_env:
            patience = self.socket.gettimeout()
            self.socket.settimeout(HANDSHAKE_TIMEOUT)
            try:
                self.socket.do_handshake()
            except OSError:  # the context has logged it
                return False
            self.socket.settimeout(patience)
            self.ssl_env = self.server.ssl_adapter.get_environ(self.socket)
        return bool(super().communicate())  # type: ignore[no-untyped-call]


class Gateway(wsgi.Gateway_10):
    """An environ with the TLS socket in `mtls_auth.socket`, and without headers whose names have underscores.

    In an environ, `Ssl_Client_Cert` would be `Ssl-Client-Cert`, and replace it.
    """

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # of a stub that lost its return
        for name in [name for name in self.req.inheaders if b"_" in name]:
            del self.req.inheaders[name]
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[SOCKET_KEY] = self.req.conn.socket
        try:
            EnvironFacts(environ).client_chain()
        except CertificateRejected as rejected:  # the files have changed since the handshake
            environ["SSL_CLIENT_VERIFY"] = f"FAILED:{rejected.reason}"
        return environ


class Server(wsgi.Server):
    """`cheroot.wsgi.Server` with mutual TLS; the other parameters are cheroot's."""

    ConnectionClass = Connection

    def __init__(self, bind_addr: tuple[str, int], wsgi_app: "WSGIApplication", tls: ServerTLS, **options: Any) -> None:
        super().__init__(bind_addr, wsgi_app, **options)
        self.gateway = Gateway
        self.ssl_adapter = Adapter(tls)

    def process_conn(self, conn: HTTPConnection) -> None:
        """Give a connection to a thread, a new one when something has arrived: silence must not take all threads."""
        if conn.last_used is None:
            self.put_conn(conn)
        else:
            super().process_conn(conn)


def _listen(served: Served) -> Callable[[], None]:
    server = Server((served.host, served.port), served.application, served.tls, numthreads=served.threads)
    server.prepare()
    return partial(_serve, server)


def _serve(server: Server) -> None:
    try:
        server.serve()
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main(_listen, server="cheroot", threads=THREADS))
