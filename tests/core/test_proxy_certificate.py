"""The proxy's own client certificate: which one is the proxy's, and that it is nobody else's identity."""

from datetime import UTC, datetime, timedelta

import pytest

from mtls_auth import (
    NGINX,
    AgreeingSources,
    AllOf,
    AnyOf,
    AnyVerifiedCertificate,
    Assurance,
    AssuredBy,
    Authenticator,
    CommonName,
    ConfigurationError,
    Evidence,
    Fingerprint,
    Forwarded,
    Identity,
    IssuedBy,
    NoneOf,
    OrganizationalUnit,
    PathVerifier,
    Policy,
    ProxyCertificate,
    SubjectPublicKey,
    TLSSocket,
    VerifiedCertificate,
    VouchedFor,
    load_certificate,
    proxy_certificate,
)
from mtls_auth.certificate import spki_sha256
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, escaped_pem
from tests.core.conftest import CARRIERS, PROXY, STRANGER, Request, received
from tests.pki import BrokenLeaves


@pytest.fixture(scope="module")
def internal() -> CertificateAuthority:
    """The authority of the proxies."""
    return CertificateAuthority("Internal CA")


@pytest.fixture(scope="module")
def proxy(internal: CertificateAuthority) -> IssuedCertificate:
    """The proxy's certificate."""
    return internal.issue("proxy")


def on_socket(*chain: str | bytes) -> StatedFacts:
    """Return the facts of a connection on which these certificates came."""
    return StatedFacts(chain=chain)


def policies(proxy: IssuedCertificate) -> list[Policy]:
    """Return the ways to pin the proxy."""
    return [
        Fingerprint(proxy.fingerprint_sha256),
        Fingerprint("0" * 64, proxy.fingerprint_sha256),
        SubjectPublicKey(spki_sha256(load_certificate(proxy.der))),
        IssuedBy("CN=Internal CA") & CommonName("proxy"),
        CommonName("proxy") & SubjectPublicKey(spki_sha256(load_certificate(proxy.der))),
    ]


@pytest.mark.parametrize("at", range(5))
def test_pins(internal: CertificateAuthority, proxy: IssuedCertificate, leaves: BrokenLeaves, at: int) -> None:
    """The pinned certificate is the proxy's; another one of the same authority, or of the same name, is not."""
    certificate = ProxyCertificate(policies(proxy)[at])
    assert on_socket(proxy.der) in certificate
    assert on_socket(proxy.pem.decode(), internal.der) in certificate
    for stranger in (internal.issue("mallory"), CertificateAuthority("Internal Ca").issue("proxy"), leaves.good):
        assert on_socket(stranger.der) not in certificate
        assert on_socket(stranger.der, proxy.der) not in certificate
    assert on_socket() not in certificate


def test_a_renewed_certificate(internal: CertificateAuthority, proxy: IssuedCertificate) -> None:
    """A fingerprint ends with the certificate; the name under an authority does not."""
    renewed = internal.issue("proxy")
    assert on_socket(renewed.der) not in ProxyCertificate(Fingerprint(proxy.fingerprint_sha256))
    assert on_socket(renewed.der) in ProxyCertificate(IssuedBy("CN=Internal CA") & CommonName("proxy"))


@pytest.mark.parametrize("name", ["expired", "not_yet_valid", "server_only", "two_common_names"])
def test_certificates_that_are_nobody_s(leaves: BrokenLeaves, name: str) -> None:
    """A pinned certificate that is out of its time, or no client's, is no proxy's."""
    broken: IssuedCertificate = getattr(leaves, name)
    assert on_socket(broken.der) not in ProxyCertificate(Fingerprint(broken.fingerprint_sha256))


@pytest.mark.parametrize("chain", [(b"nonsense",), ("nonsense",), ("",)])
def test_nonsense_on_the_socket(chain: tuple[str | bytes, ...]) -> None:
    """What is no certificate is no proxy's."""
    assert on_socket(*chain) not in ProxyCertificate(CommonName("proxy"))


