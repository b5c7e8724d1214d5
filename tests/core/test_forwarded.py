"""The headers of a proxy as a source: who may say it, each way of trust alone and together, and how long it may be."""

import hashlib
import itertools
import logging
from dataclasses import replace

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AnyVerifiedCertificate,
    Assurance,
    Authenticator,
    ConfigurationError,
    Connection,
    Dialect,
    Evidence,
    Fingerprint,
    Forwarded,
    ProxyCertificate,
    ProxySecret,
    Reason,
    TrustedProxies,
    forwarded,
)
from mtls_auth.codecs import base64_der
from mtls_auth.dialects import APACHE, CADDY, CLOUDFRONT, ENVOY, HAPROXY, ISTIO, KONG, TRAEFIK
from mtls_auth.forwarded import MAX_CHAIN_CHARACTERS, MAX_LEAF_CHARACTERS
from mtls_auth.testing import client_cert_field, escaped_pem
from tests.core.conftest import CARRIERS, PROXIES, PROXY, STRANGER, Request, reason_of, received
from tests.pki import BrokenLeaves

DER = b"0\x03\x02\x01\x00"
OTHER = b"0\x03\x02\x01\x01"
TRUSTED = TrustedProxies.parse(PROXIES)
VALUE = "2WoPUvB4Jq2lfJfNyZ0T"
SECRET = ProxySecret(VALUE)
CERTIFICATE = ("X-SSL-Client-Cert", escaped_pem(DER))
SUCCESS = ("X-SSL-Client-Verify", "SUCCESS")
NONE = ("X-SSL-Client-Verify", "NONE")
LEAF = ("Client-Cert", client_cert_field(DER))
PROVEN = ("X-Proxy-Secret", VALUE)


def nginx() -> Forwarded:
    """Return the source of an nginx in front."""
    return Forwarded(dialect=NGINX, proxies=TRUSTED)


def rfc9440(*, proxy_verifies: bool = True) -> Forwarded:
    """Return the source of a proxy that speaks RFC 9440."""
    return Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=proxy_verifies)


@pytest.mark.parametrize(
    ("source", "headers", "assurance"),
    [
        (nginx(), (CERTIFICATE, SUCCESS), Assurance.PROXY_VERDICT),
        (rfc9440(), (LEAF,), Assurance.PROXY_PRESENCE),
        (rfc9440(proxy_verifies=False), (LEAF,), None),
        (Forwarded(dialect=NGINX, proxies=TRUSTED, proxy_verifies=True), (CERTIFICATE, SUCCESS), "proxy_verdict"),
    ],
    ids=["verdict", "operator's word", "nobody", "verdict and word"],
)
def test_evidence(source: Forwarded, headers: tuple[tuple[str, str], ...], assurance: Assurance | None) -> None:
    """A trusted proxy's header is evidence, vouched for by its verdict, by the operator's word, or by nobody."""
    evidence = source.read(received(*headers))
    assert evidence is not None
    assert (evidence.source, evidence.vouched) == (source.dialect.name, assurance)
    assert evidence.chain() == (DER,)
    assert source.vouches == (assurance is not None)
    assert source.dialects == (source.dialect,)


@pytest.mark.parametrize(
    ("dialect", "proxy_verifies", "vouched"),
    [
        (KONG, False, None),
        (CLOUDFRONT, False, None),  # its only verdict may be missing
        (CLOUDFRONT, True, Assurance.PROXY_PRESENCE),
        (HAPROXY, False, Assurance.PROXY_VERDICT),
        (ISTIO, True, Assurance.PROXY_PRESENCE),
    ],
    ids=lambda value: value.name if isinstance(value, Dialect) else str(value),
)
def test_who_vouches(dialect: Dialect, proxy_verifies: bool, vouched: Assurance | None) -> None:
    """A dialect vouches by a verdict that may not be missing, or the operator does."""
    assert Forwarded(dialect=dialect, proxies=TRUSTED, proxy_verifies=proxy_verifies).vouched is vouched


def test_chain() -> None:
    """The chain follows the leaf, over however many lines it came."""
    field = client_cert_field(OTHER)
    evidence = rfc9440().read(received(("Client-Cert-Chain", f"{field}, {field}"), LEAF, ("Client-Cert-Chain", field)))
    assert evidence is not None
    assert evidence.chain() == (DER, OTHER, OTHER, OTHER)


