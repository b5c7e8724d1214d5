"""Two middlewares: who is on this connection, and `request.user` after it. Sync and async; no decision here."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib import auth
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from django_mtls.conf import get_authenticator, get_settings
from django_mtls.denial import refuse
from django_mtls.directory import BACKEND, Enrollment
from django_mtls.request import attach, decision_of, take_connection
from django_mtls.threads import run_in_request_thread
from mtls_auth import Authenticated, Denied
from mtls_auth.asgi import authenticate

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]

SESSION_KEY = "_mtls_fingerprint"


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

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        authenticator = get_authenticator()
        decision = authenticator.authenticate(take_connection(request, authenticator.known_headers))
        attach(request, decision)
        return refuse(request, decision) if isinstance(decision, Denied) else self.get_response(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        authenticator = get_authenticator()
        connection = take_connection(request, authenticator.known_headers)
        decision = await authenticate(authenticator, connection, run_in_request_thread)
        attach(request, decision)
        if isinstance(decision, Denied):
            return await sync_to_async(refuse)(request, decision)
        response: HttpResponseBase = await self.get_response(request)
        return response


class CertificateLoginMiddleware(_Middleware):
    """Makes `request.user` the certificate's user: for this request, or in a session bound to the certificate.

    A request without a certificate keeps the user that Django's session names, unless that session is bound.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        self.log_in(request)
        return self.get_response(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        # Without a session nothing here touches a database: the hot path stays on the event loop.
        if _uses_session(request):
            await sync_to_async(self.log_in)(request)
        else:
            self.log_in(request)
        response: HttpResponseBase = await self.get_response(request)
        return response

    def log_in(self, request: HttpRequest) -> None:
        if not hasattr(request, "user"):
            raise ImproperlyConfigured(
                "CertificateLoginMiddleware needs request.user: put it below AuthenticationMiddleware in MIDDLEWARE"
            )
        decision = decision_of(request)
        enrollment = decision.principal if isinstance(decision, Authenticated) else None
        if get_settings().session is not None:
            _bind_session(request, enrollment.user if isinstance(enrollment, Enrollment) else None)
        if isinstance(enrollment, Enrollment):
            if _uses_session(request):
                _end_session_of_another(request, enrollment.user)
            # Made when somebody looks: what `auth.get_user` and `request.auser` return as well.
            request_attributes: Any = request
            user = SimpleLazyObject(lambda: enrollment.user)
            request_attributes.user = request_attributes._cached_user = request_attributes._acached_user = user


def _uses_session(request: HttpRequest) -> bool:
    return get_settings().session is not None or settings.SESSION_COOKIE_NAME in request.COOKIES


def _end_session_of_another(request: Any, user: Any) -> None:
    """Keep what one user's session holds from the user that the certificate names."""
    session = getattr(request, "session", None)
    if session is not None and session.get(auth.SESSION_KEY, _key_of(user)) != _key_of(user):
        session.flush()


def _key_of(user: Any) -> str:
    return str(user._meta.pk.value_to_string(user))  # as auth.login() writes it


def _bind_session(request: Any, user: Any) -> None:
    """Log the certificate's user in, or end a session whose certificate is gone or is another one."""
    session = request.session
    bound = session.get(SESSION_KEY)
    if user is None:
        if bound is not None:
            auth.logout(request)
        return
    fingerprint = request.client_certificate.fingerprint_sha256
    same_user = session.get(auth.SESSION_KEY) == _key_of(user)
    if bound == fingerprint and same_user:
        return
    if bound is not None and get_settings().session == "user" and same_user:
        session[SESSION_KEY] = fingerprint
        return
    if auth.SESSION_KEY in session:
        session.flush()  # nothing of another login, or of another certificate, is taken along
    auth.login(request, user, backend=BACKEND)
    session[SESSION_KEY] = fingerprint
