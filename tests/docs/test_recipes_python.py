"""The recipes without Django, in this process."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.websockets import WebSocketDisconnect

from mtls_auth import (
    NGINX,
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    CertificateRejected,
    Connection,
    Decision,
    Denied,
    Forwarded,
    Identity,
    Reason,
    TrustedProxies,
)
from mtls_auth.asgi import ASGIApp, Receive, Scope, Send
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, client_cert_field, escaped_pem
from tests.docs.deciding import decide, of
from tests.docs.recipes import SOCKET, recipe, run_python

with catch_warnings():
    simplefilter("ignore")  # Starlette would rather have another HTTP client under it
    from starlette.testclient import TestClient

NGINX_SOCKET = Peer(f"unix:{SOCKET}")


def nginx_headers(issued: IssuedCertificate) -> dict[str, str]:
    """Return what Nginx sends for a verified certificate."""
    return {"X-SSL-Client-Cert": escaped_pem(issued.der), "X-SSL-Client-Verify": "SUCCESS"}


def on_tls(authenticator: Authenticator, issued: IssuedCertificate | None) -> Decision:
    """Return the decision about a TLS connection with this certificate."""
    facts = StatedFacts(chain=(issued.der,) if issued else ())
    return authenticator.authenticate(Connection.from_headers([], authenticator.known_headers, facts))


def identity_of(issued: IssuedCertificate) -> Identity:
    """Return the verified identity of a certificate."""
    source = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse([NGINX_SOCKET]))
    decision = decide(Authenticator(source, policy=AnyVerifiedCertificate()), nginx_headers(issued), NGINX_SOCKET)
    assert isinstance(decision, Authenticated)
    return decision.identity


def served(app: ASGIApp, **extensions: Any) -> ASGIApp:
    """Return *app* on a server that adds these extensions to its scopes."""

    async def on_server(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": extensions}, receive, send)

    return on_server


def tls(issued: IssuedCertificate) -> dict[str, object]:
    """Return the ASGI TLS extension of a connection with this certificate."""
    return {"tls": {"client_cert_chain": (issued.pem.decode(),)}}


def wsgi_body(application: Callable[..., Any], environ: dict[str, Any]) -> tuple[str, str]:
    """Return status and body of a WSGI application's answer."""
    statuses: list[str] = []
    environ = {"wsgi.input": StringIO(), "wsgi.url_scheme": "https", **environ}
    body = b"".join(application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], body.decode()


class TLSConnection:
    """gunicorn's socket of a connection with a certificate."""

    def __init__(self, issued: IssuedCertificate | None, own: str | tuple[str, int] = ("127.0.0.1", 443)) -> None:
        self.issued, self.own = issued, own

    def getpeername(self) -> object:
        return "" if isinstance(self.own, str) else ("192.0.2.1", 1)

    def getsockname(self) -> object:
        return self.own

    def getpeercert(self, binary: bool) -> bytes | None:
        return self.issued.der if self.issued else None


