"""`ClientCertificateMiddleware`: sync and async, its place in the stack, and no thread hop on the hot path."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.middleware import auser
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from django_mtls.directory import Enrollment
from django_mtls.middleware import CertificateLoginMiddleware, ClientCertificateMiddleware
from mtls_auth import Anonymous, Authenticated, Denied, Reason
from tests.django.conftest import (
    MIDDLEWARE,
    NOTHING,
    Answer,
    AsyncBrowser,
    Browser,
    Clock,
    Configure,
    Issue,
    Sent,
    SyncBrowser,
    by_nginx,
    enroll,
    person,
    scope_of,
)

LOGIN = "django_mtls.middleware.CertificateLoginMiddleware"
BOTH = pytest.mark.parametrize("middleware_class", [ClientCertificateMiddleware, CertificateLoginMiddleware])


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("seen")


async def aview(request: HttpRequest) -> HttpResponse:
    return HttpResponse("seen")


@BOTH
def test_capabilities(configure: Configure, middleware_class: Any) -> None:
    """Django adapts neither of them: each is a coroutine function where what it calls is one."""
    assert (middleware_class.sync_capable, middleware_class.async_capable) == (True, True)
    assert iscoroutinefunction(middleware_class(aview))
    assert not iscoroutinefunction(middleware_class(view))


def test_a_hidden_peer_stops_the_server(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a server that hides the peer, trust by address is an error at start-up, which names the way out."""
    monkeypatch.setattr("sys.argv", ["/srv/venv/bin/waitress-serve", "project.wsgi:application"])
    for plain in (view, aview):
        with pytest.raises(ImproperlyConfigured, match=r"^waitress: .* PROXY_SECRET .* SERVER_ADDRESS_IS_PEER"):
            ClientCertificateMiddleware(plain)
    configure(SOURCE="nginx", PROXY_SECRET="h8dqZ5x1Lk3vB7nM")
    assert ClientCertificateMiddleware(aview)


