"""The Python servers that end TLS themselves, one row each: how it is started, and what it speaks."""

import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, TypeAlias

from tests.integration.client import Client
from tests.integration.http2_client import HTTP2Client, HTTP2WebSocketClient
from tests.integration.lab import ROOT, SITE, Lab
from tests.integration.programs import Program, Terminating, server_command
from tests.integration.servers import Process, free_port
from tests.integration.websocket_client import WebSocketClient

Mode = Literal["optional", "required"]
Protocol = Literal["HTTP/1.1", "HTTP/2", "WebSocket", "WebSocket over HTTP/2"]
AnyClient: TypeAlias = Client | HTTP2Client

MODES: tuple[Mode, ...] = ("optional", "required")
CLIENTS: Mapping[Protocol, Callable[..., AnyClient]] = {
    "HTTP/1.1": Client,
    "HTTP/2": HTTP2Client,
    "WebSocket": WebSocketClient,
    "WebSocket over HTTP/2": HTTP2WebSocketClient,
}

HTTP: tuple[Protocol, ...] = ("HTTP/1.1", "HTTP/2")
HTTP1_AND_WEBSOCKET: tuple[Protocol, ...] = ("HTTP/1.1", "WebSocket")
HTTP_AND_WEBSOCKET: tuple[Protocol, ...] = (*HTTP, "WebSocket")
ALL: tuple[Protocol, ...] = (*HTTP_AND_WEBSOCKET, "WebSocket over HTTP/2")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSServer:
    """One server: it `resumes` TLS sessions or not, and `keeps` a connection after the answer or not."""

    program: Program
    app: str
    protocols: tuple[Protocol, ...] = ("HTTP/1.1",)
    options: str = ""
    resumes: bool = True
    keeps: bool = True


def _uvicorn(program: Program, websocket: str, *others: Protocol) -> TLSServer:
    return TLSServer(
        program=program, app="starlette_app", protocols=(*others, "WebSocket"), options=f"--ws {websocket}"
    )


_H2 = "--http-protocols h2,h1"
_GTHREAD_H2 = f"{_H2} --threads 16"  # a connection of HTTP/2 keeps one to itself
# What takes gunicorn's TLS from `ServerTLS`.
_SERVER_TLS = f"--config python:{SITE}.server_tls"

SERVERS: Mapping[str, TLSServer] = {
    # These two make a TLS context for each connection, where no session can be resumed.
    "gunicorn sync": TLSServer(program="gunicorn-sync", app="wsgi", resumes=False, keeps=False),
    "gunicorn gthread": TLSServer(
        program="gunicorn-gthread", app="wsgi", protocols=HTTP, options=_GTHREAD_H2, resumes=False
    ),
    "gunicorn gevent": TLSServer(program="gunicorn-gevent", app="wsgi", protocols=HTTP, options=_H2),
    "gunicorn gevent_pywsgi": TLSServer(program="gunicorn-gevent_pywsgi", app="wsgi"),
    "gunicorn tornado": TLSServer(program="gunicorn-tornado", app="wsgi"),
    "gunicorn asgi": TLSServer(program="gunicorn-asgi", app="starlette_app", protocols=HTTP_AND_WEBSOCKET, options=_H2),
    "gunicorn uvicorn": TLSServer(program="gunicorn-uvicorn", app="starlette_app", protocols=HTTP1_AND_WEBSOCKET),
    "gunicorn uvicorn, HTTP/2": TLSServer(
        program="gunicorn-uvicorn", app="starlette_app", protocols=HTTP_AND_WEBSOCKET, options=_H2
    ),
    "gunicorn sync, ServerTLS": TLSServer(program="gunicorn-sync", app="wsgi", options=_SERVER_TLS, keeps=False),
    "gunicorn gthread, ServerTLS": TLSServer(
        program="gunicorn-gthread", app="wsgi", protocols=HTTP, options=f"{_GTHREAD_H2} {_SERVER_TLS}"
    ),
    "gunicorn gevent, ServerTLS": TLSServer(
        program="gunicorn-gevent", app="wsgi", protocols=HTTP, options=f"{_H2} {_SERVER_TLS}"
    ),
    "gunicorn asgi, ServerTLS": TLSServer(
        program="gunicorn-asgi", app="asgi", protocols=HTTP, options=f"{_H2} {_SERVER_TLS}"
    ),
    "gunicorn uvicorn, ServerTLS": TLSServer(
        program="gunicorn-uvicorn", app="starlette_app", protocols=HTTP1_AND_WEBSOCKET, options=_SERVER_TLS
    ),
    # Every HTTP protocol hands its upgrades to every WebSocket protocol. uvicorn announces WebSockets over HTTP/2, and
    # takes one for a request whose method is CONNECT.
    "uvicorn h11, websockets": _uvicorn("uvicorn-h11", "websockets", "HTTP/1.1"),
    "uvicorn h11, websockets-sansio": _uvicorn("uvicorn-h11", "websockets-sansio"),
    "uvicorn h11, wsproto": _uvicorn("uvicorn-h11", "wsproto"),
    "uvicorn httptools, websockets": _uvicorn("uvicorn-httptools", "websockets"),
    "uvicorn httptools, websockets-sansio": _uvicorn("uvicorn-httptools", "websockets-sansio", "HTTP/1.1"),
    "uvicorn httptools, wsproto": _uvicorn("uvicorn-httptools", "wsproto"),
    "uvicorn httptools, Django": TLSServer(program="uvicorn-httptools", app="asgi"),
    "uvicorn zttp, websockets": _uvicorn("uvicorn-zttp", "websockets"),
    "uvicorn zttp, websockets-sansio": _uvicorn("uvicorn-zttp", "websockets-sansio"),
    "uvicorn zttp, wsproto": _uvicorn("uvicorn-zttp", "wsproto", "HTTP/1.1"),
    "uvicorn HTTP/2, websockets": _uvicorn("uvicorn-http2", "websockets"),
    "uvicorn HTTP/2, websockets-sansio": _uvicorn("uvicorn-http2", "websockets-sansio", *HTTP),
    "uvicorn HTTP/2, wsproto": _uvicorn("uvicorn-http2", "wsproto"),
    "uvicorn HTTP/2, ServerTLS": TLSServer(program="uvicorn-run", app="starlette_app", protocols=HTTP_AND_WEBSOCKET),
    "hypercorn asyncio": TLSServer(program="hypercorn-asyncio", app="starlette_app", protocols=ALL),
    "hypercorn uvloop": TLSServer(program="hypercorn-uvloop", app="starlette_app", protocols=ALL),
    "hypercorn uvloop, Django": TLSServer(program="hypercorn-uvloop", app="asgi", protocols=HTTP),
    "hypercorn trio": TLSServer(program="hypercorn-trio", app="trio_app", protocols=ALL),
    "hypercorn asyncio, ServerTLS": TLSServer(
        program="hypercorn-asyncio",
        app="starlette_app",
        protocols=ALL,
        options="-c file:tests/integration/site/hypercorn_tls.py",
    ),
    # Twisted offers no session to resume.
    "daphne": TLSServer(program="daphne", app="starlette_app", protocols=HTTP_AND_WEBSOCKET, resumes=False),
    "werkzeug": TLSServer(program="werkzeug", app="wsgi", keeps=False),
    "cheroot": TLSServer(program="cheroot", app="wsgi"),
    "wsgiref": TLSServer(program="wsgiref", app="wsgi", keeps=False),
    # It keeps a connection after an answer with Content-Length only.
    "runserver": TLSServer(program="runserver", app="wsgi", options=f"--settings {SITE}.content_length_settings"),
}


