"""What the request carries before and after: headers out, decision and certificate in."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory

from django_mtls.request import attach, decision_of, take_connection
from mtls_auth import Anonymous, Authenticated, CertificateRejected, Denied, Reason
from mtls_auth.header_names import environ_key
from mtls_auth.known_headers import known_headers
from tests.django.conftest import (
    PROXY,
    STRANGER,
    Answer,
    AsyncBrowser,
    Browser,
    Configure,
    Issue,
    Sent,
    by_nginx,
    enroll,
    identity_of,
    person,
    scope_of,
)

KNOWN = known_headers()
NAMES = sorted(KNOWN.names)


def left_of(request: Any) -> set[str]:
    """Return the names of known headers that a view can still find, wherever it looks."""
    names = {KNOWN.name_by_key[key] for key in KNOWN.in_environ(request.META)}
    names |= {name.lower() for name in request.headers if name.lower() in KNOWN.names}
    for name, _value in getattr(request, "scope", {}).get("headers", ()):
        if (spelling := KNOWN.spelling(name)) is not None:
            names.add(spelling.name)
    if hasattr(request, "environ"):
        names |= {KNOWN.name_by_key[key] for key in KNOWN.in_environ(request.environ)}
    return names


def requests(*headers: tuple[str, str]) -> dict[str, Any]:
    """Return one request of either kind with these headers."""
    environ = {environ_key(name): value for name, value in headers}
    return {
        "wsgi": RequestFactory().get("/", **environ),  # type: ignore[arg-type]  # headers, not options
        "asgi": AsyncRequestFactory().request(**scope_of("/", Sent(headers=headers))),
    }


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_every_known_header_is_removed(kind: str) -> None:
    """Not one header of any known dialect is left on the request; every other header is."""
    for name in NAMES:
        request = requests((name, "forged"), ("X-Other", "kept"))[kind]
        take_connection(request, KNOWN)
        assert left_of(request) == set(), name
        assert request.headers["X-Other"] == request.META["HTTP_X_OTHER"] == "kept"
        assert "forged" not in repr(request.META), name


@pytest.mark.parametrize("view", ["/sync/quiet/", "/async/quiet/"])
@pytest.mark.parametrize("peer", [PROXY, STRANGER], ids=["proxy", "stranger"])
@pytest.mark.parametrize("changes", [{"SOURCE": "tls"}, {"SOURCE": "nginx", "TRUSTED_PROXIES": ["192.0.2.1"]}])
def test_all_at_once(configure: Configure, browser: Browser, view: str, peer: str, changes: dict[str, Any]) -> None:
    """All of them together are removed before any view, whoever sent them."""
    configure(**changes)
    sent = Sent(headers=tuple((name.title(), "forged") for name in (*NAMES, "x-other")), peer=peer)
    answer = browser.get(view, sent)
    assert answer == Answer(200)
    assert left_of(answer.request) == set()
    assert [value for value in answer.request.META.values() if value == "forged"] == ["forged"]
    assert answer.request.headers["X-Other"] == "forged"


@pytest.mark.parametrize("spell", ["x_ssl_client_cert", "X-Ssl_Client_cert", "X_SSL_CLIENT_VERIFY", "CLIENT_CERT"])
def test_underscore_spelling(configure: Configure, spell: str) -> None:
    """The underscore spelling is removed from scope and META as well, whatever Django made of it."""
    answer = AsyncBrowser().get("/async/quiet/", Sent(headers=((spell, "forged"),), peer=STRANGER))
    assert answer == Answer(200)
    assert left_of(answer.request) == set()
    assert "forged" not in repr((answer.request.META, answer.request.scope["headers"]))


@pytest.mark.parametrize("spell", ["x.ssl.client.cert", "x~ssl~client~cert", "x ssl-client-verify"])
def test_other_separators(configure: Configure, spell: str) -> None:
    """What is removed from the scope as a spelling of a known name is removed from META and headers alike."""
    answer = AsyncBrowser().get("/async/quiet/", Sent(headers=((spell, "forged"),), peer=STRANGER))
    assert answer == Answer(200)
    assert "forged" not in repr(answer.request.scope["headers"])
    assert "forged" not in repr(answer.request.META)
    assert spell.title() not in answer.request.headers


@pytest.mark.django_db
@pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])
def test_used_headers_are_removed(configure: Configure, browser: Browser, issue: Issue, view: str) -> None:
    """The headers that were believed are removed too: the view has `request.client_certificate`."""
    enroll(issue("alice"), person("alice"))
    answer = browser.get(view, by_nginx(issue("alice").der), ("Client-Cert", "forged"))
    assert answer == Answer(200, "alice")
    assert left_of(answer.request) == set()
    assert answer.request.client_certificate.subject_cn == "alice"
    assert answer.request.client_certificate.fingerprint_sha256 == issue("alice").fingerprint_sha256


def test_headers_of_a_denied_request(configure: Configure, browser: Browser) -> None:
    """A page for denials finds none of them either."""
    answer = browser.get("/sync/quiet/", Sent(headers=(("X-SSL-Client-Cert", "x"), ("Client-Cert", "y"))))
    assert answer.reason == "unverified"
    assert left_of(answer.request) == set()


def test_headers_of_an_own_dialect(configure: Configure, browser: Browser) -> None:
    """Names that the operator configured are removed, and those of the dialect as it is built in."""
    configure(HEADERS={"leaf": "X-Mine", "verdict": "X-Mine-Verify"})
    headers = (("X-Mine", "forged"), ("X-Mine-Verify", "forged"), ("X-SSL-Client-Cert", "forged"))
    answer = browser.get("/sync/quiet/", Sent(headers=headers, peer=STRANGER))
    assert answer == Answer(200)
    assert "forged" not in repr(answer.request.META)


class ReadsHeaders:
    """A middleware above ours that has read `request.headers` already."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        assert request.headers["Client-Cert"] == "forged"
        return self.get_response(request)


