"""`ClientCertificateRequiredMixin`: the decorator for class-based views, sync and async."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView, View

from django_mtls.mixins import ClientCertificateRequiredMixin
from mtls_auth import Anonymous, Authenticated, CommonName, Decision, OrganizationalUnit, Policy
from tests.django.conftest import Answer, Browser, Configure, Issue, by_nginx, enroll, identity_of, person


class SyncView(ClientCertificateRequiredMixin, View):
    """Sync."""

    def get(self, request: HttpRequest, name: str = "") -> HttpResponse:
        return HttpResponse(f"get {name}")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("post")


class AsyncView(ClientCertificateRequiredMixin, View):
    """Async."""

    async def get(self, request: HttpRequest, name: str = "") -> HttpResponse:
        return HttpResponse(f"get {name}")

    async def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("post")


VIEWS = pytest.mark.parametrize("view_class", [SyncView, AsyncView])


def call(view: Any, decision: Decision, method: str = "GET", **kwargs: Any) -> Any:
    request: Any = RequestFactory().generic(method, "/")
    request.certificate_decision = decision
    return async_to_sync(view)(request, **kwargs) if iscoroutinefunction(view) else view(request, **kwargs)


@pytest.fixture
def admitted(configure: Configure, issue: Issue) -> Authenticated:
    """The decision on alice's certificate."""
    return Authenticated(identity_of(issue("alice")), "alice")


@VIEWS
def test_admitted(admitted: Authenticated, view_class: Any) -> None:
    """Every method runs, with its arguments."""
    view = view_class.as_view()
    assert call(view, admitted, name="x").content == b"get x"
    assert call(view, admitted, "POST").content == b"post"
    assert call(view, admitted, "DELETE").status_code == 405


@VIEWS
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "BREW"])
def test_anonymous(configure: Configure, view_class: Any, method: str) -> None:
    """No method runs without a certificate, not even those that the view does not have."""
    assert call(view_class.as_view(), Anonymous(), method).status_code == 403


@VIEWS
@pytest.mark.parametrize(
    ("attribute", "argument", "status"),
    [
        (None, ..., 200),
        (CommonName("alice"), ..., 200),
        (CommonName("bob"), ..., 403),
        (CommonName("bob"), CommonName("alice"), 200),
        (CommonName("alice"), CommonName("bob"), 403),
        (None, CommonName("bob"), 403),
    ],
    ids=["any", "attribute", "attribute refuses", "argument wins", "argument wins and refuses", "argument refuses"],
)
def test_policy(admitted: Authenticated, view_class: Any, attribute: Policy | None, argument: Any, status: int) -> None:
    """The policy is an attribute of the class, or an argument of `as_view`, which wins."""
    guarded: Any = type("Guarded", (view_class,), {"certificate_policy": attribute})
    options = {} if argument is ... else {"certificate_policy": argument}
    assert call(guarded.as_view(**options), admitted).status_code == status


def test_policy_is_inherited(admitted: Authenticated) -> None:
    """A subclass keeps the policy of its base."""

    class Ops(SyncView):
        certificate_policy = OrganizationalUnit("Ops")

    class More(Ops): ...

    assert call(More.as_view(), admitted).status_code == 403


@VIEWS
def test_wrong_policy(view_class: Any) -> None:
    """What is no policy fails while the URLs are loaded."""
    with pytest.raises(TypeError):
        view_class.as_view(certificate_policy="ops")


@VIEWS
def test_as_view_stays_what_it_is(view_class: Any) -> None:
    """Django still finds the class, its arguments, its kind and the marks of decorators."""
    exempt: Any = method_decorator(csrf_exempt, name="dispatch")(type("Exempt", (view_class,), {}))
    view: Any = exempt.as_view(certificate_policy=None)
    assert view.view_class is exempt
    assert view.view_initkwargs == {"certificate_policy": None}
    assert view.csrf_exempt is True
    assert iscoroutinefunction(view) is (view_class is AsyncView)


def test_unknown_argument() -> None:
    """`as_view` still refuses what the class does not know."""
    with pytest.raises(TypeError, match="polcy"):
        SyncView.as_view(polcy=None)


@pytest.mark.parametrize("base", [View, TemplateView])
def test_mixin_after_the_view(configure: Configure, base: Any) -> None:
    """Written after the view class, where Python would pass it over, it guards, or the class cannot be made."""
    try:
        misplaced: Any = type(
            "Misplaced", (base, ClientCertificateRequiredMixin), {"get": lambda self, request: HttpResponse("open")}
        )
    except TypeError:
        return
    assert call(misplaced.as_view(), Anonymous()).status_code == 403


class Marked:
    """A mixin with an `as_view` of its own, which calls the next one."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        following: Any = super()
        view = following.as_view(**initkwargs)
        view.marked = True
        return view


def test_as_view_may_be_extended_by_another_mixin(admitted: Authenticated) -> None:
    """A mixin before ours may extend `as_view`: it guards all the same."""
    extended: Any = type("Extended", (Marked, SyncView), {})
    view = extended.as_view()
    assert view.marked is True
    assert call(view, admitted).status_code == 200
    assert call(view, Anonymous()).status_code == 403


def test_as_view_may_be_extended_by_the_view(admitted: Authenticated) -> None:
    """A view class may extend `as_view` itself: it guards all the same."""

    class Extended(SyncView):
        @classmethod
        def as_view(cls, **initkwargs: Any) -> Any:
            return csrf_exempt(super().as_view(**initkwargs))

    view: Any = Extended.as_view()
    assert view.csrf_exempt is True
    assert call(view, admitted).status_code == 200
    assert call(view, Anonymous()).status_code == 403


@pytest.mark.django_db
def test_attribute_through_a_url(configure: Configure, browser: Browser, issue: Issue) -> None:
    """The policy of the class holds through a URL."""
    for name, unit in (("alice", "Sales"), ("operator", "Ops")):
        enroll(issue(name, unit), person(name))
    path = "/sync/attribute/ops/"
    assert browser.get(path, by_nginx(issue("operator", "Ops").der)) == Answer(200, "operator")
    assert browser.get(path, by_nginx(issue("alice", "Sales").der)) == Answer(403, None, "not_allowed")
    assert browser.get(path) == Answer(403, None, "certificate_required")