@pytest.mark.parametrize(
    "policy",
    [
        AnyVerifiedCertificate(),
        AllOf(AnyVerifiedCertificate()),
        AnyOf(CommonName("proxy"), AnyVerifiedCertificate()),
        NoneOf(CommonName("mallory")),
        AnyVerifiedCertificate() & NoneOf(CommonName("mallory")),
        AssuredBy(Assurance.TLS_SOCKET),
        IssuedBy("CN=Internal CA"),
        OrganizationalUnit("Proxies"),
        IssuedBy("CN=Internal CA") & OrganizationalUnit("Proxies"),
        IssuedBy("CN=Internal CA") | CommonName("proxy"),
        None,
        CommonName,
        "proxy",
        "ab" * 32,
    ],
    ids=repr,
)
def test_what_is_no_pin(policy: object) -> None:
    """Whatever admits every client, or is no policy, is an error."""
    with pytest.raises(ConfigurationError, match="a proxy's certificate is pinned"):
        ProxyCertificate(policy)  # type: ignore[arg-type]


def test_a_policy_of_the_application_s_own() -> None:
    """Somebody's own predicate is taken at its word."""

    class Ours(Policy):
        def allows(self, identity: Identity) -> bool:
            return identity.subject_cn == "proxy"

    assert isinstance(ProxyCertificate(Ours()).policy, Ours)


def test_repr() -> None:
    """The text says how the proxy is known."""
    assert repr(ProxyCertificate(CommonName("proxy"))) == "ProxyCertificate(CommonName('proxy'))"