def test_runserver_starts(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own server is for developers: there a system check warns, and it starts."""
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    assert ClientCertificateMiddleware(view)


def test_sync_call(configure: Configure) -> None:
    """Called with a request it returns the view's response, and the decision is on the request."""
    request: Any = RequestFactory().get("/")
    response = ClientCertificateMiddleware(view)(request)
    assert response.content == b"seen"
    assert request.certificate_decision == Anonymous()
    assert request.client_certificate is None


def test_async_call(configure: Configure) -> None:
    """Called with a request in async mode it returns a coroutine, which does the same."""
    request: Any = AsyncRequestFactory().request(**scope_of("/"))

    async def call() -> Any:
        return await ClientCertificateMiddleware(aview)(request)

    assert async_to_sync(call)().content == b"seen"
    assert request.certificate_decision == Anonymous()


def test_sync_middleware_with_asgi_request(configure: Configure) -> None:
    """A sync stack meets ASGI requests too: which it is follows from the request."""
    headers = (("Client-Cert", "x"), ("X-SSL-Client-Verify", "SUCCESS"), ("X-SSL-Client-Verify", "SUCCESS"))
    request: Any = AsyncRequestFactory().request(**scope_of("/", Sent(headers=headers)))
    response = ClientCertificateMiddleware(view)(request)
    assert response.status_code == 400
    assert request.certificate_decision.reason is Reason.AMBIGUOUS_HEADER


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sync/open/", "/async/open/"])
def test_request_attributes(configure: Configure, browser: Browser, issue: Issue, path: str) -> None:
    """A view finds the decision, and the certificate where one was admitted."""
    row = enroll(issue("alice"), person("alice"))
    request = browser.get(path, by_nginx(issue("alice").der)).request
    assert type(request.certificate_decision) is Authenticated
    principal = request.certificate_decision.principal
    assert isinstance(principal, Enrollment)
    assert (principal.user, principal.certificate_id) == (User.objects.get(), row.pk)
    assert request.certificate_decision.identity is request.client_certificate
    assert request.client_certificate.fingerprint_sha256 == issue("alice").fingerprint_sha256
    request = browser.get(path).request
    assert (request.certificate_decision, request.client_certificate) == (Anonymous(), None)
    request = browser.get(path, by_nginx(issue("bob").der)).request
    assert isinstance(request.certificate_decision, Denied)
    assert request.client_certificate is None


@pytest.mark.django_db
def test_keep_alive(configure: Configure, browser: Browser, issue: Issue) -> None:
    """Nothing of one request is left for the next on the same connection."""
    enroll(issue("alice"), person("alice"))
    for _ in range(2):
        assert browser.get("/sync/open/", by_nginx(issue("alice").der)) == Answer(200, "alice")
        assert browser.get("/sync/open/") == Answer(200, "")


@pytest.mark.django_db
def test_without_authentication(
    configure: Configure, browser: Browser, issue: Issue, settings: Any, django_assert_num_queries: Any
) -> None:
    """It needs neither sessions nor `request.user`: alone in MIDDLEWARE it decides all the same."""
    settings.MIDDLEWARE = [MIDDLEWARE]
    enroll(issue("alice"), person("alice"))
    with django_assert_num_queries(1):
        answer = browser.get("/async/quiet/", by_nginx(issue("alice").der))
    assert answer.status == 200
    assert answer.request.certificate_decision.principal.user.username == "alice"
    assert browser.get("/sync/quiet/", by_nginx(issue("bob").der)).reason == "not_enrolled"


# No thread hop


class FakeUser:
    """Gives `request.user` as AuthenticationMiddleware does, without that one's own thread hops."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        request.user = AnonymousUser()
        request.auser = partial(auser, request)
        return await self.get_response(request)


_inside: ContextVar[bool] = ContextVar("inside the stack, not on the way to it", default=False)


@contextmanager
def hops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record everything that is handed to a thread."""
    found: list[str] = []

    def spy(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
            function = getattr(self, "func", None) or next(filter(callable, args), None)
            what = getattr(function, "__qualname__", repr(function))
            if _inside.get():
                found.append(f"{owner.__name__}.{name} {what}")
            return original(self, *args, **kwargs)

        patch.setattr(owner, name, recorded)

    with monkeypatch.context() as patch:
        spy(SyncToAsync, "__call__")
        spy(ThreadPoolExecutor, "submit")
        spy(asyncio.BaseEventLoop, "run_in_executor")
        yield found


def run(handler: ASGIHandler, path: str, sent: Sent) -> HttpResponse:
    """Send a request through Django's async stack; nothing else is called."""
    request = AsyncRequestFactory().request(**scope_of(path, sent))

    async def call() -> Any:
        token = _inside.set(True)
        try:
            return await handler.get_response_async(request)
        finally:
            _inside.reset(token)

    response: HttpResponse = async_to_sync(call)()
    return response


@pytest.fixture
def handler(settings: Any) -> ASGIHandler:
    """Django's ASGI handler with nothing but our middlewares."""
    settings.MIDDLEWARE = ["tests.django.test_middleware.FakeUser", MIDDLEWARE, LOGIN]
    return ASGIHandler()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/async/quiet/", "/async/decorator/any/", "/async/mixin/ops/"])
def test_no_thread_hop_with_a_warm_entry(
    configure: Configure,
    handler: ASGIHandler,
    issue: Issue,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Any,
    path: str,
) -> None:
    """Under ASGI, with MAX_STALENESS and a warm entry, a request stays on the event loop from end to end."""
    configure(MAX_STALENESS=1)
    leaf = issue("operator", "Ops")
    enroll(leaf, person("operator"))
    with hops(monkeypatch) as found:
        assert run(handler, path, by_nginx(leaf.der)).status_code == 200
    assert any("admit" in hop for hop in found)  # the first one asks, in a thread
    for _ in range(2):
        with hops(monkeypatch) as found, django_assert_num_queries(0):
            assert run(handler, path, by_nginx(leaf.der)).status_code == 200
        assert found == []
    clock.advance(1.01)
    with hops(monkeypatch) as found, django_assert_num_queries(1):
        assert run(handler, path, by_nginx(leaf.der)).status_code == 200
    assert len([hop for hop in found if hop.startswith("SyncToAsync")]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("staleness", [None, 0, 1])
def test_no_thread_hop_without_certificate(
    configure: Configure, handler: ASGIHandler, monkeypatch: pytest.MonkeyPatch, staleness: float | None
) -> None:
    """A request without a certificate stays there too, in every mode."""
    configure(MAX_STALENESS=staleness)
    with hops(monkeypatch) as found:
        assert run(handler, "/async/quiet/", NOTHING).status_code == 200
    assert found == []


@pytest.mark.django_db
@pytest.mark.parametrize("staleness", [None, 0])
def test_one_thread_hop_for_one_query(
    configure: Configure, handler: ASGIHandler, issue: Issue, monkeypatch: pytest.MonkeyPatch, staleness: float | None
) -> None:
    """Where each request asks the database, it leaves the event loop once."""
    configure(MAX_STALENESS=staleness)
    enroll(issue("alice"), person("alice"))
    for _ in range(2):
        with hops(monkeypatch) as found:
            assert run(handler, "/async/quiet/", by_nginx(issue("alice").der)).status_code == 200
        assert [hop for hop in found if hop.startswith("SyncToAsync")] == ["SyncToAsync.__call__ Authenticator.admit"]


@pytest.mark.django_db
def test_no_hop_in_the_full_stack(
    configure: Configure, issue: Issue, clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """In Django's own stack, whose middlewares hop, ours add not one."""
    configure(MAX_STALENESS=1)
    enroll(issue("alice"), person("alice"))
    counts = []
    for middleware in (settings.MIDDLEWARE, [name for name in settings.MIDDLEWARE if "django_mtls" not in name]):
        settings.MIDDLEWARE = middleware
        stack = ASGIHandler()
        run(stack, "/async/quiet/", by_nginx(issue("alice").der))
        with hops(monkeypatch) as found:
            assert run(stack, "/async/quiet/", by_nginx(issue("alice").der)).status_code == 200
        counts.append(len(found))
    with_ours, without = counts
    assert with_ours == without > 0


def test_django_adapts_nothing(configure: Configure, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Django says which middlewares it adapts between sync and async; ours are not among them."""
    settings.DEBUG = True
    settings.MIDDLEWARE = ["tests.django.test_middleware.FakeUser", MIDDLEWARE, LOGIN]
    with caplog.at_level("DEBUG", logger="django.request"):
        ASGIHandler()
        assert not [record for record in caplog.records if "adapted" in record.getMessage()]
        settings.MIDDLEWARE = [MIDDLEWARE, "tests.django.test_request.ReadsHeaders"]
        ASGIHandler()
    adapted = [record.getMessage() for record in caplog.records if "adapted" in record.getMessage()]
    assert adapted
    assert all("ReadsHeaders" in message for message in adapted)


@pytest.mark.django_db
@pytest.mark.parametrize("browser_class", [SyncBrowser, AsyncBrowser])
def test_twice_in_the_stack(configure: Configure, issue: Issue, settings: Any, browser_class: Any) -> None:
    """Installed twice, the second finds no header: anonymous, never somebody else."""
    settings.MIDDLEWARE = [MIDDLEWARE, MIDDLEWARE]
    enroll(issue("alice"), person("alice"))
    answer = browser_class().get("/async/quiet/", by_nginx(issue("alice").der))
    assert answer.request.client_certificate is None
