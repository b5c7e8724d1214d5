"""An HTTPS client of few lines, for what curl does not show: kept and resumed connections, forged bytes."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.integration.servers import LOCALHOST

TIMEOUT = 20


class HandshakeRefused(Exception):
    """The server ended the connection instead of answering."""


class Reply(NamedTuple):
    """One answer."""

    status: int
    body: str

    @property
    def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def tls_context(
    ca: Path, files: tuple[Path, Path] | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return a context that trusts *ca*, presents the certificate and key in *files*, and speaks *version* alone."""
    context = ssl.create_default_context(cafile=ca)
    if files is not None:
        context.load_cert_chain(*files)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def raw_connection(address: int | Path, *, source: str | None = None) -> socket.socket:
    """Connect to a port of 127.0.0.1, from the address *source*, or to a Unix socket."""
    if isinstance(address, Path):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(str(address))
        return connection
    return socket.create_connection((LOCALHOST, address), TIMEOUT, (source, 0) if source else None)


def tls_connection(
    address: int | Path, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Connect over TLS, resuming *session*; raise HandshakeRefused where the server refuses that early."""
    raw = raw_connection(address)
    try:
        return context.wrap_socket(raw, server_hostname="localhost", session=session)
    except OSError as error:
        raw.close()
        raise HandshakeRefused(str(error)) from error


class Client:
    """One connection, over TLS with a *context*; asks as often as the server keeps it open."""

    def __init__(
        self, address: int | Path, context: ssl.SSLContext | None = None, *, session: ssl.SSLSession | None = None
    ) -> None:
        """Connect, resuming *session*; raise HandshakeRefused where a server says so at once, as TLS 1.2 does."""
        self.session: ssl.SSLSession | None = None
        self._http = http.client.HTTPConnection("localhost")
        self._http.sock = tls_connection(address, context, session) if context else raw_connection(address)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._http.close()

    @property
    def is_open(self) -> bool:
        """Whether the server said that it keeps the connection."""
        return self._http.sock is not None

    @property
    def tls(self) -> ssl.SSLSocket:
        """The TLS socket."""
        assert isinstance(self._http.sock, ssl.SSLSocket)
        return self._http.sock

    def get(self, path: str = "/whoami", headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for *path*; raise HandshakeRefused for no answer: TLS 1.3 refuses at the first read."""
        try:
            self._http.request("GET", path, headers={"Accept": "application/json", **(headers or {})})
            connection = self._http.sock
            response = self._http.getresponse()
            # After the first read, which brings the ticket of TLS 1.3, and before the last, which may close it.
            self.session = connection.session if isinstance(connection, ssl.SSLSocket) else None
            return Reply(response.status, response.read().decode())
        except (OSError, http.client.HTTPException) as error:
            raise HandshakeRefused(repr(error)) from error


def exchange(connection: socket.socket, request: bytes) -> Reply:
    """Send these very bytes, which ask to close the connection, and return the answer; status 0 for none."""
    try:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="GET")
        response.begin()
        return Reply(response.status, response.read().decode())
    except (ConnectionError, http.client.HTTPException):
        return Reply(0, "")
