"""Sources: evidence from exactly the named place, believed only from whom it may come."""

import ssl

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AgreeingSources,
    Assurance,
    ConfigurationError,
    Connection,
    Evidence,
    Forwarded,
    Reason,
    Source,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.known_headers import known_headers
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.sources import MAX_CHAIN_CHARACTERS, MAX_LEAF_CHARACTERS
from mtls_auth.testing import client_cert_field, escaped_pem
from tests.core.conftest import PROXIES, PROXY, STRANGER, reason_of

DER = b"0\x03\x02\x01\x00"
OTHER = b"0\x03\x02\x01\x01"
TRUSTED = TrustedProxies.parse(PROXIES)
CERTIFICATE = ("X-SSL-Client-Cert", escaped_pem(DER))
SUCCESS = ("X-SSL-Client-Verify", "SUCCESS")
LEAF = ("Client-Cert", client_cert_field(DER))


def connection(
    *headers: tuple[str, str], peer: str | None = PROXY, address: str | None = None, tls: tuple[str | bytes, ...] = ()
) -> Connection:
    """Return a connection of these headers and facts."""
    facts = StatedFacts(transport_peer=None if peer is None else Peer(peer), address=address, chain=tls)
    return Connection.from_headers([(name.encode(), value.encode()) for name, value in headers], known_headers(), facts)


def nginx(*, server_address_is_peer: bool = False) -> Forwarded:
    """Return the source of an nginx in front."""
    return Forwarded(dialect=NGINX, proxies=TRUSTED, server_address_is_peer=server_address_is_peer)


def rfc9440(*, proxy_verifies: bool = True) -> Forwarded:
    """Return the source of a proxy that speaks RFC 9440."""
    return Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=proxy_verifies)


@pytest.mark.parametrize(
    "chain",
    [(DER,), (DER, OTHER), (ssl.DER_cert_to_PEM_cert(DER),), (ssl.DER_cert_to_PEM_cert(DER), OTHER)],
    ids=["DER", "chain", "PEM", "both"],
)
def test_tls_socket(chain: tuple[str | bytes, ...]) -> None:
    """The socket's chain is evidence that the TLS layer vouches for, in DER whatever the server gives."""
    evidence = TLSSocket().read(connection(peer=STRANGER, tls=chain))
    assert evidence is not None
    assert (evidence.source, evidence.vouched, evidence.raw) == ("tls", Assurance.TLS_SOCKET, chain)
    assert evidence.chain() == (DER, OTHER)[: len(chain)]


def test_tls_socket_reads_no_header() -> None:
    """Without a certificate on the socket there is none, whatever the headers say."""
    assert TLSSocket().read(connection(CERTIFICATE, SUCCESS, LEAF)) is None
    assert TLSSocket().dialects == ()
    assert TLSSocket().vouches


def test_tls_socket_with_nonsense() -> None:
    """Text on the socket that is no PEM is malformed."""
    evidence = TLSSocket().read(connection(tls=("nonsense",)))
    assert evidence is not None
    assert reason_of(evidence.chain) is Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("source", "headers", "assurance"),
    [
        (nginx(), (CERTIFICATE, SUCCESS), Assurance.PROXY_VERDICT),
        (rfc9440(), (LEAF,), Assurance.PROXY_PRESENCE),
        (rfc9440(proxy_verifies=False), (LEAF,), None),
    ],
    ids=["verdict", "operator's word", "nobody"],
)
def test_forwarded(source: Forwarded, headers: tuple[tuple[str, str], ...], assurance: Assurance | None) -> None:
    """A trusted proxy's header is evidence, vouched for by its verdict, by the operator's word, or by nobody."""
    evidence = source.read(connection(*headers))
    assert evidence is not None
    assert (evidence.source, evidence.vouched) == (source.dialect.name, assurance)
    assert evidence.chain() == (DER,)
    assert source.vouches == (assurance is not None)
    assert source.dialects == (source.dialect,)


def test_forwarded_chain() -> None:
    """The chain follows the leaf, over however many lines it came."""
    field = client_cert_field(OTHER)
    evidence = rfc9440().read(
        connection(("Client-Cert-Chain", f"{field}, {field}"), LEAF, ("Client-Cert-Chain", field))
    )
    assert evidence is not None
    assert evidence.chain() == (DER, OTHER, OTHER, OTHER)


def test_forwarded_does_not_read_the_socket() -> None:
    """The certificate on the server's own socket is not the one of the client behind the proxy."""
    assert nginx().read(connection(tls=(OTHER,))) is None


@pytest.mark.parametrize(
    ("peer", "address", "server_address_is_peer", "believed"),
    [
        (PROXY, None, False, True),
        ("unix:/run/app.sock", None, False, True),
        (STRANGER, None, False, False),
        (STRANGER, PROXY, False, False),
        (STRANGER, PROXY, True, False),
        (PROXY, STRANGER, True, True),
        (None, PROXY, False, False),
        (None, PROXY, True, True),
        (None, STRANGER, True, False),
        (None, None, True, False),
        (None, "", True, False),
    ],
)
def test_belief(peer: str | None, address: str | None, server_address_is_peer: bool, believed: bool) -> None:
    """The transport peer decides; the stated address only where the server hides the peer and the operator says so."""
    source = nginx(server_address_is_peer=server_address_is_peer)
    received = connection(CERTIFICATE, SUCCESS, peer=peer, address=address)
    assert source.believes(received) is believed
    assert (source.read(received) is not None) is believed


