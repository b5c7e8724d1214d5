"""The Django application."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from django_mtls.decorators import client_certificate_required
from django_mtls.denial import answer_denied
from django_mtls.request import decision_of
from example_project.whoami import REPORTS, as_json, whoami
from mtls_auth import Denied


def _answer(values: Mapping[str, object], status: int = 200) -> HttpResponse:
    return HttpResponse(as_json(values), status=status, content_type="application/json")


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "example_project/index.html", {"whoami": whoami(decision_of(request))})


def who_am_i(request: HttpRequest) -> HttpResponse:
    return _answer(whoami(decision_of(request)))


@client_certificate_required(REPORTS)
def reports(request: HttpRequest) -> HttpResponse:
    return _answer({"reports": ["Q1", "Q2", "Q3"], "user": request.user.get_username()})


@client_certificate_required(REPORTS)
async def reports_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return _answer({"reports": ["Q1", "Q2", "Q3"], "user": user.get_username()})


def denied(request: HttpRequest, denied: Denied) -> HttpResponse:
    """Answer programs with the shape of `/whoami`, browsers with the page of django_mtls."""
    if "text/html" in request.headers.get("Accept", ""):
        return answer_denied(request, denied)
    return _answer(whoami(decision_of(request), denied.reason), denied.reason.status)
