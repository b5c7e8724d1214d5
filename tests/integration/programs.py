"""How each Python server is started on an application, over plain HTTP or TLS. It holds no test."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tests.integration.servers import LOCALHOST

Program = Literal[
    "gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "uvicorn-httptools", "hypercorn", "waitress", "wsgiref"
]

ASGI: frozenset[Program | None] = frozenset({"uvicorn-h11", "uvicorn-httptools", "hypercorn"})
# The application behind these cannot learn who connected.
HIDES_THE_PEER: frozenset[Program | None] = frozenset({"hypercorn", "waitress", "wsgiref"})

_PROTOCOLS = {"h11": "H11Protocol", "httptools": "HttpToolsProtocol"}


class Terminating(NamedTuple):
    """What a server needs that terminates TLS itself, and asks for client certificates."""

    certificate: Path
    key: Path
    client_cas: Path


def server_command(
    program: Program, target: str, address: int | Path, tls: Terminating | None = None, *, required: bool = False
) -> Sequence[str]:
    """Return the command that serves *target*, `"module:name"`, on a port of 127.0.0.1 or on a Unix socket.

    With *tls*, which gunicorn and uvicorn alone can do, a client certificate is asked for, or *required*.
    """
    server, _, variant = program.partition("-")
    bind = f"unix:{address}" if isinstance(address, Path) else f"{LOCALHOST}:{address}"
    match server:
        case "gunicorn":
            command = ["gunicorn", target, "--bind", bind, "-k", variant, "--keep-alive", "60"]
            if variant == "gthread":
                command += ["--threads", "4"]
            if tls is not None:
                command += ["--certfile", str(tls.certificate), "--keyfile", str(tls.key)]
                command += ["--ca-certs", str(tls.client_cas), "--cert-reqs", "2" if required else "1"]
        case "uvicorn":
            protocol = f"mtls_auth.servers.uvicorn:{_PROTOCOLS[variant]}"
            command = ["uvicorn", target, "--http", protocol, "--timeout-keep-alive", "60"]
            command += (
                ["--uds", str(address)] if isinstance(address, Path) else ["--host", LOCALHOST, "--port", str(address)]
            )
            if tls is not None:
                command += ["--ssl-certfile", str(tls.certificate), "--ssl-keyfile", str(tls.key)]
                command += ["--ssl-ca-certs", str(tls.client_cas), "--ssl-cert-reqs", "2" if required else "1"]
        case "hypercorn":
            command = ["hypercorn", target, "--bind", bind]
        case "waitress":
            command = ["waitress", f"--listen={bind}", target]
        case _:
            command = ["tests.integration.site.wsgiref_server", target.partition(":")[0], str(address)]
    return [sys.executable, "-m", *command]