def test_headers_that_somebody_read_before(configure: Configure, browser: Browser, settings: Any) -> None:
    """`request.headers` shows none of them, though it was built before they were removed."""
    settings.MIDDLEWARE = ["tests.django.test_request.ReadsHeaders", *settings.MIDDLEWARE]
    answer = browser.get("/sync/quiet/", Sent(headers=(("Client-Cert", "forged"),)))
    assert answer == Answer(200)
    assert left_of(answer.request) == set()


def test_the_scope_of_the_server_is_left_alone(configure: Configure) -> None:
    """The server's own scope keeps its headers: it logs by them."""
    scope = scope_of("/", Sent(headers=(("Client-Cert", "x"),)))
    before = list(scope["headers"])
    request = AsyncRequestFactory().request(**scope)
    server_scope = request.scope
    take_connection(request, KNOWN)
    assert request.scope is not server_scope
    assert server_scope["headers"][: len(before)] == before


def test_nothing_to_remove() -> None:
    """Without such headers every other stays, in order, and `request.headers` is not built again."""
    request = AsyncRequestFactory().request(**scope_of("/", Sent(headers=(("X-A", "1"), ("X-B", "2"), ("X-A", "3")))))
    fields, headers = list(request.scope["headers"]), request.headers
    take_connection(request, KNOWN)
    assert request.scope["headers"] == fields
    assert request.headers is headers


def test_headers_that_arrive_late() -> None:
    """What the server appends to its own list later, as uvicorn does with trailers, is not seen on the request."""
    request = AsyncRequestFactory().request(**scope_of("/"))
    of_the_server = request.scope["headers"]
    take_connection(request, KNOWN)
    of_the_server.append((b"client-cert", b"forged"))
    assert left_of(request) == set()


@pytest.mark.parametrize("value", ["a", "a,b", ""])
def test_wsgi_connection(value: str) -> None:
    """Under WSGI the environ is read: a repeated field came joined."""
    request = RequestFactory().get("/", HTTP_CLIENT_CERT=value)
    connection = take_connection(request, KNOWN)
    assert connection.fields == {"client-cert": (value,)}
    assert connection.received == {environ_key("client-cert")}


def test_asgi_connection() -> None:
    """Under ASGI the raw scope is read: every field by itself, other spellings noticed."""
    headers = (("Client-Cert", "a"), ("client-cert", "b"), ("Client_Cert", "c"))
    connection = take_connection(AsyncRequestFactory().request(**scope_of("/", Sent(headers=headers))), KNOWN)
    assert connection.fields == {"client-cert": ("a", "b")}
    assert connection.aliases == {"client-cert"}
    assert connection.received == {"client-cert", "client_cert"}
    assert connection.server.peer() == PROXY


def test_attach(issue: Issue) -> None:
    """An admitted certificate is on the request; one that was not admitted never is."""
    identity = identity_of(issue("alice"))
    for decision, expected in (
        (Anonymous(), None),
        (Denied.because(CertificateRejected(Reason.REVOKED), identity), None),
        (Authenticated(identity, "principal"), identity),
    ):
        request: Any = HttpRequest()
        attach(request, decision)
        assert request.client_certificate is expected
        assert decision_of(request) is decision


def test_without_middleware() -> None:
    """A request that the middleware did not see is a configuration error, not an anonymous request."""
    with pytest.raises(ImproperlyConfigured, match=r"add it to MIDDLEWARE"):
        decision_of(HttpRequest())
