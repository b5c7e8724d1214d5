"""One decision table, source × certificate × policy, through every adapter: none of them decides for itself."""

import itertools
import ssl
from collections.abc import Sequence
from typing import TypeAlias

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AgreeingSources,
    AnyVerifiedCertificate,
    Authenticator,
    CommonName,
    Fingerprint,
    Forwarded,
    PathVerifier,
    Policy,
    ProxyCertificate,
    ProxySecret,
    Reason,
    ServerEnviron,
    Source,
    TLSSocket,
    TrustedProxies,
    Verifier,
)
from mtls_auth.dialects import BUILTIN, ENVOY, HAPROXY, KONG
from mtls_auth.known_headers import known_headers
from mtls_auth.server_environ import GATEWAY_PARAMS
from mtls_auth.testing import CertificateAuthority, escaped_pem
from mtls_auth.testing.headers import headers_for
from tests.core.conftest import CARRIERS, PROXIES, PROXY, STRANGER, Answer, Request
from tests.pki import BrokenLeaves

TRUSTED = TrustedProxies.parse(PROXIES)
NGINX_SOURCE = Forwarded(dialect=NGINX, proxies=TRUSTED)
RFC9440_SOURCE = Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=True)

SECRET = "2WoPUvB4Jq2lfJfNyZ0T"
# The certificate by which the proxy is known on its own connection to us.
PROXY_LEAF = CertificateAuthority("Internal CA").issue("proxy")
PROXY_CERTIFICATE = ProxyCertificate(Fingerprint(PROXY_LEAF.fingerprint_sha256))

# What arrives of a certificate by each source, and what of none.
WAYS: dict[str, Source] = {
    "socket": TLSSocket(),
    "nginx": NGINX_SOURCE,
    "rfc9440": RFC9440_SOURCE,
    "unverified rfc9440 with anchors": Forwarded(dialect=RFC9440, proxies=TRUSTED),
    "socket with anchors": TLSSocket(),
    "socket and nginx": AgreeingSources((TLSSocket(), NGINX_SOURCE)),
    "nginx by its secret": Forwarded(dialect=NGINX, secret=ProxySecret(SECRET)),
    "nginx by its certificate": Forwarded(dialect=NGINX, certificate=PROXY_CERTIFICATE),
    "haproxy": Forwarded(dialect=HAPROXY, proxies=TRUSTED),
    "envoy": Forwarded(dialect=ENVOY, proxies=TRUSTED, proxy_verifies=True),
    "kong with anchors": Forwarded(dialect=KONG, proxies=TRUSTED),
    "gateway params": ServerEnviron(GATEWAY_PARAMS),
}

POLICIES: dict[str, Policy] = {
    "anybody": AnyVerifiedCertificate(),
    "alice": CommonName("alice"),
    "bob": CommonName("bob"),
}

Outcome: TypeAlias = "str | Reason"
ALICE, ANONYMOUS, NOT_ALLOWED = "authenticated", "anonymous", Reason.NOT_ALLOWED

# For each policy in the order above; where anchors make a difference, it stands in the second table.
TABLE: dict[str | None, Sequence[Outcome]] = {
    None: (ANONYMOUS,) * 3,
    "good": (ALICE, ALICE, NOT_ALLOWED),
    "without_eku": (ALICE, ALICE, NOT_ALLOWED),
    "impostor": (ALICE, ALICE, NOT_ALLOWED),
    "expired": (Reason.EXPIRED,) * 3,
    "not_yet_valid": (Reason.NOT_YET_VALID,) * 3,
    "server_only": (Reason.WRONG_KEY_USAGE,) * 3,
    "two_common_names": (Reason.UNUSABLE_NAME,) * 3,
    "without_name": (Reason.UNUSABLE_NAME,) * 3,
}
WITH_ANCHORS: dict[str | None, Sequence[Outcome]] = {"impostor": (Reason.UNTRUSTED,) * 3}

ROWS = [
    pytest.param(way, leaf, policy, outcome, id=f"{way}-{leaf}-{policy}")
    for way, leaf in itertools.product(WAYS, TABLE)
    for policy, outcome in zip(
        POLICIES, (WITH_ANCHORS if way.endswith("anchors") else {}).get(leaf, TABLE[leaf]), strict=True
    )
]


