"""Where evidence is read from: exactly the places that the operator named, and no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from mtls_auth.connection import Connection
from mtls_auth.dialect import Dialect
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Assurance, Evidence
from mtls_auth.forwarded import Forwarded
from mtls_auth.proxy_certificate import ProxyCertificate, decode_tls


class Source(Protocol):
    """One place that says something about the client's certificate."""

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects whose headers this source reads; () for a socket."""

    @property
    def headers(self) -> frozenset[str]:
        """Every header that this source reads, the proxy's secret among them."""

    @property
    def vouches(self) -> bool:
        """Whether this source's evidence was verified by whoever it came from."""

    def read(self, connection: Connection) -> Evidence | None:
        """Return what the source says, None for no certificate. Raises `CertificateRejected` for anything odd."""


@dataclass(frozen=True, slots=True)
class TLSSocket:
    """The TLS layer of the Python server. Absence of TLS facts is absence of a certificate.

    Certificates that are *proxies*' are nobody's here: name them where proxies and clients share the port.
    """

    proxies: ProxyCertificate | None = None
    dialects: tuple[Dialect, ...] = ()
    headers: frozenset[str] = frozenset()
    vouches: bool = True

    def read(self, connection: Connection) -> Evidence | None:
        chain = connection.server.client_chain()
        if not chain or (self.proxies is not None and connection.server in self.proxies):
            return None
        return Evidence("tls", chain, Assurance.TLS_SOCKET, decode_tls)


@dataclass(frozen=True, slots=True)
class AgreeingSources:
    """Several named sources: whatever more than one of them says must be the same certificate.

    Proxies that cannot be told apart, by network, certificate or secret, must both say it: each lets the headers of
    the other's dialect pass. Raises `ConfigurationError` where that can never be.
    """

    sources: Sequence[Source]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(part for source in self.sources for part in parts_of(source)))
        if not self.sources:
            raise ConfigurationError("no source is named: name TLSSocket() or Forwarded(...)")
        forwarded = [source for source in self.sources if isinstance(source, Forwarded)]
        problems = [problem for pair in combinations(forwarded, 2) if (problem := _confusion(*pair))]
        by_certificate = any(source.certificate is not None for source in forwarded)
        if by_certificate and any(isinstance(s, TLSSocket) and s.proxies is None for s in self.sources):
            problems.append(
                "the proxy's own certificate would be taken for its client's: write TLSSocket(proxies=...) with the "
                "same ProxyCertificate"
            )
        if problems:
            raise ConfigurationError(*problems)

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        return tuple(dialect for source in self.sources for dialect in source.dialects)

    @property
    def headers(self) -> frozenset[str]:
        return frozenset().union(*(source.headers for source in self.sources))

    @property
    def vouches(self) -> bool:
        return all(source.vouches for source in self.sources)

    def read(self, connection: Connection) -> Evidence | None:
        found: dict[int, Evidence] = {}
        unproven: CertificateRejected | None = None
        for number, source in enumerate(self.sources):
            try:
                evidence = source.read(connection)
            except CertificateRejected as rejected:
                if rejected.reason is not Reason.PROXY_UNPROVEN:
                    raise
                unproven = rejected
            else:
                if evidence is not None:
                    found[number] = evidence
        # Proxies may use the same headers: what one has sent lacks the secret of the other.
        if unproven is not None and not any(isinstance(s, Forwarded) and s.speaks(connection) for s in self.sources):
            raise unproven
        if not found:
            return None
        for number, source in enumerate(self.sources):
            if number not in found and isinstance(source, Forwarded):
                self._check_silence(source, connection, found)
        if len({_leaf(evidence) for evidence in found.values()}) > 1:
            names = " and ".join(evidence.source for evidence in found.values())
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, f"{names} name different certificates")
        return next(iter(found.values()))

    def _check_silence(self, silent: Forwarded, connection: Connection, found: dict[int, Evidence]) -> None:
        """Raise where *silent* would have named what the others name: it sent the request, or may have."""
        for number, evidence in found.items():
            speaker = self.sources[number]
            if isinstance(speaker, Forwarded):
                contradicts = silent.believes(connection) and not silent.has_other_secret_than(speaker)
            else:  # on the socket may be the proxy's own certificate
                contradicts = silent.spoke(connection)
            if contradicts:
                raise CertificateRejected(
                    Reason.CONTRADICTORY_EVIDENCE,
                    f"{evidence.source} names a certificate and {silent.dialect.name}, believed of the same peer, none",
                )


def parts_of(source: Source) -> Sequence[Source]:
    """Return the sources that *source* consists of."""
    return source.sources if isinstance(source, AgreeingSources) else (source,)


def unvouched(source: Source) -> tuple[Dialect, ...]:
    """Return the dialects of *source* that say nothing about verification, and of which nobody else does."""
    return tuple(dialect for part in parts_of(source) if not part.vouches for dialect in part.dialects)


def _confusion(one: Forwarded, other: Forwarded) -> str | None:
    """Say what can never be decided between two proxies; None if all can."""
    names = f"{one.dialect.name} and {other.dialect.name}"
    if (one.secret is None) != (other.secret is None) and not one.is_apart_from(other):
        return f"{names}: one proxy has a secret and the other not, and nothing else tells them apart: give both one"
    if one.dialect.name == other.dialect.name and one.dialect.decode != other.dialect.decode:
        return f"two dialects have the name {one.dialect.name} and are read differently: give them names of their own"
    return None


def _leaf(evidence: Evidence) -> object:
    decoded = evidence.decoded()
    return decoded[0] if isinstance(decoded, tuple) else decoded
