"""hypercorn with `mtls_auth.servers.hypercorn`: every worker, every way to switch it on, what it refuses to serve."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import h2.connection
import h2.events
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from mtls_auth.testing import CertificateAuthority
from tests.integration.client import Client, HandshakeRefused, tls_context
from tests.integration.lab import ROOT, Files, Lab
from tests.integration.servers import LOCALHOST, Process, free_port

WORKERS = ("asyncio", "uvloop", "trio")
MODULE = "python:mtls_auth.servers.hypercorn"

SITE = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from mtls_auth import AnyVerifiedCertificate, Authenticator, ByFingerprint, TLSSocket
from mtls_auth.asgi import ClientCertificateMiddleware
from mtls_auth.server_tls import PEER_EXTENSION
from mtls_auth.starlette import decision
from tests.integration.site import answer


def whoami(connection):
    return {{**answer.whoami(decision(connection)), "peer": connection.scope["extensions"].get(PEER_EXTENSION)}}


async def http(request):
    return JSONResponse(whoami(request))


async def websocket(websocket):
    await websocket.accept()
    await websocket.send_json(whoami(websocket))
    await websocket.close()


alice = ByFingerprint({{"{fingerprint}": "alice"}})
authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=alice)
application = Starlette(
    routes=[Route("/", http), WebSocketRoute("/", websocket)],
    middleware=[Middleware(ClientCertificateMiddleware, authenticator=authenticator)],
)
"""

CONFIGURATION = """
from mtls_auth import ServerTLS
from mtls_auth.servers.hypercorn import ContextFactory

tls = ServerTLS(certificate="server.pem", key="server.key", client_ca="client-ca.pem")
certfile, keyfile, create_ssl_context = tls.certificate, tls.key, ContextFactory(tls)
"""

TOML = """
certfile = "server.pem"
keyfile = "server.key"
ca_certs = "client-ca.pem"
verify_mode = 1
"""

SCRIPT = """
import ssl, sys
from hypercorn.config import Config
{install}

def configured(config):
    config.bind = sys.argv[1]
    config.certfile, config.keyfile, config.ca_certs = "server.pem", "server.key", "client-ca.pem"
    config.verify_mode = ssl.CERT_OPTIONAL
    return config

if __name__ == "__main__":
    {serve}
"""
INSTALL = "import mtls_auth.servers.hypercorn"
SCRIPTS = {
    "serve on asyncio": SCRIPT.format(
        install=f"import asyncio; from hypercorn.asyncio import serve; {INSTALL}",
        serve="from mysite import application; asyncio.run(serve(application, configured(Config())))",
    ),
    "serve on trio": SCRIPT.format(
        install=f"import trio; {INSTALL}; from hypercorn.trio import serve",
        serve="from mysite import application; trio.run(serve, application, configured(Config()))",
    ),
    "run": SCRIPT.format(
        install="from hypercorn.run import run",
        serve="config = configured(Config.from_object('mtls_auth.servers.hypercorn')); "
        "config.application_path = 'mysite:application'; run(config)",
    ),
}

Answer = tuple[int, dict[str, object]]


