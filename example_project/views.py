"""The Django application."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from django_mtls.decorators import client_certificate_required
from django_mtls.denial import answer_denied
from django_mtls.request import decision_of
from example_project.whoami import REPORTS, whoami
from mtls_auth import Denied


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "example_project/index.html", {"whoami": whoami(decision_of(request))})


def who_am_i(request: HttpRequest) -> HttpResponse:
    return JsonResponse(whoami(decision_of(request)))


@client_certificate_required(REPORTS)
def reports(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"reports": ["Q1", "Q2", "Q3"], "user": request.user.get_username()})


@client_certificate_required(REPORTS)
async def reports_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return JsonResponse({"reports": ["Q1", "Q2", "Q3"], "user": user.get_username()})


def denied(request: HttpRequest, denied: Denied) -> HttpResponse:
    """Answer programs with the shape of `/whoami`, browsers with the page of django_mtls."""
    if "text/html" in request.headers.get("Accept", ""):
        return answer_denied(request, denied)
    return JsonResponse(whoami(decision_of(request), denied.reason), status=denied.reason.status)
