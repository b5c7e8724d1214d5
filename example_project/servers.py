"""The Python servers that the example runs on, one row each."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec

from example_project.site import CannotStart, Site

APPS = {
    "django": "example_project.wsgi:application",
    "django-asgi": "example_project.asgi:application",
    "starlette": "example_project.starlette_app:application",
}
_WSGI = ("django",)
_ASGI = ("django-asgi", "starlette")


@dataclass(frozen=True, slots=True)
class Program:
    """What `python -m` runs: for a TLS port that asks for certificates, or for a Unix socket without TLS."""

    command: str
    needs: tuple[str, ...]
    tls: str
    socket: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One server: a program with its options, the applications that it takes, and what else it needs."""

    program: Program
    apps: tuple[str, ...]
    options: str = ""
    needs: tuple[str, ...] = ()


_GUNICORN = Program(
    "gunicorn {app} --log-level warning",
    ("gunicorn",),
    "--bind 127.0.0.1:{port} --certfile {pki}/server.pem --keyfile {pki}/server.key --ca-certs {pki}/ca.pem "
    "--cert-reqs 1",  # 1: ask, and verify if given
    "--bind unix:{socket}",
)
_UVICORN = Program(
    "uvicorn {app} --log-level warning",
    ("uvicorn",),
    "--host 127.0.0.1 --port {port} --ssl-certfile {pki}/server.pem --ssl-keyfile {pki}/server.key "
    "--ssl-ca-certs {pki}/ca.pem --ssl-cert-reqs 1",
    "--uds {socket}",
)
_HYPERCORN = Program(
    "hypercorn {app} --log-level warning",
    ("hypercorn",),
    "--bind 127.0.0.1:{port} --certfile {pki}/server.pem --keyfile {pki}/server.key --ca-certs {pki}/ca.pem "
    "--verify-mode CERT_OPTIONAL",
    "--bind unix:{socket}",
)
_DAPHNE = Program(
    "mtls_auth.servers.daphne {app} -v 0",
    ("daphne", "OpenSSL"),
    "-e mtls:{port}:certificate={endpoint_pki}/server.pem:key={endpoint_pki}/server.key"
    ":client_ca={endpoint_pki}/ca.pem:interface=127.0.0.1",
    "-u {socket}",
)
_FILES = "--certificate {pki}/server.pem --key {pki}/server.key --client-ca {pki}/ca.pem"
_WERKZEUG = Program("mtls_auth.servers.werkzeug {app}", ("werkzeug",), "--bind 127.0.0.1:{port} " + _FILES)
_CHEROOT = Program("mtls_auth.servers.cheroot {app}", ("cheroot",), "--bind 127.0.0.1:{port} " + _FILES)
_RUNSERVER = Program(
    "django runserver_mtls --settings example_project.settings --noreload", (), "127.0.0.1:{port} " + _FILES
)

# Where no server is named, the first one that takes the application.
SERVERS = {
    "gunicorn-gthread": Server(_GUNICORN, _WSGI, "-k gthread --threads 8"),
    # One connection at a time in each process. With --threads it would be the gthread worker.
    "gunicorn-sync": Server(_GUNICORN, _WSGI, "-k sync --workers 4"),
    "gunicorn-gevent": Server(_GUNICORN, _WSGI, "-k gevent", ("gevent",)),
    "werkzeug": Server(_WERKZEUG, _WSGI),
    "cheroot": Server(_CHEROOT, _WSGI),
    "runserver": Server(_RUNSERVER, _WSGI),
    "uvicorn": Server(_UVICORN, _ASGI, "--http mtls_auth.servers.uvicorn:HTTPProtocol"),
    "uvicorn-worker": Server(_GUNICORN, _ASGI, "-k mtls_auth.servers.gunicorn.UvicornWorker", ("uvicorn_worker",)),
    "gunicorn-asgi": Server(_GUNICORN, _ASGI, "-k mtls_auth.servers.gunicorn.ASGIWorker"),
    "hypercorn": Server(_HYPERCORN, _ASGI, "-c python:mtls_auth.servers.hypercorn"),
    "daphne": Server(_DAPHNE, _ASGI),
}
_IN_DEMO = {"gunicorn", "uvicorn", "django", "starlette"}


def choose(server: str | None, app: str | None) -> tuple[str, str]:
    """Return a server and an application that it takes, the first that fits for what is None.

    Raises `CannotStart` where the two do not fit.
    """
    fitting = [name for name, row in SERVERS.items() if app is None or app in row.apps]
    if server is None:
        server = fitting[0]
    if server not in fitting:
        raise CannotStart(
            f"{server} does not run --app {app}: use --server {fitting[0]}, or one of {', '.join(fitting[1:])}."
        )
    return server, app or SERVERS[server].apps[0]


def server_command(name: str, app: str, site: Site, port: int | None) -> list[str]:
    """Return the command that serves *app* on a TLS port, or on the site's Unix socket without TLS.

    Raises `CannotStart` for a server that is not installed, or has no way to stand behind a proxy.
    """
    server = SERVERS[name]
    program = server.program
    for module in ("django", *(("starlette",) if app == "starlette" else ()), *program.needs, *server.needs):
        if find_spec(module) is None:
            extra = "demo" if module in _IN_DEMO else "servers"
            raise CannotStart(f"{module} is not installed: run pip install '.[{extra}]' in this environment.")
    place = program.socket if port is None else program.tls
    if place is None:
        able = ", ".join(other for other, row in SERVERS.items() if row.program.socket and app in row.apps)
        raise CannotStart(f"{name} ends TLS itself and cannot be --behind nginx: use one of --server {able}.")
    values = {
        "app": APPS[app],
        "port": port,
        "socket": site.socket,
        "pki": site.pki,
        "endpoint_pki": str(site.pki).replace("\\", "\\\\").replace(":", "\\:"),  # Twisted separates by colons
    }
    # Split first: the folder's name may have blanks.
    words = [word.format(**values) for word in f"{program.command} {server.options} {place}".split()]
    return [sys.executable, "-m", *words]