class Sites:
    """A directory with the application, its certificates and configurations; and the servers on it."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        """Write the files."""
        self.directory = directory
        self.lab = lab
        self.alice = lab.pki.write("hypercorn-alice", lab.pki.ca.issue("alice"))
        self.clients = {
            "none": None,
            "alice": self.alice,
            "unknown": lab.pki.write("hypercorn-unknown", lab.pki.ca.issue("alice")),
        }
        (directory / "mysite.py").write_text(SITE.format(fingerprint=self.alice.fingerprint))
        (directory / "tomlsite.py").write_text(f"{INSTALL}\nfrom mysite import application\n")
        (directory / "hypercorn.conf.py").write_text(CONFIGURATION)
        (directory / "hypercorn.toml").write_text(TOML)
        for name, text in SCRIPTS.items():
            (directory / f"{name}.py").write_text(text)
        shutil.copy(lab.pki.server.certificate, directory / "server.pem")
        shutil.copy(lab.pki.server.key, directory / "server.key")
        shutil.copy(lab.pki.root, directory / "client-ca.pem")
        self._stack = ExitStack()
        self._ports: dict[Sequence[str], int] = {}

    def close(self) -> None:
        """Stop every server."""
        self._stack.close()

    def context(self, files: Files | None = None) -> ssl.SSLContext:
        """Return the context of a client."""
        return tls_context(self.lab.pki.root, files)

    def process(self, port: int, *arguments: str, application: str = "mysite:application") -> Process:
        """Return hypercorn on *port*, to be entered."""
        return self.python(port, "-m", "hypercorn", "-b", f"{LOCALHOST}:{port}", *arguments, application)

    def python(self, port: int, *arguments: str) -> Process:
        """Return a program that listens on *port*, to be entered."""
        environment = {"PYTHONPATH": f"{self.directory}{os.pathsep}{ROOT}"}
        log = self.directory / f"log-{port}"
        return Process([sys.executable, *arguments], ready=port, log=log, cwd=self.directory, env=environment)

    def port(self, *arguments: str) -> int:
        """Return the port of hypercorn with these arguments, running from now on."""
        if arguments not in self._ports:
            port = free_port()
            self._stack.enter_context(self.process(port, *arguments))
            self._ports[arguments] = port
        return self._ports[arguments]


@pytest.fixture(scope="module")
def sites(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """The sites of this module."""
    sites = Sites(lab, tmp_path_factory.mktemp("hypercorn"))
    yield sites
    sites.close()


TLS_OPTIONS = ("--certfile", "server.pem", "--keyfile", "server.key", "--ca-certs", "client-ca.pem")
OPTIONAL = (*TLS_OPTIONS, "--verify-mode", "CERT_OPTIONAL")


def over_http1(port: int, context: ssl.SSLContext) -> Answer:
    """Ask over HTTP/1.1."""
    return _over_http(port, context, "HTTP/1.1")


def over_http2(port: int, context: ssl.SSLContext) -> Answer:
    """Ask over HTTP/2."""
    return _over_http(port, context, "HTTP/2")


def _over_http(port: int, context: ssl.SSLContext, version: str) -> Answer:
    http2 = version == "HTTP/2"
    with httpx.Client(verify=context, http1=not http2, http2=http2, trust_env=False, timeout=20) as client:
        response = client.get(f"https://localhost:{port}/", headers={"X-Forwarded-For": "192.0.2.1"})
    assert response.http_version == version
    return response.status_code, response.json()


def over_websocket(port: int, context: ssl.SSLContext) -> Answer:
    """Ask over a WebSocket on HTTP/1.1."""
    try:
        with connect(f"wss://localhost:{port}/", ssl=context, proxy=None, open_timeout=20) as socket:
            return 200, json.loads(socket.recv(20))
    except InvalidStatus as refused:
        return refused.response.status_code, {}


def over_websocket_on_http2(port: int, context: ssl.SSLContext) -> Answer:
    """Ask over a WebSocket on HTTP/2. RFC 8441."""
    context.set_alpn_protocols(["h2"])
    http, websocket = h2.connection.H2Connection(), Connection(ConnectionType.CLIENT)
    with Client(port, context) as client:
        http.initiate_connection()
        asked = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":authority": "localhost"}
        http.send_headers(1, [*asked.items(), (":path", "/"), ("sec-websocket-version", "13")])
        while True:
            client.tls.sendall(http.data_to_send())
            received = client.tls.recv(65536)
            assert received, "the server closed the connection"
            for event in http.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                    if status != 200:
                        return status, {}
                elif isinstance(event, h2.events.DataReceived):
                    websocket.receive_data(event.data)
                    for message in websocket.events():
                        if isinstance(message, TextMessage):
                            return 200, json.loads(message.data)


PROTOCOLS: dict[str, Callable[[int, ssl.SSLContext], Answer]] = {
    "HTTP/1.1": over_http1,
    "HTTP/2": over_http2,
    "WebSocket": over_websocket,
    "WebSocket on HTTP/2": over_websocket_on_http2,
}
BELIEVED: dict[str, tuple[int, object]] = {"none": (200, None), "alice": (200, "alice"), "unknown": (403, None)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("workers", ["0", "1", "2"])
@pytest.mark.parametrize("worker", WORKERS)
def test_who_is_there(sites: Sites, worker: str, workers: str, protocol: str) -> None:
    """By every worker and protocol: the certificate's user, nobody without one, 403 for one that nobody enrolled."""
    port = sites.port("-c", MODULE, "-k", worker, "-w", workers, *OPTIONAL)
    for client, (expected_status, user) in BELIEVED.items():
        status, answer = PROTOCOLS[protocol](port, sites.context(sites.clients[client]))
        assert (status, answer.get("user")) == (expected_status, user)
        if status == 200:
            assert answer["peer"] == LOCALHOST
            assert answer.get("fingerprint") == (sites.alice.fingerprint if user else None)


@pytest.mark.parametrize("worker", WORKERS)
def test_every_process(sites: Sites, worker: str) -> None:
    """Of two processes each knows who is there: while one is stopped, the other answers."""
    port = sites.port("-c", MODULE, "-k", worker, "-w", "2", *OPTIONAL)
    _status, first = over_http1(port, sites.context(sites.alice))
    stopped = first["pid"]
    assert isinstance(stopped, int)
    os.kill(stopped, signal.SIGSTOP)
    try:
        _status, second = over_http1(port, sites.context(sites.alice))
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert second["pid"] != stopped
    assert (first["user"], second["user"]) == ("alice", "alice")


