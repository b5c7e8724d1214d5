"""ASGI middleware for HTTP and WebSocket: `app = ClientCertificateMiddleware(app, authenticator)`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from mtls_auth.authenticator import Authenticator
from mtls_auth.connection import Connection
from mtls_auth.decision import Decision, Denied
from mtls_auth.diagnostics import Diagnostics
from mtls_auth.identity import Identity
from mtls_auth.silent_servers import check_server_tells

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
RunInThread = Callable[..., Awaitable[Any]]

DECISION_KEY = "mtls_auth.decision"
POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


class ClientCertificateMiddleware:
    """Puts the `Decision` into `scope["mtls_auth.decision"]`, removes certificate headers, answers denials.

    A denied WebSocket is closed with 1008 before it is accepted. `denied_app` is an ASGI application that
    answers a denied HTTP request instead; it finds the `Denied` in the scope. Scopes of other types pass.
    `diagnostics` adds the endpoint that `mtls-auth probe` asks; without it there is none. Raises `ConfigurationError`
    under a server that is known to keep what the source needs to itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        *,
        denied_app: ASGIApp | None = None,
        run_in_thread: RunInThread | None = None,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        check_server_tells(authenticator.source)
        self.app = app
        self.authenticator = authenticator
        self.denied_app = denied_app or answer_denied
        self.run_in_thread = run_in_thread or in_thread
        self.diagnostics = diagnostics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return await self.app(scope, receive, send)
        connection = Connection.from_scope(scope, self.authenticator.known_headers)
        found = self.authenticator.decide(connection)
        decision: Decision = (
            await self.run_in_thread(self.authenticator.admit, found) if isinstance(found, Identity) else found
        )
        scope = {**scope, "headers": connection.others, DECISION_KEY: decision}
        if self.diagnostics is not None and self.diagnostics.asked_by_scope(scope["path"], connection.others):
            body = self.diagnostics.body(self.authenticator.source, connection, decision)
            return await _answer_diagnosis(scope["type"], body, receive, send)
        if not isinstance(decision, Denied):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": decision.reason.value})
        return await self.denied_app(scope, receive, send)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call *function* in a thread, from an event loop of asyncio or of trio."""
    trio = sys.modules.get("trio")  # whoever runs it has imported it
    if trio is not None and trio.lowlevel.in_trio_run():
        return await trio.to_thread.run_sync(function, *arguments)
    return await asyncio.to_thread(function, *arguments)


async def answer_denied(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the reason's status and `{"reason": …}`; the detail goes to the log only."""
    denied: Denied = scope[DECISION_KEY]
    await _send_json(denied.reason.status, json.dumps({"reason": denied.reason}).encode(), send)


async def _answer_diagnosis(kind: str, body: bytes, receive: Receive, send: Send) -> None:
    """Answer a WebSocket by its first message: whoever asks sees what an upgraded request is believed to be."""
    if kind == "http":
        return await _send_json(HTTPStatus.OK, body, send)
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": body.decode()})
    await send({"type": "websocket.close"})


async def _send_json(status: int, body: bytes, send: Send) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
