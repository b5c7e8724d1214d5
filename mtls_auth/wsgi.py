"""WSGI middleware: `application = ClientCertificateMiddleware(application, authenticator)`."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from mtls_auth.authenticator import Authenticator
from mtls_auth.connection import Connection
from mtls_auth.decision import Denied
from mtls_auth.diagnostics import Diagnostics
from mtls_auth.silent_servers import check_server_tells

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DECISION_KEY = "mtls_auth.decision"


class ClientCertificateMiddleware:
    """Puts the `Decision` into `environ["mtls_auth.decision"]`, removes certificate headers, answers denials.

    `denied_app` is a WSGI application that answers a denial instead; it finds the `Denied` in the environ.
    `diagnostics` adds the endpoint that `mtls-auth probe` asks; without it there is none. Raises `ConfigurationError`
    under a server that is known to keep what the source needs to itself.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        authenticator: Authenticator,
        *,
        denied_app: "WSGIApplication | None" = None,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        check_server_tells(authenticator.source)
        self.application = application
        self.authenticator = authenticator
        self.denied_app = denied_app or answer_denied
        self.diagnostics = diagnostics

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        connection = Connection.from_environ(environ, self.authenticator.known_headers)
        decision = self.authenticator.authenticate(connection)
        for key in connection.received:
            del environ[key]
        environ[DECISION_KEY] = decision
        if self.diagnostics is not None and self.diagnostics.asked_by_environ(environ):
            body = self.diagnostics.body(self.authenticator.source, connection, decision)
            return _json(HTTPStatus.OK, body, start_response)
        application = self.denied_app if isinstance(decision, Denied) else self.application
        return application(environ, start_response)


def answer_denied(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with the reason's status and `{"reason": …}`; the detail goes to the log only."""
    denied: Denied = environ[DECISION_KEY]
    return _json(HTTPStatus(denied.reason.status), json.dumps({"reason": denied.reason}).encode(), start_response)


def _json(status: HTTPStatus, body: bytes, start_response: "StartResponse") -> Iterable[bytes]:
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
