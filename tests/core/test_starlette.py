"""Starlette and FastAPI: `request.user`, and policies on routes; over HTTP and WebSocket."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from mtls_auth import (
    AnyVerifiedCertificate,
    Authenticator,
    ByCommonName,
    CommonName,
    Policy,
    Reason,
    TLSSocket,
)
from mtls_auth.asgi import ClientCertificateMiddleware, Scope
from mtls_auth.starlette import (
    CertificateUser,
    ClientCertificateBackend,
    RequireClientCertificate,
    client_certificate_required,
    decision,
)
from tests.core.conftest import Message, drive, scope_of
from tests.core.conftest import Request as Sent
from tests.pki import BrokenLeaves


def whoami(request: Request) -> JSONResponse:
    """Tell what the application knows of the client."""
    user = request.user
    return JSONResponse(
        {
            "authenticated": user.is_authenticated,
            "name": user.display_name,
            "scopes": list(request.auth.scopes),
            "fingerprint": user.identity if isinstance(user, CertificateUser) else None,
        }
    )


@client_certificate_required(CommonName("alice"))
def only_alice(request: Request) -> Response:
    """Greet alice."""
    return PlainTextResponse("hello alice")


@client_certificate_required(CommonName("alice"))
async def only_alice_async(request: Request) -> Response:
    """Greet alice without a thread."""
    return PlainTextResponse("hello alice")


@client_certificate_required()
async def anybody(request: Request) -> Response:
    """Greet whoever has a certificate."""
    return PlainTextResponse("hello")


@client_certificate_required(CommonName("alice"))
async def socket(websocket: WebSocket) -> None:
    """Greet alice over a WebSocket."""
    await websocket.accept()
    await websocket.send_text("hello alice")
    await websocket.close()


def called(request: Request) -> Response:
    """Ask the requirement by hand, as a FastAPI dependency is asked."""
    identity = RequireClientCertificate(CommonName("alice"))(request)
    return PlainTextResponse(f"hello {identity.subject_cn}")


@requires("client_certificate")
def with_scope(request: Request) -> Response:
    """Greet whoever has the scope."""
    return PlainTextResponse("hello")


async def let_through(scope: Scope, receive: Any, send: Any) -> None:
    """Answer denials by the application itself."""
    await routes(scope, receive, send)


routes = Starlette(
    routes=[
        Route("/whoami", whoami),
        Route("/sync", only_alice),
        Route("/async", only_alice_async),
        Route("/anybody", anybody),
        Route("/called", called),
        Route("/scope", with_scope),
        WebSocketRoute("/socket", socket),
    ],
    middleware=[Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend())],
)


def ask(path: str, der: bytes | None, *, kind: str = "http", policy: Policy | None = None) -> list[Message]:
    """Send one request through the middleware and the application."""
    authenticator = Authenticator(TLSSocket(), policy=policy or AnyVerifiedCertificate(), mapper=ByCommonName())
    application = ClientCertificateMiddleware(routes, authenticator, denied_app=let_through)
    return drive(application, {**scope_of(Sent(tls=der), kind), "path": path})


def get(path: str, der: bytes | None, policy: Policy | None = None) -> tuple[int, str]:
    """Return status and body of the answer to one HTTP request."""
    start, body = ask(path, der, policy=policy)
    return start["status"], body["body"].decode()


def test_user(leaves: BrokenLeaves) -> None:
    """`request.user` is the principal of the certificate, with two scopes."""
    status, body = get("/whoami", leaves.good.der)
    assert status == 200
    assert json.loads(body) == {
        "authenticated": True,
        "name": "alice",
        "scopes": ["authenticated", "client_certificate"],
        "fingerprint": leaves.good.fingerprint_sha256,
    }


@pytest.mark.parametrize("policy", [AnyVerifiedCertificate(), CommonName("bob")], ids=["anonymous", "denied"])
def test_no_user(leaves: BrokenLeaves, policy: Policy) -> None:
    """Without a certificate, and with one that is denied, nobody is logged in."""
    der = None if isinstance(policy, AnyVerifiedCertificate) else leaves.good.der
    status, body = get("/whoami", der, policy)
    assert status == 200
    assert json.loads(body) == {"authenticated": False, "name": "", "scopes": [], "fingerprint": None}


def test_user_keeps_identity_and_principal(leaves: BrokenLeaves) -> None:
    """The user has the identity and the principal at hand."""
    seen: list[CertificateUser] = []

    def endpoint(request: Request) -> Response:
        seen.append(request.user)
        return Response()

    inner = Starlette(
        routes=[Route("/", endpoint)],
        middleware=[Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend())],
    )
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=ByCommonName())
    drive(ClientCertificateMiddleware(inner, authenticator), scope_of(Sent(tls=leaves.good.der)))
    (user,) = seen
    assert user.principal == "alice"
    assert user.certificate.fingerprint_sha256 == leaves.good.fingerprint_sha256
    assert isinstance(user, CertificateUser)


@pytest.mark.parametrize(
    ("path", "alice", "bob", "nobody"),
    [
        ("/sync", (200, "hello alice"), (403, "not_allowed"), (403, "certificate_required")),
        ("/async", (200, "hello alice"), (403, "not_allowed"), (403, "certificate_required")),
        ("/called", (200, "hello alice"), (403, "not_allowed"), (403, "certificate_required")),
        ("/anybody", (200, "hello"), (200, "hello"), (403, "certificate_required")),
        ("/scope", (200, "hello"), (200, "hello"), (403, "Forbidden")),
    ],
)
def test_routes(
    leaves: BrokenLeaves, path: str, alice: tuple[int, str], bob: tuple[int, str], nobody: tuple[int, str]
) -> None:
    """A route answers whom its policy admits, and refuses everybody else with the reason."""
    assert get(path, leaves.good.der) == alice
    assert get(path, leaves.named("bob").der) == bob
    assert get(path, None) == nobody


@pytest.mark.parametrize("path", ["/sync", "/async", "/called", "/anybody"])
@pytest.mark.parametrize(
    ("leaf", "status", "reason"),
    [("expired", 403, Reason.EXPIRED), ("two_common_names", 403, Reason.UNUSABLE_NAME)],
)
def test_denied_before(leaves: BrokenLeaves, path: str, leaf: str, status: int, reason: Reason) -> None:
    """What was denied before the route stays denied, for that reason and with its status."""
    assert get(path, getattr(leaves, leaf).der) == (status, reason.value)


@pytest.mark.parametrize(
    ("name", "types", "reason"),
    [
        ("alice", ["websocket.accept", "websocket.send", "websocket.close"], ""),
        ("bob", ["websocket.close"], "not_allowed"),
        (None, ["websocket.close"], "certificate_required"),
    ],
)
def test_websocket(leaves: BrokenLeaves, name: str | None, types: list[str], reason: str) -> None:
    """A WebSocket route closes with 1008 before it accepts whom its policy does not admit."""
    messages = ask("/socket", None if name is None else leaves.named(name).der, kind="websocket")
    assert [message["type"] for message in messages] == types
    if reason:
        assert (messages[0]["code"], messages[0]["reason"]) == (1008, reason)
    else:
        assert messages[1]["text"] == "hello alice"


@pytest.mark.parametrize("ask_for", [decision, RequireClientCertificate()], ids=["decision", "requirement"])
def test_without_the_middleware(ask_for: Callable[[HTTPConnection], object]) -> None:
    """Without the ASGI middleware there is no decision: an error that says what to add, not an anonymous user."""
    with pytest.raises(RuntimeError, match=r"mtls_auth.asgi.ClientCertificateMiddleware is not installed"):
        ask_for(HTTPConnection(scope_of(Sent())))


def test_the_backend_without_the_middleware() -> None:
    """The authentication backend fails as loudly."""
    with pytest.raises(RuntimeError, match="is not installed"):
        drive(routes, {**scope_of(Sent()), "path": "/whoami"})


@pytest.mark.parametrize(
    ("endpoint", "name", "is_async"),
    [(only_alice, "only_alice", False), (only_alice_async, "only_alice_async", True), (socket, "socket", True)],
)
def test_the_decorator_keeps_the_endpoint(endpoint: Callable[..., Any], name: str, is_async: bool) -> None:
    """A decorated endpoint keeps its name, its docstring and its kind."""
    assert endpoint.__name__ == name
    assert (endpoint.__doc__ or "").startswith("Greet")
    assert inspect.iscoroutinefunction(endpoint) is is_async


@pytest.mark.parametrize(("name", "status"), [("alice", 200), ("bob", 403), (None, 403)])
def test_methods_of_class_based_endpoints(leaves: BrokenLeaves, name: str | None, status: int) -> None:
    """A decorated method of an `HTTPEndpoint` runs for whom its policy admits only."""

    class Endpoint(HTTPEndpoint):
        @client_certificate_required(CommonName("alice"))
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("hello")

    application = Starlette(routes=[Route("/", Endpoint)])
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate())
    request = Sent(tls=None if name is None else leaves.named(name).der)
    start, _body = drive(ClientCertificateMiddleware(application, authenticator), scope_of(request))
    assert start["status"] == status
