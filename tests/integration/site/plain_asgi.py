"""An ASGI application without a framework, which looks at its scope after it has read the body."""

import json

from django_mtls.conf import get_authenticator
from django_mtls.threads import run_outside_requests
from mtls_auth.asgi import DECISION_KEY, ClientCertificateMiddleware, Receive, Scope, Send
from tests.integration.site import answer
from tests.integration.site.asgi import application as _django_is_set_up  # noqa: F401


async def headers(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer who the request is from and every header name in the scope."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    names = sorted({name.decode("latin-1") for name, _value in scope["headers"]})
    body = json.dumps({**answer.whoami(scope[DECISION_KEY]), "headers": names}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


application = ClientCertificateMiddleware(headers, get_authenticator(), run_in_thread=run_outside_requests)
