"""The WSGI servers with mutual TLS, on sockets of this process, and the command line that they share."""

import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer

import pytest
from cheroot import errors

from mtls_auth import CertificateRejected, ConfigurationError, ServerTLS
from mtls_auth.server_tls import SOCKET_KEY, EnvironFacts
from mtls_auth.servers import cheroot, command_line, werkzeug, wsgiref
from mtls_auth.servers.command_line import Served, load_application, main
from mtls_auth.testing import CertificateAuthority

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"


class Recorder:
    """A WSGI application that keeps the environs, and answers by the path."""

    def __init__(self) -> None:
        self.seen: list[WSGIEnvironment] = []

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        self.seen.append(environ)
        facts = EnvironFacts(environ)
        with suppress(CertificateRejected):
            environ |= {"chain": facts.client_chain(), "peer": facts.peer()}
        lengths = {"/short": ["10"], "/without": []}
        headers = [("Content-Length", length) for length in lengths.get(environ["PATH_INFO"], ["2"])]
        if environ["PATH_INFO"] == "/read":
            environ["body"] = environ["wsgi.input"].read()
        start_response("200 OK", headers)
        if environ["PATH_INFO"] == "/fails":
            return self._fail()
        return iter([b"ok"])

    def _fail(self) -> Iterator[bytes]:
        yield b"o"
        raise ValueError("half a body")


class Site:
    """The files of a server and of alice; the application; the address while it is served."""

    def __init__(self, directory: Path) -> None:
        self.ca = CertificateAuthority()
        (directory / "ca.pem").write_bytes(self.ca.pem)
        certificate, key = self.ca.issue_server("localhost", HOST, "::1").write(directory, "server")
        self.tls = ServerTLS(certificate=certificate, key=key, client_ca=directory / "ca.pem")
        self.directory = directory
        self.alice = self.ca.issue("alice")
        self.client = ssl.create_default_context(cadata=self.ca.pem.decode())
        self.client.load_cert_chain(*self.alice.write(directory, "alice"))
        self.app = Recorder()
        self.address: tuple[str, int] = (HOST, 0)
        self.says_goodbye = True  # the end of a connection is an alert of TLS, not only of TCP

    def connect(self) -> ssl.SSLSocket:
        """Connect as alice."""
        raw = socket.create_connection(self.address, 10)
        try:
            return self.client.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=not self.says_goodbye)
        except OSError:
            raw.close()
            raise

    def answers(self, requests: bytes) -> bytes:
        """Send these bytes and return all that comes until the server ends the connection."""
        with self.connect() as connection:
            connection.sendall(requests)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A new one."""
    return Site(tmp_path)


@pytest.fixture
def on_wsgiref(site: Site) -> Iterator[Site]:
    """The site, served by wsgiref."""
    with (
        wsgiref.make_server(HOST, 0, site.app, site.tls) as server,
        serving(server),
    ):
        site.address = (HOST, server.server_port)
        yield site


@pytest.fixture
def on_cheroot(site: Site) -> Iterator[Site]:
    """The site, served by cheroot with two threads."""
    server = cheroot.Server((HOST, 0), site.app, site.tls, numthreads=2)
    server.prepare()
    site.address = server.bind_addr
    site.says_goodbye = False
    with served(server.serve, server.stop):
        yield site


@pytest.fixture
def request_site(request: pytest.FixtureRequest) -> Callable[[str], Site]:
    """Return a site by the name of its fixture."""

    def named(name: str) -> Site:
        found: Site = request.getfixturevalue(name)
        return found

    return named


@contextmanager
def served(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10)


def serving(server: WSGIServer) -> AbstractContextManager[None]:
    """Serve in a thread, and be quick to stop."""
    return served(partial(server.serve_forever, 0.02), server.shutdown)


def request(path: str = "/", *headers: str, method: str = "GET", body: bytes = b"", close: bool = False) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


LAST = request("/last", close=True)
FORGED = ("Ssl_Client_Cert: forged", "X_Forwarded_For: 192.0.2.1", "X-Request: one")


@pytest.mark.parametrize("server", ["on_wsgiref", "on_cheroot"])
def test_what_the_environ_says(server: str, request_site: Callable[[str], Site]) -> None:
    site = request_site(server)
    assert site.answers(request("/", *FORGED, close=True)).count(b"200 OK") == 1
    (environ,) = site.app.seen
    assert environ["wsgi.url_scheme"] == "https"
    assert isinstance(environ[SOCKET_KEY], ssl.SSLSocket)
    assert (environ["chain"][0], environ["peer"]) == (site.alice.der, HOST)
    assert environ["HTTP_X_REQUEST"] == "one"
    assert not {"HTTP_SSL_CLIENT_CERT", "HTTP_X_FORWARDED_FOR"} & set(environ)


def test_requests_one_after_the_other(on_wsgiref: Site) -> None:
    """What an application leaves of a body is no part of the next request."""
    smuggled = request("/smuggled")
    first = request("/unread", f"Content-Length: {len(smuggled)}", method="POST", body=smuggled)
    second = request("/read", "Content-Length: 5", method="POST", body=b"hello")
    answers = on_wsgiref.answers(first + second + LAST)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert [environ["PATH_INFO"] for environ in on_wsgiref.app.seen] == ["/unread", "/read", "/last"]
    assert on_wsgiref.app.seen[1]["body"] == b"hello"


def test_a_body_that_ends_early(on_wsgiref: Site) -> None:
    with on_wsgiref.connect() as connection:
        connection.sendall(request("/read", "Content-Length: 5", method="POST", body=b"hell"))
        with suppress(ssl.SSLError):  # that the answer comes before the server's own end
            connection.unwrap()
    deadline = time.monotonic() + 10
    while not (on_wsgiref.app.seen and "body" in on_wsgiref.app.seen[0]):
        assert time.monotonic() < deadline
    assert on_wsgiref.app.seen[0]["body"] == b"hell"


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (request("/", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n"), 411),
        (request("/", "Content-Length: 0", "Content-Length: 0"), 400),
        (request("/", "Content-Length: 0", "Content-Length: 50"), 400),
        (request("/", "Content-Length: -1"), 400),
        (request("/", "Content-Length: ٣"), 400),
        (request("/", "Content-Length: 0x10"), 400),
        (request("/", "No header", "Content-Length: 50"), 400),
        (request("/", "Content-Length : 50"), 400),
        (b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET\r\n\r\n", 400),
    ],
)
def test_requests_without_a_certain_end(on_wsgiref: Site, first: bytes, status: int) -> None:
    """They are refused, and what follows them on the connection is not looked at."""
    answers = on_wsgiref.answers(first + LAST)
    assert f" {status} ".encode() in answers.partition(b"\r\n")[0]
    assert answers.count(b"HTTP/1.1 ") <= 1
    assert on_wsgiref.app.seen == []


@pytest.mark.parametrize(
    "first",
    [
        request("/", "Connection: close"),
        request("/").replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("/", method="HEAD"),
        request("/without"),
        request("/short"),
        request("/fails"),
    ],
)
def test_connections_that_are_not_kept(on_wsgiref: Site, first: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the client wants no more, or the end of the response is not certain, the connection ends with it."""
    answers = on_wsgiref.answers(first + LAST)
    assert answers.count(b"HTTP/1.1 200 OK") == 1
    assert [environ["PATH_INFO"] for environ in on_wsgiref.app.seen] == [first.split()[1].decode()]
    assert ("half a body" in capsys.readouterr().err) == (b"/fails" in first)


