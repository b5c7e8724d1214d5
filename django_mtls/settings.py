"""The keys of the setting `MTLS_AUTH`: a field each, in lower case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_mtls.configured import DeniedView
from mtls_auth import Dialect, Policy, ServerVariables
from mtls_auth.cache import MAX_ENTRIES
from mtls_auth.diagnostics import DEFAULT_PATH, Diagnostics
from mtls_auth.proxy_secret import DEFAULT_HEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The keys of `MTLS_AUTH`, their types and defaults."""

    source: str | Dialect | ServerVariables | None = None
    """`"tls"` for the Python server's own TLS socket, the proxy's dialect or the server's variables: a name, a
    `Dialect` or `ServerVariables`, a dotted path."""
    sources: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Several places instead of one: dicts of `SOURCE` and the keys from `TRUSTED_PROXIES` to
    `SERVER_ADDRESS_IS_PEER`. What they say of a request must agree."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks and Unix sockets (`"unix:/run/app.sock"`) of the proxy. A dialect needs these, or one of the next two;
    whoever speaks must satisfy all that are given."""
    proxy_secret: str | tuple[str, ...] = field(default=(), repr=False)
    """What the proxy writes into a header, in the same place as the certificate's; two values while it changes."""
    proxy_secret_header: str = DEFAULT_HEADER
    """The name of that header."""
    proxy_certificate: Policy | None = None
    """Which client certificates on the server's own TLS socket are the proxy's: `Fingerprint("…")`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Other header names for the dialect: `{"leaf": "ssl-client-cert", "verdict": "ssl-client-verify"}`."""
    proxy_verifies: bool = False
    """The operator's word that the proxy forwards only what it verified; for dialects without a verdict."""
    server_address_is_peer: bool = False
    """Nothing rewrites `REMOTE_ADDR`; for servers that hide the transport peer."""
    trust_anchors: tuple[str | Path, ...] = ()
    """PEM files of CAs: then the application verifies every certificate itself."""
    mapping: str = "fingerprint"
    """`"fingerprint"`: enrolled certificates. `"common_name"`: the common name is the user name. `"stated_name"`: the
    name that a mesh's proxy states is the user name."""
    policy: Policy | None = None
    """Whom the site admits at all. Without one: every certificate that stands for a user."""
    required: bool = False
    """Refuse every request without a certificate."""
    session: str | None = None
    """None: `request.user` follows the certificate on each request. `"certificate"`, `"user"`: log into a session
    that ends when the certificate, or its user, changes or goes."""
    max_staleness: float | None = None
    """None: each request asks the database. Seconds: how old a known state may be."""
    denied_view: DeniedView | None = None
    """Dotted path of `view(request, denied)` that answers denials."""
    cache_entries: int = MAX_ENTRIES
    """How many parsed certificates each process remembers; about 5 kB each."""
    diagnostics_token: str | None = field(default=None, repr=False)
    """At least 32 random characters: turns on the endpoint that `mtls-auth probe` asks whom the site believes, for
    whoever knows them. None: there is no such endpoint."""
    diagnostics_path: str = DEFAULT_PATH
    """The path of that endpoint."""

    @property
    def diagnostics(self) -> Diagnostics | None:
        """The endpoint, None where it is off."""
        token = self.diagnostics_token
        return None if token is None else Diagnostics(token=token, path=self.diagnostics_path)
