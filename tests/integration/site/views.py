"""The Django application, under WSGI and ASGI alike."""

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse

from django_mtls.decorators import client_certificate_required
from django_mtls.request import decision_of
from mtls_auth import Denied
from tests.integration.site import answer


def whoami(request: HttpRequest) -> JsonResponse:
    """Answer who the request is from; `login` is what Django's own `request.user` says."""
    login = request.user.get_username() or None
    return JsonResponse({**answer.whoami(decision_of(request)), "login": login})


@client_certificate_required()
def private(request: HttpRequest) -> JsonResponse:
    """Answer only holders of a certificate."""
    return whoami(request)


def headers(request: HttpRequest) -> JsonResponse:
    """Read the body, then answer every header name that the view can see, wherever Django keeps one."""
    request.body  # noqa: B018  # trailers come after it
    names = {*request.headers, *(key for key in request.META if key.startswith("HTTP_"))}
    if isinstance(request, ASGIRequest):
        names |= {name.decode("latin-1") for name, _value in request.scope["headers"]}
    return JsonResponse({**answer.whoami(decision_of(request)), "headers": sorted(names)})


def denied(request: HttpRequest, denied: Denied) -> JsonResponse:
    """Answer a denial in the same shape."""
    return JsonResponse(answer.whoami(denied), status=denied.reason.status)
