"""How each Python server is started on an application, over plain HTTP or TLS. It holds no test."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from tests.integration.servers import LOCALHOST

Program = Literal[
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-gevent",
    "gunicorn-gevent_pywsgi",
    "gunicorn-tornado",
    "gunicorn-asgi",
    "gunicorn-uvicorn",
    "uvicorn-h11",
    "uvicorn-httptools",
    "uvicorn-zttp",
    "uvicorn-http2",
    "uvicorn-run",
    "hypercorn",
    "hypercorn-asyncio",
    "hypercorn-uvloop",
    "hypercorn-trio",
    "daphne",
    "werkzeug",
    "cheroot",
    "waitress",
    "wsgiref",
    "runserver",
]

ASGI: frozenset[Program | None] = frozenset(
    program
    for program in get_args(Program)
    if program.startswith(("uvicorn", "hypercorn", "daphne", "gunicorn-asgi", "gunicorn-uvicorn"))
)
# The application behind these cannot learn who connected.
HIDES_THE_PEER: frozenset[Program | None] = frozenset({"hypercorn", "waitress", "wsgiref"})

_GUNICORN = "gunicorn {target} --bind {bind} --keep-alive 60 -k "
_UVICORN = "uvicorn {target} {listen} --timeout-keep-alive 60 --http mtls_auth.servers.uvicorn:"
_HYPERCORN = "hypercorn {target} --bind {bind} --keep-alive 60 -c python:mtls_auth.servers.hypercorn -k "
_COMMANDS: Mapping[Program, str] = {
    "gunicorn-sync": _GUNICORN + "sync",
    "gunicorn-gthread": _GUNICORN + "gthread --threads 4",
    "gunicorn-gevent": _GUNICORN + "gevent",
    "gunicorn-gevent_pywsgi": _GUNICORN + "gevent_pywsgi",
    "gunicorn-tornado": _GUNICORN + "mtls_auth.servers.gunicorn.TornadoWorker",
    "gunicorn-asgi": _GUNICORN + "mtls_auth.servers.gunicorn.ASGIWorker",
    "gunicorn-uvicorn": _GUNICORN + "mtls_auth.servers.gunicorn.UvicornWorker",
    "uvicorn-h11": _UVICORN + "H11Protocol",
    "uvicorn-httptools": _UVICORN + "HttpToolsProtocol",
    "uvicorn-zttp": _UVICORN + "ZttpProtocol",
    "uvicorn-http2": _UVICORN + "HTTP2Protocol",
    "uvicorn-run": "tests.integration.site.uvicorn_tls {target} {address}",
    "hypercorn": "hypercorn {target} --bind {bind}",
    "hypercorn-asyncio": _HYPERCORN + "asyncio",
    "hypercorn-uvloop": _HYPERCORN + "uvloop",
    "hypercorn-trio": _HYPERCORN + "trio",
    "daphne": "mtls_auth.servers.daphne {target} -v 0 -b 127.0.0.1 -p {address}",
    "werkzeug": "mtls_auth.servers.werkzeug {target} --bind {bind}",
    "cheroot": "mtls_auth.servers.cheroot {target} --bind {bind}",
    "waitress": "waitress --listen={bind} {target}",
    "wsgiref": "tests.integration.site.wsgiref_server {module} {address}",
    "runserver": "django runserver_mtls {bind} --noreload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _TLS:
    """The options that make a server end TLS: `{mode}` is where it asks for certificates, or requires them."""

    options: str
    optional: str = ""
    required: str = "--required"
    command: str | None = None  # where it is not the one without TLS


_OUR_FILES = "--certificate {certificate} --key {key} --client-ca {client_cas} {mode}"
_ENDPOINT = "-e mtls:{address}:interface=127.0.0.1:certificate={certificate}:key={key}:client_ca={client_cas}{mode}"
_TERMINATING: Mapping[str, _TLS] = {
    "gunicorn": _TLS(
        options="--certfile {certificate} --keyfile {key} --ca-certs {client_cas} --cert-reqs {mode}",
        optional="1",
        required="2",
    ),
    "uvicorn": _TLS(
        options="--ssl-certfile {certificate} --ssl-keyfile {key} --ssl-ca-certs {client_cas} --ssl-cert-reqs {mode}",
        optional="1",
        required="2",
    ),
    "uvicorn-run": _TLS(options=""),  # its files are in the environment
    "hypercorn": _TLS(
        options="--certfile {certificate} --keyfile {key} --ca-certs {client_cas} --verify-mode {mode}",
        optional="CERT_OPTIONAL",
        required="CERT_REQUIRED",
    ),
    "daphne": _TLS(options=_ENDPOINT, required=":required=1", command="mtls_auth.servers.daphne {target} -v 0"),
    "werkzeug": _TLS(options=_OUR_FILES),
    "cheroot": _TLS(options=_OUR_FILES),
    "wsgiref": _TLS(options=_OUR_FILES, command="mtls_auth.servers.wsgiref {target} --bind {bind}"),
    "runserver": _TLS(options=_OUR_FILES),
}


class Terminating(NamedTuple):
    """What a server needs that terminates TLS itself, and asks for client certificates."""

    certificate: Path
    key: Path
    client_cas: Path


def server_command(
    program: Program, target: str, address: int | Path, tls: Terminating | None = None, *, required: bool = False
) -> Sequence[str]:
    """Return the command that serves *target*, `"module:name"`, on a port of 127.0.0.1 or on a Unix socket.

    With *tls*, which waitress cannot do, a client certificate is asked for, or *required*.
    """
    is_unix = isinstance(address, Path)
    values: dict[str, object] = {
        "target": target,
        "module": target.partition(":")[0],
        "address": address,
        "bind": f"unix:{address}" if is_unix else f"{LOCALHOST}:{address}",
    }
    listen = "--uds {address}" if is_unix else f"--host {LOCALHOST} --port {{address}}"
    command = _COMMANDS[program].replace("{listen}", listen)
    if tls is not None:
        terminating = _TERMINATING.get(program) or _TERMINATING[program.partition("-")[0]]
        values |= {**tls._asdict(), "mode": terminating.required if required else terminating.optional}
        command = f"{terminating.command or command} {terminating.options}"
    # Split first: a directory's name may have blanks.
    words = (word.format(**values) for word in command.split())
    return [sys.executable, "-m", *filter(None, words)]
