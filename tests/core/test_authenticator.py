"""The request path: each step in its order, on every request, and nothing raised for what a client sent."""

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth import (
    NGINX,
    RFC9440,
    AgreeingSources,
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    ByCommonName,
    ByFingerprint,
    ByStatedName,
    CertificateRejected,
    CommonName,
    ConfigurationError,
    Connection,
    Denied,
    Evidence,
    Forwarded,
    Identity,
    PathVerifier,
    Reason,
    Source,
    Statement,
    TLSSocket,
    TrustedProxies,
    VerifiedCertificate,
    VouchedFor,
)
from mtls_auth.authenticator import utc_now
from mtls_auth.dialects import ALIBABA_ALB, KONG, LINKERD
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import CertificateAuthority, client_cert_field, escaped_pem
from tests.core.conftest import PROXIES, PROXY, Request, connection_of
from tests.pki import BrokenLeaves

TRUSTED = TrustedProxies.parse(PROXIES)
RFC9440_UNVERIFIED = Forwarded(dialect=RFC9440, proxies=TRUSTED)
RFC9440_VERIFIED = Forwarded(dialect=RFC9440, proxies=TRUSTED, proxy_verifies=True)
NGINX_SOURCE = Forwarded(dialect=NGINX, proxies=TRUSTED)
KONG_SOURCE = Forwarded(dialect=KONG, proxies=TRUSTED)
LINKERD_SOURCE = Forwarded(dialect=LINKERD, proxies=TRUSTED, proxy_verifies=True)
ALIBABA_SOURCE = Forwarded(dialect=ALIBABA_ALB, proxies=TRUSTED)


def on_socket(*chain: bytes) -> Connection:
    """Return a connection with these certificates on its socket."""
    return Connection(StatedFacts(chain=chain))


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: datetime = field(default_factory=utc_now)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class CountingVerifier:
    """Takes the word of the source, and counts how often it is asked."""

    needs_vouching: bool = True
    asked: int = 0

    def verify(self, evidence: Evidence, *, at: datetime) -> VerifiedCertificate:
        self.asked += 1
        return VouchedFor().verify(evidence, at=at)


@dataclass
class DatabaseMapper:
    """A mapper that must ask its database; `found` is the principal or the reason to refuse."""

    found: object = "user"
    asked: list[str] = field(default_factory=list)

    def recall(self, identity: Identity) -> object | None:
        return None

    def map(self, identity: Identity) -> object:
        self.asked.append(identity.fingerprint_sha256)
        if isinstance(self.found, Reason):
            raise CertificateRejected(self.found)
        return self.found


def test_authenticated(leaves: BrokenLeaves) -> None:
    """A verified certificate within the policy is its principal's."""
    authenticator = Authenticator(TLSSocket(), policy=CommonName("alice"), mapper=ByCommonName())
    found = authenticator.authenticate(on_socket(leaves.good.der))
    assert isinstance(found, Authenticated)
    assert found.principal == "alice"
    assert found.identity.fingerprint_sha256 == leaves.good.fingerprint_sha256


def test_by_default_the_identity_is_the_principal(leaves: BrokenLeaves) -> None:
    """Without a mapper the principal is the identity."""
    found = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()).authenticate(on_socket(leaves.good.der))
    assert isinstance(found, Authenticated)
    assert found.principal is found.identity


def test_there_is_no_default_policy() -> None:
    """Whoever admits anyone writes so."""
    with pytest.raises(TypeError, match="policy"):
        Authenticator(TLSSocket())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("required", "expected"),
    [(False, Anonymous()), (True, Denied(Reason.CERTIFICATE_REQUIRED))],
    ids=["optional", "required"],
)
def test_without_a_certificate(required: bool, expected: object) -> None:
    """Without a certificate a client is anonymous, or denied where one is required."""
    authenticator = Authenticator(TLSSocket(), policy=CommonName("alice"), required=required)
    assert authenticator.authenticate(Connection()) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RFC9440_UNVERIFIED, "^rfc9440: the headers do not say that the certificate was verified: give trust anchors"),
        (AgreeingSources((TLSSocket(), RFC9440_UNVERIFIED)), r"^rfc9440: .* \(PathVerifier\).* proxy_verifies=True"),
        (AgreeingSources((NGINX_SOURCE, RFC9440_UNVERIFIED)), r"^rfc9440: .* proxy_verifies=True"),
        (KONG_SOURCE, r"^kong: .* give trust anchors \(PathVerifier\)$"),
        (AgreeingSources((RFC9440_UNVERIFIED, KONG_SOURCE)), r"^rfc9440, kong: .* trust anchors \(PathVerifier\)$"),
    ],
)
def test_nobody_verifies(ca: CertificateAuthority, source: Source, message: str) -> None:
    """A source that nobody vouches for, with a verifier that needs it, is an error at start-up."""
    with pytest.raises(ConfigurationError, match=message):
        Authenticator(source, policy=AnyVerifiedCertificate())
    assert Authenticator(source, policy=AnyVerifiedCertificate(), verifier=PathVerifier([ca.certificate]))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (LINKERD_SOURCE, "linkerd"),
        (AgreeingSources((TLSSocket(), LINKERD_SOURCE)), "linkerd"),
        (AgreeingSources((ALIBABA_SOURCE, NGINX_SOURCE, LINKERD_SOURCE)), "alibaba-alb, linkerd"),
    ],
)
def test_nothing_to_verify(ca: CertificateAuthority, source: Source, names: str) -> None:
    """Trust anchors for terminators that forward no certificate are an error at start-up."""
    with pytest.raises(ConfigurationError, match=f"^{names}: the terminator forwards no certificate"):
        Authenticator(source, policy=AnyVerifiedCertificate(), verifier=PathVerifier([ca.certificate]))
    assert Authenticator(source, policy=AnyVerifiedCertificate())