def test_the_environment_of_the_process(on_wsgiref: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not in the environ, where it could name a certificate."""
    assert "PATH" in os.environ
    on_wsgiref.answers(LAST)
    assert "PATH" not in on_wsgiref.app.seen[0]


@pytest.mark.parametrize("server", ["on_wsgiref", "on_cheroot"])
def test_clients_that_say_nothing(server: str, request_site: Callable[[str], Site]) -> None:
    """More of them than there are threads hold nobody up."""
    site = request_site(server)
    with ExitStack() as silent:
        for _number in range(4):
            silent.enter_context(socket.create_connection(site.address, 10))
        assert site.answers(LAST).count(b"200 OK") == 1


@pytest.mark.parametrize("server", ["on_wsgiref", "on_cheroot"])
def test_handshakes_that_fail(
    server: str,
    request_site: Callable[[str], Site],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The reason is in the log; the application is not asked, and the server goes on."""
    site = request_site(server)
    stranger = ssl.create_default_context(cadata=site.ca.pem.decode())
    stranger.load_cert_chain(*CertificateAuthority("Elsewhere").issue("alice").write(site.directory, "stranger"))
    good, site.client = site.client, stranger
    with pytest.raises(OSError, match=r"alert|EOF|reset|Broken pipe|violation"):
        site.answers(LAST)
    with socket.create_connection(site.address, 10) as plain:
        plain.sendall(LAST)
        with suppress(ConnectionError):
            assert plain.recv(1) == b""
    assert site.app.seen == []
    site.client = good
    assert site.answers(LAST).count(b"200 OK") == 1
    assert "untrusted" in caplog.text
    assert "Traceback" not in capsys.readouterr().err


def test_cheroot_s_variables(on_cheroot: Site) -> None:
    """cheroot's own variables name the certificate that is on the socket."""
    on_cheroot.answers(LAST)
    (environ,) = on_cheroot.app.seen
    assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert ssl.PEM_cert_to_DER_cert(environ["SSL_CLIENT_CERT"]) == on_cheroot.alice.der
    assert environ["SSL_CLIENT_S_DN_CN"] == "alice"


def test_cheroot_s_variables_after_the_files_changed(on_cheroot: Site) -> None:
    """On a connection that is older than the files, cheroot's variables do not vouch for a client that is out."""
    with on_cheroot.connect() as connection:
        for client_ca, verdict in ((on_cheroot.ca.pem, "SUCCESS"), (CertificateAuthority().pem, "FAILED:untrusted")):
            Path(on_cheroot.tls.client_ca).write_bytes(client_ca)
            time.sleep(0.6)
            connection.sendall(request("/"))
            answer = b""
            while not answer.endswith(b"ok"):
                received = connection.recv(65536)
                assert received
                answer += received
            assert on_cheroot.app.seen[-1]["SSL_CLIENT_VERIFY"] == verdict


def test_ipv6(site: Site) -> None:
    with (
        wsgiref.make_server("::1", 0, site.app, site.tls) as server,
        serving(server),
    ):
        site.address = ("::1", server.server_port)
        assert site.answers(LAST).count(b"200 OK") == 1


class ClientIsGone:
    """The context of a server whose client has reset the connection meanwhile."""

    def wrap_socket(self, *args: object, **kwargs: object) -> ssl.SSLSocket:
        raise ConnectionResetError("gone")


def test_cheroot_and_a_client_that_is_gone(site: Site) -> None:
    """cheroot's accepting thread takes this error for the loss of one client."""
    adapter = cheroot.Adapter(site.tls)
    adapter.context = ClientIsGone()
    with socket.socket() as accepted, pytest.raises(errors.FatalSSLAlert, match="gone"):
        adapter.wrap(accepted)


@pytest.mark.parametrize(("error", "is_told"), [(ValueError("a bug"), True), (ConnectionResetError("gone"), False)])
def test_errors_of_a_handler(site: Site, error: Exception, is_told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of a handler is shown; a client that went away is not one."""
    site.says_goodbye = False

    class Failing(wsgiref.RequestHandler):
        def handle(self) -> None:
            raise error

    with wsgiref.with_tls(wsgiref.ThreadingWSGIServer, site.tls)((HOST, 0), Failing) as server, serving(server):
        site.address = (HOST, server.server_port)
        assert site.answers(b"") == b""
    assert ("ValueError: a bug" in capsys.readouterr().err) == is_told


def test_werkzeug_gives_up_on_silence() -> None:
    """Without a limit each client that says nothing would keep its thread."""
    assert werkzeug.RequestHandler.timeout == 10


# The command line.


@pytest.fixture
def arguments(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that work, with an application in the current folder."""
    (site.directory / "wsgi_site.py").write_text(
        "def application(environ, start_response): ...\nclass nested:\n    app = application\nnumber = 3\n"
    )
    (site.directory / "wsgi_broken.py").write_text("import wsgi_missing")
    (site.directory / "wsgi_misconfigured.py").write_text(
        "from mtls_auth import ConfigurationError\nraise ConfigurationError('one', 'two')"
    )
    monkeypatch.syspath_prepend(site.directory)
    for name in ("wsgi_site", "wsgi_broken", "wsgi_misconfigured"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(logging.getLogger("mtls_auth"), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "handlers", list(logging.getLogger().handlers))
    tls = site.tls
    return [
        "wsgi_site",
        *("--certificate", str(tls.certificate), "--key", str(tls.key), "--client-ca", str(tls.client_ca)),
    ]


class Listening:
    """A server for `main` that keeps what it is asked for."""

    def __init__(self, error: BaseException | None = None, interrupted: bool = True) -> None:
        self.error, self.interrupted = error, interrupted
        self.asked: Served | None = None

    def __call__(self, served: Served) -> Callable[[], None]:
        self.asked = served
        if self.error is not None:
            raise self.error
        return self._serve

    def _serve(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt


def run(listening: Listening, arguments: list[str], **options: Any) -> int:
    """Run the command line of a server called "wsgiref"."""
    return main(listening, server="wsgiref", arguments=arguments, **options)


def test_defaults(arguments: list[str], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    listening = Listening()
    assert run(listening, arguments) == 0
    assert listening.asked is not None
    assert listening.asked.application is load_application("wsgi_site:application")
    assert (listening.asked.host, listening.asked.port, listening.asked.threads) == (HOST, 8443, None)
    assert [*map(Path, listening.asked.tls.files)] == [*map(Path, site.tls.files)]
    assert (listening.asked.tls.required, listening.asked.tls.crl) == (False, None)
    assert capsys.readouterr() == (
        "Serving wsgi_site on https://127.0.0.1:8443, client certificates are asked for. Ctrl-C stops it.\n",
        "",
    )


def test_every_option(arguments: list[str], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    listening = Listening(interrupted=False)
    more = ["--bind", "[::1]:443", "--required", "--threads", "3"]
    assert run(listening, ["wsgi_site:nested.app", *arguments[1:], *more], threads=10) == 0
    assert listening.asked is not None
    assert (listening.asked.host, listening.asked.port, listening.asked.threads) == ("::1", 443, 3)
    assert (listening.asked.tls.required, listening.asked.tls.crl) == (True, None)
    assert "on https://[::1]:443, client certificates are required." in capsys.readouterr().out


def test_a_revocation_list(arguments: list[str], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Listening(), [*arguments, "--crl", str(site.tls.client_ca)]) == command_line.WRONG_ARGUMENT
    assert "CRL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--bind", "8443"], "8443: give an address and a port"),
        (["--bind", "127.0.0.1:0"], "127.0.0.1:0: give an address and a port"),
        (["--bind", "127.0.0.1:65536"], "give an address and a port"),
        (["--bind", "::1:8443"], "write an IPv6 address in brackets"),
        (["--threads", "0"], "0 is not a number from 1"),
        (["--threads", "many"], "many is not a number from 1"),
    ],
)
def test_arguments_that_cannot_be(
    arguments: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(Listening(), [*arguments, *more], threads=10)
    assert stopped.value.code == command_line.WRONG_ARGUMENT
    assert message in capsys.readouterr().err


def test_a_server_without_a_limit_of_threads(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(Listening(), [*arguments, "--threads", "3"])
    assert "unrecognized arguments: --threads 3" in capsys.readouterr().err


def test_every_problem_on_a_line(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listening = Listening()
    wrong = [*arguments, "--key", str(tmp_path / "no.key"), "--client-ca", str(tmp_path / "no.pem")]
    assert run(listening, wrong) == command_line.WRONG_ARGUMENT
    lines = capsys.readouterr().err.splitlines()
    assert [name for line in lines for name in ("no.key", "no.pem") if name in line] == ["no.key", "no.pem"]
    assert listening.asked is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("wsgi_nowhere", "there is no module wsgi_nowhere, of wsgi_nowhere: run the command in the folder"),
        ("wsgi_site.sub:app", "there is no module wsgi_site.sub, of wsgi_site.sub:app"),
        ("wsgi_site:nothing", "the module wsgi_site has no nothing, of wsgi_site:nothing"),
        ("wsgi_site:nested.nothing", "the module wsgi_site has no nested.nothing"),
        ("wsgi_site:number", "wsgi_site:number is not a WSGI application: it cannot be called"),
        ("wsgi_misconfigured", "one\ntwo\n"),
    ],
)
def test_applications_that_are_none(
    arguments: list[str], target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Listening(), [target, *arguments[1:]]) == command_line.WRONG_ARGUMENT
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("arguments")
def test_an_application_that_cannot_be_imported() -> None:
    """What its own module lacks is not taken for the module."""
    with pytest.raises(ModuleNotFoundError, match="wsgi_missing"):
        load_application("wsgi_broken")


@pytest.mark.usefixtures("arguments")
def test_the_name_may_be_left_out() -> None:
    assert load_application("wsgi_site") is load_application("wsgi_site:") is load_application("wsgi_site:nested.app")
    with pytest.raises(ConfigurationError, match="has no missing"):
        load_application("wsgi_site:missing")


@pytest.mark.parametrize("error", [OSError(98, "Address already in use"), OSError("No socket could be created")])
def test_a_port_that_cannot_be_had(arguments: list[str], error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Listening(error), arguments) == command_line.CANNOT_SERVE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"cannot serve on https://127.0.0.1:8443: {error.strerror or error}\n"
