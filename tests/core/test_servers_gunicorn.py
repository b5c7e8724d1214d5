"""gunicorn's workers with the client certificate, driven without a master process."""

import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn_worker
from gunicorn.arbiter import Arbiter
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers import gasgi, gtornado
from gunicorn.workers.base import Worker
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from mtls_auth import Reason
from mtls_auth.server_tls import PEER_EXTENSION, SOCKET_KEY, EnvironFacts, ScopeFacts
from mtls_auth.servers import gunicorn as package
from mtls_auth.servers.gunicorn import tls_first
from mtls_auth.servers.gunicorn.asgi_worker import ASGIWorker, _Protocol
from mtls_auth.servers.gunicorn.tls_first import TLSFirst
from mtls_auth.servers.gunicorn.tornado_worker import TornadoWorker
from mtls_auth.servers.gunicorn.uvicorn_worker import UvicornWorker
from tests.core.conftest import Clock, FakeSocket, FakeTransport, drive
from tests.core.test_servers_tls_extension import LEAF, FakeTLS, pem
from tests.core.tls_lab import Memory, TLSLab

WORKERS: dict[str, type[Any]] = {
    "ASGIWorker": ASGIWorker,
    "TornadoWorker": TornadoWorker,
    "UvicornWorker": UvicornWorker,
}
of_gunicorn_itself = pytest.mark.filterwarnings("ignore:clear_current is deprecated:DeprecationWarning")
on_every_worker = pytest.mark.parametrize("kind", WORKERS.values(), ids=WORKERS)

Configure = Callable[..., Config]


@pytest.fixture
def configured(lab: TLSLab) -> Configure:
    """Return a configuration with TLS, as gunicorn reads it from a file."""

    def build(**settings: Any) -> Config:
        config = Config()
        for name, value in {"certfile": str(lab.certificate), "keyfile": str(lab.key), **settings}.items():
            config.set(name, value)
        return config

    return build


Start = Callable[[type[Any], Config], Any]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what makes a worker whose process goes on without us: `served` says that it did."""
    workers: list[Any] = []

    def init_process(worker: Any) -> None:
        worker.served = True

    monkeypatch.setattr(Worker, "init_process", init_process)
    monkeypatch.setattr(gasgi, "ASGIProtocol", gasgi.ASGIProtocol)

    def make(kind: type[Any], config: Config) -> Any:
        worker = kind(1, 1, [], SimpleNamespace(wsgi=lambda: "the application"), 30, config, Logger(config))
        worker.served = False
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.tmp.close()
        if getattr(worker, "loop", None) is not None:
            worker.loop.close()


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What workers say in gunicorn's error log."""
    found: list[str] = []
    monkeypatch.setattr(Logger, "error", lambda _log, message, *args: found.append(message % args))
    return found


