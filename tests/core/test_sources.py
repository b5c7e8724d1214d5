"""Sources: the server's own socket, and several named places at once; each believed only from whom it may come."""

import ssl

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AgreeingSources,
    AnyVerifiedCertificate,
    Assurance,
    Authenticator,
    ConfigurationError,
    Forwarded,
    ProxySecret,
    Reason,
    ServerEnviron,
    Source,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.dialects import CADDY, LINKERD
from mtls_auth.server_environ import MOD_WSGI
from mtls_auth.testing import client_cert_field, escaped_pem
from tests.core.conftest import CARRIERS, PROXIES, PROXY, STRANGER, Request, reason_of, received
from tests.pki import BrokenLeaves

DER = b"0\x03\x02\x01\x00"
OTHER = b"0\x03\x02\x01\x01"
TRUSTED = TrustedProxies.parse(PROXIES)
CERTIFICATE = ("X-SSL-Client-Cert", escaped_pem(DER))
SUCCESS = ("X-SSL-Client-Verify", "SUCCESS")
NONE = ("X-SSL-Client-Verify", "NONE")
LEAF = ("Client-Cert", client_cert_field(DER))
OTHER_LEAF = ("Client-Cert", client_cert_field(OTHER))
NGINX_SOURCE = Forwarded(dialect=NGINX, proxies=TRUSTED)
RFC9440_SOURCE = Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=True)
UNVERIFIED = Forwarded(dialect=RFC9440, proxies=TRUSTED)


@pytest.mark.parametrize(
    "chain",
    [(DER,), (DER, OTHER), (ssl.DER_cert_to_PEM_cert(DER),), (ssl.DER_cert_to_PEM_cert(DER), OTHER)],
    ids=["DER", "chain", "PEM", "both"],
)
def test_tls_socket(chain: tuple[str | bytes, ...]) -> None:
    """The socket's chain is evidence that the TLS layer vouches for, in DER whatever the server gives."""
    evidence = TLSSocket().read(received(peer=STRANGER, tls=chain))
    assert evidence is not None
    assert (evidence.source, evidence.vouched, evidence.raw) == ("tls", Assurance.TLS_SOCKET, chain)
    assert evidence.chain() == (DER, OTHER)[: len(chain)]


def test_tls_socket_reads_no_header() -> None:
    """Without a certificate on the socket there is none, whatever the headers say."""
    assert TLSSocket().read(received(CERTIFICATE, SUCCESS, LEAF)) is None
    assert TLSSocket().dialects == ()
    assert TLSSocket().headers == frozenset()
    assert TLSSocket().vouches


def test_tls_socket_with_nonsense() -> None:
    """Text on the socket that is no PEM is malformed."""
    evidence = TLSSocket().read(received(tls=("nonsense",)))
    assert evidence is not None
    assert reason_of(evidence.chain) is Reason.MALFORMED_HEADER


def agreeing(*sources: Source) -> AgreeingSources:
    """Return several sources as one."""
    return AgreeingSources(sources)


BOTH = agreeing(TLSSocket(), NGINX_SOURCE)


@pytest.mark.parametrize(
    ("headers", "tls", "peer", "source"),
    [
        ((), (), PROXY, None),
        ((), (DER,), PROXY, "tls"),
        ((CERTIFICATE, SUCCESS), (), PROXY, "nginx"),
        ((CERTIFICATE, SUCCESS), (DER,), PROXY, "tls"),
        ((NONE,), (DER,), PROXY, "tls"),
        ((NONE,), (), PROXY, None),
        ((CERTIFICATE, SUCCESS), (), STRANGER, None),
        ((CERTIFICATE, SUCCESS), (OTHER,), STRANGER, "tls"),
    ],
    ids=["nothing", "socket", "header", "both", "socket, NONE", "NONE", "stranger's header", "stranger's and socket"],
)
def test_agreeing_sources(
    headers: tuple[tuple[str, str], ...], tls: tuple[bytes, ...], peer: str, source: str | None
) -> None:
    """Whichever of several sources speaks is heard; of those that agree, the first."""
    evidence = BOTH.read(received(*headers, tls=tls, peer=peer))
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
    assert reason_of(BOTH.read, received(*headers, tls=(OTHER,))) is reason