def test_statements() -> None:
    """What a terminator states is an identity, found in the cache the second time, and mapped by what it is."""
    verifier = CountingVerifier()
    authenticator = Authenticator(
        LINKERD_SOURCE, policy=AnyVerifiedCertificate(), mapper=ByStatedName(), verifier=verifier
    )
    request = Request(headers=[("L5d-Client-Id", "web.prod.serviceaccount.identity.linkerd.cluster.local")])
    for _ in range(2):
        found = authenticator.authenticate(connection_of(authenticator, request))
        assert isinstance(found, Authenticated)
        assert found.principal == "web.prod.serviceaccount.identity.linkerd.cluster.local"
        assert found.identity.statement == Statement(name=found.principal)
    assert verifier.asked == 1


def test_trust_anchors_replace_the_proxy_s_word(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """With trust anchors an unverified header is enough, and the impostor's is not."""
    authenticator = Authenticator(
        RFC9440_UNVERIFIED, policy=AnyVerifiedCertificate(), verifier=PathVerifier([ca.certificate])
    )

    def ask(der: bytes) -> object:
        return authenticator.authenticate(
            connection_of(authenticator, Request(headers=[("Client-Cert", client_cert_field(der))]))
        )

    assert isinstance(ask(leaves.good.der), Authenticated)
    impostor = ask(leaves.impostor.der)
    assert isinstance(impostor, Denied)
    assert impostor.reason is Reason.UNTRUSTED


def test_equal_evidence_is_verified_once(leaves: BrokenLeaves) -> None:
    """The second request with the same evidence costs no verification; other evidence does."""
    verifier = CountingVerifier()
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=verifier)
    first, second = (authenticator.identify(on_socket(leaves.good.der)) for _ in range(2))
    assert first is second
    assert verifier.asked == 1
    authenticator.identify(on_socket(leaves.without_eku.der))
    assert verifier.asked == 2


def test_evidence_that_is_refused_does_not_fill_the_cache(leaves: BrokenLeaves) -> None:
    """What cannot be verified is verified again every time, and displaces nobody."""
    verifier = CountingVerifier()
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=verifier, cache_entries=1)
    authenticator.identify(on_socket(leaves.good.der))
    for junk in (b"junk", leaves.server_only.der, leaves.two_common_names.der):
        for _ in range(2):
            assert isinstance(authenticator.identify(on_socket(junk)), Denied)
    assert verifier.asked == 7
    assert isinstance(authenticator.identify(on_socket(leaves.good.der)), Identity)
    assert verifier.asked == 7


def test_cache_entries(leaves: BrokenLeaves) -> None:
    """The bound of the cache is the caller's."""
    verifier = CountingVerifier()
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=verifier, cache_entries=1)
    for der in (leaves.good.der, leaves.without_eku.der) * 2:
        authenticator.identify(on_socket(der))
    assert verifier.asked == 4


@pytest.mark.parametrize("verifier", ["vouched", "path"])
def test_validity_on_every_request(ca: CertificateAuthority, verifier: str) -> None:
    """A certificate that was good a second ago is refused when it expires, though it is in the cache."""
    clock = Clock()
    start = clock.now.replace(microsecond=0) - timedelta(hours=1)
    leaf = ca.issue("alice", not_before=start, not_after=start + timedelta(hours=2))
    authenticator = Authenticator(
        TLSSocket(),
        policy=AnyVerifiedCertificate(),
        verifier=PathVerifier([ca.certificate]) if verifier == "path" else None,
        clock=clock,
    )
    moments: list[tuple[timedelta, Reason | None]] = [
        (timedelta(hours=1), None),
        (timedelta(hours=2), None),
        (timedelta(hours=2, seconds=1), Reason.EXPIRED),
        (timedelta(seconds=-1), Reason.NOT_YET_VALID),
        (timedelta(0), None),
    ]
    for since_start, reason in moments:
        clock.now = start + since_start
        found = authenticator.authenticate(on_socket(leaf.der))
        assert (found.reason if isinstance(found, Denied) else None) is reason, since_start


