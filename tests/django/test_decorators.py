"""`@client_certificate_required`: whom it lets through, what it leaves of the view, and what it refuses itself."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View

from django_mtls.decorators import client_certificate_required
from mtls_auth import (
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    CertificateRejected,
    CommonName,
    Decision,
    Denied,
    Fingerprint,
    Identity,
    Policy,
    Reason,
)
from tests.django.conftest import Configure, Issue, identity_of


def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Say what arrived."""
    return HttpResponse(f"{args} {kwargs}")


async def aview(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Say what arrived."""
    return HttpResponse(f"{args} {kwargs}")


VIEWS = pytest.mark.parametrize("plain", [view, aview], ids=["sync", "async"])


def call(guarded: Any, decision: Decision | None, *args: Any, **kwargs: Any) -> Any:
    """Call a guarded view on a request with this decision."""
    request: Any = RequestFactory().get("/")
    if decision is not None:
        request.certificate_decision = decision
    if iscoroutinefunction(guarded):
        return async_to_sync(guarded)(request, *args, **kwargs)
    return guarded(request, *args, **kwargs)


@pytest.fixture
def admitted(configure: Configure, issue: Issue) -> Authenticated:
    """The decision on alice's certificate."""
    return Authenticated(identity_of(issue("alice")), "alice")


@VIEWS
def test_admitted(admitted: Authenticated, plain: Any) -> None:
    """The view runs with all its arguments."""
    response = call(client_certificate_required()(plain), admitted, 1, pk=2)
    assert (response.status_code, response.content) == (200, b"(1,) {'pk': 2}")


POLICIES: dict[str, tuple[Policy | None, bool]] = {
    "none": (None, True),
    "any": (AnyVerifiedCertificate(), True),
    "hers": (CommonName("alice"), True),
    "other": (CommonName("bob"), False),
    "either": (CommonName("bob") | CommonName("alice"), True),
    "both": (CommonName("alice") & Fingerprint("0" * 64), False),
}


@VIEWS
@pytest.mark.parametrize(("policy", "allowed"), POLICIES.values(), ids=POLICIES)
def test_policies(admitted: Authenticated, plain: Any, policy: Policy | None, allowed: bool) -> None:
    """The policy decides on the certificate; without one every admitted certificate will do."""
    response = call(client_certificate_required(policy)(plain), admitted)
    assert response.status_code == (200 if allowed else 403)
    if not allowed:
        assert response.content == b'{"reason": "not_allowed"}'


@VIEWS
@pytest.mark.parametrize(
    ("decision", "status", "reason"),
    [
        (Anonymous(), 403, "certificate_required"),
        (Denied.because(CertificateRejected(Reason.REVOKED)), 403, "revoked"),
        (Denied.because(CertificateRejected(Reason.MALFORMED_HEADER)), 400, "malformed_header"),
        (Denied.because(CertificateRejected(Reason.STORE_UNAVAILABLE)), 503, "store_unavailable"),
    ],
    ids=["anonymous", "revoked", "malformed", "store"],
)
def test_not_admitted(configure: Configure, plain: Any, decision: Decision, status: int, reason: str) -> None:
    """Without an admitted certificate the view does not run, whatever the policy."""
    for policy in (None, CommonName("alice")):
        response = call(client_certificate_required(policy)(plain), decision)
        assert (response.status_code, response.content) == (status, f'{{"reason": "{reason}"}}'.encode())


@VIEWS
def test_without_middleware(plain: Any) -> None:
    """A request that the middleware did not see lets nobody in."""
    with pytest.raises(ImproperlyConfigured):
        call(client_certificate_required()(plain), None)


@VIEWS
def test_the_view_stays_what_it_is(plain: Any) -> None:
    """Name, documentation, kind and marks of other decorators are kept."""
    guarded = client_certificate_required()(csrf_exempt(plain))
    assert (guarded.__name__, guarded.__doc__) == (plain.__name__, plain.__doc__)
    assert iscoroutinefunction(guarded) is iscoroutinefunction(plain)
    assert guarded.csrf_exempt is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [view, "ops", AnyVerifiedCertificate, ["ops"]], ids=["view", "text", "class", "list"])
def test_forgotten_parentheses(wrong: Any) -> None:
    """Without parentheses, or with something that is no policy, it fails while the module is imported."""
    with pytest.raises(TypeError, match="parentheses"):
        client_certificate_required(wrong)


@pytest.mark.parametrize("empty", ["", 0, [], False], ids=repr)
def test_something_empty_is_no_policy(empty: Any) -> None:
    """An empty value is a mistake too, and does not mean everybody."""
    with pytest.raises(TypeError):
        client_certificate_required(empty)


class AllowList(list[str], Policy):
    """A policy of a project's own that is false as long as it names nobody."""

    def allows(self, identity: Identity) -> bool:
        return identity.fingerprint_sha256 in self


def test_a_policy_that_is_false(admitted: Authenticated) -> None:
    """A policy that Python takes for false is a policy."""
    assert call(client_certificate_required(AllowList())(view), admitted).status_code == 403


def test_nested(admitted: Authenticated) -> None:
    """Of two decorators both must admit."""
    for policies, status in (((CommonName("alice"), None), 200), ((CommonName("alice"), CommonName("bob")), 403)):
        guarded: Any = view
        for policy in policies:
            guarded = client_certificate_required(policy)(guarded)
        assert call(guarded, admitted).status_code == status


def test_method_decorator(admitted: Authenticated) -> None:
    """It guards `dispatch` of a class-based view through Django's `method_decorator`."""

    @method_decorator(client_certificate_required(CommonName("alice")), name="dispatch")
    class Guarded(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("seen")

    assert call(Guarded.as_view(), admitted).content == b"seen"
    assert call(Guarded.as_view(), Anonymous()).status_code == 403