@pytest.mark.parametrize(
    ("dialect", "headers", "raw"),
    [
        (ENVOY, (("X-Forwarded-Client-Cert", "a"), ("X-Forwarded-Client-Cert", "b")), ("a,b",)),
        (TRAEFIK, (("X-Forwarded-Tls-Client-Cert", "a,b"),), ("a,b",)),
        (RFC9440, (("Client-Cert", "a"), ("Client-Cert-Chain", ""), ("Client-Cert-Chain", "b, c")), ("a", "b, c")),
        (CADDY, (("X-SSL-Client-Cert", "a"),), ("a", "")),
        (CADDY, (("X-SSL-Client-Cert", "a"), ("X-SSL-Client-Fingerprint", "b")), ("a", "b")),
        (CADDY, (("X-SSL-Client-Cert", "a"), ("X-SSL-Client-Fingerprint", "<nil>")), ("a", "")),
        (
            APACHE,
            (("X-SSL-Client-Cert", "a"), ("X-SSL-Client-Chain-0", "(null)"), ("X-SSL-Client-Chain-2", " b "), SUCCESS),
            ("a", "b"),
        ),
    ],
    ids=["list", "commas", "chain", "no fingerprint", "fingerprint", "no fingerprint in words", "numbered chain"],
)
def test_raw(dialect: Dialect, headers: tuple[tuple[str, str], ...], raw: tuple[str, ...]) -> None:
    """The evidence holds the leaf, the fingerprint where the dialect has one, and what of the chain came."""
    evidence = Forwarded(dialect=dialect, proxies=TRUSTED, proxy_verifies=True).read(received(*headers))
    assert evidence is not None
    assert evidence.raw == raw


def test_raw_of_all_at_once() -> None:
    """The fingerprint stands before the chain."""
    row = Dialect(name="mine", leaf="a", decode=base64_der, fingerprint="b", chain="c", decode_chain=base64_der)
    connection = received(("C", "chain"), ("B", "fingerprint"), ("A", "leaf"), names=row.headers)
    evidence = Forwarded(dialect=row, proxies=TRUSTED, proxy_verifies=True).read(connection)
    assert evidence is not None
    assert evidence.raw == ("leaf", "fingerprint", "chain")


@pytest.mark.parametrize(
    ("dialect", "headers", "reason"),
    [
        (RFC9440, (("Client-Cert-Chain", "a"),), Reason.CONTRADICTORY_EVIDENCE),
        (RFC9440, (("Client-Cert", ""), ("Client-Cert-Chain", " ")), None),
        (APACHE, (("X-SSL-Client-Cert", "(null)"), ("X-SSL-Client-Chain-0", "(null)")), None),
        (APACHE, (("X-SSL-Client-Cert", "(null)"), ("X-SSL-Client-Chain-0", "a")), Reason.CONTRADICTORY_EVIDENCE),
        (CADDY, (("X-SSL-Client-Fingerprint", "a"),), Reason.CONTRADICTORY_EVIDENCE),
        (CADDY, (("X-SSL-Client-Cert", ""), ("X-SSL-Client-Fingerprint", "<nil>")), None),
        (CADDY, (("X-SSL-Client-Fingerprint", hashlib.sha256(b"").hexdigest()),), None),
        (ENVOY, (("X-Forwarded-Client-Cert", ""),), None),
    ],
)
def test_nothing_but_company(dialect: Dialect, headers: tuple[tuple[str, str], ...], reason: Reason | None) -> None:
    """What accompanies a certificate is a contradiction without one, unless it says that there is none."""
    source = Forwarded(dialect=dialect, proxies=TRUSTED, proxy_verifies=True)
    assert reason_of(source.read, received(*headers)) is reason
    if reason is None:
        assert source.read(received(*headers)) is None


def test_spellings_of_others_are_not_ours() -> None:
    """Another spelling of a header that this source does not read is none of its business."""
    assert nginx().read(received(CERTIFICATE, SUCCESS, ("Client_Cert", "x"))) is not None


def test_it_does_not_read_the_socket() -> None:
    """The certificate on the server's own socket is not the one of the client behind the proxy."""
    assert nginx().read(received(tls=(OTHER,))) is None
    assert nginx().read(received(NONE, tls=(OTHER,))) is None


def test_it_decodes_late() -> None:
    """Reading decodes nothing: what is in the cache needs no decoding."""
    evidence = nginx().read(received(("X-SSL-Client-Cert", "nonsense"), SUCCESS))
    assert isinstance(evidence, Evidence)
    assert evidence.raw == ("nonsense",)
    assert reason_of(evidence.chain) is Reason.MALFORMED_HEADER


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
    source = nginx()
    if server_address_is_peer:
        source = replace(source, server_address_is_peer=True)
    connection = received(CERTIFICATE, SUCCESS, peer=peer, address=address)
    assert source.believes(connection) is believed
    assert (source.read(connection) is not None) is believed


