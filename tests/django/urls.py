"""The site of the Django tests: the admin, and one view for every door × guard, as `/async/mixin/ops/`."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import alogin, login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, path
from django.views.generic import View

from django_mtls.decorators import client_certificate_required
from django_mtls.mixins import ClientCertificateRequiredMixin
from mtls_auth import Denied, OrganizationalUnit, Policy

POLICIES: dict[str, Policy | None] = {"any": None, "ops": OrganizationalUnit("Ops")}


def whoami(request: Any) -> HttpResponse:
    """Tell the user; touches `request.user` more than once."""
    assert request.user == request.user
    return _tell(request, request.user)


async def awhoami(request: Any) -> HttpResponse:
    """Tell the user, on the event loop."""
    user = await request.auser()
    if request.client_certificate is not None:
        assert request.user is user  # no lazy object that would ask the database
    return _tell(request, user)


def _tell(request: Any, user: Any) -> HttpResponse:
    certificate = request.client_certificate
    is_known = certificate is not None and certificate.statement is None
    return JsonResponse({"user": user.get_username(), "certificate": certificate.subject_cn if is_known else None})


class WhoAmI(View):
    """The same as a class."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return whoami(request)


class AsyncWhoAmI(View):
    """The same as a class whose methods are coroutines."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        return await awhoami(request)


class GuardedWhoAmI(ClientCertificateRequiredMixin, WhoAmI):
    """Behind the mixin."""


class AsyncGuardedWhoAmI(ClientCertificateRequiredMixin, AsyncWhoAmI):
    """Behind the mixin, async."""


class OpsWhoAmI(GuardedWhoAmI):
    """The policy as an attribute of the class."""

    certificate_policy = POLICIES["ops"]


def keep(request: HttpRequest) -> HttpResponse:
    """Leave something in the session, and tell what was there."""
    found = request.session.get("kept")
    if (value := request.GET.get("value")) is not None:
        request.session["kept"] = value
    return JsonResponse({"kept": found})


def quiet(request: HttpRequest) -> HttpResponse:
    """Touch nothing."""
    return HttpResponse("quiet")


async def aquiet(request: HttpRequest) -> HttpResponse:
    """Touch nothing, on the event loop."""
    return HttpResponse("quiet")


def careless(request: Any) -> HttpResponse:
    """Ask for the common name without looking whether there is a certificate, or for what no certificate has."""
    if "fail" in request.GET:
        raise LookupError("the view's own")
    return HttpResponse(request.client_certificate.subject_cn)


async def acareless(request: Any) -> HttpResponse:
    """The same, on the event loop."""
    return careless(request)


def log_in(request: HttpRequest) -> HttpResponse:
    """Log a user in as a login form does."""
    login(request, User.objects.get(username=request.GET["name"]), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


async def alog_in(request: HttpRequest) -> HttpResponse:
    """Log a user in as an async login form does."""
    user = await User.objects.aget(username=request.GET["name"])
    await alogin(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


def denied_view(request: HttpRequest, denied: Denied) -> HttpResponse:
    """An operator's `DENIED_VIEW`."""
    return HttpResponse(f"my own page: {denied.reason}", status=418)


urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("sync/open/", whoami),
    path("async/open/", awhoami),
    path("sync/quiet/", quiet),
    path("async/quiet/", aquiet),
    path("sync/keep/", keep),
    path("sync/log-in/", log_in),
    path("sync/careless/", careless),
    path("async/careless/", acareless),
    path("async/log-in/", alog_in),
    path("sync/attribute/ops/", OpsWhoAmI.as_view()),
    *(
        url
        for name, policy in POLICIES.items()
        for url in (
            path(f"sync/decorator/{name}/", client_certificate_required(policy)(whoami)),
            path(f"async/decorator/{name}/", client_certificate_required(policy)(awhoami)),
            path(f"sync/mixin/{name}/", GuardedWhoAmI.as_view(certificate_policy=policy)),
            path(f"async/mixin/{name}/", AsyncGuardedWhoAmI.as_view(certificate_policy=policy)),
        )
    ),
]