class Running:
    """Every row in both modes, several started at a time: whoever asks for one waits for that one."""

    def __init__(self, lab: Lab, pool: ThreadPoolExecutor) -> None:
        """Begin with all of them."""
        self.lab = lab
        _tables = lab.registrar
        self._processes: list[Process] = []
        self._ports: dict[tuple[str, Mode], Future[int]] = {
            (name, mode): pool.submit(self._start, f"{name} {mode}", SERVERS[name], mode)
            for name, mode in product(SERVERS, MODES)
        }

    def port(self, name: str, mode: Mode = "optional") -> int:
        """Return where a row listens, once it does; raise ServerError if it never will."""
        return self._ports[name, mode].result()

    def wait_for_all(self, mode: Mode = "optional") -> None:
        """Return when every row listens, or never will."""
        wait(self._ports[name, mode] for name in SERVERS)

    def close(self) -> None:
        """Stop them."""
        wait([port for port in self._ports.values() if not port.cancel()])
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.stop()

    def _start(self, name: str, server: TLSServer, mode: Mode) -> int:
        directory = self.lab.directory / name.replace(" ", "-").replace("/", "")
        directory.mkdir()
        port = free_port()
        process = process_of(self.lab, server, directory, port, self.lab.pki.terminating, mode)
        self._processes.append(process)
        process.__enter__()
        return port


def process_of(
    lab: Lab, server: TLSServer, directory: Path, port: int, tls: Terminating | None, mode: Mode = "optional"
) -> Process:
    """Return a server that is to be started, without TLS for None; *directory* is its own."""
    target = f"{SITE}.{server.app}:application"
    command = server_command(server.program, target, port, tls, required=mode == "required")
    environment = {
        "HOME": str(directory),  # of gunicorn's control socket
        "MTLS_SITE_SOURCE": "tls",
        "MTLS_SITE_CERTIFICATES": mode,
    }
    if tls is not None:
        environment |= {
            "MTLS_SITE_CERTIFICATE": str(tls.certificate),
            "MTLS_SITE_KEY": str(tls.key),
            "MTLS_SITE_CLIENT_CA": str(tls.client_cas),
        }
    return Process(
        [*command, *shlex.split(server.options)],
        ready=port,
        log=directory / "log",
        cwd=ROOT,
        env={**lab.environment, **environment},
        timeout=60,
    )
