"""How a certificate would reach the application: what each configured source would say of it."""

from collections.abc import Callable, Iterator

from mtls_auth import (
    AgreeingSources,
    Assurance,
    CertificateRejected,
    ConfigurationError,
    Dialect,
    Evidence,
    Forwarded,
    Reason,
    ServerEnviron,
    ServerVariables,
    Source,
    load_certificate,
)
from mtls_auth.testing.headers import headers_for

Chain = tuple[bytes, ...]


def presented(source: Source, chain: Chain) -> list[Evidence]:
    """Return what the places that *source* reads would say of *chain*, DER with the leaf first: one of each name.

    Takes for granted that each verified the certificate, and forwards all of it or, where the terminator keeps it to
    itself, what it states of it. Decoding raises `insufficient_evidence` where that cannot be known.
    """
    return list({evidence.source: evidence for evidence in _presented(source, chain)}.values())


def _presented(source: Source, chain: Chain) -> Iterator[Evidence]:
    match source:
        case AgreeingSources(sources=sources):
            for one in sources:
                yield from _presented(one, chain)
        case Forwarded(dialect=dialect, vouched=vouched):
            yield _evidence(dialect, chain, vouched, lambda: _header_of(dialect, chain[0]))
        case ServerEnviron(variables=row):
            yield _evidence(row, chain, row.assurance, lambda: load_certificate(chain[0]).subject.rfc4514_string())
        case _:
            yield Evidence("tls", chain, Assurance.TLS_SOCKET, lambda _raw: chain)


def _evidence(
    row: Dialect | ServerVariables, chain: Chain, vouched: Assurance | None, written: Callable[[], str]
) -> Evidence:
    if row.without_certificate:
        return Evidence(row.name, chain, vouched, lambda _raw: row.decode_raw((written(),)))
    return Evidence(row.name, chain, vouched, lambda _raw: chain)


def _header_of(dialect: Dialect, leaf: bytes) -> str:
    """Return what the dialect's terminator writes of a certificate that it does not forward."""
    try:
        headers = headers_for(dialect, leaf)
    except ConfigurationError as error:
        raise CertificateRejected(
            Reason.INSUFFICIENT_EVIDENCE, f"what {dialect.name} states of this certificate is not known here"
        ) from error
    if not headers:
        raise CertificateRejected(
            Reason.INSUFFICIENT_EVIDENCE, f"the certificate has no name that {dialect.name} would state"
        )
    return headers[0][1]
