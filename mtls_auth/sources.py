"""Where evidence is read from: exactly the places that the operator named, and no other."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    """Several named sources: whatever more than one of them says must be the same certificate."""

    sources: Sequence[Source]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigurationError("no source is named: name TLSSocket() or Forwarded(...)")
        by_certificate = any(getattr(source, "certificate", None) is not None for source in self.sources)
        if by_certificate and any(isinstance(s, TLSSocket) and s.proxies is None for s in self.sources):
            raise ConfigurationError(
                "the proxy's own certificate would be taken for its client's: write TLSSocket(proxies=...) with the "
                "same ProxyCertificate"
            )

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
        found: list[Evidence] = []
        unproven: CertificateRejected | None = None
        for source in self.sources:
            try:
                evidence = source.read(connection)
            except CertificateRejected as rejected:
                if rejected.reason is not Reason.PROXY_UNPROVEN:
                    raise
                unproven = rejected
            else:
                found += [evidence] if evidence is not None else []
        # Proxies may use the same headers: what one has sent lacks the secret of the other.
        if unproven is not None and not any(isinstance(s, Forwarded) and s.speaks(connection) for s in self.sources):
            raise unproven
        if len(found) > 1 and len({_leaf(evidence) for evidence in found}) > 1:
            raise CertificateRejected(
                Reason.CONTRADICTORY_EVIDENCE,
                f"{' and '.join(e.source for e in found)} name different certificates",
            )
        return found[0] if found else None


def _leaf(evidence: Evidence) -> object:
    decoded = evidence.decoded()
    return decoded[0] if isinstance(decoded, tuple) else decoded
