"""Who may speak for a client, on requests: the secret, the proxy's certificate, several sources, server variables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_mtls.models import EnrolledCertificate
from mtls_auth import CommonName, Fingerprint, Policy
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.django.conftest import (
    NOTHING,
    PROXY,
    STRANGER,
    Answer,
    AsyncBrowser,
    Browser,
    Configure,
    Issue,
    Sent,
    SyncBrowser,
    by_dialect,
    by_nginx,
    by_rfc9440,
    enroll,
    person,
)

pytestmark = pytest.mark.django_db

SECRET = "h8dqZ5x1Lk3vB7nMq2Wt"
OTHER_SECRET = "zP4sGf9CyT6uJ0aRe1Xo"
ALICE = Answer(200, "alice")
ANONYMOUS = Answer(200, "")
UNPROVEN = Answer(403, None, "proxy_unproven")
CONTRADICTORY = Answer(400, None, "contradictory_evidence")
VIEWS = pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])


@pytest.fixture
def alice(issue: Issue) -> IssuedCertificate:
    """Alice's certificate, enrolled."""
    enroll(issue("alice"), person("alice"))
    return issue("alice")


@pytest.fixture
def bob(issue: Issue) -> IssuedCertificate:
    """Bob's certificate, enrolled."""
    enroll(issue("bob"), person("bob"))
    return issue("bob")


def adding(sent: Sent, *headers: tuple[str, str]) -> Sent:
    """Return what a proxy sends with more headers."""
    return replace(sent, headers=(*sent.headers, *headers))


def names(answer: Answer) -> set[str]:
    """Return the headers that the view found."""
    return {key for key in answer.request.META if key.startswith("HTTP_")} | set(answer.request.headers)


# The secret

SECRETS: dict[str, tuple[tuple[str, ...], Answer]] = {
    "right": ((SECRET,), ALICE),
    "right, the old one": ((OTHER_SECRET,), ALICE),
    "right, with blanks around it": ((f" {SECRET}\t",), ALICE),
    "missing": ((), UNPROVEN),
    "empty": (("",), UNPROVEN),
    "other": (("x" * len(SECRET),), UNPROVEN),
    "beginning": ((SECRET[:-1],), UNPROVEN),
    "longer": ((SECRET + "x",), UNPROVEN),
    "other case": ((SECRET.swapcase(),), UNPROVEN),
    "twice": ((SECRET, SECRET), UNPROVEN),
    "both": ((SECRET, OTHER_SECRET), UNPROVEN),
    "not ASCII": (("\xe9" * len(SECRET),), UNPROVEN),
}