def request_of(way: str, der: bytes | None) -> Request:
    """Return what reaches the application by this way."""
    accept = ("Accept", "*/*")
    if way.startswith("socket") and "nginx" not in way:
        return Request(headers=[accept], tls=der)
    if way == "gateway params":
        pem = "" if der is None else ssl.DER_cert_to_PEM_cert(der)
        verdict = "NONE" if der is None else "SUCCESS"
        return Request(headers=[accept], variables={"SSL_CLIENT_CERT": pem, "SSL_CLIENT_VERIFY": verdict})
    dialect = next(row for name, row in BUILTIN.items() if name in way.split())
    headers = [accept, *([] if der is None else headers_for(dialect, der))]
    if der is None and dialect in (NGINX, HAPROXY):
        headers.append(("X-SSL-Client-Verify", "NONE" if dialect is NGINX else "0"))
    if "secret" in way:
        headers.append(("X-Proxy-Secret", SECRET))
    by_certificate = "certificate" in way
    tls = PROXY_LEAF.der if by_certificate else der if "socket" in way else None
    return Request(headers=headers, tls=tls, peer=STRANGER if by_certificate else PROXY)


@pytest.fixture(scope="module")
def authenticators(ca: CertificateAuthority) -> dict[tuple[str, str], Authenticator]:
    """One authenticator for each way and policy, used by all tests: what one caches, the next one finds."""
    anchors = PathVerifier([ca.certificate])
    built = {}
    for way, source in WAYS.items():
        verifier: Verifier | None = anchors if way.endswith("anchors") else None
        for name, policy in POLICIES.items():
            built[way, name] = Authenticator(source, policy=policy, verifier=verifier)
    return built


def expected_answer(outcome: Outcome, carrier: str, name: str = "alice") -> Answer:
    """Return the answer that stands for an outcome."""
    passed = frozenset({"accept"})
    through_server = carrier != "authenticator"
    match outcome:
        case Reason():
            status = 1008 if carrier == "websocket" else outcome.status
            return Answer(kind="denied", reason=outcome, status=status if through_server else None)
        case _:
            return Answer(
                kind=outcome,
                subject_cn=name if outcome == ALICE else None,
                status=200 if through_server else None,
                passed=passed if through_server else frozenset(),
            )


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("way", "leaf", "policy", "outcome"), ROWS)
def test_decision_table(
    authenticators: dict[tuple[str, str], Authenticator],
    leaves: BrokenLeaves,
    way: str,
    leaf: str | None,
    policy: str,
    outcome: Outcome,
    carrier: str,
) -> None:
    """Whichever way a certificate comes, the decision and what the application sees are the same, cold and hot."""
    request = request_of(way, None if leaf is None else getattr(leaves, leaf).der)
    for _ in range(2):
        answer = CARRIERS[carrier](authenticators[way, policy], request)
        assert answer == expected_answer(outcome, carrier)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("way", WAYS)
def test_required(ca: CertificateAuthority, way: str, carrier: str) -> None:
    """Where a certificate is required, a request without one is denied by every way."""
    verifier = PathVerifier([ca.certificate]) if way.endswith("anchors") else None
    authenticator = Authenticator(WAYS[way], policy=AnyVerifiedCertificate(), verifier=verifier, required=True)
    answer = CARRIERS[carrier](authenticator, request_of(way, None))
    assert answer == expected_answer(Reason.CERTIFICATE_REQUIRED, carrier)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    ("socket", "header", "outcome"),
    [
        ("good", "good", ALICE),
        ("good", "without_eku", Reason.CONTRADICTORY_EVIDENCE),
        ("good", "expired", Reason.CONTRADICTORY_EVIDENCE),
        (None, "good", ALICE),
        ("good", None, Reason.CONTRADICTORY_EVIDENCE),  # the proxy says none: the socket's is its own
    ],
)
def test_two_sources(
    leaves: BrokenLeaves, socket: str | None, header: str | None, outcome: Outcome, carrier: str
) -> None:
    """Two sources that name different certificates are refused, whoever of them is right."""
    der = None if header is None else getattr(leaves, header).der
    request = request_of("nginx", der)
    request = Request(headers=request.headers, tls=None if socket is None else getattr(leaves, socket).der)
    authenticator = Authenticator(WAYS["socket and nginx"], policy=AnyVerifiedCertificate())
    assert CARRIERS[carrier](authenticator, request) == expected_answer(outcome, carrier)


SERVED = [name for name in CARRIERS if name != "authenticator"]
EVERY_NAME = sorted(known_headers().names)


def spellings(name: str) -> list[str]:
    """Return names that some server folds into this one."""
    return [name.upper(), name.replace("-", "_"), name.replace("-", "."), name.replace("-", "_", 1).title()]