def test_the_path_s_validity_on_every_request() -> None:
    """A hot entry ends with the first certificate of its path, before the leaf itself: as in a worker without it."""
    clock = Clock()
    root = CertificateAuthority()
    end = clock.now + timedelta(days=1)
    below = CertificateAuthority("Short CA", parent=root, not_before=clock.now - timedelta(days=1), not_after=end)
    connection = on_socket(below.issue("alice").der, below.der)

    def worker() -> Authenticator:
        verifier = PathVerifier([root.certificate])
        return Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=verifier, clock=clock)

    hot = worker()
    assert isinstance(hot.authenticate(connection), Authenticated)
    clock.now += timedelta(days=2)
    for authenticator in (hot, worker()):
        found = authenticator.authenticate(connection)
        assert isinstance(found, Denied)
        assert found.reason is Reason.UNTRUSTED


def test_another_path_takes_over() -> None:
    """When a path ends and another one does not, a worker with a hot entry and a worker without one agree."""
    clock = Clock()
    old = CertificateAuthority(
        "Root", not_before=clock.now - timedelta(days=9), not_after=clock.now + timedelta(days=1)
    )
    new = CertificateAuthority("Root")
    # The same root, renewed: same name, same key, later end.
    new.certificate = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.subject)
        .public_key(old.key.public_key())
        .serial_number(2)
        .not_valid_before(clock.now - timedelta(days=9))
        .not_valid_after(clock.now + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(old.key, old.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    connection = on_socket(old.issue("alice").der)

    def worker() -> Authenticator:
        verifier = PathVerifier([old.certificate, new.certificate])
        return Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=verifier, clock=clock)

    hot = worker()
    assert isinstance(hot.authenticate(connection), Authenticated)
    clock.now += timedelta(days=2)
    assert isinstance(worker().authenticate(connection), Authenticated)
    assert isinstance(hot.authenticate(connection), Authenticated)


def test_the_policy_on_every_request(leaves: BrokenLeaves) -> None:
    """The policy is asked about a hot entry as well."""
    asked: list[Identity] = []

    class Fickle(AnyVerifiedCertificate):
        def allows(self, identity: Identity) -> bool:
            asked.append(identity)
            return len(asked) == 1

    authenticator = Authenticator(TLSSocket(), policy=Fickle())
    assert isinstance(authenticator.identify(on_socket(leaves.good.der)), Identity)
    found = authenticator.identify(on_socket(leaves.good.der))
    assert isinstance(found, Denied)
    assert found.reason is Reason.NOT_ALLOWED
    assert found.identity is not None
    assert found.identity.subject_cn == "alice"


def test_the_mapper_is_not_asked_about_the_refused(leaves: BrokenLeaves) -> None:
    """Whoever is outside the policy or the validity does not reach the mapper."""
    mapper = DatabaseMapper()
    authenticator = Authenticator(TLSSocket(), policy=CommonName("bob"), mapper=mapper)
    assert isinstance(authenticator.authenticate(on_socket(leaves.good.der)), Denied)
    assert isinstance(authenticator.authenticate(on_socket(leaves.expired.der)), Denied)
    assert mapper.asked == []


@pytest.mark.parametrize("found", ["user", Reason.NO_USER, Reason.STORE_UNAVAILABLE])
def test_recall_and_admit(leaves: BrokenLeaves, found: object) -> None:
    """What takes a database is left to `admit`; its rejection is a denial with the identity."""
    mapper = DatabaseMapper(found)
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=mapper)
    identity = authenticator.identify(on_socket(leaves.good.der))
    assert isinstance(identity, Identity)
    assert authenticator.recall(identity) is None
    assert mapper.asked == []
    decision = authenticator.admit(identity)
    assert mapper.asked == [identity.fingerprint_sha256]
    assert decision == (Denied(found, "", identity) if isinstance(found, Reason) else Authenticated(identity, found))
    assert authenticator.authenticate(on_socket(leaves.good.der)) == decision


@pytest.mark.parametrize("enrolled", [True, False])
def test_recall(leaves: BrokenLeaves, enrolled: bool) -> None:
    """What takes no database is decided at once, either way."""
    table = {leaves.good.fingerprint_sha256: "user"} if enrolled else {}
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=ByFingerprint(table))
    identity = authenticator.identify(on_socket(leaves.good.der))
    assert isinstance(identity, Identity)
    recalled = authenticator.recall(identity)
    if enrolled:
        assert recalled == Authenticated(identity, "user")
    else:
        assert isinstance(recalled, Denied)
        assert recalled.reason is Reason.NOT_ENROLLED


