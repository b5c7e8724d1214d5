"""How a denial is answered: the signal, and the operator's view or a plain page."""

from pathlib import Path

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import Context, Engine, TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers

from django_mtls.conf import get_settings
from django_mtls.signals import certificate_denied
from mtls_auth import Denied

_TEMPLATE = Path(__file__).parent / "templates/django_mtls/denied.html"


def refuse(request: HttpRequest, denied: Denied) -> HttpResponseBase:
    """Send `certificate_denied` and answer with `DENIED_VIEW`."""
    certificate_denied.send(
        sender=Denied,
        request=request,
        reason=denied.reason,
        detail=denied.detail,
        fingerprint_sha256=denied.identity.fingerprint if denied.identity else None,
    )
    return (get_settings().denied_view or answer_denied)(request, denied)


def answer_denied(request: HttpRequest, denied: Denied) -> HttpResponse:
    """Answer with the reason's status: a page for browsers, `{"reason": …}` for everybody else."""
    status = denied.reason.status
    if request.accepts("text/html") and "text/html" in request.headers.get("Accept", ""):
        response = HttpResponse(_page(request, denied), status=status)
    else:
        response = JsonResponse({"reason": denied.reason}, status=status)
    add_never_cache_headers(response)
    return response


def _page(request: HttpRequest, denied: Denied) -> str:
    context = {"denied": denied, "request": request}
    try:
        return render_to_string("django_mtls/denied.html", context)
    except TemplateDoesNotExist:  # a project without Django's templates, or without APP_DIRS
        template = _TEMPLATE.read_text(encoding="utf-8")
        engine = Engine(libraries={"i18n": "django.templatetags.i18n"})
        return engine.from_string(template).render(Context(context))
