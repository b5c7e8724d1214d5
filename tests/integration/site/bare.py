"""Applications without a framework, for settings that wrap one: they say whom they believe, and what they see."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mtls_auth.asgi import DECISION_KEY, Receive, Scope, Send
from tests.integration.site import answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def wsgi(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Read the body, then answer who the request is from and every header name in the environ."""
    # Without that promise of the server, reading past the body would wait for bytes that never come.
    length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(length)
    names = {key.removeprefix("HTTP_") for key in environ if key.startswith("HTTP_")}
    body = _body(environ, names)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Do the same for HTTP, once it has read the body, and for a WebSocket, as its first message."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": _body(scope, _names(scope)).decode()})
        return await send({"type": "websocket.close"})
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _body(scope, _names(scope))})


def _names(scope: Scope) -> set[str]:
    return {name.decode("latin-1") for name, _value in scope["headers"]}


def _body(request: Mapping[str, Any], names: set[str]) -> bytes:
    return json.dumps({**answer.whoami(request[DECISION_KEY]), "headers": sorted(names)}).encode()
