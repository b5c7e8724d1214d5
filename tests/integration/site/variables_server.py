"""Servers that hand the certificate on in variables of their own: `… variables_server SERVER PORT CERT KEY CA`."""

import json
import ssl
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mtls_auth import AnyVerifiedCertificate, Authenticated, Authenticator, ServerEnviron
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.wsgi import DECISION_KEY, ClientCertificateMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer whose certificate came."""
    decision = environ[DECISION_KEY]
    cn = decision.identity.subject_cn if isinstance(decision, Authenticated) else None
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"user": cn}).encode()]


def main(server: str, port: str, certificate: str, key: str, ca: str) -> None:
    authenticator = Authenticator(ServerEnviron(BUILTIN_VARIABLES[server]), policy=AnyVerifiedCertificate())
    application = ClientCertificateMiddleware(answer, authenticator)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificate, key)
    if server == "werkzeug":
        from werkzeug.serving import run_simple

        run_simple("127.0.0.1", int(port), application, ssl_context=context, threaded=True)
    else:
        from cheroot.ssl.builtin import BuiltinSSLAdapter
        from cheroot.wsgi import Server

        listener = Server(("127.0.0.1", int(port)), application)
        listener.ssl_adapter = BuiltinSSLAdapter(certificate, key)
        listener.ssl_adapter.context = context
        listener.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
