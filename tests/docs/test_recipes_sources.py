"""The recipes for dialects, sources and trust, without Django, in this process."""

from mtls_auth import (
    NGINX,
    RFC9440,
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    Connection,
    Denied,
    Forwarded,
    Reason,
    TrustedProxies,
)
from mtls_auth.dialects import ENVOY, HUAWEI_ELB
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import IssuedCertificate, client_cert_field
from mtls_auth.testing.headers import headers_for
from tests.docs.deciding import decide, of
from tests.docs.recipes import PINNED, recipe, run_python


@recipe("own-dialect")
def test_own_dialect(alice: IssuedCertificate) -> None:
    dialect = run_python("own-dialect")["EDGE"]
    source = Forwarded(dialect=dialect, proxies=TrustedProxies.parse(["10.0.0.7"]))
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    field = client_cert_field(alice.der)
    assert isinstance(decide(authenticator, {"X-Edge-Cert": field, "X-Edge-Verify": "OK"}, "10.0.0.7"), Authenticated)
    refused = decide(authenticator, {"X-Edge-Cert": field, "X-Edge-Verify": "ok"}, "10.0.0.7")
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.PROXY_REJECTED


@recipe("other-verdict")
def test_other_verdict(alice: IssuedCertificate) -> None:
    """The row believes the operator's word, and the vendor's usual one no more."""
    authenticator = of(run_python("other-verdict")["ELB"])
    for word, expected in (("OK", Authenticated), ("SUCCESS", Denied)):
        headers = dict(headers_for(HUAWEI_ELB, alice.der)) | {"x-forwarded-clientcert-clientverify": word}
        assert isinstance(decide(authenticator, headers, "10.0.0.7"), expected)


@recipe("other-none")
def test_other_none(alice: IssuedCertificate) -> None:
    """An empty byte sequence is nobody in this row, and malformed in the built-in one."""
    handmade = of(run_python("other-none")["HANDMADE"])
    assert decide(handmade, {"Client-Cert": "::"}, "10.0.0.7") == Anonymous()
    assert isinstance(decide(handmade, {"Client-Cert": client_cert_field(alice.der)}, "10.0.0.7"), Authenticated)
    refused = decide(of(RFC9440), {"Client-Cert": "::"}, "10.0.0.7")
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.MALFORMED_HEADER


@recipe("more-hops")
def test_more_hops(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    """The client is in the element before the last, and a key that the proxies do not send is refused."""
    authenticator = of(run_python("more-hops")["BEHIND_TWO"])
    outer, inner = (dict(headers_for(ENVOY, issued.der))["x-forwarded-client-cert"] for issued in (alice, bob))
    expected = {
        f"{outer},{inner}": Authenticated,
        outer: Denied,
        f"{inner},{outer},{inner}": Denied,
        f"{outer};URI=spiffe://x,{inner}": Denied,
    }
    for value, kind in expected.items():
        decision = decide(authenticator, {"X-Forwarded-Client-Cert": value}, "10.0.0.7")
        assert isinstance(decision, kind)
        if isinstance(decision, Authenticated):
            assert decision.identity.subject_cn == "alice"


@recipe("trusted-together-source")
def test_trusted_together(alice: IssuedCertificate, proxy: IssuedCertificate) -> None:
    """Address, secret and certificate must all hold."""
    pinned = {PINNED: proxy.fingerprint_sha256}
    authenticator = Authenticator(
        run_python("trusted-together-source", pinned)["source"], policy=AnyVerifiedCertificate()
    )
    secret = ("x-proxy-secret", "Vt1yVq0P3hBfT7nJ4s9XwLk2ZrEo8mGd")
    for peer, chain, more, expected in (
        ("10.0.0.7", (proxy.der,), (secret,), Authenticated),
        ("10.0.0.8", (proxy.der,), (secret,), Anonymous),
        ("10.0.0.7", (alice.der,), (secret,), Anonymous),
        ("10.0.0.7", (proxy.der,), (), Denied),
    ):
        raw = [(name.encode(), value.encode()) for name, value in (*headers_for(NGINX, alice.der), *more)]
        facts = StatedFacts(transport_peer=Peer(peer), chain=chain)
        connection = Connection.from_headers(raw, authenticator.known_headers, facts)
        assert isinstance(authenticator.authenticate(connection), expected)


@recipe("cheroot-source")
def test_cheroot_source(alice: IssuedCertificate) -> None:
    """The server's variables are believed with their verdict, and a header never."""
    authenticator = Authenticator(run_python("cheroot-source")["source"], policy=AnyVerifiedCertificate())
    environ = {"SSL_CLIENT_CERT": alice.pem.decode(), "SSL_CLIENT_VERIFY": "SUCCESS"}
    forged = {f"HTTP_{name}": value for name, value in environ.items()}
    for found, expected in ((environ, Authenticated), (forged, Anonymous)):
        connection = Connection.from_environ(found, authenticator.known_headers)
        assert isinstance(authenticator.authenticate(connection), expected)
