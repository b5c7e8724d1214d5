"""Requests a second over loopback TLS, with the middleware and without: gunicorn gthread and uvicorn, side by side."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mtls_auth.testing import CertificateAuthority
from tests.benchmarks.report import Cell, Table
from tests.benchmarks.rounds import Batch, Case, Pace, measure

RATIO_TARGET = 0.97
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_END = b"\r\n\r\nok"
_PATIENCE = 30.0

Command = Callable[[bool, int, Path], list[str]]


def tables(pace: Pace) -> list[Table]:
    with ExitStack() as stack:
        pki = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _write_pki(pki)
        pairs = [stack.enter_context(_pair(name, command, pki)) for name, command in _SERVERS.items()]
        pace = Pace(pace.rounds, pace.sample_seconds * 8)  # other processes take part, and their moments are longer
        measured = measure([case for pair in pairs for case in pair], pace)
        rows: list[dict[str, Cell]] = [
            {
                "case": case.name,
                "requests/s": 1e6 / measured[case].total,
                "bare": 1e6 / measured[base].total,
                "× bare": 1 / measured[case].ratio,
                "target": RATIO_TARGET,
            }
            for base, case in pairs
        ]
    remark = "One client, one connection that is kept, TLS 1.3, a client certificate in both cases."
    return [Table("Servers over loopback TLS", rows, [remark])]


def _gunicorn(protected: bool, port: int, pki: Path) -> list[str]:
    app = "tests.benchmarks.served:wsgi_protected()" if protected else "tests.benchmarks.core:bare"
    command = ["gunicorn", app, "-k", "gthread", "--bind", f"127.0.0.1:{port}"]
    command += ["--log-level", "error", "--keep-alive", "60"]
    command += ["--certfile", f"{pki}/server.pem", "--keyfile", f"{pki}/server.key"]
    return [*command, "--ca-certs", f"{pki}/ca.pem", "--cert-reqs", "2"]


def _uvicorn(protected: bool, port: int, pki: Path) -> list[str]:
    shim = ["--http", "mtls_auth.servers.uvicorn:HTTPProtocol"]
    app = (
        ["tests.benchmarks.served:asgi_protected", "--factory", *shim] if protected else ["tests.benchmarks.asgi:bare"]
    )
    command = ["uvicorn", *app, "--port", str(port), "--no-access-log"]
    command += ["--log-level", "error", "--timeout-keep-alive", "60", "--lifespan", "off"]
    command += ["--ssl-certfile", f"{pki}/server.pem", "--ssl-keyfile", f"{pki}/server.key"]
    return [*command, "--ssl-ca-certs", f"{pki}/ca.pem", "--ssl-cert-reqs", "2"]


_SERVERS: dict[str, Command] = {"gunicorn gthread": _gunicorn, "uvicorn": _uvicorn}


@contextmanager
def _pair(name: str, command: Command, pki: Path) -> Iterator[tuple[Case, Case]]:
    with _requests(command, False, pki) as bare, _requests(command, True, pki) as protected:
        base = Case(f"{name}, bare", bare)
        yield base, Case(name, protected, base)


@contextmanager
def _requests(command: Command, protected: bool, pki: Path) -> Iterator[Batch]:
    """Serve an application, and yield what makes n requests to it on one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    environment = {**os.environ, "HOME": str(pki)}  # where gunicorn keeps its control socket
    server = subprocess.Popen([sys.executable, "-m", *command(protected, port, pki)], env=environment)
    try:
        context = ssl.create_default_context(cafile=f"{pki}/ca.pem")
        context.load_cert_chain(f"{pki}/alice.pem", f"{pki}/alice.key")
        with _connected(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:

            def batch(count: int) -> None:
                for _ in range(count):
                    connection.sendall(_REQUEST)
                    answer = b""
                    while not answer.endswith(_END):
                        received = connection.recv(65536)
                        if not received:
                            raise RuntimeError(f"the server ended the connection after {answer!r}")
                        answer += received

            yield batch
    finally:
        server.terminate()
        server.wait()


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _write_pki(directory: Path) -> None:
    ca = CertificateAuthority()
    (directory / "ca.pem").write_bytes(ca.pem)
    ca.issue_server("localhost").write(directory, "server")
    ca.issue("alice").write(directory, "alice")
