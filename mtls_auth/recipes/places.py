"""What differs between two deployments of the same recipe, checked before it becomes part of a configuration."""

import re
from dataclasses import dataclass, fields

from mtls_auth.errors import ConfigurationError
from mtls_auth.peers import TrustedProxies

SECRET_TO_PASTE = "<paste the output of: openssl rand -base64 32>"  # noqa: S105

# No blank, quote, backslash, bracket of a template language or comment sign in any of the proxies' languages.
_PATH = re.compile(r"/[\w/.+=@~-]*")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)"
_RULES = {
    "listen": (re.compile(rf"(?:{_HOST}:)?[0-9]{{1,5}}"), "a port, or address:port"),
    "upstream": (re.compile(rf"{_HOST}:[0-9]{{1,5}}"), "address:port"),
    "server_name": (_NAME, "a host name"),
    "proxy_address": (re.compile(rf"[0-9A-Fa-f.:/]+|unix:{_PATH.pattern}"), "an address, a network or unix:/path"),
    "secret": (re.compile(r"[A-Za-z0-9+/=_-]{16,}"), "what openssl rand -base64 32 prints"),
}
# What may be there instead.
_FREE = {"secret": SECRET_TO_PASTE, "folder": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Addresses, names, files and the secret of one deployment; the defaults are examples.

    Says nothing about whether the files exist. Raises `ConfigurationError` for every value that could mean more
    than itself in a proxy's configuration.
    """

    listen: str = "443"
    """Where the terminator listens: a port, or an address and a port as in `127.0.0.1:8443` and `[::1]:8443`."""
    server_name: str = "app.example.com"
    server_certificate: str = "/etc/ssl/app/server.pem"
    server_key: str = "/etc/ssl/app/server.key"
    server_both: str = "/etc/ssl/app/server-both.pem"
    """Certificate and key in one file, for HAProxy: `cat server.pem server.key > server-both.pem`."""
    client_ca: str = "/etc/ssl/app/client-ca.pem"
    upstream: str = "127.0.0.1:8000"
    """Where the Python server listens."""
    proxy_address: str = "127.0.0.1"
    """The address or network from which the terminator connects: what the application trusts."""
    secret: str = SECRET_TO_PASTE
    """What the terminator sends in `X-Proxy-Secret`."""
    socket: str = "/run/app/app.sock"
    """The Unix socket of an application server that speaks the uwsgi protocol."""
    script: str = "/srv/app/wsgi.py"
    """The Python file with `application`, for servers that load it themselves."""
    virtualenv: str = "/srv/app/venv"
    """Where this package is installed, for the same servers."""
    folder: str | None = None
    """Where the recipe's files lie, for those that name each other; None for the terminator's own folder."""

    def __post_init__(self) -> None:
        problems = list(filter(None, (_problem_of(item.name, getattr(self, item.name)) for item in fields(self))))
        if problems:
            raise ConfigurationError(*problems)

    @property
    def listen_port(self) -> str:
        """The port of `listen`."""
        return self.listen.rpartition(":")[2]

    @property
    def upstream_port(self) -> str:
        """The port of `upstream`."""
        return self.upstream.rpartition(":")[2]

    def values(self, folder: str) -> dict[str, str]:
        """Return what the placeholders of templates stand for; *folder* where `folder` says nothing else."""
        # In brackets if it is of IPv6; a port alone is every address, in each language's own way.
        host = self.listen.rpartition(":")[0]
        texts = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            **texts,
            "folder": self.folder or folder,
            "listen_bind": f"{host}:{self.listen_port}",
            "listen_vhost": f"{host or '*'}:{self.listen_port}",
            "listen_literal": host or "0.0.0.0",  # noqa: S104
            "listen_host": host.strip("[]") or "0.0.0.0",  # noqa: S104
            "listen_port": self.listen_port,
            "upstream_host": self.upstream.rpartition(":")[0].strip("[]"),
            "upstream_port": self.upstream_port,
        }


def _problem_of(name: str, value: str | None) -> str | None:
    if name in _FREE and value == _FREE[name]:
        return None
    pattern, advice = _RULES.get(name, (_PATH, "an absolute path of letters, digits and /.+=@~_-"))
    if not pattern.fullmatch(str(value)):
        return f"{name} {value!r}: write {advice}"
    return _proxy_problem(str(value)) if name == "proxy_address" else None


def _proxy_problem(value: str) -> str | None:
    try:
        TrustedProxies.parse([value])
    except ConfigurationError as error:
        return f"proxy_address: {error}"
    return None
