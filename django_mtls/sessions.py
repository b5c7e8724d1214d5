"""Django's session beside a certificate: bound to it, or at least never carried from one user to the next."""

from typing import Any

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from django_mtls.conf import get_settings
from django_mtls.directory import BACKEND, Enrollment

FINGERPRINT_KEY = "_mtls_fingerprint"
HOLDER_KEY = "_mtls_holder"


def uses_session(request: HttpRequest) -> bool:
    """Whether this request has a session that must be looked at; loading it may ask the database."""
    return get_settings().session is not None or settings.SESSION_COOKIE_NAME in request.COOKIES


def begin(request: Any, enrollment: Enrollment | None) -> None:
    """Before the view: end or bind the session that came with the request, as `SESSION` says."""
    if not hasattr(request, "session"):
        return
    user = enrollment.user if enrollment is not None else None
    if get_settings().session is None:
        _keep_apart(request, user)
    else:
        _bind(request, user)


def finish(request: Any, enrollment: Enrollment) -> None:
    """After the view: whatever it put into an unbound session belongs to the certificate's user alone."""
    session = getattr(request, "session", None)
    if session is None or not session.modified or get_settings().session is not None or session.is_empty():
        return
    if auth.SESSION_KEY not in session:
        session[HOLDER_KEY] = _key_of(enrollment.user)


def _keep_apart(request: Any, user: Any) -> None:
    session = request.session
    holder = session.get(HOLDER_KEY)
    if user is None:
        if holder is not None:
            session.flush()
        return
    owner = holder if holder is not None else session.get(auth.SESSION_KEY)
    if owner is not None and owner != _key_of(user):
        session.flush()
    elif owner is None and session.keys():
        session.cycle_key()  # somebody else may know the key of a session that was nobody's


def _bind(request: Any, user: Any) -> None:
    """Log the certificate's user in, or end a session whose certificate is gone or is another one."""
    session = request.session
    bound = session.get(FINGERPRINT_KEY)
    if user is None:
        if bound is not None:
            auth.logout(request)
            request._cached_user = request._acached_user = request.user
        return
    fingerprint = request.client_certificate.reference
    same_user = session.get(auth.SESSION_KEY) == _key_of(user)
    if bound == fingerprint and same_user:
        return
    if bound is not None and get_settings().session == "user" and same_user:
        session[FINGERPRINT_KEY] = fingerprint
        return
    if auth.SESSION_KEY in session or HOLDER_KEY in session:
        session.flush()  # nothing of another login, or of another certificate, is taken along
    auth.login(request, user, backend=BACKEND)
    session[FINGERPRINT_KEY] = fingerprint


def _key_of(user: Any) -> str:
    return str(user._meta.pk.value_to_string(user))  # as auth.login() writes it
