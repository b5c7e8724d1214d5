"""The standard library's WSGI server with mutual TLS: `python -m mtls_auth.servers.wsgiref mysite.wsgi:application …`.

`with_tls` derives from any server of its kind, as Django's for development. A thread a connection, no limit of them:
this is no server for the Internet.
"""

import io
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, TypeVar
from wsgiref import simple_server

from mtls_auth.server_context import ServerTLS
from mtls_auth.server_tls import SOCKET_KEY
from mtls_auth.servers.command_line import Served, main

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HANDSHAKE_TIMEOUT = 10  # seconds
IDLE_TIMEOUT = 60

S = TypeVar("S", bound=simple_server.WSGIServer)


def with_tls(server_class: type[S], tls: ServerTLS) -> type[S]:
    """Derive a server that speaks TLS, and whose handlers put the socket into `environ["mtls_auth.socket"]`.

    The handshake is made by `finish_request`, which is the thread's work in a server with threads; in one without,
    a client that says nothing holds up the others for ten seconds.
    """
    context = tls.context()
    base: Any = server_class

    class Server(base):
        def __init__(self, server_address: Any, handler_class: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(server_address, with_socket(handler_class), *args, **kwargs)

        def get_request(self) -> tuple[ssl.SSLSocket, Any]:
            accepted, address = super().get_request()
            return context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address

        def finish_request(self, request: ssl.SSLSocket, client_address: Any) -> None:
            request.settimeout(HANDSHAKE_TIMEOUT)
            try:
                request.do_handshake()
            except OSError:  # the context has logged it
                return
            request.settimeout(None)
            super().finish_request(request, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            # The application's own errors do not get here; a client that went away is none.
            if not isinstance(sys.exc_info()[1], OSError):
                super().handle_error(request, client_address)

    return Server


def with_socket(handler_class: type[Any]) -> type[Any]:
    """Derive a handler whose environ has the TLS socket, `https` as the scheme, and no header named with underscores.

    In an environ, `Ssl_Client_Cert` would be `Ssl-Client-Cert`.
    """

    class Handler(handler_class):
        def setup(self) -> None:
            super().setup()
            self.wfile = _Output(self.request)

        def get_environ(self) -> dict[str, Any]:
            for name in [name for name in self.headers if "_" in name]:
                del self.headers[name]
            # wsgi.url_scheme is derived from HTTPS.
            return {**super().get_environ(), SOCKET_KEY: self.request, "HTTPS": "on"}

        def handle_one_request(self) -> None:
            super().handle_one_request()
            if self.close_connection:
                _say_goodbye(self.request)

    return Handler


class _Output(io.BufferedIOBase):
    """Writes to the client; one that is gone is a broken pipe, as without TLS, which wsgiref takes for nothing odd."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection

    def write(self, data: Any) -> int:
        try:
            self._connection.sendall(data)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise BrokenPipeError(*error.args) from error
        return len(data)


def _say_goodbye(connection: ssl.SSLSocket) -> None:
    # Without this alert a body that ends with the connection may have been cut off (RFC 8446 §6.1), and curl says so.
    connection.settimeout(0)  # the client's own is not waited for
    with suppress(OSError, ValueError):
        connection.unwrap()


class RequestBody(io.RawIOBase):
    """As many bytes of a connection as the request says that it has: reading ends where the next request begins."""

    def __init__(self, stream: io.BufferedReader, length: int) -> None:
        self._stream = stream
        self._remaining = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto1(memoryview(buffer)[: self._remaining])
        self._remaining -= count
        return count


class Exchange(simple_server.ServerHandler):
    """One request and its response. `keeps_connection` afterwards where it is certain that both have ended."""

    http_version = "1.1"
    os_environ: dict[str, str] = {}  # noqa: RUF012  # the process's environment is not the request's
    request_handler: "RequestHandler"
    headers: Any
    environ: Any
    bytes_sent: int
    keeps_connection = False

    def cleanup_headers(self) -> None:
        super().cleanup_headers()
        # wsgiref sends a body to HEAD if the application has one.
        if "Content-Length" not in self.headers or self.environ["REQUEST_METHOD"] == "HEAD":
            self.request_handler.close_connection = True
        if self.request_handler.close_connection:
            self.headers["Connection"] = "close"

    def close(self) -> None:
        has_ended = self.headers is not None and self.headers.get("Content-Length") == str(self.bytes_sent)
        if has_ended and not self.request_handler.close_connection:
            while self.get_stdin().read(io.DEFAULT_BUFFER_SIZE):
                pass
            self.keeps_connection = True
        super().close()


class RequestHandler(simple_server.WSGIRequestHandler):
    """Requests of one connection, one after the other, until one of both ends wants no more or nothing comes."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT
    rfile: io.BufferedReader
    headers: Any

    def handle(self) -> None:
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
        elif len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)  # which closes the connection, as all of these do
        elif self.parse_request():
            self._answer()

    def _answer(self) -> None:
        # Two readings of where a request ends are two requests for one of them (RFC 9112 §11.2). The parser takes
        # what follows a line that is no header for a body.
        lengths = self.headers.get_all("Content-Length", ["0"])
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
        elif self.headers.get_payload() or len(lengths) > 1 or not _is_number(lengths[0]):
            self.send_error(400)
        else:
            body: Any = io.BufferedReader(RequestBody(self.rfile, int(lengths[0])))
            output: Any = self.wfile
            exchange = Exchange(body, output, self.get_stderr(), self.get_environ(), multithread=True)
            exchange.request_handler = self
            server: Any = self.server
            exchange.run(server.get_app())
            self.close_connection = not exchange.keeps_connection


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


class ThreadingWSGIServer(ThreadingMixIn, simple_server.WSGIServer):
    """wsgiref's server with a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def make_server(host: str, port: int, app: "WSGIApplication", tls: ServerTLS) -> ThreadingWSGIServer:
    """Return a server that listens, as `wsgiref.simple_server.make_server` does. Raises OSError where it cannot."""
    server_class = with_tls(ThreadingWSGIServer, tls)
    if ":" in host:
        server_class.address_family = socket.AF_INET6
    server = server_class((host, port), RequestHandler)
    server.set_app(app)
    return server


def _listen(served: Served) -> Callable[[], None]:
    return make_server(served.host, served.port, served.application, served.tls).serve_forever


if __name__ == "__main__":
    sys.exit(main(_listen, server="wsgiref"))