def failing(conf: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Be a hook that fails."""
    raise LookupError("no such file")


@on_every_worker
@of_gunicorn_itself
def test_with_tls(kind: type[Any], configured: Configure, made: Start, errors: list[str]) -> None:
    """A worker whose context can be built serves."""
    worker = made(kind, configured())
    worker.init_process()
    assert (worker.served, errors) == (True, [])


@on_every_worker
@of_gunicorn_itself
def test_without_tls(kind: type[Any], made: Start, errors: list[str]) -> None:
    """A worker that is to serve plain text does."""
    worker = made(kind, Config())
    worker.init_process()
    assert (worker.served, errors) == (True, [])


class Patience:
    """A time that passes where somebody sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """The time that workers wait for files."""
    found = Patience()
    monkeypatch.setattr(tls_first, "time", found)
    return found


@on_every_worker
@pytest.mark.parametrize("broken", ["hook", "ca_certs", "keyfile", "ciphers"])
def test_a_context_that_cannot_be_built(
    kind: type[Any],
    broken: str,
    lab: TLSLab,
    configured: Configure,
    made: Start,
    errors: list[str],
    patience: Patience,
) -> None:
    """A worker without the context that it is to serve with stops gunicorn, which would start it again for ever."""
    settings: dict[str, dict[str, Any]] = {
        "hook": {"ssl_context": failing},
        "ca_certs": {"ca_certs": str(lab.write("empty.pem", b"x"))},
        "keyfile": {"keyfile": str(lab.pki.alice.write(lab.directory, "alice")[1])},
        "ciphers": {"ciphers": "NO-SUCH-CIPHER"},
    }
    worker = made(kind, configured(**settings[broken]))
    with pytest.raises(SystemExit) as stopped:
        worker.init_process()
    assert stopped.value.code == Arbiter.WORKER_BOOT_ERROR
    assert not worker.served
    (error,) = errors
    assert error.startswith("nothing is served: the TLS context cannot be built: ")
    assert broken != "hook" or error.endswith("no such file")
    assert tls_first.PATIENCE <= patience.now <= tls_first.PATIENCE + 2


@of_gunicorn_itself
@on_every_worker
def test_files_that_are_being_replaced(
    kind: type[Any], lab: TLSLab, configured: Configure, made: Start, errors: list[str], patience: Patience
) -> None:
    """A worker that starts while files are replaced waits a few seconds for the rest of them."""
    attempts: list[float] = []

    def hook(conf: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        attempts.append(patience.now)
        if len(attempts) < 3:
            raise OSError("half a file")
        return default()

    worker = made(kind, configured(ssl_context=hook))
    worker.init_process()
    assert worker.served
    assert errors == []
    assert attempts == [0.0, 1.0, 2.0]


@on_every_worker
@pytest.mark.parametrize("setting", ["ssl_context", "ca_certs"])
def test_tls_that_is_not_asked_for(kind: type[Any], setting: str, lab: TLSLab, made: Start, errors: list[str]) -> None:
    """A hook or a CA without the options by which gunicorn speaks TLS at all would be plain text in its place."""
    config = Config()
    config.set(setting, {"ssl_context": lab.tls().gunicorn, "ca_certs": str(lab.client_ca)}[setting])
    worker = made(kind, config)
    with pytest.raises(SystemExit) as stopped:
        worker.init_process()
    assert stopped.value.code == Arbiter.WORKER_BOOT_ERROR
    assert not worker.served
    (error,) = errors
    assert error.startswith("nothing is served: ")
    assert "certfile and keyfile" in error


def test_what_the_hook_gets(lab: TLSLab, configured: Configure, made: Start) -> None:
    """The hook is asked with the configuration, and the default is gunicorn's own context."""
    asked: list[Any] = []

    def hook(conf: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        asked.append((conf, default().verify_mode))
        return lab.tls().context()

    config = configured(ssl_context=hook, ca_certs=str(lab.client_ca), cert_reqs=int(ssl.CERT_REQUIRED))
    made(ASGIWorker, config).init_process()
    assert asked == [(config, ssl.CERT_REQUIRED)]


def test_by_name() -> None:
    """The package offers each worker by its name, and has no others."""
    for name, kind in WORKERS.items():
        assert getattr(package, name) is kind
        assert issubclass(kind, TLSFirst)
    with pytest.raises(AttributeError, match="has no attribute 'SyncWorker'"):
        package.SyncWorker  # noqa: B018


def test_imported_on_demand() -> None:
    """A worker needs its own server installed, and none of the others."""
    program = (
        "import sys; from mtls_auth.servers.gunicorn import ASGIWorker; "
        "print([name for name in ('tornado', 'uvicorn', 'uvicorn_worker') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_gunicorn_finds_them() -> None:
    """`-k mtls_auth.servers.gunicorn.…` is what gunicorn imports."""
    for name, kind in WORKERS.items():
        config = Config()
        config.set("worker_class", f"mtls_auth.servers.gunicorn.{name}")
        assert config.worker_class is kind


def test_the_context_of_the_asgi_worker(lab: TLSLab, configured: Configure, made: Start) -> None:
    """The context is the hook's; without TLS there is none; and a hook that fails later lets nothing be served."""
    worker = made(ASGIWorker, configured(ssl_context=lab.tls().gunicorn))
    context = worker._get_ssl_context()
    assert Memory(context, lab.client(lab.pki.alice)).shake_hands().server.getpeercert(True) == lab.pki.alice.der
    assert made(ASGIWorker, Config())._get_ssl_context() is None
    with pytest.raises(LookupError):
        made(ASGIWorker, configured(ssl_context=failing))._get_ssl_context()


def test_the_protocol_of_the_asgi_worker(configured: Configure, made: Start) -> None:
    """The worker's connections are of our protocol, from its start on."""
    made(ASGIWorker, configured()).init_process()
    assert gasgi.ASGIProtocol is _Protocol


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Keep the scope for the test."""
    SEEN.append(scope)


SEEN: list[Any] = []


def connected(configuration: Config, made: Start, transport: FakeTransport) -> tuple[Any, Any]:
    """Return a worker of gunicorn's own, and the protocol of a connection that was made."""
    worker, protocol = accepted(configuration, made)
    protocol.connection_made(transport)
    return worker, protocol


def accepted(configuration: Config, made: Start) -> tuple[Any, Any]:
    """Return a worker, and the protocol of a connection that is about to be made."""
    worker = made(ASGIWorker, configuration)
    worker.init_process()
    worker.asgi = application
    worker.nr_conns = 0
    return worker, _Protocol(worker)


def test_the_application_of_a_connection(configured: Configure, made: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection's application gets its certificate and its peer."""
    monkeypatch.setattr(ASGIProtocol, "connection_made", lambda *_: None)
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(LEAF)})
    _worker, protocol = connected(configured(), made, transport)
    assert not transport.aborted
    SEEN.clear()
    drive(cast(Any, protocol.app), {"type": "http", "scheme": "https"})
    assert ScopeFacts(SEEN[0]).client_chain() == pem(LEAF)
    assert ScopeFacts(SEEN[0]).peer() == "10.0.0.1"


def test_plain_text_where_tls_is_asked_for(configured: Configure, made: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without TLS is ended where the configuration asks for TLS; nothing is served on it."""
    served: list[Any] = []
    monkeypatch.setattr(ASGIProtocol, "connection_made", lambda protocol, _transport: served.append(protocol))
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1")})
    _worker, protocol = connected(configured(), made, transport)
    assert transport.aborted
    assert served == []
    assert protocol.app is application


def test_the_end_of_a_refused_connection(configured: Configure, made: Start) -> None:
    """The worker counts no connection that was refused, neither when it comes nor when it goes."""
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1")})
    worker, protocol = connected(configured(), made, transport)
    protocol.connection_lost(None)
    assert worker.nr_conns == 0


def test_a_connection_that_cannot_be_described(
    configured: Configure, made: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose TLS cannot be asked is ended: it must not reach the application without its facts."""
    served: list[Any] = []
    monkeypatch.setattr(ASGIProtocol, "connection_made", lambda protocol, _transport: served.append(protocol))
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": object()})
    worker, protocol = accepted(configured(), made)
    with pytest.raises(AttributeError):
        protocol.connection_made(transport)
    assert transport.aborted
    assert served == []
    protocol.connection_lost(None)
    assert worker.nr_conns == 0


def test_plain_text_where_it_is_asked_for(made: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TLS in the configuration a connection has its peer, and no certificate."""
    monkeypatch.setattr(ASGIProtocol, "connection_made", lambda *_: None)
    transport = FakeTransport({"socket": FakeSocket("unix:/run/app.sock")})
    _worker, protocol = connected(Config(), made, transport)
    SEEN.clear()
    drive(cast(Any, protocol.app), {"type": "http", "scheme": "http"})
    assert SEEN[0]["extensions"] == {PEER_EXTENSION: "unix:/run/app.sock"}


@pytest.mark.parametrize(("protocols", "name"), [("h1", "HTTPProtocol"), ("h2,h1", "HTTP2Protocol")])
def test_uvicorn_s_protocols(configured: Configure, made: Start, protocols: str, name: str) -> None:
    """uvicorn speaks what gunicorn's `--http-protocols` says, with our protocols."""
    worker = made(UvicornWorker, configured(http_protocols=protocols))
    assert worker.config.http == f"mtls_auth.servers.uvicorn:{name}"
    assert isinstance(worker, uvicorn_worker.UvicornWorker)


def test_uvicorn_s_context(lab: TLSLab, configured: Configure, made: Start) -> None:
    """uvicorn's context is that of gunicorn's hook, which `uvicorn_worker` does not ask; without TLS there is none."""
    worker = made(UvicornWorker, configured(ssl_context=lab.tls(required=True).gunicorn))
    worker.config.app = application
    worker.config.load()
    assert worker.config.ssl is lab.tls(required=True).gunicorn(worker.cfg, lambda: ssl.create_default_context())
    plain = made(UvicornWorker, Config())
    plain.config.app = application
    plain.config.load()
    assert plain.config.ssl is None


def tornado_request(headers: str, socket: object) -> HTTPServerRequest:
    """Return a request as Tornado builds it."""
    connection = SimpleNamespace(
        stream=SimpleNamespace(socket=socket),
        context=SimpleNamespace(remote_ip="203.0.113.9", protocol="https"),
    )
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(
        connection=cast(Any, connection), start_line=line, headers=HTTPHeaders.parse("Host: localhost\r\n" + headers)
    )


@pytest.fixture
def container(made: Start) -> Iterator[Any]:
    """The WSGI container of a Tornado worker."""
    worker = made(TornadoWorker, Config())
    worker.load_wsgi()
    yield worker.wsgi
    worker.wsgi.executor.shutdown()


def test_tornado_s_environ(container: Any) -> None:
    """The environ of a request has the connection's socket, which tells the certificate."""
    environ = container.environ(tornado_request("", FakeSocket("10.0.0.1", LEAF)))
    assert environ["wsgi.url_scheme"] == "https"
    assert isinstance(environ[SOCKET_KEY], FakeSocket)
    assert EnvironFacts(environ).client_chain() == (LEAF,)
    assert EnvironFacts(environ).peer() == "10.0.0.1"
    assert container.wsgi_application == "the application"
    assert isinstance(container, gtornado.WSGIContainer)


@pytest.mark.parametrize(
    "headers",
    [
        "X-Ssl-Cert: good\r\nX_Ssl_Cert: evil\r\n",
        "X_Ssl_Cert: evil\r\nX-Ssl-Cert: good\r\n",
        "x_ssl_cert: evil\r\nX-SSL-CERT: good\r\nX-Ssl_Cert: evil\r\nX_Ssl-Cert: evil\r\n",
    ],
)
def test_tornado_s_underscores(container: Any, headers: str) -> None:
    """A header whose name has underscores does not get there: in an environ it would be one with hyphens."""
    environ = container.environ(tornado_request(headers, FakeSocket()))
    assert environ["HTTP_X_SSL_CERT"] == "good"
    alone = container.environ(tornado_request("X_Ssl_Cert: evil\r\n", FakeSocket()))
    assert not [key for key in alone if "SSL_CERT" in key]


def test_tornado_s_threads(configured: Configure, made: Start) -> None:
    """The application runs in as many threads as `--threads` says."""
    worker = made(TornadoWorker, configured(threads=3))
    worker.load_wsgi()
    assert worker.wsgi.executor._max_workers == 3
    worker.wsgi.executor.shutdown()


def test_a_revoked_client_of_a_worker(
    lab: TLSLab, configured: Configure, made: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was revoked since the handshake is refused on the connection that is open."""
    worker = made(ASGIWorker, configured(ssl_context=lab.tls(crl=lab.revoke()).gunicorn))
    worker.init_process()
    worker.asgi = application
    connection = Memory(worker._get_ssl_context(), lab.client(lab.pki.alice)).shake_hands()
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": connection.server})
    monkeypatch.setattr(ASGIProtocol, "connection_made", lambda *_: None)
    protocol: Any = _Protocol(worker)
    protocol.connection_made(transport)
    SEEN.clear()
    drive(cast(Any, protocol.app), {"type": "http", "scheme": "https"})
    lab.revoke(lab.pki.alice)
    clock.now += 1
    drive(cast(Any, protocol.app), {"type": "http", "scheme": "https"})
    assert [scope["extensions"]["tls"]["client_cert_error"] for scope in SEEN] == [None, Reason.REVOKED]
