"""manage.py runserver_mtls: its options, the certificates that it makes, and the server that it derives."""

import getpass
import io
import re
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer
from django.http import HttpRequest, HttpResponse
from django.test import override_settings

from django_mtls.development_pki import PASSWORD, DevelopmentPKI
from django_mtls.management.commands import runserver_mtls
from django_mtls.management.commands.runserver_mtls import Command
from mtls_auth import ServerTLS
from mtls_auth.server_tls import SOCKET_KEY, EnvironFacts
from mtls_auth.servers.wsgiref import with_tls
from mtls_auth.testing import CertificateAuthority


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What would have run: the commands, and their options."""
    found: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(Command, "run", lambda command, **options: found.append((command, options)))
    return found


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The certificates that it makes.


def test_without_files(folder: Path, started: list[tuple[Any, dict[str, Any]]]) -> None:
    """It makes everything, in a folder that git ignores and nobody else reads, and asks for certificates."""
    call_command("runserver_mtls", user="alice")
    ((command, _options),) = started
    assert (command.protocol, command.addr, command.port) == ("https", "127.0.0.1", "8443")
    made = folder / ".mtls"
    assert {str(path.relative_to(made)) for path in contents(made)} == {
        ".gitignore",
        "ca.pem",
        "client-ca.pem",
        "clients/alice.key",
        "clients/alice.p12",
        "clients/alice.pem",
        "server.key",
        "server.pem",
    }
    assert (made / ".gitignore").read_text() == "*\n"
    assert (mode(made), mode(made / "clients")) == (0o700, 0o700)
    for secret in ("server.key", "clients/alice.key", "clients/alice.p12"):
        assert mode(made / secret) == 0o600
    _key, certificate, _more = pkcs12.load_key_and_certificates(
        (made / "clients" / "alice.p12").read_bytes(), PASSWORD.encode()
    )
    assert certificate == x509.load_pem_x509_certificate((made / "clients" / "alice.pem").read_bytes())


def test_again(folder: Path, started: list[tuple[Any, dict[str, Any]]]) -> None:
    """What is there is used again; another user is added, and the first stays."""
    call_command("runserver_mtls", user="alice")
    before = contents(folder)
    call_command("runserver_mtls", user="alice")
    assert contents(folder) == before
    call_command("runserver_mtls", user="bob")
    trusted = folder / ".mtls" / "client-ca.pem"
    assert trusted.read_bytes().startswith(before.pop(trusted))
    assert {path: data for path, data in contents(folder).items() if path in before} == before
    assert len(x509.load_pem_x509_certificates(trusted.read_bytes())) == 2
    assert len(started) == 3


@pytest.mark.parametrize("name", ["server", "clients/alice"])
def test_certificates_that_are_about_to_expire(folder: Path, name: str) -> None:
    """They are made again."""
    pki = DevelopmentPKI(folder / ".mtls")
    pki.ensure_server()
    pki.ensure_client("alice")
    old = folder / ".mtls" / f"{name}.pem"
    soon = datetime.now(UTC) + timedelta(hours=1)
    old.write_bytes(CertificateAuthority().issue("old", not_after=soon).pem)
    pki.ensure_server()
    pki.ensure_client("alice")
    new = x509.load_pem_x509_certificate(old.read_bytes())
    assert new.not_valid_after_utc > soon + timedelta(days=30)
    ServerTLS(certificate=pki.certificate, key=pki.key, client_ca=pki.client_ca)


def test_you_are_the_user(
    folder: Path, started: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "carol")
    call_command("runserver_mtls")
    assert (folder / ".mtls" / "clients" / "carol.pem").exists()


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set in the environment")])
def test_a_computer_that_does_not_know_you(folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    with pytest.raises(CommandError, match="give --user"):
        call_command("runserver_mtls")
    assert contents(folder) == {}


@pytest.mark.parametrize("user", ["", "../alice", "a/b", ".alice", "a\\b", "a b", "a\n", "x" * 65, "a\0"])
def test_users_who_cannot_be_named(folder: Path, user: str) -> None:
    """A name that is no file's name, or too long for a certificate, makes nothing."""
    with pytest.raises(CommandError, match="cannot name a client"):
        call_command("runserver_mtls", user=user)
    assert contents(folder) == {}


@pytest.mark.parametrize("user", ["alice@example.com", "a.b+c-d_e", "Ålice", "x" * 64])
def test_users_who_can(folder: Path, started: list[tuple[Any, dict[str, Any]]], user: str) -> None:
    call_command("runserver_mtls", user=user)
    assert (folder / ".mtls" / "clients" / f"{user}.pem").exists()


# Files of one's own.


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """The options that name files."""
    ca = CertificateAuthority()
    certificate, key = ca.issue_server("localhost").write(tmp_path, "own")
    (tmp_path / "own-ca.pem").write_bytes(ca.pem)
    return {"certificate": str(certificate), "key": str(key), "client_ca": str(tmp_path / "own-ca.pem")}


def test_with_files(folder: Path, given: dict[str, str], started: list[tuple[Any, dict[str, Any]]]) -> None:
    """Nothing is made."""
    before = contents(folder)
    call_command("runserver_mtls", "192.0.2.1:9443", required=True, **given)
    ((command, _options),) = started
    assert (command.addr, command.port, command.client) == ("192.0.2.1", "9443", None)
    assert contents(folder) == before


