"""What others expect of the same headers: the test cases of Keycloak, Traefik and Kubernetes (`tests/vectors/peers`).

Each comes to the same here, or is a row of `DEVIATIONS` with its reason. No deviation is permissive.
"""

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509

from mtls_auth import (
    RFC9440,
    AnyVerifiedCertificate,
    Authenticator,
    ByStatedName,
    CertificateRejected,
    CommonName,
    ConfigurationError,
    Dialect,
    Forwarded,
    ProxyCertificate,
    Reason,
    Statement,
    TrustedProxies,
    load_certificate,
)
from mtls_auth.codecs import client_name
from mtls_auth.dialects import ENVOY, HAPROXY, TRAEFIK
from mtls_auth.forwarded import MAX_CHAIN_CHARACTERS
from mtls_auth.testing import CertificateAuthority
from tests.core.conftest import CARRIERS, PROXIES, PROXY, STRANGER, Request, connection_of
from tests.vectors.tables import VECTORS

PEERS = VECTORS / "peers"


def cases(suite: str) -> list[dict[str, Any]]:
    """Read the cases of a suite."""
    found: list[dict[str, Any]] = json.loads((PEERS / f"{suite}.json").read_text(encoding="utf-8"))["cases"]
    return found


KEYCLOAK, TRAEFIK_CASES = cases("keycloak_proxy_lookup"), cases("traefik_passtlsclientcert")
KUBERNETES = cases("kubernetes_requestheader")


@dataclass(frozen=True, slots=True)
class Deviation:
    """Why a case comes to something else here, and to what: certificates, a reason, or nobody."""

    why: str
    outcome: Reason | Sequence[str] | None


UNDERSCORES = "servers drop or fold names with underscores: no dialect has one"
KEPT = "a chain is input to path building, never evidence: there is nothing to cut it for"
TEXT = "the text of the names is not escaped, and not read"
CHAIN = [f"certs/keycloak/haproxy_{name}.pem" for name in ("leaf", "intermediate_2", "intermediate_1")]
DEVIATIONS: dict[str, Deviation] = {
    "kc-haproxy-indexed": Deviation(UNDERSCORES, Reason.AMBIGUOUS_HEADER),
    "kc-haproxy-indexed-zero": Deviation(UNDERSCORES, Reason.AMBIGUOUS_HEADER),
    "kc-haproxy-chain-truncated": Deviation(KEPT, CHAIN),
    "kc-haproxy-chain-zero": Deviation(KEPT, CHAIN),
    "kc-haproxy-invalid-chain": Deviation("one bad certificate spoils the header", Reason.MALFORMED_HEADER),
    "kc-envoy-no-cert-key": Deviation("what breaks the grammar is refused", Reason.MALFORMED_HEADER),
    "kc-traefik-two-nochain": Deviation(KEPT, ["certs/keycloak/x509client.pem", "certs/keycloak/client_sub_ca.pem"]),
    "traefik-info-minimal": Deviation(TEXT, None),
    "traefik-info-some": Deviation(TEXT, None),
    "traefik-info-complete": Deviation(TEXT, None),
    "traefik-info-two": Deviation(TEXT, None),
}
# Traefik's certificate with every attribute twice: two common names.
NO_CLIENTS = {"certs/traefik/complete_cheese.pem": Reason.UNUSABLE_NAME}
# Theirs is a number of certificates, ours one of characters: room for one certificate of the two.
LIMITS = {"kc-rfc9440-chain-too-long": 700}

# Keycloak's quick-start has HAProxy forward no verdict, and the chain under other names.
KEYCLOAK_HAPROXY = replace(HAPROXY, name="keycloak-haproxy", verdicts=()).with_headers(
    leaf="Client-Cert", chain="Client-Cert-Chain"
)
DIALECTS = {
    "rfc9440": RFC9440,
    "haproxy": KEYCLOAK_HAPROXY,
    "haproxy indexed": replace(KEYCLOAK_HAPROXY, numbered_chain=2),
    "envoy": ENVOY,
    "traefik": TRAEFIK,
}


@cache
def der(file: str) -> bytes:
    """Read a certificate of the peers'."""
    return ssl.PEM_cert_to_DER_cert((PEERS / file).read_text(encoding="ascii"))


