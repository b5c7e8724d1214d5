"""Where evidence is read from: exactly the place that the operator named, and no other."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from mtls_auth import codecs
from mtls_auth.connection import Connection
from mtls_auth.dialects import Dialect, Verdict
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Assurance, Evidence, Raw
from mtls_auth.peers import TrustedProxies

logger = logging.getLogger("mtls_auth")

MAX_LEAF_CHARACTERS = 16 * 1024
MAX_CHAIN_CHARACTERS = 64 * 1024


class Source(Protocol):
    """One place that says something about the client's certificate."""

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects whose headers this source reads; () for a socket."""

    @property
    def vouches(self) -> bool:
        """Whether this source's evidence was verified by whoever it came from."""

    def read(self, connection: Connection) -> Evidence | None:
        """Return what the source says, None for no certificate. Raises `CertificateRejected` for anything odd."""


@dataclass(frozen=True, slots=True)
class TLSSocket:
    """The TLS layer of the Python server. Absence of TLS facts is absence of a certificate."""

    dialects: tuple[Dialect, ...] = ()
    vouches: bool = True

    def read(self, connection: Connection) -> Evidence | None:
        chain = connection.server.client_chain()
        return Evidence("tls", chain, Assurance.TLS_SOCKET, _decode_tls) if chain else None


def _decode_tls(raw: Raw) -> tuple[bytes, ...]:
    return tuple(codecs.pem(item) if isinstance(item, str) else item for item in raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """The headers of a trusted proxy in one dialect.

    `proxy_verifies` is the operator's word that this proxy forwards nothing that it did not verify; it is
    needed only for a dialect without a verdict. `server_address_is_peer` says that nothing on the way rewrites
    `REMOTE_ADDR` or `scope["client"]`: for servers that hide the transport peer.
    """

    dialect: Dialect
    proxies: TrustedProxies
    proxy_verifies: bool = False
    server_address_is_peer: bool = False
    vouched: Assurance | None = field(init=False)

    def __post_init__(self) -> None:
        presence = Assurance.PROXY_PRESENCE if self.proxy_verifies else None
        object.__setattr__(self, "vouched", Assurance.PROXY_VERDICT if self.dialect.verdict is not None else presence)

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        return (self.dialect,)

    @property
    def vouches(self) -> bool:
        return self.vouched is not None

    def believes(self, connection: Connection) -> bool:
        """Whether the transport peer of the connection is a trusted proxy; False where the server hides it."""
        peer = connection.server.peer()
        if peer is not None:
            return peer in self.proxies
        if self.server_address_is_peer:
            return connection.server.stated_address() in self.proxies
        _report_hidden_peer()
        return False

    def read(self, connection: Connection) -> Evidence | None:
        if not connection.fields and not connection.aliases:
            return None
        if not self.believes(connection):
            return None
        dialect = self.dialect
        if connection.aliases and not connection.aliases.isdisjoint(dialect.headers):
            raise CertificateRejected(Reason.AMBIGUOUS_HEADER, "a certificate field came in two spellings")
        leaf = connection.one(dialect.leaf) or None
        if dialect.verdict is not None and not _check_verdict(dialect.verdict, connection, leaf):
            return None
        # An empty field is an empty list. RFC 8941 §4.2
        chain = tuple(filter(str.strip, connection.fields.get(dialect.chain, ()))) if dialect.chain else ()
        if leaf is None:
            if chain:
                raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "a chain came without a certificate")
            return None
        if len(leaf) > MAX_LEAF_CHARACTERS or (chain and sum(map(len, chain)) > MAX_CHAIN_CHARACTERS):
            raise CertificateRejected(Reason.OVERSIZED_HEADER, "the certificate fields are too long")
        return Evidence(dialect.name, (leaf, *chain), self.vouched, dialect.decode_raw)


@cache
def _report_hidden_peer() -> None:
    """Say once a process why nobody is ever believed here."""
    logger.error(
        "certificate headers came, and are ignored: this server does not tell the transport peer. Use gunicorn, or "
        "uvicorn with --http mtls_auth.servers.uvicorn:HTTPProtocol; or, if nothing rewrites REMOTE_ADDR or the "
        "scope's client, say so with server_address_is_peer"
    )


def _check_verdict(rule: Verdict, connection: Connection, leaf: str | None) -> bool:
    """Whether the proxy verified a certificate; raise where verdict and certificate do not agree."""
    verdict = connection.one(rule.header)
    if verdict in rule.success:
        if leaf is None:
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "verified, but no certificate came")
        return True
    if verdict is None or verdict in rule.absent:
        if leaf is None:
            return False
        if verdict is None:
            raise CertificateRejected(Reason.UNVERIFIED, f"a certificate came without {rule.header}")
        raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "a certificate came with the verdict for none")
    if "," in verdict:
        raise CertificateRejected(Reason.AMBIGUOUS_HEADER, f"{rule.header} came more than once")
    raise CertificateRejected(Reason.PROXY_REJECTED, "the proxy did not verify the certificate")


@dataclass(frozen=True, slots=True)
class AgreeingSources:
    """Several named sources: whatever more than one of them says must be the same certificate."""

    sources: Sequence[Source]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigurationError("no source is named: name TLSSocket() or Forwarded(...)")

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        return tuple(dialect for source in self.sources for dialect in source.dialects)

    @property
    def vouches(self) -> bool:
        return all(source.vouches for source in self.sources)

    def read(self, connection: Connection) -> Evidence | None:
        found = [evidence for source in self.sources if (evidence := source.read(connection)) is not None]
        if len(found) > 1 and len({evidence.chain()[0] for evidence in found}) > 1:
            raise CertificateRejected(
                Reason.CONTRADICTORY_EVIDENCE,
                f"{' and '.join(e.source for e in found)} name different certificates",
            )
        return found[0] if found else None
