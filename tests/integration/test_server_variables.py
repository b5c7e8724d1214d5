"""What servers and adapters put beside the headers, by the real ones: cheroot, werkzeug, pyvoy, Lambda adapters."""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mtls_auth import Anonymous, AnyVerifiedCertificate, Authenticated, Authenticator, Decision, ServerEnviron
from mtls_auth.asgi import ClientCertificateMiddleware as ASGIMiddleware
from mtls_auth.server_environ import AWS_API_GATEWAY
from mtls_auth.testing import escaped_pem
from mtls_auth.wsgi import ClientCertificateMiddleware as WSGIMiddleware
from tests.integration.lab import Files, Lab
from tests.integration.servers import CurlError, Process, curl, free_port, unavailable

AUTHENTICATOR = Authenticator(ServerEnviron(AWS_API_GATEWAY), policy=AnyVerifiedCertificate())


def needed(package: str) -> Any:
    """Return an imported package; skip without it, fail in CI."""
    try:
        return importlib.import_module(package)
    except ImportError:
        unavailable(package)


@pytest.fixture(scope="module")
def alice(lab: Lab) -> Files:
    """A client certificate."""
    return lab.pki.write("variables-alice", lab.pki.ca.issue("alice"))


@pytest.mark.parametrize("server", ["cheroot", "werkzeug"])
def test_servers(lab: Lab, alice: Files, server: str, tmp_path: Path) -> None:
    """The server's own variables name the client of this connection; headers of their names are nobody's."""
    needed(server)
    port = free_port()
    script = Path(__file__).parent / "site" / "variables_server.py"
    command: list[str | Path] = [sys.executable, script, server, str(port), *lab.pki.server, lab.pki.root]
    stranger = type(lab.pki.ca)()
    impostor = lab.pki.write(f"impostor-{server}", stranger.issue("alice"))
    forged = (
        ("SSL-Client-Cert", escaped_pem(lab.pki.ca.issue("bob").der)),
        ("SSL-Client-Verify", "SUCCESS"),
        ("SSL_CLIENT_CERT", "forged"),
    )
    with Process(command, ready=port, log=tmp_path / "log"):
        url = f"https://localhost:{port}/"
        ask: dict[str, Any] = {"cacert": lab.pki.root}
        own: dict[str, Any] = {"cert": alice.certificate, "key": alice.key}
        assert json.loads(curl(url, **ask).body) == {"user": None}
        assert json.loads(curl(url, **ask, **own).body) == {"user": "alice"}
        assert json.loads(curl(url, **ask, headers=forged).body) == {"user": None}
        assert json.loads(curl(url, **ask, **own, headers=forged).body) == {"user": "alice"}
        with pytest.raises(CurlError):
            curl(url, **ask, cert=impostor.certificate, key=impostor.key)


def event(version: str, pem: str | None) -> dict[str, Any]:
    """Return an event of API Gateway, of a REST API (1.0) or an HTTP API (2.0), as its documentation shows them."""
    certificate = {} if pem is None else {"clientCert": {"clientCertPem": pem, "subjectDN": "CN=mallory"}}
    headers = {"host": "api.example.com", "ssl-client-verify": "SUCCESS", "x-amzn-mtls-clientcert-leaf": "forged"}
    if version == "1.0":
        return {
            "version": "1.0",
            "resource": "/",
            "path": "/",
            "httpMethod": "GET",
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": {},
            "multiValueQueryStringParameters": {},
            "requestContext": {"stage": "$default", "identity": {"sourceIp": "192.0.2.1", **certificate}},
            "body": "",
            "isBase64Encoded": False,
        }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "stage": "$default",
            "authentication": certificate or None,
            "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"},
        },
        "body": "",
        "isBase64Encoded": False,
    }