def source_of(case: dict[str, Any]) -> Forwarded:
    """Configure what the peer's provider does; the operator says that the proxy verifies."""
    given = case["given"]
    provider = given.get("provider", "traefik") + (" indexed" if given.get("indexed") else "")
    return Forwarded(
        dialect=DIALECTS[provider],
        proxies=TrustedProxies.parse(PROXIES),
        proxy_verifies=True,
        max_chain=LIMITS.get(case["id"], MAX_CHAIN_CHARACTERS),
    )


def request_of(case: dict[str, Any]) -> Request:
    """Return the request of a case."""
    headers = [
        (name, value)
        for name, values in case["given"]["headers"].items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    peer = PROXY if case["given"].get("from_trusted_proxy", True) else STRANGER
    return Request(headers=headers, peer=peer)


def theirs(case: dict[str, Any]) -> Sequence[str] | str | None:
    """Return what the peer makes of a case: certificates, nobody (None), or "refused"."""
    if case["expect"].get("error"):
        return "refused"
    return case["expect"].get("certs") or None


def in_force(files: Sequence[str]) -> datetime:
    """Return a time at which the leaf was valid."""
    return x509.load_der_x509_certificate(der(files[0])).not_valid_before_utc


CERTIFICATE_CASES = [*KEYCLOAK, *TRAEFIK_CASES]


def decoded(case: dict[str, Any]) -> tuple[bytes, ...] | Reason | None:
    """Read and decode a case's headers: certificates, nobody, or why they are refused."""
    source = source_of(case)
    connection = connection_of(Authenticator(source, policy=AnyVerifiedCertificate()), request_of(case))
    try:
        evidence = source.read(connection)
        if evidence is None:
            return None
        load_certificate(evidence.chain()[0])
        return evidence.chain()
    except CertificateRejected as rejected:
        # Not all of theirs are for clients, which is another question than what the headers say.
        return evidence.chain() if rejected.reason is Reason.UNUSABLE_NAME and evidence else rejected.reason


@pytest.mark.parametrize("case", CERTIFICATE_CASES, ids=lambda case: case["id"])
def test_certificates(case: dict[str, Any]) -> None:
    """A case comes to the peer's certificates, in their order, to nobody, or to a refusal; or to its deviation."""
    deviation = DEVIATIONS.get(case["id"])
    expected = theirs(case) if deviation is None else deviation.outcome
    found = decoded(case)
    if expected == "refused":
        assert isinstance(found, Reason)
    else:
        assert found == (tuple(map(der, expected)) if isinstance(expected, list) else expected)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("case", CERTIFICATE_CASES, ids=lambda case: case["id"])
def test_whole_path(case: dict[str, Any], carrier: str) -> None:
    """The whole way through: whom the peer does not know, we do not; the leaf is the same; the headers are removed."""
    deviation = DEVIATIONS.get(case["id"])
    expected = theirs(case) if deviation is None else deviation.outcome
    if carrier == "wsgi" and case["given"].get("indexed"):
        expected = ["certs/keycloak/haproxy_leaf.pem"]  # the server has dropped the chain
    files = expected if isinstance(expected, list) else ["certs/keycloak/x509client.pem"]
    now = in_force(files)
    authenticator = Authenticator(source_of(case), policy=AnyVerifiedCertificate(), clock=lambda: now)
    answer = CARRIERS[carrier](authenticator, request_of(case))

    assert answer.passed == frozenset()
    if isinstance(expected, list) and files[0] in NO_CLIENTS:
        assert answer.reason is NO_CLIENTS[files[0]]
    elif isinstance(expected, list):
        assert (answer.kind, answer.fingerprint) == ("authenticated", sha256(der(files[0])).hexdigest())
    elif expected is None:
        assert answer.kind == "anonymous"
    else:
        assert answer.kind == "denied"


def permissive(case: dict[str, Any], deviation: Deviation) -> bool:
    """Whether we let somebody in whom the peer does not know, or somebody else."""
    expected = theirs(case)
    if not isinstance(deviation.outcome, list):
        return False
    return not isinstance(expected, list) or expected[0] != deviation.outcome[0]


def test_deviations() -> None:
    """Every deviation is about a case, makes a difference, and is not permissive."""
    by_id = {case["id"]: case for case in CERTIFICATE_CASES}
    assert len(by_id) == len(CERTIFICATE_CASES) == 36 + 9
    for name, deviation in DEVIATIONS.items():
        assert deviation.why
        assert not permissive(by_id[name], deviation)
        assert deviation.outcome != theirs(by_id[name]) or "infos" in by_id[name]["expect"]


INTERNAL = CertificateAuthority("Front proxies")
FRONT_PROXY = INTERNAL.issue("front-proxy").der

# Where we part from Kubernetes: what becomes of the case here, a reason or nobody, and why.
BY_NAME: dict[str, tuple[Reason | None, str]] = {
    "k8s-hdr-user-first-match": (
        Reason.AMBIGUOUS_HEADER,
        "one header names the client, once: the first of several, or of several values, is a guess",
    ),
}
NO_NAME_HEADER = {"k8s-hdr-empty"}


def named_by(header: str) -> Dialect:
    """Return the dialect of a front proxy that names its user in this header."""
    return Dialect(name="front-proxy", leaf=header.lower(), decode=client_name, states=frozenset({"name"}))


def front_proxy(header: str) -> Authenticator:
    """Configure an application behind it; the proxy is known by its certificate."""
    source = Forwarded(
        dialect=named_by(header), certificate=ProxyCertificate(CommonName("front-proxy")), proxy_verifies=True
    )
    return Authenticator(source, policy=AnyVerifiedCertificate(), mapper=ByStatedName())


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    "case", [case for case in KUBERNETES if case["id"] not in NO_NAME_HEADER], ids=lambda c: c["id"]
)
def test_kubernetes(case: dict[str, Any], carrier: str) -> None:
    """The front proxy's user is whom its header names, in any case of the name; other names are other headers."""
    given, expect = case["given"], case["expect"]
    authenticator = front_proxy(given["name_headers"][0])
    request = request_of(case)
    ours: str | Reason | None = expect["user"]["name"] if expect["authenticated"] else None
    if case["id"] in BY_NAME:
        ours = BY_NAME[case["id"]][0]
    # WSGI joins the values, ASGI shows both.
    answer = CARRIERS[carrier](authenticator, replace(request, tls=FRONT_PROXY))
    if isinstance(ours, Reason):
        assert answer.reason is ours
    else:
        assert (answer.kind, answer.name) == ("anonymous" if ours is None else "authenticated", ours)
        assert answer.fingerprint is None
    # Without the proxy's certificate, or with another one of its authority, the same headers name nobody.
    for tls in (None, INTERNAL.issue("mallory").der):
        stranger = CARRIERS[carrier](authenticator, replace(request, tls=tls))
        assert stranger.kind == "anonymous"
        assert "x-remote-user" not in {name.replace("_", "-") for name in stranger.passed}
    if carrier != "authenticator" and answer.kind != "denied":
        assert_left(case, {name.replace("_", "-") for name in answer.passed}, dropped="_" if carrier == "wsgi" else "")


