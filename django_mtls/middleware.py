"""Two middlewares: who is on this connection, and `request.user` after it. Sync and async; no decision here."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.functional import SimpleLazyObject

from django_mtls import sessions
from django_mtls.checks import silence_messages
from django_mtls.conf import get_authenticator, get_settings
from django_mtls.denial import refuse
from django_mtls.directory import Enrollment
from django_mtls.request import attach, decision_of, take_connection
from django_mtls.threads import run_in_request_thread
from mtls_auth import Authenticated, CertificateRejected, Connection, Decision, Denied, Identity

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class _Middleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        get_settings()  # a configuration that cannot work stops the server, not the first request
        self.get_response = get_response
        self.async_mode = iscoroutinefunction(get_response)
        if self.async_mode:
            # Mark the instance, and switch inside __call__: dunder methods are looked up on the class.
            markcoroutinefunction(self)  # type: ignore[type-var]  # callable through the subclasses


class ClientCertificateMiddleware(_Middleware):
    """Sets `request.client_certificate` and `request.certificate_decision`; answers denials; removes headers."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        # No check of Django runs where the site is served.
        if found := silence_messages(get_authenticator().source):
            raise ImproperlyConfigured("\n".join(f"{message.obj}: {message.msg} {message.hint}" for message in found))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer a view that asks for what the terminator does not tell of the certificate: denied, no server error."""
        if not isinstance(exception, CertificateRejected):
            return None
        return refuse(request, Denied.because(exception, getattr(request, "client_certificate", None)))

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        authenticator = get_authenticator()
        connection = take_connection(request, authenticator.known_headers)
        decision = authenticator.authenticate(connection)
        if (report := _diagnosis(request, connection, decision)) is not None:
            return report
        attach(request, decision)
        if isinstance(decision, Denied):
            return refuse(request, decision)
        return _for_whom(decision, self.get_response(request))

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        authenticator = get_authenticator()
        connection = take_connection(request, authenticator.known_headers)
        found = authenticator.decide(connection)
        decision: Decision = (
            await run_in_request_thread(authenticator.admit, found) if isinstance(found, Identity) else found
        )
        if (report := _diagnosis(request, connection, decision)) is not None:
            return report
        attach(request, decision)
        if isinstance(decision, Denied):
            return await sync_to_async(refuse)(request, decision)
        return _for_whom(decision, await self.get_response(request))


def _diagnosis(request: HttpRequest, connection: Connection, decision: Decision) -> HttpResponse | None:
    """Answer whoever knows the diagnostic endpoint's path and token; None for everybody else."""
    diagnostics = get_settings().diagnostics
    if diagnostics is None or not diagnostics.asked(request.path, request.META.get("HTTP_AUTHORIZATION", "")):
        return None
    body = diagnostics.body(get_authenticator().source, connection, decision)
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _for_whom(decision: Decision, response: HttpResponseBase) -> HttpResponseBase:
    """Keep what was made for a certificate out of shared caches: no cookie, and so no `Vary`, tells them apart."""
    if isinstance(decision, Authenticated):
        if "Cache-Control" in response.headers:
            patch_cache_control(response, private=True)
        else:
            response.headers["Cache-Control"] = "private"
    return response


class CertificateLoginMiddleware(_Middleware):
    """Makes `request.user` the certificate's user: for this request, or in a session bound to the certificate.

    A request without a certificate keeps the user that Django's session names, unless that session is bound.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        enrollment = self.log_in(request)
        response = self.get_response(request)
        if enrollment is not None:
            sessions.finish(request, enrollment)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        # Without a session nothing here touches a database: the hot path stays on the event loop.
        if sessions.uses_session(request):
            enrollment = await sync_to_async(self.log_in)(request)
        else:
            enrollment = self.log_in(request)
        response: HttpResponseBase = await self.get_response(request)
        if enrollment is not None:
            sessions.finish(request, enrollment)
        return response

    def log_in(self, request: Any) -> Enrollment | None:
        """Set the user that the certificate stands for; return the enrolment, None without one."""
        if not hasattr(request, "user"):
            raise ImproperlyConfigured(
                "CertificateLoginMiddleware needs request.user: put it below AuthenticationMiddleware in MIDDLEWARE"
            )
        decision = decision_of(request)
        principal = decision.principal if isinstance(decision, Authenticated) else None
        enrollment = principal if isinstance(principal, Enrollment) else None
        uses_session = sessions.uses_session(request)
        if uses_session:
            sessions.begin(request, enrollment)
        if enrollment is not None:
            # Beside a query, making the user costs little; without one, only who looks at the user pays for it.
            is_lazy = enrollment.is_remembered and not uses_session
            user = SimpleLazyObject(lambda: enrollment.user) if is_lazy else enrollment.user
            # What `auth.get_user` and `request.auser` return.
            request.user = request._cached_user = request._acached_user = user
        return enrollment