@pytest.mark.parametrize("carrier", CARRIERS)
def test_two_dialects(leaves: BrokenLeaves, carrier: str) -> None:
    """Two dialects of believed proxies are heard each by itself; what both say must be the same certificate."""
    authenticator = Authenticator(agreeing(NGINX_SOURCE, RFC9440_SOURCE), policy=AnyVerifiedCertificate())

    def sent(nginx: bytes | None, rfc9440: bytes | None, peer: str = PROXY) -> Request:
        headers = [] if nginx is None else [("X-SSL-Client-Cert", escaped_pem(nginx)), SUCCESS]
        headers += [] if rfc9440 is None else [("Client-Cert", client_cert_field(rfc9440))]
        return Request(headers=headers, peer=peer)

    alice, other = leaves.good.der, leaves.without_eku.der
    ask = CARRIERS[carrier]
    for request in (sent(alice, None), sent(None, alice), sent(alice, alice)):
        assert ask(authenticator, request).fingerprint == leaves.good.fingerprint_sha256
    for request in (sent(alice, other), sent(other, alice), sent(alice, leaves.expired.der)):
        assert ask(authenticator, request).reason is Reason.CONTRADICTORY_EVIDENCE
    for request in (sent(None, None), sent(alice, other, STRANGER)):
        answer = ask(authenticator, request)
        assert (answer.kind, answer.passed) == ("anonymous", frozenset())


def test_two_proxies_with_one_dialect() -> None:
    """The same headers from either of two proxies are one certificate."""
    first = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["10.0.0.1"]))
    second = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["10.0.0.2"]))
    source = agreeing(first, second)
    for peer, speaks in (("10.0.0.1", True), ("10.0.0.2", True), ("10.0.0.3", False)):
        assert (source.read(received(CERTIFICATE, SUCCESS, peer=peer)) is not None) is speaks


OUTER, INNER = ProxySecret("2WoPUvB4Jq2lfJfNyZ0T"), ProxySecret("oL1+c/x9T0m2bYcQ7w8==")


def secret(value: str) -> tuple[str, str]:
    """Return the header of a proxy's secret."""
    return ("X-Proxy-Secret", value)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ((CERTIFICATE, SUCCESS, secret("2WoPUvB4Jq2lfJfNyZ0T")), "nginx"),
        ((CERTIFICATE, SUCCESS, secret("oL1+c/x9T0m2bYcQ7w8==")), "nginx"),
        ((NONE, secret("oL1+c/x9T0m2bYcQ7w8==")), None),
        ((CERTIFICATE, SUCCESS, secret("wrong")), Reason.PROXY_UNPROVEN),
        ((CERTIFICATE, SUCCESS), Reason.PROXY_UNPROVEN),
        ((NONE,), Reason.PROXY_UNPROVEN),
        ((), None),
        ((("X-SSL-Client-Cert", "nonsense"), secret("2WoPUvB4Jq2lfJfNyZ0T")), Reason.UNVERIFIED),
    ],
)
def test_two_secrets(headers: tuple[tuple[str, str], ...], outcome: str | Reason | None) -> None:
    """Two proxies with the same headers are told apart by their secrets; with neither nobody is believed."""
    source = agreeing(Forwarded(dialect=NGINX, secret=OUTER), Forwarded(dialect=NGINX, secret=INNER))
    connection = received(*headers)
    if isinstance(outcome, Reason):
        assert reason_of(source.read, connection) is outcome
    else:
        evidence = source.read(connection)
        assert (evidence and evidence.source) == outcome


def test_two_secrets_of_two_dialects() -> None:
    """What one proxy let through of the other's headers is not believed for its own secret."""
    source = agreeing(
        Forwarded(dialect=NGINX, secret=OUTER), Forwarded(dialect=RFC9440, secret=INNER, proxy_verifies=True)
    )
    forged = received(CERTIFICATE, SUCCESS, OTHER_LEAF, secret("oL1+c/x9T0m2bYcQ7w8=="))
    evidence = source.read(forged)
    assert evidence is not None
    assert (evidence.source, evidence.chain()) == ("rfc9440", (OTHER,))
    assert source.read(received(CERTIFICATE, SUCCESS, secret("oL1+c/x9T0m2bYcQ7w8=="))) is None


def test_a_secret_beside_another_source() -> None:
    """Headers without the secret are refused, whatever the socket says; a stranger's are not looked at."""
    source = agreeing(TLSSocket(), Forwarded(dialect=NGINX, secret=OUTER))
    assert reason_of(source.read, received(CERTIFICATE, SUCCESS, tls=(DER,))) is Reason.PROXY_UNPROVEN
    with_address = agreeing(TLSSocket(), Forwarded(dialect=NGINX, secret=OUTER, proxies=TRUSTED))
    assert with_address.read(received(CERTIFICATE, SUCCESS, tls=(DER,), peer=STRANGER)) is not None


def test_three_sources() -> None:
    """The third source is asked as well."""
    three = agreeing(TLSSocket(), NGINX_SOURCE, RFC9440_SOURCE)
    assert three.read(received(LEAF, CERTIFICATE, SUCCESS, tls=(DER,))) is not None
    contradicting = received(OTHER_LEAF, CERTIFICATE, SUCCESS, tls=(DER,))
    assert reason_of(three.read, contradicting) is Reason.CONTRADICTORY_EVIDENCE
    assert three.dialects == (NGINX, RFC9440)
    assert three.headers == {*NGINX.headers, *RFC9440.headers}


def test_statements_and_certificates_contradict() -> None:
    """What a mesh states of its peer is not the certificate of somebody else's client."""
    mesh = Forwarded(dialect=LINKERD, proxies=TRUSTED, proxy_verifies=True)
    both = agreeing(mesh, RFC9440_SOURCE)
    name = ("L5d-Client-Id", "web.prod.serviceaccount.identity.linkerd.cluster.local")
    assert reason_of(both.read, received(name, LEAF)) is Reason.CONTRADICTORY_EVIDENCE
    assert reason_of(agreeing(mesh, mesh).read, received(name)) is None


def test_variables_beside_the_socket() -> None:
    """The server's variables and its socket are two places that must agree."""
    source = agreeing(TLSSocket(), ServerEnviron(MOD_WSGI))
    variables = {"SSL_CLIENT_CERT": ssl.DER_cert_to_PEM_cert(DER), "SSL_CLIENT_VERIFY": "SUCCESS"}
    assert source.read(received(tls=(DER,), variables=variables)) is not None
    assert reason_of(source.read, received(tls=(OTHER,), variables=variables)) is Reason.CONTRADICTORY_EVIDENCE


@pytest.mark.parametrize(
    ("sources", "vouches"),
    [
        ((TLSSocket(), NGINX_SOURCE, RFC9440_SOURCE), True),
        ((TLSSocket(), UNVERIFIED), False),
        ((agreeing(UNVERIFIED), NGINX_SOURCE), False),
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


def test_evidence_of_two_dialects_is_not_mixed_up(leaves: BrokenLeaves) -> None:
    """What was decoded in one dialect is not found in the cache for another one."""
    caddy = Forwarded(dialect=CADDY.with_headers(leaf="X-Caddy"), proxies=TRUSTED, proxy_verifies=True)
    authenticator = Authenticator(agreeing(NGINX_SOURCE, caddy), policy=AnyVerifiedCertificate())
    value = escaped_pem(leaves.good.der)
    genuine = Request(headers=[("X-SSL-Client-Cert", value), SUCCESS])
    assert CARRIERS["asgi"](authenticator, genuine).kind == "authenticated"
    assert CARRIERS["asgi"](authenticator, Request(headers=[("X-Caddy", value)])).reason is Reason.MALFORMED_HEADER
