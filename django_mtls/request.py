"""What a Django request tells the core, and what it carries afterwards."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from mtls_auth import Authenticated, Connection, Decision
from mtls_auth.header_names import HeaderNames, environ_key


def take_connection(request: HttpRequest, known: HeaderNames) -> Connection:
    """Read the connection, and remove every known certificate header from the request.

    Under ASGI the raw scope is read: `META` has joined duplicates and dropped spellings. Which one it is follows
    from the request, not from sync or async: a sync middleware meets ASGI requests too.
    """
    if isinstance(request, ASGIRequest):
        connection = Connection.from_scope(request.scope, known)
        request.scope = {**request.scope, "headers": connection.others}
        # Django makes a key of every spelling that the scope's removed names had.
        keys = frozenset(map(environ_key, connection.received)).intersection(request.META)
    else:
        connection = Connection.from_environ(request.META, known)
        keys = connection.received
    if keys:
        for key in keys:
            del request.META[key]
        request.__dict__.pop("headers", None)  # built from META, if anybody asked already
    return connection


def attach(request: HttpRequest, decision: Decision) -> None:
    """Set `request.certificate_decision`, and `request.client_certificate`: the `Identity` or None."""
    attributes: Any = request
    attributes.certificate_decision = decision
    attributes.client_certificate = decision.identity if isinstance(decision, Authenticated) else None


def decision_of(request: HttpRequest) -> Decision:
    """Return the decision on *request*; raise `ImproperlyConfigured` where the middleware did not run."""
    decision: Decision | None = getattr(request, "certificate_decision", None)
    if decision is None:
        raise ImproperlyConfigured(
            "django_mtls.middleware.ClientCertificateMiddleware did not see this request: add it to MIDDLEWARE"
        )
    return decision
