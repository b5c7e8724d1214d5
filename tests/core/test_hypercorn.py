"""hypercorn's workers with the client certificate, on a loop of this process; and what they refuse to serve."""

import asyncio
import http.client
import logging
import pickle
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypercorn.asyncio
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config

from mtls_auth import ConfigurationError, ServerTLS
from mtls_auth.asgi import Receive, Scope, Send
from mtls_auth.server_tls import PEER_EXTENSION
from mtls_auth.servers.hypercorn import ContextFactory
from mtls_auth.testing import CertificateAuthority

ROOT = Path(__file__).parents[2]
LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One of hypercorn's event loops."""

    serve: Any
    run: Callable[[Callable[[], Awaitable[None]]], None]
    sleep: Callable[[float], Awaitable[None]]


LOOPS = [
    pytest.param(
        Loop(serve=hypercorn.asyncio.serve, run=lambda main: asyncio.run(main()), sleep=asyncio.sleep),  # type: ignore[arg-type]  # a coroutine
        id="asyncio",
    ),
    pytest.param(Loop(serve=hypercorn.trio.serve, run=trio.run, sleep=trio.sleep), id="trio"),
]
on_every_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, ca: CertificateAuthority) -> ServerTLS:
    """The parameters of a server that asks for certificates."""
    directory = tmp_path_factory.mktemp("hypercorn")
    certificate, key = ca.issue_server("localhost", LOCALHOST).write(directory, "server")
    (directory / "ca.pem").write_bytes(ca.pem)
    for name, issuer in {"alice": ca, "stranger": CertificateAuthority("Elsewhere")}.items():
        issuer.issue(name).write(directory, name)
    return ServerTLS(certificate=certificate, key=key, client_ca=directory / "ca.pem")


def configured(**options: Any) -> Config:
    """Return a configuration that logs nothing."""
    return Config.from_mapping({"errorlog": None, **options})


def secured(tls: ServerTLS) -> Config:
    """Return the configuration that the module documents."""
    return configured(certfile=tls.certificate, keyfile=tls.key, create_ssl_context=ContextFactory(tls))


def client_context(tls: ServerTLS, client: str | None) -> ssl.SSLContext:
    """Return the context of a client by name, whose handshake tells about a refusal: as TLS 1.2 does."""
    context = ssl.create_default_context(cafile=tls.client_ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if client is not None:
        directory = Path(tls.client_ca).parent
        context.load_cert_chain(directory / f"{client}.pem", directory / f"{client}.key")
    return context


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing in particular."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def wsgi_application(environ: Any, start_response: Any) -> list[bytes]:
    """Answer nothing in particular."""
    raise AssertionError("not served")


def extensions_seen(loop: Loop, config: Config, context: ssl.SSLContext | None) -> tuple[list[Any], list[OSError]]:
    """Serve until one client has asked twice on one connection; return what the application saw, and the client."""
    seen: list[Any] = []
    errors: list[OSError] = []
    listener = socket.create_server((LOCALHOST, 0))
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]

    async def spy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            seen.append(scope["extensions"])
        await application(scope, receive, send)

    def ask() -> None:
        connection: http.client.HTTPConnection = (
            http.client.HTTPConnection(LOCALHOST, port, 20)
            if context is None
            else http.client.HTTPSConnection(LOCALHOST, port, timeout=20, context=context)
        )
        try:
            for _number in range(2):
                connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.1"})
                assert connection.getresponse().read() == b""
        except OSError as error:
            errors.append(error)
        finally:
            connection.close()

    client = threading.Thread(target=ask)

    async def asked() -> None:
        while client.is_alive():
            await loop.sleep(0.01)

    async def main() -> None:
        client.start()
        await loop.serve(spy, config, shutdown_trigger=asked)

    loop.run(main)
    client.join()
    return seen, errors


@on_every_loop
def test_the_certificate_and_the_peer(loop: Loop, tls: ServerTLS) -> None:
    """Each request over TLS has the client's certificate, as every request has the true peer."""
    pem = (Path(tls.client_ca).parent / "alice.pem").read_text()
    seen, errors = extensions_seen(loop, secured(tls), client_context(tls, "alice"))
    assert not errors
    assert [found[PEER_EXTENSION] for found in seen] == [LOCALHOST] * 2
    assert [found["tls"]["client_cert_chain"][0] for found in seen] == [pem] * 2


