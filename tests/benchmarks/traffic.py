"""Requests as servers hand them over: header texts are new objects each time, so nothing has their hash already."""

import io
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from mtls_auth.testing import CertificateAuthority

Field = Callable[[], bytes]
"""The value of a header in the next request."""

BROWSER = {
    "host": "app.example.com",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br, zstd",
    "x-forwarded-for": "198.51.100.7",
    "x-forwarded-proto": "https",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
}


def environs(fields: Mapping[str, Field], **facts: Any) -> Callable[[], dict[str, Any]]:
    """Return what builds the next WSGI environ: a browser's request behind a proxy, *fields* and server *facts*."""
    template: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "RAW_URI": "/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "benchmark",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{_key(name): value for name, value in BROWSER.items()},
        **facts,
    }
    pairs = [(_key(name), field) for name, field in fields.items()]

    def build() -> dict[str, Any]:
        environ = template.copy()
        for key, field in pairs:
            environ[key] = field().decode("latin-1")
        return environ

    return build


def scopes(fields: Mapping[str, Field], **facts: Any) -> Callable[[], dict[str, Any]]:
    """Return what builds the next ASGI scope, likewise."""
    template: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "https",
        "root_path": "",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        **facts,
    }
    browser = [(bytearray(name.encode()), value.encode()) for name, value in BROWSER.items()]
    pairs = [(bytearray(name.encode()), field) for name, field in fields.items()]

    def build() -> dict[str, Any]:
        headers = [(bytes(name), value) for name, value in browser]
        headers += [(bytes(name), field()) for name, field in pairs]
        return {**template, "headers": headers, "state": {}}

    return build


@contextmanager
def tcp_socket() -> Iterator[socket.socket]:
    """Yield the server's end of a TCP connection: what gunicorn puts into the environ."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        end, _address = listener.accept()
        with end:
            yield end


@contextmanager
def tls_socket() -> Iterator[ssl.SSLSocket]:
    """Yield the server's end of a TLS connection whose client presented a certificate."""
    ca = CertificateAuthority()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*ca.issue_server("localhost").write(directory, "server"))
        server.load_verify_locations(cadata=ca.pem.decode())
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.create_default_context(cadata=ca.pem.decode())
        client.load_cert_chain(*ca.issue("alice").write(directory, "client"))
        near, far = map(stack.enter_context, socket.socketpair())
        ends: list[ssl.SSLSocket] = []
        handshake = Thread(target=lambda: ends.append(client.wrap_socket(far, server_hostname="localhost")))
        handshake.start()
        end = stack.enter_context(server.wrap_socket(near, server_side=True))
        handshake.join()
        stack.enter_context(ends[0])
        yield end


def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
