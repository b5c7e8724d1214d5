"""The WSGI servers that get mutual TLS from this package: wsgiref, cheroot, werkzeug, and Django's for development."""

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from mtls_auth import Reason
from mtls_auth.testing import CertificateAuthority
from tests.integration.client import Client, HandshakeRefused, exchange, raw_connection, tls_connection, tls_context
from tests.integration.lab import ROOT, SITE, Files, Lab
from tests.integration.servers import LOCALHOST, Process, curl, free_port, requires, unavailable
from tests.pki import revocation_list

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
SERVERS = ("wsgiref", "cheroot", "werkzeug", "runserver")
KEEPING = tuple(server for server in SERVERS if server != "werkzeug")

# The site, and beside it what the server tells any application.
APPLICATION = f"""
import json
from mtls_auth import AnyVerifiedCertificate, Authenticated, Authenticator, ServerEnviron, TLSSocket
from mtls_auth.server_environ import CHEROOT
from mtls_auth.server_tls import EnvironFacts
from mtls_auth.wsgi import DECISION_KEY, ClientCertificateMiddleware
from {SITE}.wsgi import application as site

def believed_of(source):
    # Denied requests, too, are answered by the application.
    name = ClientCertificateMiddleware(
        named, Authenticator(source, policy=AnyVerifiedCertificate()), denied_app=named
    )
    return lambda environ: b"".join(name({{**environ}}, lambda *response: None)).decode()

def named(environ, start_response):
    decision = environ[DECISION_KEY]
    name = decision.identity.subject_cn if isinstance(decision, Authenticated) else decision.reason
    return [name.encode()]

socket, variables = believed_of(TLSSocket()), believed_of(ServerEnviron(CHEROOT))

def application(environ, start_response):
    if environ["PATH_INFO"] != "/environ":
        return site(environ, start_response)
    told = {{
        "socket": socket(environ),
        "variables": variables(environ) if "cheroot" in environ["SERVER_SOFTWARE"].lower() else None,
        "peer": EnvironFacts(environ).peer(),
        "scheme": environ["wsgi.url_scheme"],
        "header": environ.get("HTTP_SSL_CLIENT_CERT"),
    }}
    body = json.dumps(told).encode()
    length = [] if environ["QUERY_STRING"] == "without-length" else [("Content-Length", str(len(body)))]
    start_response("200 OK", [("Content-Type", "application/json"), *length])
    return iter([body])
"""
SETTINGS = f"""
from {SITE}.settings import *
WSGI_APPLICATION = "wsgi_servers_app.application"
"""


DEVELOPMENT_SETTINGS = f"""
from {SITE}.settings import *
DEBUG = True
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.staticfiles"]
STATIC_URL = "static/"
STATICFILES_DIRS = ["static"]
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    port: int
    process: Process


class Servers:
    """Starts the servers in one folder, which holds the application."""

    def __init__(self, lab: Lab, directory: Path, stack: ExitStack) -> None:
        """Write the application."""
        self.lab, self.directory, self._stack = lab, directory, stack
        _tables = lab.registrar
        (directory / "wsgi_servers_app.py").write_text(APPLICATION)
        (directory / "wsgi_servers_settings.py").write_text(SETTINGS)

    def command(self, server: str, port: int, client_ca: Path, *options: str | Path) -> list[str | Path]:
        """Return the command of *server*."""
        bind = f"{LOCALHOST}:{port}"
        command: list[str | Path] = [sys.executable, "-m"]
        if server == "runserver":
            command += ["django", "runserver_mtls", bind, "--noreload"]
        elif find_spec(server) is None:
            unavailable(server)
        else:
            command += [f"mtls_auth.servers.{server}", "wsgi_servers_app", "--bind", bind]
        certificate, key = self.lab.pki.server
        return [*command, "--certificate", certificate, "--key", key, "--client-ca", client_ca, *options]

    def start(self, name: str, server: str, client_ca: Path, *options: str | Path) -> Server:
        """Return *server*, which says on one line where it serves."""
        port = free_port()
        process = Process(
            self.command(server, port, client_ca, *options),
            ready=f"https://{LOCALHOST}:{port}",
            log=self.directory / f"{name}-{server}.log",
            cwd=self.directory,
            env=self.environment,
        )
        return Server(port, self._stack.enter_context(process))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a server."""
        return {
            **self.lab.environment,
            "DJANGO_SETTINGS_MODULE": "wsgi_servers_settings",
            "PYTHONPATH": os.pathsep.join((str(self.directory), str(ROOT))),
            "PYTHONUNBUFFERED": "1",
            "MTLS_SITE_SOURCE": "tls",
        }


