"""Starlette and FastAPI: `request.user` from the certificate, and policies on routes.

app = Starlette(routes=…, middleware=[
    Middleware(ClientCertificateMiddleware, authenticator=authenticator),   # mtls_auth.asgi
    Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend()),
])
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from mtls_auth.asgi import DECISION_KEY, POLICY_VIOLATION
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.identity import Identity
from mtls_auth.policy import AnyVerifiedCertificate, Policy


class CertificateUser(BaseUser):
    """`request.user` of a request with a certificate: the identity, and the principal mapped from it."""

    def __init__(self, authenticated: Authenticated) -> None:
        self.certificate = authenticated.identity
        self.principal = authenticated.principal

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return str(self.principal)

    @property
    def identity(self) -> str:
        return self.certificate.reference


class ClientCertificateBackend(AuthenticationBackend):
    """Takes the decision of `mtls_auth.asgi.ClientCertificateMiddleware`; decides nothing itself."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        match decision(conn):
            case Authenticated() as authenticated:
                return AuthCredentials(["authenticated", "client_certificate"]), CertificateUser(authenticated)
            case Anonymous() | Denied():
                return None


def decision(connection: HTTPConnection) -> Decision:
    """Return the decision on this connection; raise `RuntimeError` if the ASGI middleware is not installed."""
    found: Decision | None = connection.scope.get(DECISION_KEY)
    if found is None:
        raise RuntimeError(
            "mtls_auth.asgi.ClientCertificateMiddleware is not installed around this application: add it first"
        )
    return found


class RequireClientCertificate:
    """A callable that returns the `Identity` or refuses: use it as a FastAPI dependency, or call it.

    Refuses HTTP with the reason's status and the reason as the detail, a WebSocket with close code 1008.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = AnyVerifiedCertificate() if policy is None else policy

    def __call__(self, request: HTTPConnection) -> Identity:
        found = self.policy.decide(decision(request))
        if isinstance(found, Identity):
            return found
        if isinstance(request, WebSocket):
            raise WebSocketException(POLICY_VIOLATION, found.reason.value)
        raise HTTPException(found.reason.status, found.reason.value)


def client_certificate_required(
    policy: Policy | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a Starlette endpoint (sync, async or WebSocket): it runs only for certificates within *policy*."""
    require = RequireClientCertificate(policy)

    def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(endpoint):

            @functools.wraps(endpoint)
            async def wrapped_async(request: HTTPConnection, *args: Any, **kwargs: Any) -> Any:
                require(request)
                return await endpoint(request, *args, **kwargs)

            return wrapped_async

        @functools.wraps(endpoint)
        def wrapped(request: HTTPConnection, *args: Any, **kwargs: Any) -> Any:
            require(request)
            return endpoint(request, *args, **kwargs)

        return wrapped

    return decorate