def test_a_hidden_peer_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs a server that hides the peer finds one line about it in the log, and not one a request."""
    forwarded._report_hidden_peer.cache_clear()
    with caplog.at_level(logging.ERROR, "mtls_auth"):
        for _ in range(3):
            assert nginx().read(received(CERTIFICATE, SUCCESS, peer=None)) is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "does not tell the transport peer" in caplog.text
    caplog.clear()
    Forwarded(dialect=NGINX, secret=SECRET).read(received(CERTIFICATE, SUCCESS, PROVEN, peer=None))
    assert caplog.records == []


@pytest.fixture(scope="module")
def proxy(leaves: BrokenLeaves) -> ProxyCertificate:
    """The certificate by which the proxy is known."""
    return ProxyCertificate(Fingerprint(leaves.good.fingerprint_sha256))


WAYS = [ways for ways in itertools.product([False, True], repeat=3) if any(ways)]
HELD = list(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize("held", HELD, ids=str)
@pytest.mark.parametrize("given", WAYS, ids=str)
def test_all_that_is_given_must_hold(
    leaves: BrokenLeaves, proxy: ProxyCertificate, given: tuple[bool, ...], held: tuple[bool, ...]
) -> None:
    """Address, secret and certificate: each of those that are asked for must hold, and no other is looked at."""
    by_address, by_secret, by_certificate = given
    from_proxy, with_secret, with_certificate = held
    source = Forwarded(
        dialect=NGINX,
        proxies=TRUSTED if by_address else None,
        secret=SECRET if by_secret else None,
        certificate=proxy if by_certificate else None,
    )
    headers = (CERTIFICATE, SUCCESS, PROVEN) if with_secret else (CERTIFICATE, SUCCESS)
    tls = leaves.good.der if with_certificate else leaves.without_eku.der
    connection = received(*headers, peer=PROXY if from_proxy else STRANGER, tls=(tls,))

    believed = (from_proxy or not by_address) and (with_certificate or not by_certificate)
    proven = with_secret or not by_secret
    assert source.believes(connection) is believed
    assert source.speaks(connection) is (believed and by_secret and with_secret)
    if believed and not proven:
        assert reason_of(source.read, connection) is Reason.PROXY_UNPROVEN
    else:
        assert (source.read(connection) is not None) is believed


@pytest.mark.parametrize("given", WAYS, ids=str)
def test_nothing_holds_without_a_socket(proxy: ProxyCertificate, given: tuple[bool, ...]) -> None:
    """A connection without peer, secret and certificate is believed by nobody."""
    by_address, by_secret, by_certificate = given
    source = Forwarded(
        dialect=NGINX,
        proxies=TRUSTED if by_address else None,
        secret=SECRET if by_secret else None,
        certificate=proxy if by_certificate else None,
    )
    outcome = Reason.PROXY_UNPROVEN if not by_address and not by_certificate else None
    connection = received(CERTIFICATE, SUCCESS, peer=None)
    assert reason_of(source.read, connection) is outcome
    assert outcome is not None or source.read(connection) is None


def test_the_secret_is_asked_for_with_certificate_headers_only() -> None:
    """A request without any header of the dialect is anonymous, with the secret or without: health checks have none."""
    source = Forwarded(dialect=NGINX, secret=SECRET)
    for headers in ((), (("Accept", "*/*"),), (PROVEN,), (("X-Proxy-Secret", "wrong"),), (LEAF,)):
        assert source.read(received(*headers)) is None


@pytest.mark.parametrize("name", NGINX.headers)
def test_every_header_of_the_dialect_needs_the_secret(name: str) -> None:
    """Each of them alone is refused without the secret, an empty one too."""
    source = Forwarded(dialect=NGINX, secret=SECRET)
    for value in ("", "NONE", "SUCCESS"):
        assert reason_of(source.read, received((name, value))) is Reason.PROXY_UNPROVEN
        assert reason_of(source.read, received((name, value), ("X-Proxy-Secret", "wrong"))) is Reason.PROXY_UNPROVEN
    assert source.read(received(NONE, PROVEN)) is None


@pytest.mark.parametrize("name", ["X_SSL_Client_Cert", "X.SSL.Client.Verify", "X_Proxy_Secret", "x-proxy_secret"])
def test_spellings(name: str) -> None:
    """Another spelling of a header or of the secret is refused from whom is believed, and nobody's from others."""
    source = Forwarded(dialect=NGINX, proxies=TRUSTED, secret=SECRET)
    headers = (CERTIFICATE, SUCCESS, PROVEN, (name, VALUE))
    assert reason_of(source.read, received(*headers)) is Reason.AMBIGUOUS_HEADER
    assert reason_of(source.read, received((name, VALUE))) is Reason.AMBIGUOUS_HEADER
    assert source.read(received(*headers, peer=STRANGER)) is None


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_secret_does_not_reach_the_application(leaves: BrokenLeaves, carrier: str) -> None:
    """After use, and from strangers, the secret is removed like every other header of the proxy."""
    source = Forwarded(dialect=NGINX, proxies=TRUSTED, secret=ProxySecret(VALUE, header="X-Ours"))
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    headers = [("X-SSL-Client-Cert", escaped_pem(leaves.good.der)), SUCCESS, ("X-Ours", VALUE), ("Accept", "*/*")]
    for peer, kind in ((PROXY, "authenticated"), (STRANGER, "anonymous")):
        answer = CARRIERS[carrier](authenticator, Request(headers=headers, peer=peer))
        assert answer.kind == kind
        assert answer.passed <= {"accept"}
    assert CARRIERS[carrier](authenticator, Request(headers=headers[:2])).reason is Reason.PROXY_UNPROVEN


