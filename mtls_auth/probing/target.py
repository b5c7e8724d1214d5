"""Where requests are sent: a proxy or the application itself, over TLS, in clear text or through a Unix socket."""

import socket
import ssl
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from mtls_auth.diagnostics import DEFAULT_PATH
from mtls_auth.errors import ConfigurationError, MTLSAuthError

_PORTS = {"https": 443, "http": 80}


class UnreachableError(MTLSAuthError):
    """Nobody answers there, or not as the probe needs; the text is one sentence with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address, the Host field to send there, and the path of the diagnostic endpoint."""

    url: str
    scheme: str
    address: tuple[str, int] | str
    host: str
    path: str

    @classmethod
    def parse(cls, url: str, path: str = DEFAULT_PATH) -> Self:
        """Read `https://host[:port][/path]`, `http://…` or `unix:/path`; *path* is for those without one.

        Raises `ConfigurationError`.
        """
        if url.startswith("unix:/"):
            return cls(url=url, scheme="unix", address=url.removeprefix("unix:"), host="localhost", path=path)
        advice = f"{url!r}: write https://HOST[:PORT][/PATH], http://… or unix:/run/app.sock"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"{advice} ({error})") from error
        visible = url.isascii() and url.isprintable() and " " not in url
        if not visible or parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(advice)
        if parts.username is not None:
            raise ConfigurationError(f"{parts.hostname}: leave user names out of the URL, the token is all it takes")
        return cls(
            url=url,
            scheme=parts.scheme,
            address=(parts.hostname, port or _PORTS[parts.scheme]),
            host=parts.netloc,
            path=parts.path if parts.path not in {"", "/"} else path,
        )

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    def connect(self, context: ssl.SSLContext, timeout: float) -> socket.socket:
        """Return a connection, over TLS with *context* where the scheme says so. Raises `OSError`.

        Proxies of the environment are not asked: they would rewrite what is sent.
        """
        if isinstance(self.address, str):
            return _unix_connection(self.address, timeout)
        connection = socket.create_connection(self.address, timeout)
        if not self.is_tls:
            return connection
        try:
            return context.wrap_socket(connection, server_hostname=self.address[0])
        except BaseException:
            connection.close()
            raise


def _unix_connection(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection
