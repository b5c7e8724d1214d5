"""Sources: the server's own socket, and several named places at once; each believed only from whom it may come."""

import ssl
from dataclasses import replace

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AgreeingSources,
    AnyVerifiedCertificate,
    Assurance,
    Authenticator,
    CommonName,
    ConfigurationError,
    Dialect,
    Fingerprint,
    Forwarded,
    ProxyCertificate,
    ProxySecret,
    Reason,
    ServerEnviron,
    Source,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.codecs import base64_der
from mtls_auth.dialects import CADDY, ENVOY, LINKERD
from mtls_auth.server_environ import MOD_WSGI
from mtls_auth.testing import client_cert_field, escaped_pem
from mtls_auth.xfcc import XFCC
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
        ((NONE,), (DER,), STRANGER, "tls"),
        ((NONE,), (), PROXY, None),
        ((CERTIFICATE, SUCCESS), (), STRANGER, None),
        ((CERTIFICATE, SUCCESS), (OTHER,), STRANGER, "tls"),
    ],
    ids=[
        "nothing",
        "socket",
        "header",
        "both",
        "socket, stranger's NONE",
        "NONE",
        "stranger's header",
        "stranger's and socket",
    ],
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
        ((NONE,), Reason.CONTRADICTORY_EVIDENCE),
    ],
    ids=["other certificate", "refused by the proxy", "unreadable", "spelling", "the proxy's own certificate"],
)
def test_contradicting_sources(headers: tuple[tuple[str, str], ...], reason: Reason) -> None:
    """One source that says something else, or nonsense, spoils what the other one says."""
    assert reason_of(BOTH.read, received(*headers, tls=(OTHER,))) is reason


OUTER, INNER = ProxySecret("2WoPUvB4Jq2lfJfNyZ0T"), ProxySecret("oL1+c/x9T0m2bYcQ7w8==")
OTHER_PROXY = "10.9.9.9"


def said(nginx: bytes | None, rfc9440: bytes | None, peer: str = PROXY) -> Request:
    """Return a request in which two dialects name these certificates."""
    headers = [] if nginx is None else [("X-SSL-Client-Cert", escaped_pem(nginx)), SUCCESS]
    headers += [] if rfc9440 is None else [("Client-Cert", client_cert_field(rfc9440))]
    return Request(headers=headers, peer=peer)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_two_dialects_of_one_peer(leaves: BrokenLeaves, carrier: str) -> None:
    """Where either proxy may have sent the request both must name the same: one lets the other's headers pass."""
    authenticator = Authenticator(agreeing(NGINX_SOURCE, RFC9440_SOURCE), policy=AnyVerifiedCertificate())
    alice, other = leaves.good.der, leaves.without_eku.der
    ask = CARRIERS[carrier]
    assert ask(authenticator, said(alice, alice)).fingerprint == leaves.good.fingerprint_sha256
    for request in (
        said(alice, other),
        said(other, alice),
        said(alice, leaves.expired.der),
        said(alice, None),
        said(None, alice),
        Request(headers=[*said(None, alice).headers, NONE]),
    ):
        assert ask(authenticator, request).reason is Reason.CONTRADICTORY_EVIDENCE
    for request in (said(None, None), said(alice, other, STRANGER), said(None, alice, STRANGER)):
        answer = ask(authenticator, request)
        assert (answer.kind, answer.passed) == ("anonymous", frozenset())


@pytest.mark.parametrize("carrier", CARRIERS)
def test_two_dialects_of_two_peers(leaves: BrokenLeaves, carrier: str) -> None:
    """Proxies in networks of their own are heard each by itself; what it let through of the other's is not."""
    first = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse([PROXY]))
    second = Forwarded(dialect=RFC9440, proxies=TrustedProxies.parse([OTHER_PROXY]), proxy_verifies=True)
    authenticator = Authenticator(agreeing(first, second), policy=AnyVerifiedCertificate())
    alice, bob = leaves.good, leaves.ca.issue("bob")
    ask = CARRIERS[carrier]
    for nginx, rfc9440, peer, name in (
        (alice, None, PROXY, "alice"),
        (None, bob, OTHER_PROXY, "bob"),
        (alice, bob, PROXY, "alice"),
        (alice, bob, OTHER_PROXY, "bob"),
        (None, bob, PROXY, None),
        (alice, None, OTHER_PROXY, None),
    ):
        request = said(None if nginx is None else nginx.der, None if rfc9440 is None else rfc9440.der, peer)
        assert ask(authenticator, request).subject_cn == name
        assert ask(authenticator, request).kind == ("authenticated" if name else "anonymous")


def test_two_certificates_of_one_proxy(leaves: BrokenLeaves) -> None:
    """Proxies are not told apart by certificates if one may be both."""
    one, both = leaves.ca.issue("one"), leaves.ca.issue("both")
    first = Forwarded(
        dialect=NGINX,
        certificate=ProxyCertificate(Fingerprint(one.fingerprint_sha256, both.fingerprint_sha256)),
    )
    second = Forwarded(
        dialect=RFC9440,
        certificate=ProxyCertificate(Fingerprint(both.fingerprint_sha256)),
        proxy_verifies=True,
    )
    source = agreeing(first, second)
    assert source.read(received(CERTIFICATE, SUCCESS, tls=(one.der,))) is not None
    assert source.read(received(LEAF, tls=(one.der,))) is None
    assert source.read(received(CERTIFICATE, SUCCESS, LEAF, tls=(both.der,))) is not None
    for headers in ((CERTIFICATE, SUCCESS), (LEAF,)):
        assert reason_of(source.read, received(*headers, tls=(both.der,))) is Reason.CONTRADICTORY_EVIDENCE


def test_one_with_a_secret_and_one_without() -> None:
    """Where only one of two proxies has a secret, and nothing else tells them apart, nothing could be decided."""
    with_secret = Forwarded(dialect=NGINX, proxies=TRUSTED, secret=OUTER)
    for other in (NGINX_SOURCE, RFC9440_SOURCE):
        for pair in ((with_secret, other), (other, with_secret)):
            with pytest.raises(ConfigurationError, match="one proxy has a secret and the other not"):
                agreeing(*pair)
    elsewhere = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["192.0.2.0/24"]))
    source = agreeing(with_secret, elsewhere)
    assert reason_of(source.read, received(CERTIFICATE, SUCCESS)) is Reason.PROXY_UNPROVEN
    assert source.read(received(CERTIFICATE, SUCCESS, peer="192.0.2.1")) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NGINX, replace(NGINX.with_headers(leaf="X-Other"), decode=base64_der)),
        (ENVOY, replace(ENVOY, decode=XFCC(hops=2))),
        (RFC9440, Dialect(name="rfc9440", leaf="x-other", decode=base64_der)),
    ],
    ids=["codec", "hops", "somebody's own"],
)
def test_two_decoders_of_one_name(one: Dialect, other: Dialect) -> None:
    """Two dialects that are read differently need two names: the cache and the logs know them by it."""
    sources = [Forwarded(dialect=dialect, proxies=TRUSTED, proxy_verifies=True) for dialect in (one, other)]
    with pytest.raises(ConfigurationError, match=f"two dialects have the name {one.name} and are read differently"):
        agreeing(*sources)
    sources[1] = replace(sources[1], dialect=replace(other, name="other"))
    assert agreeing(*sources).dialects[1].name == "other"


def test_every_confusion_at_once() -> None:
    """An operator reads about all of them the first time."""
    pinned = Forwarded(dialect=RFC9440, certificate=ProxyCertificate(CommonName("proxy")), secret=OUTER)
    other = Forwarded(dialect=replace(NGINX, decode=base64_der), proxies=TRUSTED)
    with pytest.raises(ConfigurationError) as refused:
        agreeing(TLSSocket(), NGINX_SOURCE, other, pinned)
    assert len(refused.value.problems) == 4  # two decoders, two without the secret, and the socket