def test_known_headers_of_the_configured_dialect() -> None:
    """The names of the configured dialect are known, whatever they are, beside those of the built-in ones."""
    renamed = Forwarded(dialect=NGINX.with_headers(leaf="X-Ours"), proxies=TRUSTED)
    names = Authenticator(AgreeingSources((TLSSocket(), renamed)), policy=AnyVerifiedCertificate()).known_headers.names
    assert {"x-ours", "x-ssl-client-cert", "client-cert"} <= names


def test_the_clock_is_in_utc() -> None:
    """The default clock is aware, and now."""
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(minutes=1)


FIELDS: Sequence[tuple[str, Callable[[bytes], str]]] = [
    ("X-SSL-Client-Cert", escaped_pem),
    ("Client-Cert", client_cert_field),
]


@pytest.mark.parametrize("leaf", ["expired", "server_only", "two_common_names", "good"])
def test_logs(
    leaves: BrokenLeaves, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, leaf: str
) -> None:
    """A denial is logged once with its reason; a log line never holds a header's value, a PEM or base64 of it."""
    der = getattr(leaves, leaf).der
    with caplog.at_level(logging.DEBUG):
        for (header, encode), source in zip(FIELDS, (NGINX_SOURCE, RFC9440_VERIFIED), strict=True):
            value = encode(der)
            for headers in (
                [(header, value), ("X-SSL-Client-Verify", "SUCCESS")],
                [(header, value), (header, value), ("X-SSL-Client-Verify", "SUCCESS")],
                [(header, value + "secret"), ("X-SSL-Client-Verify", "SUCCESS")],
                [(header, value), ("X-SSL-Client-Verify", "FAILED:secret")],
            ):
                authenticator = Authenticator(source, policy=CommonName("bob"), required=True)
                caplog.clear()
                found = authenticator.authenticate(connection_of(authenticator, Request(headers=headers)))
                assert isinstance(found, Denied)
                (record,) = caplog.records
                assert record.__dict__["reason"] == found.reason.value
                assert record.__dict__["fingerprint_sha256"] == (found.identity and found.identity.fingerprint_sha256)
                everything = f"{record.getMessage()} {record.__dict__}"
                assert found.reason.value in everything
                for forbidden in (value[:40], value[60:90], "secret", "BEGIN", ssl.DER_cert_to_PEM_cert(der)[60:90]):
                    assert forbidden not in everything


def test_logs_of_the_path_verifier(
    leaves: BrokenLeaves, ca: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    """An untrusted certificate is logged by reason, not shown."""
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), verifier=PathVerifier([ca.certificate]))
    authenticator.authenticate(on_socket(leaves.impostor.der))
    assert "untrusted" in caplog.text
    assert "<Certificate" not in caplog.text
    assert "alice" not in caplog.text


def test_nothing_is_logged_of_the_admitted(leaves: BrokenLeaves, caplog: pytest.LogCaptureFixture) -> None:
    """Who comes in, and who comes without a certificate, makes no noise."""
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate())
    authenticator.authenticate(on_socket(leaves.good.der))
    authenticator.authenticate(Connection())
    assert caplog.records == []


NAMES = st.sampled_from(
    ["Client-Cert", "Client-Cert-Chain", "X-SSL-Client-Cert", "X-SSL-Client-Verify", "client_cert", "x.ssl-client-cert"]
)
VALUES = st.one_of(
    st.sampled_from(
        ["SUCCESS", "NONE", "", "::", ":MAA=:", "-----BEGIN%20CERTIFICATE-----%0AMAA=%0A-----END%20CERTIFICATE-----"]
    ),
    st.text(st.characters(max_codepoint=255)),
)


@pytest.mark.parametrize(
    "source", [TLSSocket(), NGINX_SOURCE, RFC9440_VERIFIED, AgreeingSources((NGINX_SOURCE, RFC9440_VERIFIED))]
)
@given(
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    chain=st.lists(st.binary(max_size=40) | st.text(), max_size=2),
)
def test_never_raises(source: Source, headers: list[tuple[str, str]], chain: list[Any]) -> None:
    """Whatever a client or a proxy sends, there is a decision, and nonsense authenticates nobody."""
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    facts = StatedFacts(transport_peer=Peer(PROXY), chain=tuple(chain))
    connection = Connection.from_headers(raw, authenticator.known_headers, facts)
    logging.getLogger("mtls_auth").disabled = True
    try:
        assert isinstance(authenticator.authenticate(connection), Anonymous | Denied)
    finally:
        logging.getLogger("mtls_auth").disabled = False