def by_mangum(application: Any, given: Mapping[str, Any]) -> Any:
    loop = asyncio.new_event_loop()  # it takes the thread's, and would leave one of its own open
    asyncio.set_event_loop(loop)
    try:
        return needed("mangum").Mangum(application, lifespan="off")(given, {})
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def by_apig_wsgi(application: Any, given: Mapping[str, Any]) -> Any:
    return needed("apig_wsgi").make_lambda_handler(application)(given, {})


def by_serverless_wsgi(application: Any, given: Mapping[str, Any]) -> Any:
    return needed("serverless_wsgi").handle_request(application, given, {})


def by_aws_wsgi(application: Any, given: Mapping[str, Any]) -> Any:
    return needed("awsgi").response(application, given, {})


ADAPTERS = [
    (by_mangum, "1.0"),
    (by_mangum, "2.0"),
    (by_apig_wsgi, "1.0"),
    (by_apig_wsgi, "2.0"),
    (by_serverless_wsgi, "1.0"),
    (by_serverless_wsgi, "2.0"),
    (by_aws_wsgi, "1.0"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("presented", [True, False])
@pytest.mark.parametrize(("adapter", "version"), ADAPTERS)
def test_lambda_adapters(lab: Lab, adapter: Any, version: str, presented: bool) -> None:
    """The certificate of an API Gateway event is the client's, whichever adapter carries it; its names are not read."""
    seen: list[Decision] = []

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["mtls_auth.decision"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["mtls_auth.decision"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    is_asgi = adapter is by_mangum
    application = ASGIMiddleware(asgi, AUTHENTICATOR) if is_asgi else WSGIMiddleware(wsgi, AUTHENTICATOR)
    pem = lab.pki.ca.issue("alice").pem.decode() if presented else None
    response = adapter(application, event(version, pem))
    assert int(response["statusCode"]) == 200
    (decision,) = seen
    if presented:
        assert isinstance(decision, Authenticated)
        assert (decision.identity.subject_cn, decision.identity.assurance) == ("alice", "proxy_presence")
    else:
        assert isinstance(decision, Anonymous)


PYVOY_APP = """
import json
from mtls_auth import AnyVerifiedCertificate, Authenticated, Authenticator, ServerEnviron
from mtls_auth.{kind} import DECISION_KEY, ClientCertificateMiddleware
from mtls_auth.server_environ import PYVOY

authenticator = Authenticator(ServerEnviron(PYVOY), policy=AnyVerifiedCertificate())

def body(request):
    decision = request[DECISION_KEY]
    name = decision.identity.statement.name if isinstance(decision, Authenticated) else None
    return json.dumps({{"name": name}}).encode()

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": body(scope)}})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body(environ)]

app = ClientCertificateMiddleware({kind}, authenticator)
"""


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_pyvoy(lab: Lab, alice: Files, kind: str, tmp_path: Path) -> None:
    """pyvoy tells the subject's text alone: that is the identity, and a client without a certificate is nobody."""
    needed("pyvoy")
    (tmp_path / "pyvoy_site.py").write_text(PYVOY_APP.format(kind=kind))
    port = free_port()
    command: list[str | Path] = [Path(sys.executable).with_name("pyvoy"), "pyvoy_site:app", "--interface", kind]
    command += ["--address", "127.0.0.1", "--port", "0", "--tls-port", str(port)]
    command += [
        "--tls-cert",
        lab.pki.server.certificate,
        "--tls-key",
        lab.pki.server.key,
        "--tls-ca-cert",
        lab.pki.root,
    ]
    command += ["--no-tls-require-client-certificate"]
    environment = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2])))}
    with Process(command, ready=port, log=tmp_path / "log", cwd=tmp_path, env=environment, timeout=60):
        url = f"https://localhost:{port}/"
        known = curl(url, cacert=lab.pki.root, cert=alice.certificate, key=alice.key)
        assert json.loads(known.body)["name"].startswith("CN=alice")
        assert json.loads(curl(url, cacert=lab.pki.root).body) == {"name": None}