@pytest.mark.parametrize("peer", [STRANGER, None, "unix:/run/other.sock"], ids=["stranger", "hidden", "other socket"])
@pytest.mark.parametrize("carrier", SERVED)
@pytest.mark.parametrize("source", [TLSSocket(), NGINX_SOURCE, RFC9440_SOURCE], ids=["socket", "nginx", "rfc9440"])
def test_headers_of_strangers(leaves: BrokenLeaves, source: Source, carrier: str, peer: str | None) -> None:
    """Of a request that does not come from a trusted proxy every known header is removed; it is anonymous."""
    value = escaped_pem(leaves.good.der)
    headers = [("Accept", "*/*"), *((name.title(), value) for name in EVERY_NAME), ("X-Other", "1")]
    answer = CARRIERS[carrier](
        Authenticator(source, policy=AnyVerifiedCertificate()), Request(headers=headers, peer=peer)
    )
    assert answer.kind == "anonymous"
    assert {name.replace("_", "-") for name in answer.passed} == {"accept", "x-other"}


@pytest.mark.parametrize("carrier", ["asgi", "websocket", "starlette"])
@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_spellings_of_strangers(carrier: str, peer: str) -> None:
    """Under ASGI every spelling that something behind us might fold is removed too, whoever sent it."""
    headers = [("Accept", "*/*"), *((spelling, "x") for name in EVERY_NAME for spelling in spellings(name))]
    answer = CARRIERS[carrier](
        Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()), Request(headers=headers, peer=peer)
    )
    assert answer.kind == "anonymous"
    assert answer.passed == {"accept"}


@pytest.mark.parametrize("carrier", SERVED)
def test_headers_of_the_proxy(leaves: BrokenLeaves, carrier: str) -> None:
    """After use the headers of the trusted proxy are removed, with those of every other dialect."""
    ours = request_of("nginx", leaves.good.der).headers
    others = [(name, "x") for name in EVERY_NAME if name not in NGINX.headers]
    answer = CARRIERS[carrier](
        Authenticator(NGINX_SOURCE, policy=AnyVerifiedCertificate()),
        Request(headers=[*others, *ours, ("X-Other", "1")]),
    )
    assert (answer.kind, answer.subject_cn) == ("authenticated", "alice")
    assert {name.replace("_", "-") for name in answer.passed} == {"accept", "x-other"}


@pytest.mark.parametrize("carrier", SERVED)
def test_headers_of_a_renamed_dialect(leaves: BrokenLeaves, carrier: str) -> None:
    """A header name of the operator's own is read, and removed from strangers' requests as well."""
    source = Forwarded(dialect=NGINX.with_headers(leaf="X-Ours"), proxies=TRUSTED)
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    headers = [("X-Ours", escaped_pem(leaves.good.der)), ("X-SSL-Client-Verify", "SUCCESS")]
    for peer, kind in ((PROXY, "authenticated"), (STRANGER, "anonymous")):
        answer = CARRIERS[carrier](authenticator, Request(headers=headers, peer=peer))
        assert (answer.kind, answer.passed) == (kind, frozenset())


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_rewritten_address_is_not_the_peer(leaves: BrokenLeaves, carrier: str) -> None:
    """A stranger whom `REMOTE_ADDR` and `scope["client"]` call a trusted proxy is a stranger."""
    proxies = TrustedProxies.parse([STRANGER])  # what `environ_of` and `scope_of` state
    headers = request_of("nginx", leaves.good.der).headers
    source = Forwarded(dialect=NGINX, proxies=proxies)
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    assert CARRIERS[carrier](authenticator, Request(headers=headers, peer=PROXY)).kind == "anonymous"
    assert CARRIERS[carrier](authenticator, Request(headers=headers, peer=None)).kind == "anonymous"


@pytest.mark.parametrize("carrier", SERVED)
def test_the_stated_address_where_the_operator_says_so(leaves: BrokenLeaves, carrier: str) -> None:
    """Where the server hides the peer, the stated address stands in if the operator says that nothing rewrites it."""
    source = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse([STRANGER]), server_address_is_peer=True)
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    headers = request_of("nginx", leaves.good.der).headers
    assert CARRIERS[carrier](authenticator, Request(headers=headers, peer=None)).kind == "authenticated"
    assert CARRIERS[carrier](authenticator, Request(headers=headers, peer=PROXY)).kind == "anonymous"