def test_headers() -> None:
    """A source lists the headers of its dialect, and the secret's."""
    assert nginx().headers == set(NGINX.headers)
    assert Forwarded(dialect=NGINX, secret=SECRET).headers == {*NGINX.headers, "x-proxy-secret"}


def test_nobody_is_trusted() -> None:
    """Without proxies, secret and certificate a source is an error."""
    with pytest.raises(ConfigurationError, match=r"nobody is trusted: name proxies, a secret, or the proxy's cert"):
        Forwarded(dialect=NGINX)


def test_the_secret_needs_a_header_of_its_own() -> None:
    """A secret under a name that the dialect reads is an error."""
    with pytest.raises(ConfigurationError, match=r"nginx would share the header x-ssl-client-verify"):
        Forwarded(dialect=NGINX, secret=ProxySecret(VALUE, header="X-SSL-Client-Verify"))
    with pytest.raises(ConfigurationError, match=r"apache would share the header x-ssl-client-chain-3"):
        Forwarded(dialect=APACHE, secret=ProxySecret(VALUE, header="X-SSL-Client-Chain-3"))


def test_every_problem_at_once() -> None:
    """An operator reads about all of it the first time."""
    with pytest.raises(ConfigurationError) as refused:
        Forwarded(dialect=KONG, proxy_verifies=True)
    assert len(refused.value.problems) == 2
    assert "kong never verifies what it forwards" in refused.value.problems[1]


@pytest.mark.parametrize(
    ("leaf", "reason"), [("A" * MAX_LEAF_CHARACTERS, None), ("A" * (MAX_LEAF_CHARACTERS + 1), Reason.OVERSIZED_HEADER)]
)
@pytest.mark.parametrize("dialect", [NGINX, APACHE, HAPROXY, CADDY], ids=lambda dialect: dialect.name)
def test_length_of_the_leaf(dialect: Dialect, leaf: str, reason: Reason | None) -> None:
    """A leaf that is too long is refused before it is decoded, whatever comes beside it."""
    source = Forwarded(dialect=dialect, proxies=TRUSTED)
    verdict = () if dialect is CADDY else (("X-SSL-Client-Verify", "0" if dialect is HAPROXY else "SUCCESS"),)
    assert reason_of(source.read, received((dialect.leaf, leaf), *verdict)) is reason


@pytest.mark.parametrize("dialect", [ENVOY, ISTIO, TRAEFIK], ids=lambda dialect: dialect.name)
def test_length_of_a_leaf_with_its_chain(dialect: Dialect) -> None:
    """Where the chain is in the leaf's header, that may be as long as a chain."""
    source = Forwarded(dialect=dialect, proxies=TRUSTED, proxy_verifies=True)
    assert reason_of(source.read, received((dialect.leaf, "A" * MAX_CHAIN_CHARACTERS))) is None
    assert reason_of(source.read, received((dialect.leaf, "A" * (MAX_CHAIN_CHARACTERS + 1)))) is Reason.OVERSIZED_HEADER


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
    assert reason_of(rfc9440().read, received(LEAF, *chain)) is reason
    numbered = [(f"X-SSL-Client-Chain-{at}", "A" * length) for at, length in enumerate(lengths)]
    apache = Forwarded(dialect=APACHE, proxies=TRUSTED)
    assert reason_of(apache.read, received(("X-SSL-Client-Cert", "A"), SUCCESS, *numbered)) is reason


def test_lengths_of_the_operator_s() -> None:
    """The bounds can be set."""
    source = Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=True, max_leaf=9, max_chain=6)
    assert reason_of(source.read, received(("Client-Cert", "A" * 9), ("Client-Cert-Chain", "A" * 6))) is None
    assert reason_of(source.read, received(("Client-Cert", "A" * 10))) is Reason.OVERSIZED_HEADER
    too_long = received(("Client-Cert", "A"), ("Client-Cert-Chain", "A" * 7))
    assert reason_of(source.read, too_long) is Reason.OVERSIZED_HEADER


def test_nothing_came() -> None:
    """A connection without any certificate field is nobody's, and nothing about it is looked up."""
    assert nginx().read(Connection()) is None