@on_every_loop
def test_hypercorns_options(loop: Loop, tls: ServerTLS) -> None:
    """The same with the TLS of hypercorn's own options."""
    options = {"certfile": tls.certificate, "keyfile": tls.key, "ca_certs": tls.client_ca}
    config = configured(**options, verify_mode=ssl.CERT_OPTIONAL)
    seen, errors = extensions_seen(loop, config, client_context(tls, "alice"))
    assert not errors
    assert [len(found["tls"]["client_cert_chain"]) > 0 for found in seen] == [True] * 2


@on_every_loop
def test_no_certificate(loop: Loop, tls: ServerTLS) -> None:
    """Without a certificate the chain is empty."""
    seen, errors = extensions_seen(loop, secured(tls), client_context(tls, None))
    assert not errors
    assert [found["tls"]["client_cert_chain"] for found in seen] == [()] * 2


@on_every_loop
def test_plain_text(loop: Loop) -> None:
    """Without TLS there is no extension of it, and the peer."""
    seen, errors = extensions_seen(loop, configured(), None)
    assert not errors
    assert [(found[PEER_EXTENSION], "tls" in found) for found in seen] == [(LOCALHOST, False)] * 2


@on_every_loop
def test_a_failed_handshake(loop: Loop, tls: ServerTLS, caplog: pytest.LogCaptureFixture) -> None:
    """The log has whose certificate was refused and why, and the client is told."""
    with caplog.at_level(logging.INFO, "mtls_auth"):
        seen, errors = extensions_seen(loop, secured(tls), client_context(tls, "stranger"))
    assert not seen
    assert "UNKNOWN_CA" in str(errors)
    assert f"TLS handshake with {LOCALHOST} failed: untrusted" in caplog.text


def serve_for_a_moment(loop: Loop, app: Any, config: Config) -> None:
    """Start to serve, and end that at once."""
    config.bind = f"{LOCALHOST}:0"
    loop.run(partial(loop.serve, app, config, shutdown_trigger=partial(loop.sleep, 0)))


WITH_TLS = {"certfile": "server.pem", "keyfile": "server.key"}
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "HTTP/3": (application, {"quic_bind": "127.0.0.1:8443"}, "leave out --quic-bind"),
    "WSGI": (wsgi_application, {}, "name an ASGI application"),
    "nobody is asked": (
        application,
        {**WITH_TLS, "ca_certs": "ca.pem"},
        "add --verify-mode CERT_OPTIONAL or CERT_REQUIRED",
    ),
    "CERT_NONE": (
        application,
        {**WITH_TLS, "ca_certs": "ca.pem", "verify_mode": ssl.CERT_NONE},
        "add --verify-mode CERT_OPTIONAL or CERT_REQUIRED",
    ),
    "no certificate": (application, {"verify_mode": ssl.CERT_REQUIRED}, "without certfile and keyfile: set them too"),
}


@on_every_loop
@pytest.mark.parametrize("name", REFUSED)
def test_refused(loop: Loop, name: str) -> None:
    """What would be served without the client certificate is not served; the error says what to do."""
    app, options, advice = REFUSED[name]
    with pytest.raises(ConfigurationError) as refused:
        serve_for_a_moment(loop, app, configured(**options))
    (problem,) = refused.value.problems
    assert advice in problem


@on_every_loop
def test_a_factory_that_would_not_be_asked(loop: Loop, tls: ServerTLS) -> None:
    """hypercorn ignores `create_ssl_context` unless it has both files: that is refused, with everything else."""
    config = configured(create_ssl_context=ContextFactory(tls), certfile=tls.certificate, quic_bind="127.0.0.1:8443")
    with pytest.raises(ConfigurationError) as refused:
        serve_for_a_moment(loop, application, config)
    http3, plain = refused.value.problems
    assert "leave out --quic-bind" in http3
    assert "plain HTTP without certfile and keyfile" in plain


