"""The headers of a trusted proxy as a source: who may say it, and what its dialect makes of it."""

import logging
from dataclasses import dataclass, field
from functools import cache

from mtls_auth import codecs
from mtls_auth.connection import Connection
from mtls_auth.dialect import Dialect
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Assurance, Evidence
from mtls_auth.peers import TrustedProxies
from mtls_auth.proxy_certificate import ProxyCertificate
from mtls_auth.proxy_secret import ProxySecret

logger = logging.getLogger("mtls_auth")

MAX_LEAF_CHARACTERS = 16 * 1024
MAX_CHAIN_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """The headers of a trusted proxy in one dialect.

    Whoever speaks must satisfy all of `proxies` (the transport peer), `certificate` (on the server's TLS socket) and
    `secret` that are given; one is needed. `proxy_verifies` is the operator's word that this proxy forwards nothing
    that it did not verify, for a dialect without a verdict. `server_address_is_peer` says that nothing on the way
    rewrites `REMOTE_ADDR` or `scope["client"]`: for servers that hide the transport peer. Longer fields than
    `max_leaf` and `max_chain` characters are refused before anything is decoded.
    """

    dialect: Dialect
    proxies: TrustedProxies | None = None
    secret: ProxySecret | None = None
    certificate: ProxyCertificate | None = None
    proxy_verifies: bool = False
    server_address_is_peer: bool = False
    max_leaf: int = MAX_LEAF_CHARACTERS
    max_chain: int = MAX_CHAIN_CHARACTERS
    vouched: Assurance | None = field(init=False)
    headers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        dialect, secret = self.dialect, self.secret
        problems = []
        if self.proxies is None and secret is None and self.certificate is None:
            problems.append("nobody is trusted: name proxies, a secret, or the proxy's certificate")
        if dialect.unverified and self.proxy_verifies:
            problems.append(f"{dialect.name} never verifies what it forwards: give trust anchors, not proxy_verifies")
        if secret is not None and secret.header in dialect.headers:
            problems.append(f"the proxy secret and the dialect {dialect.name} would share the header {secret.header}")
        if problems:
            raise ConfigurationError(*problems)
        presence = Assurance.PROXY_PRESENCE if self.proxy_verifies else None
        verdict = Assurance.PROXY_VERDICT if dialect.has_verdict and not dialect.unverified else None
        object.__setattr__(self, "vouched", verdict or presence)
        object.__setattr__(self, "headers", frozenset(dialect.headers) | ({secret.header} if secret else set()))

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        return (self.dialect,)

    @property
    def vouches(self) -> bool:
        return self.vouched is not None

    def believes(self, connection: Connection) -> bool:
        """Whether the transport peer of the connection is a trusted proxy; False where the server hides it.

        Does not ask for the secret, which `read` does.
        """
        if self.certificate is not None and connection.server not in self.certificate:
            return False
        if self.proxies is None:
            return True
        peer = connection.server.peer()
        if peer is not None:
            return peer in self.proxies
        if self.server_address_is_peer:
            return connection.server.stated_address() in self.proxies
        _report_hidden_peer()
        return False

    def speaks(self, connection: Connection) -> bool:
        """Whether this proxy has proven by its secret that it sent the request."""
        return self.secret is not None and self.believes(connection) and self.secret.is_right(connection)

    def spoke(self, connection: Connection) -> bool:
        """Whether this proxy sent the request, as far as the headers tell."""
        if self.secret is not None:
            return self.speaks(connection)
        return not connection.fields.keys().isdisjoint(self.dialect.headers) and self.believes(connection)

    def is_apart_from(self, other: "Forwarded") -> bool:
        """Whether nobody can be both proxies: by their networks, by their certificates, or by their secrets."""
        if self.proxies is not None and other.proxies is not None and not self.proxies.overlaps(other.proxies):
            return True
        mine, theirs = self.certificate, other.certificate
        if mine is not None and theirs is not None and mine.policy != theirs.policy:
            return True
        return self.has_other_secret_than(other)

    def has_other_secret_than(self, other: "Forwarded") -> bool:
        """Whether no secret is right for both."""
        return self.secret is not None and other.secret is not None and self.secret.differs_from(other.secret)

    def read(self, connection: Connection) -> Evidence | None:
        if not connection.fields and not connection.aliases:
            return None
        if not self.believes(connection):
            return None
        dialect = self.dialect
        if connection.aliases and not connection.aliases.isdisjoint(self.headers):
            raise CertificateRejected(Reason.AMBIGUOUS_HEADER, "a certificate field came in two spellings")
        if self.secret is not None:
            if connection.fields.keys().isdisjoint(dialect.headers):
                return None
            self.secret.check(connection)
        leaf = connection.joined(dialect.leaf) if "leaf" in dialect.lists else connection.one(dialect.leaf)
        if leaf is not None and dialect.means_none(leaf):
            leaf = None
        came = leaf is not None
        for verdict in dialect.verdicts:
            value = connection.one(verdict.header)
            if not came or value not in verdict.success:
                verdict.check(value, came=came)
        rest = self._rest(connection, came) if dialect.has_rest else ()
        if leaf is None:
            return None
        if len(leaf) > self.max_leaf or rest:
            self._check_length(leaf, rest)
        return Evidence(dialect.name, (leaf, *rest), self.vouched, dialect.decode_raw)

    def _rest(self, connection: Connection, came: bool) -> tuple[str, ...]:
        """Return what comes beside the leaf: the fingerprint where the dialect has one, and the chain."""
        dialect = self.dialect
        rest = []
        for name in dialect.chain_headers:
            # An empty field is an empty list. RFC 8941 §4.2
            values = connection.fields.get(name, ()) if "chain" in dialect.lists else (connection.one(name) or "",)
            rest += [value for value in values if value.strip() and not dialect.means_none(value)]
        if rest and not came:
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "a chain came without a certificate")
        if dialect.fingerprint is not None:
            stated = connection.one(dialect.fingerprint) or ""
            if not came and not (dialect.means_none(stated) or stated in codecs.OF_NOTHING):
                raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "a fingerprint came without a certificate")
            rest.insert(0, "" if dialect.means_none(stated) else stated)
        return tuple(rest)

    def _check_length(self, leaf: str, rest: tuple[str, ...]) -> None:
        of_leaf = self.max_chain if self.dialect.leaf_has_chain else self.max_leaf
        if len(leaf) > of_leaf or (rest and sum(map(len, rest)) > self.max_chain):
            raise CertificateRejected(Reason.OVERSIZED_HEADER, "the certificate fields are too long")


@cache
def _report_hidden_peer() -> None:
    """Say once a process why nobody is ever believed here."""
    logger.error(
        "certificate headers came, and are ignored: this server does not tell the transport peer. Use gunicorn, or "
        "uvicorn with --http mtls_auth.servers.uvicorn:HTTPProtocol; or have the proxy send a secret and name that "
        "instead of its address; or, if nothing rewrites REMOTE_ADDR or the scope's client, say so with "
        "server_address_is_peer"
    )