@pytest.mark.parametrize("worker", WORKERS)
def test_without_the_module(sites: Sites, worker: str) -> None:
    """hypercorn alone keeps the certificate: the application answers nobody, and the log says what to do."""
    port = free_port()
    with sites.process(port, "-k", worker, *OPTIONAL) as process, Client(port, sites.context(sites.alice)) as client:
        assert client.get("/").status == 500
        assert "serve with hypercorn -c python:mtls_auth.servers.hypercorn" in process.output


@pytest.mark.parametrize("worker", WORKERS)
def test_an_insecure_listener(sites: Sites, worker: str) -> None:
    """A plain listener of the same server gives nobody an identity, and tells who connected."""
    plain = free_port()
    arguments = ("-c", MODULE, "-k", worker, "--insecure-bind", f"{LOCALHOST}:{plain}", *OPTIONAL)
    port = free_port()
    with sites.process(port, *arguments):
        assert over_http1(port, sites.context(sites.alice))[1]["user"] == "alice"
        with Client(plain) as client:
            answer = client.get("/").json
    assert (answer["user"], answer["reason"], answer["peer"]) == (None, "no_certificate", LOCALHOST)


@pytest.mark.parametrize("workers", ["0", "1", "2"])
@pytest.mark.parametrize("worker", WORKERS)
def test_http3_is_refused(sites: Sites, worker: str, workers: str) -> None:
    """hypercorn does not serve where HTTP/3 would let everybody in without a certificate."""
    port = free_port()
    arguments = ("-c", MODULE, "-k", worker, "-w", workers, "--quic-bind", f"{LOCALHOST}:{port}", *OPTIONAL)
    process = sites.process(port, *arguments)
    ended = subprocess.run(
        process.command, cwd=process.cwd, env=process.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert "ConfigurationError: hypercorn's HTTP/3 never asks for a client certificate" in ended.stderr
    assert "leave out --quic-bind" in ended.stderr
    assert "Running on" not in ended.stderr


@pytest.mark.parametrize("worker", WORKERS)
def test_a_configuration_in_toml(sites: Sites, worker: str) -> None:
    """Where the configuration cannot name the module, the application's module imports it."""
    port = free_port()
    with sites.process(port, "-c", "hypercorn.toml", "-k", worker, "-w", "2", application="tomlsite:application"):
        assert over_http2(port, sites.context(sites.alice))[1]["user"] == "alice"
        assert over_http2(port, sites.context())[1]["user"] is None


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_program_that_starts_hypercorn(sites: Sites, name: str) -> None:
    """hypercorn's functions serve with the certificate too, whether imported before the module or after it."""
    port = free_port()
    with sites.python(port, f"{name}.py", f"{LOCALHOST}:{port}"):
        for client, (expected_status, user) in BELIEVED.items():
            status, answer = over_http2(port, sites.context(sites.clients[client]))
            assert (status, answer.get("user")) == (expected_status, user)


@pytest.mark.parametrize("worker", WORKERS)
def test_certificates_that_change(sites: Sites, worker: str) -> None:
    """With `ContextFactory` new connections get the CA of the file, in every process and without a restart."""
    elsewhere = CertificateAuthority("Elsewhere")
    stranger = sites.lab.pki.write(f"hypercorn-stranger-{worker}", elsewhere.issue("alice"))
    client_ca = sites.directory / "client-ca.pem"
    before = client_ca.read_bytes()
    port = free_port()
    with sites.process(port, "-c", "file:hypercorn.conf.py", "-k", worker, "-w", "2") as process:
        assert over_http2(port, sites.context(sites.alice))[1]["user"] == "alice"
        assert over_http2(port, sites.context())[1]["user"] is None
        assert "UNKNOWN_CA" in refusal(sites, port, stranger)
        assert f"TLS handshake with {LOCALHOST} failed: untrusted" in process.output
        try:
            client_ca.write_bytes(elsewhere.pem)
            time.sleep(1)
            for _number in range(10):  # for both processes
                assert "UNKNOWN_CA" in refusal(sites, port, sites.alice)
            assert over_http2(port, sites.context(stranger)) == (403, {"reason": "not_enrolled"})
        finally:
            client_ca.write_bytes(before)


def refusal(sites: Sites, port: int, files: Files) -> str:
    """Return what the client is told about its certificate, "" if nothing is wrong with it."""
    try:
        with Client(port, tls_context(sites.lab.pki.root, files, ssl.TLSVersion.TLSv1_2)):
            return ""
    except HandshakeRefused as refused:
        return str(refused)
