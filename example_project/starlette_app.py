"""The Starlette application: its own routes, the enrolled certificates and the admin of Django beside it."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from django_mtls.conf import get_authenticator
from django_mtls.threads import run_outside_requests
from example_project.asgi import application as django  # first: it sets Django up
from example_project.whoami import REPORTS, as_json, whoami
from mtls_auth import Reason
from mtls_auth.asgi import DECISION_KEY, ClientCertificateMiddleware, Receive, Scope, Send
from mtls_auth.starlette import ClientCertificateBackend, client_certificate_required, decision


def _answer(values: Mapping[str, object], status: int = 200) -> Response:
    return Response(as_json(values), status, media_type="application/json")


async def who_am_i(request: Request) -> Response:
    return _answer(whoami(decision(request)))


@client_certificate_required(REPORTS)
async def reports(request: Request) -> Response:
    return _answer({"reports": ["Q1", "Q2", "Q3"], "user": request.user.display_name})


async def who_am_i_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(whoami(decision(websocket)))
    await websocket.close()


async def refused(request: Request, error: HTTPException) -> Response:
    return _answer(whoami(decision(request), Reason(error.detail)), error.status_code)


async def denied(scope: Scope, receive: Receive, send: Send) -> None:
    found = scope[DECISION_KEY]
    await _answer(whoami(found), found.reason.status)(scope, receive, send)


starlette = Starlette(
    routes=[Route("/whoami", who_am_i), Route("/reports", reports), WebSocketRoute("/ws", who_am_i_socket)],
    exception_handlers={403: refused},  # type: ignore[dict-item]  # narrower than any exception
    middleware=[
        Middleware(
            ClientCertificateMiddleware,
            authenticator=get_authenticator(),
            denied_app=denied,
            run_in_thread=run_outside_requests,
        ),
        Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend()),
    ],
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Send Starlette's paths to Starlette and all others, the admin among them, to Django."""
    if scope["type"] == "lifespan" or scope["path"] in {"/whoami", "/reports", "/ws"}:
        await starlette(scope, receive, send)
    else:
        await django({**scope}, receive, send)  # type: ignore[arg-type]  # its own, narrower names for ASGI types
