"""hypercorn with the client certificate: `hypercorn -c python:mtls_auth.servers.hypercorn …`, whichever its worker.

    hypercorn -c python:mtls_auth.servers.hypercorn \\
        --certfile C --keyfile K --ca-certs CA --verify-mode CERT_OPTIONAL mysite.asgi:application

Or a configuration file, `hypercorn -c file:hypercorn.conf.py mysite.asgi:application`, whose certificates are loaded
again when they change; hypercorn serves TLS only where it has a `certfile` and a `keyfile`:

    from mtls_auth import ServerTLS
    from mtls_auth.servers.hypercorn import ContextFactory

    tls = ServerTLS(certificate="server.pem", key="server.key", client_ca="client-ca.pem")
    certfile, keyfile, create_ssl_context = tls.certificate, tls.key, ContextFactory(tls)

With a configuration in TOML (where CERT_OPTIONAL is `verify_mode = 1`), import this module in that of the application.
Before `hypercorn.asyncio.serve` and `hypercorn.trio.serve`, import it; for `hypercorn.run.run`, which starts processes,
make the configuration by `Config.from_object("mtls_auth.servers.hypercorn")`.

hypercorn has no option for the class of its connections, so importing replaces the one that its workers look up. Raises
`ConfigurationError` at once for a hypercorn that is built otherwise; and when a worker starts, for what would serve
without the certificate: HTTP/3, a WSGI application, TLS that never asks for one. A listener of `--insecure-bind` tells
the peer only.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import CodeType
from typing import Any

from hypercorn.app_wrappers import WSGIWrapper
from hypercorn.config import Config

from mtls_auth.errors import ConfigurationError
from mtls_auth.handshakes import Logged
from mtls_auth.peers import Peer
from mtls_auth.server_context import ServerTLS
from mtls_auth.servers.tls_extension import ConnectionApp, ServedApp, Transport


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """`create_ssl_context` of a hypercorn configuration file: TLS by `ServerTLS`, in every worker.

    hypercorn's own options for TLS then do nothing, except that `certfile` and `keyfile` switch it on.
    """

    tls: ServerTLS
    alpn_protocols: Sequence[str] = ("h2", "http/1.1")

    def __call__(self) -> ssl.SSLContext:
        return self.tls.context(self.alpn_protocols)


def __dir__() -> list[str]:
    # hypercorn copies what it sees here into its configuration, and pickles that for the processes of its workers:
    # a class goes by its name, and so each of them imports this module.
    return [ContextFactory.__name__]


class _Connection:
    """What goes before hypercorn's class of a connection: its application learns what it is connected to."""

    _app: ServedApp
    _connected: Callable[[], ConnectionApp]

    @property
    def app(self) -> ConnectionApp:
        # hypercorn asks once a connection, when the handshake is done.
        return self._connected()

    @app.setter
    def app(self, app: ServedApp) -> None:
        self._app = app


class _AsyncioConnection(_Connection):
    writer: Transport

    def _connected(self) -> ConnectionApp:
        return ConnectionApp.on(self._app, self.writer)


class _TrioConnection(_Connection):
    stream: Any

    async def run(self) -> None:
        socket, tls = self._layers()
        if isinstance(tls, Logged):  # it does not know whose handshake may fail, nor has it a way to say so
            tls.peer, tls.send_alert = Peer.of(socket), self._send_alert
        await super().run()  # type: ignore[misc]  # hypercorn's

    def _connected(self) -> ConnectionApp:
        return ConnectionApp.over(self._app, *self._layers())

    def _layers(self) -> tuple[Any, Any]:
        if not hasattr(self.stream, "transport_stream"):
            return self.stream.socket, None
        # The stream would answer for the TLS within it, but not for the verified chain.
        return self.stream.transport_stream.socket, self.stream._ssl_object

    def _send_alert(self) -> None:
        # trio closes the connection and keeps it to itself. RFC 8446 §6.2.
        with suppress(OSError):
            os.write(self.stream.transport_stream.socket.fileno(), self.stream._outgoing.read())


def _checked(worker_serve: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(worker_serve)
    async def checked(app: Any, config: Config, **options: Any) -> None:
        _check(app, config)
        await worker_serve(app, config, **options)

    return checked


def _check(app: Any, config: Config) -> None:
    problems = []
    ours = isinstance(config.create_ssl_context, ContextFactory)
    if config.quic_bind:
        problems.append("hypercorn's HTTP/3 never asks for a client certificate: leave out --quic-bind")
    if isinstance(app, WSGIWrapper):
        problems.append(
            "hypercorn tells a WSGI application neither the client certificate nor the peer: name an ASGI "
            "application, or serve this one with gunicorn"
        )
    if (ours or config.ca_certs or config.verify_mode) and not config.ssl_enabled:
        problems.append(
            "hypercorn serves plain HTTP without certfile and keyfile: set them too; beside create_ssl_context, to the "
            "files of its ServerTLS"
        )
    if config.ca_certs and not config.verify_mode and not ours:
        problems.append(
            "--ca-certs alone asks nobody for a certificate: add --verify-mode CERT_OPTIONAL or CERT_REQUIRED"
        )
    if problems:
        raise ConfigurationError(*problems)


def _install(package: str, connection: type[_Connection], workers: Sequence[str]) -> None:
    try:
        api, run = import_module(f"hypercorn.{package}"), import_module(f"hypercorn.{package}.run")
        serve = run.worker_serve
        _replace("TCPServer", type("TCPServer", (connection, run.TCPServer), {}), [serve])
        _replace("worker_serve", _checked(serve), [api.serve, *(getattr(run, worker) for worker in workers)])
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"hypercorn {version('hypercorn')} is not built as mtls_auth.servers.hypercorn needs it ({error}): "
            "install hypercorn>=0.17,<0.19"
        ) from error


def _replace(name: str, replacement: object, users: Sequence[Callable[..., object]]) -> None:
    """Replace a global variable of functions; raise AttributeError for one that does not use it."""
    for user in users:
        if not _uses(user.__code__, name):
            raise AttributeError(f"{user.__name__} does not use {name}")
    for user in users:
        user.__globals__[name] = replacement


def _uses(code: CodeType, name: str) -> bool:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return name in code.co_names or any(_uses(function, name) for function in inner)


_install("asyncio", _AsyncioConnection, ["asyncio_worker", "uvloop_worker"])
if find_spec("trio") is not None:
    _install("trio", _TrioConnection, ["trio_worker"])