@pytest.mark.parametrize("missing", ["certificate", "key", "client_ca"])
def test_some_of_the_files(folder: Path, given: dict[str, str], missing: str) -> None:
    before = contents(folder)
    del given[missing]
    with pytest.raises(CommandError, match="Give all of"):
        call_command("runserver_mtls", **given)
    assert contents(folder) == before


def test_a_revocation_list_alone(folder: Path) -> None:
    with pytest.raises(CommandError, match="Give all of"):
        call_command("runserver_mtls", crl="crl.pem")
    assert contents(folder) == {}


def test_a_user_with_files(given: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="--user names a certificate that is made"):
        call_command("runserver_mtls", user="alice", **given)


def test_files_that_cannot_be_used(given: dict[str, str]) -> None:
    """Every problem is on a line of its own."""
    with pytest.raises(CommandError) as raised:
        call_command("runserver_mtls", **{**given, "client_ca": "no-ca.pem"}, crl="no-crl.pem")
    assert re.fullmatch(r"[^\n]*no-ca\.pem[^\n]*\n[^\n]*no-crl\.pem[^\n]*", str(raised.value))


def test_options_of_the_command_line(given: dict[str, str]) -> None:
    """The options are runserver's and those of the other servers."""
    parser = Command().create_parser("manage.py", "runserver_mtls")
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    parsed = vars(parser.parse_args(["[::1]:443", "--noreload", "--nostatic", "--required", "--crl", "c", *words]))
    assert {name: parsed[name] for name in given} == given
    assert (parsed["required"], parsed["crl"], parsed["user"]) == (True, "c", None)
    assert (parsed["use_reloader"], parsed["use_static_handler"], parsed["addrport"]) == (False, False, "[::1]:443")
    assert vars(parser.parse_args([]))["required"] is False


# What it serves, and says.


@pytest.mark.parametrize(
    ("installed", "wanted", "is_static"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_static_files(installed: bool, wanted: bool, is_static: bool, settings: Any) -> None:
    """They are served where their app is installed, as by runserver."""
    if not installed:
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "staticfiles" not in app]
    with override_settings(DEBUG=True):
        handler = Command().get_handler(use_static_handler=wanted, insecure_serving=False)
    assert isinstance(handler, StaticFilesHandler) == is_static


def test_what_it_says(folder: Path, started: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it serves, and commands that can be pasted as they are."""
    (folder / "it's").mkdir()
    monkeypatch.setattr(runserver_mtls, "FOLDER", Path("it's"))
    output = io.StringIO()
    call_command("runserver_mtls", user="alice", stdout=output)
    ((command, _options),) = started
    command.on_bind(8443)
    said = output.getvalue()
    assert "https://127.0.0.1:8443/" in said
    quoted = "'it'\"'\"'s/clients/alice.pem'"
    assert f"--cert {quoted} " in said
    assert f"python manage.py mtls_enroll alice {quoted}\n" in said
    assert f"its password is {PASSWORD}\n" in said


def test_with_files_it_says_where_it_serves(given: dict[str, str], started: list[tuple[Any, dict[str, Any]]]) -> None:
    output = io.StringIO()
    call_command("runserver_mtls", stdout=output, **given)
    ((command, _options),) = started
    command.on_bind(8443)
    assert "https://127.0.0.1:8443/" in output.getvalue()
    assert "curl" not in output.getvalue()


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """As Django's `run` puts one together."""

    daemon_threads = True


@contextmanager
def serving(pki: DevelopmentPKI, view: Callable[[HttpRequest], HttpResponse]) -> Iterator[int]:
    """Serve a view on Django's server with TLS, in a thread."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        from django.core.handlers.wsgi import WSGIRequest

        response = view(WSGIRequest(environ))
        start_response("200 OK", [("Content-Length", str(len(response.content)))])
        return [response.content]

    tls = ServerTLS(certificate=pki.certificate, key=pki.key, client_ca=pki.client_ca)
    with with_tls(ThreadedServer, tls)(("127.0.0.1", 0), WSGIRequestHandler, ipv6=False) as server:
        server.set_app(application)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nSsl_Client_Cert: forged\r\nX-Request: one\r\n\r\n"
LAST_REQUEST = REQUEST.replace(b"X-Request: one", b"Connection: close")


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_request(folder: Path, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django takes it for secure, and finds the certificate; the process's environment does not name another."""
    pki = DevelopmentPKI(folder / ".mtls")
    pki.ensure_server()
    client = {name: pki.ensure_client(name) for name in ("alice", "bob")}[user]
    monkeypatch.setenv("HTTPS", "off")
    monkeypatch.setenv(SOCKET_KEY, "of the process")
    seen: list[HttpRequest] = []
    chains: list[tuple[str | bytes, ...]] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        chains.append(EnvironFacts(request.META).client_chain())
        return HttpResponse("ok")

    context = ssl.create_default_context(cafile=pki.server_ca)
    context.load_cert_chain(client.certificate, client.key)
    with (
        serving(pki, view) as port,
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as connection,
    ):
        connection.sendall(REQUEST + LAST_REQUEST)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert all(found.is_secure() for found in seen)
    assert (seen[0].headers["X-Request"], "HTTP_SSL_CLIENT_CERT" in seen[0].META) == ("one", False)
    leaf = x509.load_pem_x509_certificate(client.certificate.read_bytes())
    assert leaf.subject.rfc4514_string() == f"CN={user}"
    assert [chain[0] for chain in chains] == [leaf.public_bytes(Encoding.DER)] * 2
