"""The Starlette application: the enrolled certificates of the same database, HTTP and WebSocket."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from django_mtls.conf import get_authenticator
from django_mtls.threads import run_outside_requests
from mtls_auth.asgi import DECISION_KEY, ClientCertificateMiddleware, Receive, Scope, Send
from mtls_auth.starlette import ClientCertificateBackend, client_certificate_required, decision
from tests.integration.site import answer
from tests.integration.site.asgi import application as _django_is_set_up  # noqa: F401


async def whoami(request: Request) -> JSONResponse:
    """Answer who the request is from; `login` is what Starlette's own `request.user` says."""
    return JSONResponse({**answer.whoami(decision(request)), "login": request.user.display_name or None})


@client_certificate_required()
async def private(request: Request) -> JSONResponse:
    """Answer only holders of a certificate."""
    return await whoami(request)


async def headers(request: Request) -> JSONResponse:
    """Read the body, then answer every header name that the endpoint can see."""
    await request.body()  # trailers come after it
    return JSONResponse({**answer.whoami(decision(request)), "headers": sorted({*request.headers})})


async def socket(websocket: WebSocket) -> None:
    """Accept, say who is there, and repeat what comes until the client leaves."""
    await websocket.accept()
    await websocket.send_json({**answer.whoami(decision(websocket)), "headers": sorted({*websocket.headers})})
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@client_certificate_required()
async def private_socket(websocket: WebSocket) -> None:
    """Accept only holders of a certificate."""
    await socket(websocket)


async def refused(request: Request, error: HTTPException) -> JSONResponse:
    """Answer what the decorator refused."""
    return JSONResponse({"user": None, "reason": error.detail}, error.status_code)


async def denied(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a denial in the same shape."""
    found = scope[DECISION_KEY]
    await JSONResponse(answer.whoami(found), found.reason.status)(scope, receive, send)


application = Starlette(
    routes=[
        Route("/whoami", whoami),
        Route("/private", private),
        Route("/headers", headers, methods=["GET", "POST"]),
        WebSocketRoute("/ws", socket),
        WebSocketRoute("/private-ws", private_socket),
    ],
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