class Clock(datetime):
    """The time, as the module sees it."""

    at = datetime.now(UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return cls.at


def test_it_is_asked_on_every_request(monkeypatch: pytest.MonkeyPatch, internal: CertificateAuthority) -> None:
    """A certificate that was the proxy's a second ago is not when it has expired, though it was verified once."""
    now = datetime.now(UTC).replace(microsecond=0)
    short = internal.issue("proxy", not_before=now - timedelta(hours=1), not_after=now + timedelta(hours=1))
    asked: list[datetime] = []

    class Counting(VouchedFor):
        def verify(self, evidence: Evidence, *, at: datetime) -> VerifiedCertificate:
            asked.append(at)
            return VouchedFor().verify(evidence, at=at)

    certificate = ProxyCertificate(CommonName("proxy"), verifier=Counting())
    monkeypatch.setattr(proxy_certificate, "datetime", Clock)
    for since, believed in ((0, True), (1, True), (60, True), (61, False), (0, True), (-61, False)):
        monkeypatch.setattr(Clock, "at", now + timedelta(minutes=since))
        assert (on_socket(short.der) in certificate) is believed, since
    assert len(asked) == 2  # once, and again after its end


def test_a_verifier_of_its_own(internal: CertificateAuthority, proxy: IssuedCertificate) -> None:
    """Where the TLS layer admits anybody, trust anchors say whose certificate it is."""
    impostor = CertificateAuthority("Internal CA").issue("proxy")
    by_name = IssuedBy("CN=Internal CA") & CommonName("proxy")
    assert on_socket(impostor.der) in ProxyCertificate(by_name)
    by_path = ProxyCertificate(by_name, verifier=PathVerifier([internal.certificate]))
    assert on_socket(impostor.der) not in by_path
    assert on_socket(proxy.der) in by_path


def test_the_policy_is_asked_every_time(proxy: IssuedCertificate) -> None:
    """What is remembered is the verification, not that this was the proxy."""
    answers = iter([True, False, True])

    class Fickle(CommonName):
        def allows(self, identity: object) -> bool:
            return next(answers)

    certificate = ProxyCertificate(Fickle("proxy"))
    assert [on_socket(proxy.der) in certificate for _ in range(3)] == [True, False, True]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_who_may_speak(leaves: BrokenLeaves, proxy: IssuedCertificate, carrier: str) -> None:
    """The headers are believed with the proxy's certificate on the socket, wherever it connects from; nobody else's."""
    source = Forwarded(dialect=NGINX, certificate=ProxyCertificate(Fingerprint(proxy.fingerprint_sha256)))
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    headers = [("X-SSL-Client-Cert", escaped_pem(leaves.good.der)), ("X-SSL-Client-Verify", "SUCCESS")]
    for peer in (PROXY, STRANGER, None):
        if peer is not None or carrier not in {"wsgi"}:  # without a socket there is no certificate on it
            believed = CARRIERS[carrier](authenticator, Request(headers=headers, peer=peer, tls=proxy.der))
            assert (believed.kind, believed.subject_cn) == ("authenticated", "alice")
        for tls in (None, leaves.without_eku.der, b""):
            answer = CARRIERS[carrier](authenticator, Request(headers=headers, peer=peer, tls=tls))
            assert (answer.kind, answer.passed) == ("anonymous", frozenset())
    # The proxy's certificate is not the client's: without headers nobody is there.
    assert CARRIERS[carrier](authenticator, Request(tls=proxy.der)).kind == "anonymous"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_port_for_proxies_and_clients(leaves: BrokenLeaves, proxy: IssuedCertificate, carrier: str) -> None:
    """Where both connect to the same port, the proxy speaks for its clients, and a client for itself."""
    certificate = ProxyCertificate(Fingerprint(proxy.fingerprint_sha256))
    forwarded = Forwarded(dialect=NGINX, certificate=certificate)
    source = AgreeingSources((TLSSocket(proxies=certificate), forwarded))
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    headers = [("X-SSL-Client-Cert", escaped_pem(leaves.good.der)), ("X-SSL-Client-Verify", "SUCCESS")]
    client = leaves.ca.issue("bob").der
    for request, name in (
        (Request(headers=headers, tls=proxy.der), "alice"),
        (Request(headers=headers, tls=client), "bob"),
        (Request(tls=client), "bob"),
        (Request(tls=proxy.der), None),
        (Request(headers=headers), None),
        (Request(headers=[("X-SSL-Client-Verify", "NONE")], tls=proxy.der), None),
    ):
        answer = CARRIERS[carrier](authenticator, request)
        assert (answer.kind, answer.subject_cn) == ("authenticated" if name else "anonymous", name)


def test_the_proxy_s_certificate_would_be_its_client_s(proxy: IssuedCertificate) -> None:
    """A socket that does not know its proxies, beside a source that does, is an error."""
    forwarded = Forwarded(dialect=NGINX, certificate=ProxyCertificate(Fingerprint(proxy.fingerprint_sha256)))
    with pytest.raises(ConfigurationError, match=r"write TLSSocket\(proxies=\.\.\.\)"):
        AgreeingSources((TLSSocket(), forwarded))
    with pytest.raises(ConfigurationError, match=r"write TLSSocket\(proxies=\.\.\.\)"):
        AgreeingSources((forwarded, TLSSocket()))


def test_the_socket_without_its_proxies(leaves: BrokenLeaves, proxy: IssuedCertificate) -> None:
    """A certificate that is a proxy's is nobody's; any other is its owner's."""
    source = TLSSocket(proxies=ProxyCertificate(Fingerprint(proxy.fingerprint_sha256)))
    assert source.read(received(tls=(proxy.der,))) is None
    evidence = source.read(received(tls=(leaves.good.der,)))
    assert evidence is not None
    assert evidence.chain() == (leaves.good.der,)
    assert source.read(received()) is None


@pytest.mark.parametrize(
    "policy",
    [
        AnyVerifiedCertificate() & CommonName("proxy"),
        CommonName("proxy") | CommonName("other"),
        AssuredBy(Assurance.TLS_SOCKET) & CommonName("proxy") & NoneOf(CommonName("mallory")),
    ],
    ids=repr,
)
def test_pins_in_combinations(leaves: BrokenLeaves, proxy: IssuedCertificate, policy: Policy) -> None:
    """A combination pins where something in it does that cannot be passed by."""
    certificate = ProxyCertificate(policy)
    assert on_socket(proxy.der) in certificate
    assert on_socket(leaves.good.der) not in certificate


def test_the_authority_itself(internal: CertificateAuthority) -> None:
    """A pin does not make a client of a certificate that is none."""
    digest = load_certificate(internal.der).fingerprint_sha256
    assert on_socket(internal.der) not in ProxyCertificate(Fingerprint(digest))
