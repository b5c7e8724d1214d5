"""Trust by a shared secret that the proxy writes into a header, in the same place as the certificate headers.

It proves that the request came through that very place of the proxy's configuration: a location that lost its
inherited headers loses the secret with them. It does not prove who is at the other end of the connection, so keep
it out of logs, and away from hops that others can read.
"""

import re
from hmac import compare_digest

from mtls_auth.connection import Connection
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.header_names import HEADER_NAME, RESERVED

DEFAULT_HEADER = "x-proxy-secret"
MIN_CHARACTERS = 16
# What every proxy's configuration and every server carries as it is; no comma, which joins repeated fields.
_VALUE = re.compile(r"[A-Za-z0-9._~+/=-]+")


class ProxySecret:
    """The header and the one or two values that are right: two while the secret is being changed.

    Compared in constant time. Raises `ConfigurationError` for short values and for characters that some proxy or
    server changes on the way.
    """

    __slots__ = ("_values", "header")

    def __init__(self, *values: str, header: str = DEFAULT_HEADER) -> None:
        self.header = header.lower()
        problems = [problem for value in values for problem in _problems(value)]
        if not 1 <= len(values) <= 2:
            problems.append("give one proxy secret, or two while it is being changed")
        if not HEADER_NAME.fullmatch(self.header) or self.header in RESERVED:
            problems.append(f"proxy secret, header name {header!r}: use your own, of letters, digits and hyphens")
        if problems:
            raise ConfigurationError(*problems)
        self._values = tuple(value.encode() for value in values)

    def check(self, connection: Connection) -> None:
        """Raise `proxy_unproven` unless the header came once, with a right value."""
        try:
            value = connection.one(self.header)
        except CertificateRejected as rejected:
            raise CertificateRejected(Reason.PROXY_UNPROVEN, rejected.detail) from rejected
        if value is None:
            raise CertificateRejected(Reason.PROXY_UNPROVEN, f"certificate headers came without {self.header}")
        given = value.encode("latin-1", "replace")
        # Both are compared, whichever is right: time tells nothing.
        if not sum([compare_digest(given, right) for right in self._values]):
            raise CertificateRejected(Reason.PROXY_UNPROVEN, f"{self.header} has another value")

    def differs_from(self, other: "ProxySecret") -> bool:
        """Whether no value is right for both."""
        return set(self._values).isdisjoint(other._values)

    def is_right(self, connection: Connection) -> bool:
        """Whether `check` would pass."""
        try:
            self.check(connection)
        except CertificateRejected:
            return False
        return True

    def __repr__(self) -> str:
        return f"ProxySecret(<{len(self._values)} values>, header={self.header!r})"


def _problems(value: object) -> list[str]:
    if not isinstance(value, str):
        return ["a proxy secret is text"]
    if len(value) < MIN_CHARACTERS or len(set(value)) < MIN_CHARACTERS // 2:
        return [f"a proxy secret has fewer than {MIN_CHARACTERS} random characters: take openssl rand -base64 32"]
    if not _VALUE.fullmatch(value):
        return ["a proxy secret has characters other than letters, digits and ._~+/=-: take openssl rand -base64 32"]
    return []