def test_the_factory_stands_for_hypercorns_options(tls: ServerTLS) -> None:
    """What hypercorn's own options for TLS say is no problem where they are not used."""
    config = secured(tls)
    config.ca_certs = str(tls.client_ca)
    _seen, errors = extensions_seen(LOOPS[0].values[0], config, client_context(tls, None))  # type: ignore[arg-type]
    assert not errors


def test_protocols_of_the_factory(tls: ServerTLS) -> None:
    """HTTP/2 is offered, unless the configuration says otherwise."""
    assert [negotiated(ContextFactory(tls)), negotiated(ContextFactory(tls, ["http/1.1"]))] == ["h2", "http/1.1"]


def negotiated(factory: ContextFactory) -> str | None:
    """Return what a client gets that would speak both."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=factory.tls.client_ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = factory().wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server) * 2:
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.selected_alpn_protocol()


def run_python(program: str, *, stdin: bytes = b"") -> str:
    """Return what a program prints in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, input=stdin, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


def test_the_configuration_of_the_module() -> None:
    """`-c python:mtls_auth.servers.hypercorn` sets one attribute, and none that hypercorn knows."""
    config = Config.from_object("mtls_auth.servers.hypercorn")
    assert vars(config) == {"ContextFactory": ContextFactory}
    assert not hasattr(Config, "ContextFactory")


@pytest.mark.parametrize("spelling", ["module", "factory"])
def test_the_configuration_takes_the_module_along(tls: ServerTLS, spelling: str) -> None:
    """Whoever unpickles the configuration, as hypercorn's workers do, has the certificate from then on."""
    config = Config.from_object("mtls_auth.servers.hypercorn") if spelling == "module" else secured(tls)
    program = (
        "import hypercorn.asyncio.run, hypercorn.trio.run, pickle, sys\n"
        "modules = hypercorn.asyncio.run, hypercorn.trio.run\n"
        "def replaced(): return [hasattr(module.TCPServer, '_connected') for module in modules]\n"
        "before = replaced()\n"
        "config = pickle.load(sys.stdin.buffer)\n"
        "print(before, replaced())\n"
    )
    assert run_python(program, stdin=pickle.dumps(config)) == "[False, False] [True, True]"


def test_the_factory_is_pickled_whole(tls: ServerTLS) -> None:
    """The worker's factory is the one of the configuration."""
    factory = ContextFactory(tls, ("http/1.1",))
    assert pickle.loads(pickle.dumps(factory)) == factory  # noqa: S301  # our own


WORKERS = {"asyncio": ("asyncio_worker", "uvloop_worker"), "trio": ("trio_worker",)}
BUILT_OTHERWISE = [
    (package, change)
    for package, workers in WORKERS.items()
    for change in [
        "del run.TCPServer",
        "async def worker_serve(app, config): ...\nrun.worker_serve = worker_serve",  # which uses no TCPServer
        "del run.worker_serve",
        "import functools; run.worker_serve = functools.partial(run.worker_serve)",
        "async def serve(app, config): ...\napi.serve = serve",
        "import sys; sys.modules[run.__name__] = None",
        *(f"del run.{worker}" for worker in workers),
        *(f"def worker(config): ...\nrun.{worker} = worker" for worker in workers),
    ]
]


@pytest.mark.parametrize(("package", "change"), BUILT_OTHERWISE)
def test_a_hypercorn_built_otherwise(package: str, change: str) -> None:
    """What is to be replaced must be there, and be what hypercorn uses; else importing says which versions do."""
    program = (
        f"import hypercorn.{package} as api, hypercorn.{package}.run as run\n"
        f"{change}\n"
        "from mtls_auth import ConfigurationError\n"
        "try: import mtls_auth.servers.hypercorn\n"
        "except ConfigurationError as error: print(error)\n"
    )
    assert run_python(program).endswith("install hypercorn>=0.17,<0.19")


def test_without_trio() -> None:
    """Where trio is not installed, the other workers are served."""
    program = (
        "import sys; sys.modules['trio'] = None\n"
        "import mtls_auth.servers.hypercorn, hypercorn.asyncio.run as run\n"
        "print('hypercorn.trio' in sys.modules, hasattr(run.TCPServer, '_connected'))\n"
    )
    assert run_python(program) == "False True"