@pytest.mark.parametrize(
    ("leaf", "reason"), [("A" * MAX_LEAF_CHARACTERS, None), ("A" * (MAX_LEAF_CHARACTERS + 1), Reason.OVERSIZED_HEADER)]
)
def test_length_of_the_leaf(leaf: str, reason: Reason | None) -> None:
    """A leaf that is too long is refused before it is decoded."""
    assert reason_of(nginx().read, connection((CERTIFICATE[0], leaf), SUCCESS)) is reason


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ((MAX_CHAIN_CHARACTERS,), None),
        ((MAX_CHAIN_CHARACTERS + 1,), Reason.OVERSIZED_HEADER),
        ((MAX_CHAIN_CHARACTERS - 1, 1), None),
        ((MAX_CHAIN_CHARACTERS, 1), Reason.OVERSIZED_HEADER),
    ],
)
def test_length_of_the_chain(lengths: tuple[int, ...], reason: Reason | None) -> None:
    """A chain that is too long is refused before it is decoded, over however many lines it came."""
    chain = [("Client-Cert-Chain", "A" * length) for length in lengths]
    assert reason_of(rfc9440().read, connection(LEAF, *chain)) is reason


def agreeing(*sources: Source) -> AgreeingSources:
    """Return several sources as one."""
    return AgreeingSources(sources)


BOTH = agreeing(TLSSocket(), nginx())


@pytest.mark.parametrize(
    ("headers", "tls", "peer", "source"),
    [
        ((), (), PROXY, None),
        ((), (DER,), PROXY, "tls"),
        ((CERTIFICATE, SUCCESS), (), PROXY, "nginx"),
        ((CERTIFICATE, SUCCESS), (DER,), PROXY, "tls"),
        ((CERTIFICATE, SUCCESS), (), STRANGER, None),
        ((CERTIFICATE, SUCCESS), (OTHER,), STRANGER, "tls"),
    ],
    ids=["nothing", "socket", "header", "both", "stranger's header", "stranger's header and socket"],
)
def test_agreeing_sources(
    headers: tuple[tuple[str, str], ...], tls: tuple[bytes, ...], peer: str, source: str | None
) -> None:
    """Whichever of several sources speaks is heard; of those that agree, the first."""
    evidence = BOTH.read(connection(*headers, tls=tls, peer=peer))
    assert (evidence and evidence.source) == source


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ((CERTIFICATE, SUCCESS), Reason.CONTRADICTORY_EVIDENCE),
        ((CERTIFICATE, ("X-SSL-Client-Verify", "FAILED")), Reason.PROXY_REJECTED),
        ((("X-SSL-Client-Cert", "nonsense"), SUCCESS), Reason.MALFORMED_HEADER),
        ((("X_SSL_Client_Cert", ""),), Reason.AMBIGUOUS_HEADER),
    ],
    ids=["other certificate", "refused by the proxy", "unreadable", "spelling"],
)
def test_contradicting_sources(headers: tuple[tuple[str, str], ...], reason: Reason) -> None:
    """One source that says something else, or nonsense, spoils what the other one says."""
    assert reason_of(BOTH.read, connection(*headers, tls=(OTHER,))) is reason


def test_three_sources() -> None:
    """The third source is asked as well."""
    three = agreeing(TLSSocket(), nginx(), rfc9440())
    assert three.read(connection(LEAF, CERTIFICATE, SUCCESS, tls=(DER,))) is not None
    contradicting = connection(("Client-Cert", client_cert_field(OTHER)), CERTIFICATE, SUCCESS, tls=(DER,))
    assert reason_of(three.read, contradicting) is Reason.CONTRADICTORY_EVIDENCE
    assert three.dialects == (NGINX, RFC9440)


@pytest.mark.parametrize(
    ("sources", "vouches"),
    [
        ((TLSSocket(), nginx(), rfc9440()), True),
        ((TLSSocket(), rfc9440(proxy_verifies=False)), False),
        ((agreeing(rfc9440(proxy_verifies=False)), nginx()), False),
    ],
    ids=["all", "one does not", "one inside does not"],
)
def test_several_sources_vouch(sources: tuple[Source, ...], vouches: bool) -> None:
    """Several sources vouch only if each of them does."""
    assert agreeing(*sources).vouches is vouches


def test_no_source() -> None:
    """No source is an error."""
    with pytest.raises(ConfigurationError, match="no source is named"):
        agreeing()


def test_evidence_decodes_late() -> None:
    """Reading decodes nothing: what is in the cache needs no decoding."""
    evidence = nginx().read(connection(("X-SSL-Client-Cert", "nonsense"), SUCCESS))
    assert isinstance(evidence, Evidence)
    assert evidence.raw == ("nonsense",)
    assert reason_of(evidence.chain) is Reason.MALFORMED_HEADER