@recipe("readme-starlette")
def test_starlette_in_the_readme(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    app = run_python("readme-starlette")["app"]
    answers = [
        TestClient(served(app, **tls(issued)), base_url="https://testserver").get("/reports") for issued in (alice, bob)
    ]
    assert answers[0].json() == {"user": "alice"}
    assert (answers[1].status_code, answers[1].text) == (403, "not_allowed")
    assert TestClient(app, base_url="https://testserver").get("/reports").status_code == 403


@recipe("starlette-app")
def test_starlette(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    fingerprint = "88bbe6b522c0c2bc8550f8af349ace7b417bb8eada8434a3a1bcd573925bec61"
    app = run_python("starlette-app", {fingerprint: alice.fingerprint_sha256})["app"]
    client = TestClient(served(app, **{"mtls_auth.peer": NGINX_SOCKET}))
    assert client.get("/whoami").json() == {"user": None}
    assert client.get("/whoami", headers=nginx_headers(alice)).json() == {"user": "alice"}
    assert client.get("/reports", headers=nginx_headers(alice)).json() == {"user": "alice"}
    refused = client.get("/reports", headers=nginx_headers(bob))
    assert (refused.status_code, refused.json()) == (403, {"reason": "not_enrolled"})
    with client.websocket_connect("/ticker", headers=nginx_headers(alice)) as socket:
        assert socket.receive_text() == "hello alice"
    for headers in (nginx_headers(bob), {}):
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/ticker", headers=headers):
            pass
        assert closed.value.code == 1008


@recipe("starlette-mapper")
def test_mapper(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    rows = {alice.fingerprint_sha256: "account of alice"}
    mapper = run_python("starlette-mapper")["Accounts"](SimpleNamespace(find=rows.get))
    assert mapper.recall(identity_of(alice)) is None
    assert mapper.map(identity_of(alice)) == "account of alice"
    with pytest.raises(CertificateRejected) as rejected:
        mapper.map(identity_of(bob))
    assert rejected.value.reason is Reason.NOT_ENROLLED


@recipe("readme-wsgi")
def test_wsgi_in_the_readme(alice: IssuedCertificate) -> None:
    application = run_python("readme-wsgi")["application"]
    socket = {"gunicorn.socket": TLSConnection(None, SOCKET)}
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in nginx_headers(alice).items()}
    assert wsgi_body(application, {**socket, **headers}) == ("200 OK", "hello alice\n")
    assert wsgi_body(application, socket) == ("403 Forbidden", '{"reason": "certificate_required"}')


@recipe("wsgi-app", "wsgi-policy")
def test_wsgi(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    names = run_python("wsgi-app")
    assert wsgi_body(names["application"], {"gunicorn.socket": TLSConnection(alice)}) == ("200 OK", "hello alice\n")
    assert wsgi_body(names["application"], {}) == ("200 OK", "hello, whoever you are\n")
    reports = names["ClientCertificateMiddleware"](run_python("wsgi-policy")["reports"], names["authenticator"])
    assert wsgi_body(reports, {"gunicorn.socket": TLSConnection(alice)}) == ("200 OK", "reports for alice\n")
    assert wsgi_body(reports, {"gunicorn.socket": TLSConnection(bob)}) == ("403 Refused", "not_allowed")
    assert wsgi_body(reports, {}) == ("403 Refused", "certificate_required")


@recipe("nginx-source")
def test_nginx_source(alice: IssuedCertificate) -> None:
    authenticator = Authenticator(run_python("nginx-source")["source"], policy=AnyVerifiedCertificate())
    assert isinstance(decide(authenticator, nginx_headers(alice), NGINX_SOCKET), Authenticated)
    assert decide(authenticator, nginx_headers(alice), "192.0.2.66") == Anonymous()


@recipe("rfc9440-source")
def test_rfc9440_source(ca: CertificateAuthority, alice: IssuedCertificate, tmp_path: Path) -> None:
    anchors = tmp_path / "client-ca.pem"
    anchors.write_bytes(ca.pem)
    authenticator = run_python("rfc9440-source", {"/etc/mysite/client-ca.pem": str(anchors)})["authenticator"]
    below = ca.intermediate().issue("carol")
    stranger = CertificateAuthority("Example CA").issue("alice")
    chain = ", ".join(client_cert_field(item.public_bytes(Encoding.DER)) for item in below.chain)
    for issued, more, admitted in (
        (alice, {}, True),
        (below, {"Client-Cert-Chain": chain}, True),
        (stranger, {}, False),
    ):
        decision = decide(authenticator, {"Client-Cert": client_cert_field(issued.der), **more}, "10.0.0.7")
        assert isinstance(decision, Authenticated if admitted else Denied)


@recipe("own-policy")
def test_own_policy(ca: CertificateAuthority, alice: IssuedCertificate) -> None:
    policy = run_python("own-policy")["MailDomain"]("example.com")
    assert repr(policy) == "MailDomain(domain='example.com')"
    assert policy.allows(identity_of(ca.issue("carol", san=[x509.RFC822Name("carol@example.com")])))
    assert not policy.allows(identity_of(alice))


@recipe("common-names-mapper")
def test_common_names(alice: IssuedCertificate) -> None:
    authenticator = run_python("common-names-mapper")["authenticator"]
    decision = on_tls(authenticator, alice)
    assert isinstance(decision, Authenticated)
    assert decision.principal == "alice"
    refused = on_tls(authenticator, CertificateAuthority("Another CA").issue("alice"))
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.NOT_ALLOWED


@recipe("testing-starlette")
def test_the_starlette_test() -> None:
    run_python("testing-starlette")["test_alice_is_known"]()


@recipe("testing-policy")
def test_policies_print(capsys: pytest.CaptureFixture[str]) -> None:
    run_python("testing-policy")
    output = capsys.readouterr().out
    assert "OrganizationalUnit('Finance')" in output
    assert "CommonName('backup.example.com')" in output


@recipe("testing-wrong")
def test_wrong_certificates(tmp_path: Path) -> None:
    names = run_python("testing-wrong")
    anchors = tmp_path / "ca.pem"
    anchors.write_bytes(names["ca"].pem)
    authenticator = run_python("rfc9440-source", {"/etc/mysite/client-ca.pem": str(anchors)})["authenticator"]
    reasons = {
        name: decide(authenticator, {"Client-Cert": client_cert_field(names[name].der)}, "10.0.0.7")
        for name in ("expired", "for_servers", "from_another_ca", "below_an_intermediate")
    }
    assert {name: found.reason for name, found in reasons.items() if isinstance(found, Denied)} == {
        "expired": Reason.EXPIRED,
        "for_servers": Reason.WRONG_KEY_USAGE,
        "from_another_ca": Reason.UNTRUSTED,
        "below_an_intermediate": Reason.UNTRUSTED,
    }


@recipe("testing-headers")
def test_headers_of_another_proxy() -> None:
    """The test kit's headers are read as the dialect's."""
    names = run_python("testing-headers")
    decision = decide(of(names["ENVOY"]), names["headers"], "10.0.0.7")
    assert isinstance(decision, Authenticated)
    assert decision.identity.subject_cn == "alice"


@recipe("probe-middleware")
def test_the_diagnostic_endpoint(alice: IssuedCertificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the token is told who is believed; nobody else sees the endpoint."""
    token = "0123456789abcdef" * 4
    monkeypatch.setenv("MTLS_AUTH_TOKEN", token)
    inner = run_python("wsgi-app")
    names = run_python(
        "probe-middleware", application=lambda *_: [b"the application's own"], authenticator=inner["authenticator"]
    )
    asked = {
        "PATH_INFO": "/.well-known/mtls-auth",
        "wsgi.url_scheme": "https",
        "gunicorn.socket": TLSConnection(alice),
    }
    _status, body = wsgi_body(names["application"], {**asked, "HTTP_AUTHORIZATION": f"Bearer {token}"})
    assert json.loads(body)["fingerprint_sha256"] == alice.fingerprint_sha256
    assert b"".join(names["application"](asked, lambda *_: None)) == b"the application's own"