@VIEWS
@pytest.mark.parametrize(("values", "expected"), SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("trust", [{"TRUSTED_PROXIES": [PROXY]}, {}], ids=["and address", "alone"])
def test_secret(
    configure: Configure,
    browser: Browser,
    alice: IssuedCertificate,
    view: str,
    trust: dict[str, Any],
    values: tuple[str, ...],
    expected: Answer,
) -> None:
    """Certificate headers count with exactly one right secret; the trusted address does not replace it."""
    configure(SOURCE="nginx", PROXY_SECRET=[SECRET, OTHER_SECRET], **trust)
    sent = adding(by_nginx(alice.der), *(("X-Proxy-Secret", value) for value in values))
    answer = browser.get(view, sent)
    assert answer == expected


def test_the_classic_accident(configure: Configure, browser: Browser, alice: IssuedCertificate) -> None:
    """A location of the trusted proxy that lost its inherited headers passes a client's forgery on: it is refused."""
    configure(PROXY_SECRET=SECRET)
    assert browser.get("/sync/open/", by_nginx(alice.der)) == UNPROVEN
    assert browser.get("/sync/open/") == ANONYMOUS
    assert browser.get("/sync/decorator/any/", by_nginx(alice.der)) == UNPROVEN


@VIEWS
@pytest.mark.parametrize("name", ["X-Proxy-Secret", "X-My-Secret"])
def test_secret_is_removed(
    configure: Configure, browser: Browser, alice: IssuedCertificate, view: str, name: str
) -> None:
    """The view does not see the secret, whoever came and from wherever."""
    configure(PROXY_SECRET=SECRET, PROXY_SECRET_HEADER=name)
    key = f"HTTP_{name.upper().replace('-', '_')}"
    for sent, expected in (
        (adding(by_nginx(alice.der), (name, SECRET)), ALICE),
        (Sent(headers=((name, SECRET),)), ANONYMOUS),
        (Sent(headers=((name, SECRET),), peer=STRANGER), ANONYMOUS),
    ):
        answer = browser.get(view, sent)
        assert answer == expected
        assert not {key, name} & names(answer)


def test_another_header_of_the_secret(configure: Configure, browser: Browser, alice: IssuedCertificate) -> None:
    """With a header of one's own the default one is nothing: it is a header of the application."""
    configure(PROXY_SECRET=SECRET, PROXY_SECRET_HEADER="X-My-Secret")
    assert browser.get("/sync/open/", adding(by_nginx(alice.der), ("X-Proxy-Secret", SECRET))) == UNPROVEN
    answer = browser.get("/sync/open/", Sent(headers=(("X-Proxy-Secret", "x"),)))
    assert "HTTP_X_PROXY_SECRET" in names(answer)


def test_secret_is_not_logged(
    configure: Configure, browser: Browser, alice: IssuedCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the reason and neither secret."""
    configure(PROXY_SECRET=SECRET)
    wrong = "wrong" + OTHER_SECRET
    with caplog.at_level("DEBUG"):
        answer = browser.get("/sync/open/", adding(by_nginx(alice.der), ("X-Proxy-Secret", wrong)))
    assert answer == UNPROVEN
    assert "proxy_unproven" in caplog.text
    assert SECRET not in caplog.text
    assert wrong not in caplog.text
    assert wrong not in answer.response.content.decode()


@pytest.mark.parametrize("peer", [STRANGER, "unix:/run/other.sock", None], ids=["stranger", "socket", "hidden"])
def test_right_secret_from_elsewhere(
    configure: Configure, browser: Browser, alice: IssuedCertificate, peer: str | None
) -> None:
    """The secret proves itself from anywhere; beside an address both have to hold."""
    sent = replace(adding(by_nginx(alice.der), ("X-Proxy-Secret", SECRET)), peer=peer)
    configure(SOURCE="nginx", PROXY_SECRET=SECRET)
    assert browser.get("/sync/open/", sent) == ALICE
    configure(PROXY_SECRET=SECRET)
    assert browser.get("/sync/open/", sent) == ANONYMOUS


def test_secret_in_another_spelling(configure: Configure, alice: IssuedCertificate) -> None:
    """Under ASGI a secret beside an underscore spelling of its header is refused."""
    configure(PROXY_SECRET=SECRET)
    sent = adding(by_nginx(alice.der), ("X-Proxy-Secret", SECRET), ("X_Proxy_Secret", SECRET))
    assert AsyncBrowser().get("/sync/open/", sent) == Answer(400, None, "ambiguous_header")


# The proxy's certificate


@pytest.fixture(scope="module")
def proxy(ca: CertificateAuthority) -> IssuedCertificate:
    """The proxy's own certificate."""
    return ca.issue("proxy")


def pinned(issued: IssuedCertificate) -> Policy:
    """Return the policy that admits this certificate alone."""
    return Fingerprint(issued.fingerprint_sha256)


@VIEWS
def test_proxy_certificate(
    configure: Configure,
    browser: Browser,
    alice: IssuedCertificate,
    bob: IssuedCertificate,
    proxy: IssuedCertificate,
    view: str,
) -> None:
    """The headers count on a connection with the proxy's certificate, from whatever address, and on no other."""
    configure(SOURCE="nginx", PROXY_CERTIFICATE=pinned(proxy))
    sent = replace(by_nginx(alice.der), peer=STRANGER)
    assert browser.get(view, replace(sent, tls=proxy.der)) == ALICE
    assert browser.get(view, replace(sent, tls=bob.der)) == ANONYMOUS
    assert browser.get(view, sent) == ANONYMOUS
    assert browser.get(view, Sent(tls=proxy.der)) == ANONYMOUS
    assert not {key for key in names(browser.get(view, replace(sent, tls=bob.der))) if "SSL" in key.upper()}


@pytest.mark.parametrize(("days", "expected"), [(-1, ANONYMOUS), (1, ALICE)], ids=["expired", "in force"])
def test_proxy_certificate_in_force(
    configure: Configure,
    browser: Browser,
    ca: CertificateAuthority,
    alice: IssuedCertificate,
    days: int,
    expected: Answer,
) -> None:
    """A proxy's certificate that has ended makes no proxy."""
    issued = ca.issue("proxy", not_after=datetime.now(UTC) + timedelta(days=days))
    configure(SOURCE="nginx", PROXY_CERTIFICATE=CommonName("proxy"))
    assert browser.get("/sync/open/", replace(by_nginx(alice.der), tls=issued.der)) == expected


@pytest.mark.parametrize("lacks", ["nothing", "address", "secret", "certificate"])
def test_all_three(
    configure: Configure, browser: Browser, alice: IssuedCertificate, proxy: IssuedCertificate, lacks: str
) -> None:
    """What is given must hold, all of it."""
    configure(PROXY_SECRET=SECRET, PROXY_CERTIFICATE=pinned(proxy))
    sent = Sent(
        headers=by_nginx(alice.der).headers + (() if lacks == "secret" else (("X-Proxy-Secret", SECRET),)),
        peer=STRANGER if lacks == "address" else PROXY,
        tls=None if lacks == "certificate" else proxy.der,
    )
    expected = {"nothing": ALICE, "secret": UNPROVEN}.get(lacks, ANONYMOUS)
    assert browser.get("/sync/open/", sent) == expected


# Several sources

NGINX = {"SOURCE": "nginx", "TRUSTED_PROXIES": [PROXY]}


@VIEWS
def test_several_sources(
    settings: Any, browser: Browser, alice: IssuedCertificate, bob: IssuedCertificate, view: str
) -> None:
    """Each source speaks by itself; two that speak must name the same certificate."""
    rfc9440 = {**NGINX, "SOURCE": "rfc9440", "PROXY_VERIFIES": True}
    settings.MTLS_AUTH = {"SOURCES": [{"SOURCE": "tls"}, NGINX, rfc9440]}
    nginx, field = by_nginx(alice.der), by_rfc9440(alice.der)
    assert browser.get(view, NOTHING) == ANONYMOUS
    assert browser.get(view, Sent(tls=bob.der, peer=STRANGER)) == Answer(200, "bob")
    assert browser.get(view, nginx) == CONTRADICTORY
    assert browser.get(view, field) == CONTRADICTORY  # of the same proxies, and only one of the two
    assert browser.get(view, adding(nginx, *field.headers)) == ALICE
    assert browser.get(view, replace(adding(nginx, *field.headers), tls=alice.der)) == ALICE
    assert browser.get(view, replace(nginx, tls=bob.der)) == CONTRADICTORY
    assert browser.get(view, adding(nginx, *by_rfc9440(bob.der).headers)) == CONTRADICTORY
    assert browser.get(view, replace(nginx, tls=bob.der, peer=STRANGER)) == Answer(200, "bob")


def test_proxy_and_clients_on_one_port(
    settings: Any, browser: Browser, alice: IssuedCertificate, bob: IssuedCertificate, proxy: IssuedCertificate
) -> None:
    """Beside the socket, the proxy's own certificate is nobody's, and a client's makes no proxy."""
    enroll(proxy, person("proxy"))
    settings.MTLS_AUTH = {"SOURCES": [{"SOURCE": "tls"}, {"SOURCE": "nginx", "PROXY_CERTIFICATE": pinned(proxy)}]}
    nginx = by_nginx(alice.der)
    assert browser.get("/sync/open/", replace(nginx, tls=proxy.der)) == ALICE
    assert browser.get("/sync/open/", Sent(tls=proxy.der)) == ANONYMOUS
    assert browser.get("/sync/open/", Sent(tls=bob.der)) == Answer(200, "bob")
    assert browser.get("/sync/open/", replace(nginx, tls=bob.der)) == Answer(200, "bob")


def test_two_proxies_with_the_same_headers(settings: Any, browser: Browser, alice: IssuedCertificate) -> None:
    """Each proxy has a secret of its own; without any of them nobody speaks."""
    settings.MTLS_AUTH = {
        "SOURCES": [
            {"SOURCE": "nginx", "PROXY_SECRET": SECRET},
            {"SOURCE": "nginx", "PROXY_SECRET": OTHER_SECRET, "PROXY_SECRET_HEADER": "X-Other-Secret"},
        ]
    }
    nginx = by_nginx(alice.der)
    assert browser.get("/sync/open/", adding(nginx, ("X-Proxy-Secret", SECRET))) == ALICE
    assert browser.get("/sync/open/", adding(nginx, ("X-Other-Secret", OTHER_SECRET))) == ALICE
    assert browser.get("/sync/open/", adding(nginx, ("X-Other-Secret", SECRET))) == UNPROVEN
    assert browser.get("/sync/open/", nginx) == UNPROVEN


def test_required_of_several(settings: Any, browser: Browser, alice: IssuedCertificate) -> None:
    """REQUIRED asks for one of the sources."""
    settings.MTLS_AUTH = {"SOURCES": [{"SOURCE": "tls"}, NGINX], "REQUIRED": True}
    assert browser.get("/sync/open/") == Answer(403, None, "certificate_required")
    assert browser.get("/sync/open/", by_nginx(alice.der)) == ALICE


# Variables of the server


def by_mod_wsgi(issued: IssuedCertificate, verify: str = "SUCCESS") -> dict[str, str]:
    """What mod_wsgi puts into the environ."""
    return {"SSL_CLIENT_CERT": issued.pem.decode(), "SSL_CLIENT_VERIFY": verify}


def test_mod_wsgi(settings: Any, alice: IssuedCertificate) -> None:
    """The variables of the environ are believed, with their verdict; they stay for the view."""
    settings.MTLS_AUTH = {"SOURCE": "mod_wsgi"}
    browser = SyncBrowser()
    for variables, expected in (
        (by_mod_wsgi(alice), ALICE),
        ({"SSL_CLIENT_CERT": "", "SSL_CLIENT_VERIFY": "NONE"}, ANONYMOUS),
        ({}, ANONYMOUS),
        (by_mod_wsgi(alice, "FAILED:unable to verify the first certificate"), Answer(403, None, "proxy_rejected")),
        (by_mod_wsgi(alice, "GENEROUS"), Answer(403, None, "proxy_rejected")),
        ({"SSL_CLIENT_CERT": alice.pem.decode()}, Answer(403, None, "unverified")),
        ({**by_mod_wsgi(alice), "SSL_CLIENT_CERT": "x"}, Answer(400, None, "malformed_header")),
    ):
        assert browser.get("/sync/open/", Sent(peer=None, variables=variables)) == expected


@VIEWS
@pytest.mark.parametrize("name", ["SSL-Client-Cert", "SSL_CLIENT_CERT", "X-SSL-Client-Cert"])
@pytest.mark.parametrize("source", ["mod_wsgi", "gateway-params", "cheroot", "werkzeug", "uwsgi"])
def test_headers_are_no_variables(
    settings: Any, browser: Browser, alice: IssuedCertificate, source: str, view: str, name: str
) -> None:
    """What a client writes arrives as `HTTP_…`: it is not believed, and the view does not see it."""
    settings.MTLS_AUTH = {"SOURCE": source}
    pem = alice.pem.decode().replace("\n", " ")
    sent = Sent(headers=((name, pem), ("SSL-Client-Verify", "SUCCESS"), ("HTTPS-CC", pem)))
    answer = browser.get(view, sent)
    assert answer == ANONYMOUS
    assert not {key for key in names(answer) if "SSL" in key.upper()}


def test_variables_under_asgi(settings: Any, alice: IssuedCertificate) -> None:
    """A server that hands events on through ASGI is read from the scope."""
    settings.MTLS_AUTH = {"SOURCE": "aws-api-gateway"}
    certificate = {"clientCertPem": alice.pem.decode()}
    event = {"requestContext": {"authentication": {"clientCert": certificate}}}
    sent = Sent(peer=None, variables={"aws.event": event})
    assert AsyncBrowser().get("/async/open/", sent) == ALICE
    assert AsyncBrowser().get("/async/open/", Sent(peer=None)) == ANONYMOUS


def test_the_subject_s_text(settings: Any, browser: Browser) -> None:
    """pyvoy tells the subject's text alone, which is a user's name."""
    settings.MTLS_AUTH = {"SOURCE": "pyvoy", "MAPPING": "stated_name"}
    person("CN=alice,O=Example")
    wsgi = {"wsgi.ext.tls.client_cert_name": "CN=alice,O=Example"}
    sent = Sent(peer=None, variables=wsgi)
    assert browser.get("/sync/open/", sent) == Answer(200, "CN=alice,O=Example")
    assert browser.get("/sync/open/", Sent(headers=(("X-SSL-Client-S-DN", "CN=alice,O=Example"),))) == ANONYMOUS


# Headers of others


def test_one_dialect_is_read(configure: Configure, browser: Browser, alice: IssuedCertificate) -> None:
    """What another terminator would send is nothing, and the view does not see it."""
    configure(SOURCE="caddy", TRUSTED_PROXIES=[PROXY], PROXY_VERIFIES=True)
    assert browser.get("/sync/open/", by_dialect("caddy", alice.der)) == ALICE
    for name in ("rfc9440", "envoy", "traefik", "aws-alb", "cloudflare"):
        sent = by_dialect(name, alice.der)
        answer = browser.get("/sync/open/", sent)
        assert answer == ANONYMOUS
        assert not names(answer) & {header.title() for header, _value in sent.headers}


def test_nothing_is_enrolled_by_a_request(configure: Configure, browser: Browser, ca: CertificateAuthority) -> None:
    """A certificate that nobody enrolled stands for nobody, however well it is proven."""
    configure(PROXY_SECRET=SECRET)
    sent = adding(by_nginx(ca.issue("mallory").der), ("X-Proxy-Secret", SECRET))
    assert browser.get("/sync/open/", sent) == Answer(403, None, "not_enrolled")
    assert EnrolledCertificate.objects.count() == 0