def assert_left(case: dict[str, Any], passed: set[str], *, dropped: str) -> None:
    """The header of the name is removed; what we do not read, groups and the like, is left as others' is.

    Names with a *dropped* character do not get past the server.
    """
    read = case["given"]["name_headers"][0].lower()
    names = [name for name in case["given"]["headers"] if not dropped or dropped not in name]
    came = {name.lower().replace("_", "-") for name in names}
    assert passed == came - {read}
    for name in case["expect"]["headers_left"] or ():
        assert name.lower() in passed


def test_kubernetes_without_a_header() -> None:
    """A front proxy that names its user in no header is an error at start-up, not a proxy without users."""
    for case in KUBERNETES:
        if case["id"] in NO_NAME_HEADER:
            assert case["given"]["name_headers"] == []
            assert not case["expect"]["authenticated"]
    with pytest.raises(ConfigurationError, match="header name ''"):
        named_by("")


def test_kubernetes_deviations() -> None:
    """Whom Kubernetes does not know, we do not; groups, uids and extras have no counterpart here."""
    by_id = {case["id"]: case for case in KUBERNETES}
    assert len(by_id) == len(KUBERNETES) == 15
    assert {*BY_NAME, *NO_NAME_HEADER} <= set(by_id)
    for outcome, why in BY_NAME.values():
        assert why
        assert outcome is None or isinstance(outcome, Reason)
    identity = front_proxy("X-Remote-User").identify(
        connection_of(
            front_proxy("X-Remote-User"),
            Request(headers=[("X-Remote-User", "Bob"), ("X-Remote-Group", "admins")], tls=FRONT_PROXY),
        )
    )
    assert getattr(identity, "statement", None) == Statement(name="Bob")