@pytest.mark.parametrize(
    ("changes", "apart"),
    [
        ({}, False),
        ({"proxies": TrustedProxies.parse(["10.9.0.0/16"])}, False),
        ({"proxies": TrustedProxies.parse(["192.0.2.0/24"])}, True),
        ({"proxies": TrustedProxies.parse(["2001:db8::/32"])}, True),
        ({"proxies": TrustedProxies.parse(["unix:/run/app.sock"])}, False),
        ({"proxies": TrustedProxies.parse(["unix:/run/other.sock"])}, True),
        ({"proxies": None, "secret": ProxySecret("2WoPUvB4Jq2lfJfNyZ0T")}, False),
        ({"proxies": None, "certificate": ProxyCertificate(CommonName("proxy"))}, False),
    ],
    ids=["same", "inside", "elsewhere", "IPv6", "same socket", "other socket", "by secret", "by certificate"],
)
def test_networks_apart(changes: dict[str, object], apart: bool) -> None:
    """Proxies are apart where no peer can be both."""
    other = replace(NGINX_SOURCE, **changes)  # type: ignore[arg-type]
    assert NGINX_SOURCE.is_apart_from(other) is other.is_apart_from(NGINX_SOURCE) is apart


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (("2WoPUvB4Jq2lfJfNyZ0T",), ("oL1+c/x9T0m2bYcQ7w8==",), True),
        (("2WoPUvB4Jq2lfJfNyZ0T",), ("2WoPUvB4Jq2lfJfNyZ0T",), False),
        (("2WoPUvB4Jq2lfJfNyZ0T", "oL1+c/x9T0m2bYcQ7w8=="), ("oL1+c/x9T0m2bYcQ7w8==",), False),
    ],
    ids=["others", "the same", "one of two"],
)
def test_secrets_apart(one: tuple[str, ...], other: tuple[str, ...], apart: bool) -> None:
    """Secrets are apart where no value is right for both."""
    first, second = (Forwarded(dialect=NGINX, secret=ProxySecret(*values)) for values in (one, other))
    assert first.is_apart_from(second) is second.is_apart_from(first) is apart


def test_a_socket_beside_a_secret(leaves: BrokenLeaves) -> None:
    """What the proxy with the secret says of nobody, the certificate on the socket does not say of somebody."""
    source = agreeing(TLSSocket(), Forwarded(dialect=NGINX, secret=OUTER))
    proven = secret("2WoPUvB4Jq2lfJfNyZ0T")
    assert reason_of(source.read, received(NONE, proven, tls=(DER,))) is Reason.CONTRADICTORY_EVIDENCE
    assert reason_of(source.read, received(proven, tls=(DER,))) is Reason.CONTRADICTORY_EVIDENCE
    assert reason_of(source.read, received(secret("wrong"), tls=(DER,))) is None
    assert source.read(received(tls=(DER,))) is not None


def test_two_proxies_with_one_dialect() -> None:
    """The same headers from either of two proxies are one certificate."""
    first = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["10.0.0.1"]))
    second = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["10.0.0.2"]))
    source = agreeing(first, second)
    for peer, speaks in (("10.0.0.1", True), ("10.0.0.2", True), ("10.0.0.3", False)):
        assert (source.read(received(CERTIFICATE, SUCCESS, peer=peer)) is not None) is speaks


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
    caddy = Forwarded(
        dialect=CADDY.with_headers(leaf="X-Caddy"), proxies=TrustedProxies.parse(["192.0.2.1"]), proxy_verifies=True
    )
    authenticator = Authenticator(agreeing(NGINX_SOURCE, caddy), policy=AnyVerifiedCertificate())
    value = escaped_pem(leaves.good.der)
    genuine = Request(headers=[("X-SSL-Client-Cert", value), SUCCESS])
    assert CARRIERS["asgi"](authenticator, genuine).kind == "authenticated"
    mistaken = Request(headers=[("X-Caddy", value)], peer="192.0.2.1")
    assert CARRIERS["asgi"](authenticator, mistaken).reason is Reason.MALFORMED_HEADER


def test_certificates_apart() -> None:
    """Proxies that are pinned differently may differ in whether they have a secret; those pinned alike may not."""
    one = Forwarded(dialect=NGINX, certificate=ProxyCertificate(CommonName("one")))
    secret = ProxySecret("2WoPUvB4Jq2lfJfNyZ0T")
    other = Forwarded(dialect=NGINX, certificate=ProxyCertificate(CommonName("other")), secret=secret)
    assert agreeing(one, other).headers == one.headers | other.headers
    with pytest.raises(ConfigurationError, match="has a secret and the other not"):
        agreeing(one, replace(one, secret=secret))