@pytest.fixture(scope="module")
def servers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Where the servers are started, and stopped at the end."""
    with ExitStack() as stack:
        yield Servers(lab, tmp_path_factory.mktemp("wsgi_servers"), stack)


@pytest.fixture(scope="module")
def optional(servers: Servers, lab: Lab) -> Callable[[str], Server]:
    """Each server as it is without options: it asks for certificates, and takes clients without one."""
    running: dict[str, Server] = {}

    def server(name: str) -> Server:
        if name not in running:
            running[name] = servers.start("optional", name, lab.pki.client_cas)
        return running[name]

    return server


@pytest.fixture(scope="module")
def alice(lab: Lab) -> Files:
    """A client whose certificate is enrolled."""
    return lab.enroll("wsgi-alice")


@pytest.fixture(scope="module")
def stranger(lab: Lab) -> Files:
    """A client of an unknown CA."""
    return lab.pki.write("wsgi-stranger", CertificateAuthority("Elsewhere").issue("wsgi-alice"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", SERVERS)
def test_who_is_believed(
    lab: Lab, optional: Callable[[str], Server], alice: Files, stranger: Files, server: str, version: str
) -> None:
    """The enrolled client is its user; without a certificate or an enrolment one is nobody; a stranger is refused."""
    port = optional(server).port
    unknown = lab.pki.write("wsgi-unknown", lab.pki.ca.issue("wsgi-alice"))
    expected = {None: (200, None, "no_certificate"), alice: (200, "wsgi-alice", None)}
    expected[unknown] = (Reason.NOT_ENROLLED.status, None, "not_enrolled")
    for files, found in expected.items():
        with Client(port, tls_context(lab.pki.root, files, VERSIONS[version])) as client:
            reply = client.get()
            assert (reply.status, reply.json["user"], reply.json["reason"]) == found
    with (
        pytest.raises(HandshakeRefused),
        Client(port, tls_context(lab.pki.root, stranger, VERSIONS[version])) as client,
    ):
        client.get()


@pytest.mark.parametrize("server", SERVERS)
def test_a_failed_handshake_is_logged(
    lab: Lab, optional: Callable[[str], Server], alice: Files, stranger: Files, server: str
) -> None:
    """One line says who was refused and why, without a traceback; the next client is served."""
    running = optional(server)
    with pytest.raises(HandshakeRefused), Client(running.port, tls_context(lab.pki.root, stranger)) as client:
        client.get()
    with raw_connection(running.port) as plain:
        assert exchange(plain, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status in {0, 400}
    with Client(running.port, tls_context(lab.pki.root, alice)) as client:
        assert client.get().json["user"] == "wsgi-alice"
    assert [line for line in running.process.output.splitlines() if LOCALHOST in line and "untrusted" in line]
    assert "Traceback" not in running.process.output


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", SERVERS)
def test_a_resumed_session(
    lab: Lab, optional: Callable[[str], Server], alice: Files, server: str, version: str
) -> None:
    """A client that resumes its session is still its user."""
    port, context = optional(server).port, tls_context(lab.pki.root, alice, VERSIONS[version])
    with Client(port, context) as first:
        first.get()
    with Client(port, context, session=first.session) as second:
        assert second.tls.session_reused
        assert second.get().json["user"] == "wsgi-alice"


@pytest.mark.parametrize("server", KEEPING)
def test_a_kept_connection(lab: Lab, optional: Callable[[str], Server], alice: Files, server: str) -> None:
    """One connection takes several requests where the application says how long its answers are."""
    with Client(optional(server).port, tls_context(lab.pki.root, alice)) as client:
        address = client.tls.getsockname()
        for _request in range(3):
            assert client.get("/environ").json["socket"] == "wsgi-alice"
            assert client.is_open
            assert client.tls.getsockname() == address
        client.get("/environ?without-length")
        assert client.is_open == (server == "cheroot")  # in chunks


def test_werkzeug_keeps_no_connection(lab: Lab, optional: Callable[[str], Server], alice: Files) -> None:
    """werkzeug says that it closes after each response."""
    with Client(optional("werkzeug").port, tls_context(lab.pki.root, alice)) as client:
        client.get()
        assert not client.is_open


@pytest.mark.parametrize("server", SERVERS)
def test_what_the_application_is_told(lab: Lab, optional: Callable[[str], Server], alice: Files, server: str) -> None:
    """The scheme, the true peer and the certificate are there, the last by cheroot's variables too, if it is cheroot.

    curl gets the end of a body whose length is not said as an end, not as something cut off.
    """
    url = f"https://localhost:{optional(server).port}/environ?without-length"
    for files, name in ((alice, "wsgi-alice"), (None, "no_certificate")):
        certificate, key = files or (None, None)
        told = json.loads(curl(url, cacert=lab.pki.root, cert=certificate, key=key).body)
        assert (told["socket"], told["peer"], told["scheme"]) == (name, LOCALHOST, "https")
        assert told["variables"] == (name if server == "cheroot" else None)


@pytest.mark.parametrize("server", SERVERS)
def test_header_names_with_underscores(lab: Lab, optional: Callable[[str], Server], server: str) -> None:
    """`Ssl_Client_Cert` is no header of the application, before or after the one that it would be taken for."""
    url = f"https://localhost:{optional(server).port}/environ"
    forged, true = ("Ssl_Client_Cert", "forged"), ("Ssl-Client-Cert", "true")
    for headers, expected in (((forged,), None), ((forged, true), "true"), ((true, forged), "true")):
        assert json.loads(curl(url, cacert=lab.pki.root, headers=headers).body)["header"] == expected


def test_silent_clients(lab: Lab, optional: Callable[[str], Server], alice: Files) -> None:
    """More clients that connect and say nothing than cheroot has threads hold nobody up, and are sent away."""
    with ExitStack() as stack:
        silent = [
            stack.enter_context(raw_connection(optional(server).port)) for server in SERVERS for _number in range(12)
        ]
        begin = time.monotonic()
        for server in SERVERS:
            with Client(optional(server).port, tls_context(lab.pki.root, alice)) as client:
                assert client.get().json["user"] == "wsgi-alice"
        assert time.monotonic() - begin < 5
        for connection in silent:
            assert connection.recv(1) == b""
        assert time.monotonic() - begin < 15
    assert not [server for server in SERVERS if "Traceback" in optional(server).process.output]


@pytest.mark.parametrize("server", ["wsgiref", "werkzeug", "runserver"])
def test_a_client_that_leaves(lab: Lab, optional: Callable[[str], Server], alice: Files, server: str) -> None:
    """A client that goes while it is answered leaves no traceback behind."""
    running = optional(server)
    for _attempt in range(5):
        with tls_connection(running.port, tls_context(lab.pki.root, alice)) as connection:
            connection.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with Client(running.port, tls_context(lab.pki.root, alice)) as client:
        assert client.get().json["user"] == "wsgi-alice"
    assert "Traceback" not in running.process.output


@pytest.mark.parametrize("server", SERVERS)
def test_required_and_reloaded(lab: Lab, servers: Servers, tmp_path: Path, server: str) -> None:
    """With `--required` nobody is let in without a certificate; a changed CA or CRL is in force within a second."""
    first, second = CertificateAuthority("First"), CertificateAuthority("Second")
    issued = {"first": first.issue("first"), "second": second.issue("second")}
    files = {name: Files(*certificate.write(tmp_path, name)) for name, certificate in issued.items()}
    client_ca, crl = tmp_path / "clients.pem", tmp_path / "crl.pem"
    client_ca.write_bytes(first.pem)
    crl.write_bytes(revocation_list(first) + revocation_list(second))
    running = servers.start("required", server, client_ca, "--required", "--crl", crl)

    def answers(name: str | None) -> bool:
        try:
            with Client(running.port, tls_context(lab.pki.root, files[name] if name else None)) as client:
                return bool(client.get("/environ").json["socket"] == name)
        except HandshakeRefused:
            return False

    def within_a_second(name: str, expected: bool) -> bool:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if answers(name) is expected:
                return True
            time.sleep(0.1)
        return False

    def replace(path: Path, data: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(path)

    assert (answers(None), answers("first"), answers("second")) == (False, True, False)
    replace(client_ca, first.pem + second.pem)
    assert within_a_second("second", True)
    with Client(running.port, tls_context(lab.pki.root, files["first"])) as kept:
        assert kept.get("/environ").json["socket"] == "first"
        replace(crl, revocation_list(first, issued["first"]) + revocation_list(second))
        assert within_a_second("first", False)
        assert answers("second")
        if server in KEEPING:
            assert kept.is_open
            told = kept.get("/environ").json
            assert (told["socket"], told["variables"]) == ("revoked", "proxy_rejected" if server == "cheroot" else None)
    replace(crl, b"broken")
    time.sleep(0.6)
    assert (answers("first"), answers("second")) == (False, True)
    assert "crl.pem" in running.process.output
    assert "certificate_required" in running.process.output


@pytest.mark.parametrize("server", SERVERS)
def test_ctrl_c(servers: Servers, lab: Lab, server: str) -> None:
    """Ctrl-C ends a server with status 0 and not another word."""
    running = servers.start("stopped", server, lab.pki.client_cas)
    said = running.process.output
    os.kill(running.process.pid, signal.SIGINT)
    assert running.process.wait(10) == 0
    assert running.process.output.removeprefix(said).strip() == ""


@pytest.mark.parametrize("server", SERVERS)
def test_a_port_in_use(servers: Servers, optional: Callable[[str], Server], lab: Lab, server: str) -> None:
    """A port that is taken is said in a line or two, and the status is 1."""
    status, output = _ended(servers, servers.command(server, optional(server).port, lab.pki.client_cas))
    assert status == 1
    assert "in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("server", SERVERS)
def test_files_that_are_not_there(servers: Servers, tmp_path: Path, server: str) -> None:
    """Every problem is on a line of its own, and nothing is served."""
    command = servers.command(server, free_port(), tmp_path / "no-ca.pem", "--crl", tmp_path / "no-crl.pem")
    status, output = _ended(servers, command)
    assert status == (1 if server == "runserver" else 2)
    assert [name for line in output.splitlines() for name in ("no-ca.pem", "no-crl.pem") if name in line] == [
        "no-ca.pem",
        "no-crl.pem",
    ]
    assert "Traceback" not in output


def _ended(servers: Servers, command: Sequence[str | Path]) -> tuple[int, str]:
    environment = {**os.environ, **servers.environment}
    done = subprocess.run(
        command, cwd=servers.directory, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_runserver_with_certificates_of_its_own(servers: Servers, lab: Lab, tmp_path: Path) -> None:
    """Without files, pasting what it prints makes curl its user; static files are served, and a reloader watches."""
    requires("curl")
    lab.enroll("wsgi-carol")  # the user is there, with another certificate
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "style.css").write_text("body {}")
    (tmp_path / "development_settings.py").write_text(DEVELOPMENT_SETTINGS)
    (tmp_path / "manage.py").write_text("from django.core import management\nmanagement.execute_from_command_line()\n")
    environment = {**servers.environment, "DJANGO_SETTINGS_MODULE": "development_settings"}
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), environment["PYTHONPATH"]))
    port = free_port()
    command = [sys.executable, "manage.py", "runserver_mtls", str(port), "--user", "wsgi-carol"]
    running = Process(command, ready="mtls_enroll", log=tmp_path / "log", cwd=tmp_path, env=environment)

    def paste(line: str) -> str:
        command = [sys.executable if word == "python" else word for word in shlex.split(line)]
        done = subprocess.run(command, cwd=tmp_path, env=running.env, capture_output=True, text=True, check=True)
        return done.stdout

    with running:
        assert "StatReloader" in running.output
        printed = [line.strip() for line in running.output.splitlines()]
        (ask,) = [line for line in printed if line.startswith("curl ")]
        (enrol,) = [line for line in printed if "mtls_enroll" in line]
        ask = ask.replace("curl ", "curl -sS --noproxy '*' ", 1)
        assert json.loads(paste(f"{ask}whoami"))["reason"] == "not_enrolled"
        paste(enrol)
        assert json.loads(paste(f"{ask}whoami"))["user"] == "wsgi-carol"
        assert paste(f"{ask}static/style.css") == "body {}"
