"""Servers in threads of the tests' own process, for the probe to talk to: a site, and canned answers. No test."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mtls_auth import AnyVerifiedCertificate, Authenticator, Dialect, Forwarded, TrustedProxies
from mtls_auth.diagnostics import Diagnostics
from mtls_auth.wsgi import ClientCertificateMiddleware

TOKEN = "0123456789abcdef0123456789abcdef"
LOCALHOST = "127.0.0.1"


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.context is not None:
            # The handshake is the handler's: a client that stops in it must not stop the server.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


def site(dialect: Dialect, *trusted: str, diagnostics: Diagnostics | None = None) -> ClientCertificateMiddleware:
    """Return an application with the endpoint, which believes these proxies; it answers 204 itself."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        return []

    source = Forwarded(
        dialect=dialect,
        proxies=TrustedProxies.parse(trusted),
        proxy_verifies=not dialect.unverified,
        server_address_is_peer=True,
    )
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    return ClientCertificateMiddleware(application, authenticator, diagnostics=diagnostics or Diagnostics(token=TOKEN))


@contextmanager
def serving(application: Any, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve a WSGI application with wsgiref, which folds underscores, over TLS with a *context*; yield the port."""
    server = _Server((LOCALHOST, 0), _Handler)
    server.context = context
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(
    talk: Callable[[socket.socket], None], path: Path | None = None, *, listening: list[socket.socket] | None = None
) -> Iterator[int]:
    """Accept connections on a port, or on a Unix socket, and have *talk* talk to each; yield the port.

    *listening* gets the socket, for a *talk* that closes it.
    """
    listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    listener.bind((LOCALHOST, 0) if path is None else str(path))
    listener.listen()
    if listening is not None:
        listening.append(listener)

    def accept() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                talk(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1] if path is None else 0
    finally:
        with suppress(OSError):  # *talk* has closed it
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
