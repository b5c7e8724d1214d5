"""The Python servers that the example runs on, as their own command lines."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from example_project.site import CannotStart, Site

APPS = {
    "django": "example_project.wsgi:application",
    "django-asgi": "example_project.asgi:application",
    "starlette": "example_project.starlette_app:application",
}


@dataclass(frozen=True, slots=True)
class Server:
    """One server: what it is, the applications it takes, and its command for a TLS port or a Unix socket."""

    module: str
    apps: tuple[str, ...]
    command: Callable[[str, Site, int | None], list[str]]


def _gunicorn(worker: str) -> Callable[[str, Site, int | None], list[str]]:
    def command(app: str, site: Site, port: int | None) -> list[str]:
        bind = f"127.0.0.1:{port}" if port is not None else f"unix:{site.socket}"
        arguments = ["gunicorn", APPS[app], "-k", worker, "--threads", "8", "--bind", bind, "--log-level", "warning"]
        if port is not None:
            arguments += ["--certfile", f"{site.pki}/server.pem", "--keyfile", f"{site.pki}/server.key"]
            arguments += ["--ca-certs", f"{site.pki}/ca.pem", "--cert-reqs", "1"]  # 1: ask, and verify if given
        return arguments

    return command


def _uvicorn(app: str, site: Site, port: int | None) -> list[str]:
    arguments = ["uvicorn", APPS[app], "--http", "mtls_auth.servers.uvicorn:HTTPProtocol", "--log-level", "warning"]
    if port is None:
        return [*arguments, "--uds", str(site.socket)]
    arguments += ["--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--ssl-certfile", f"{site.pki}/server.pem", "--ssl-keyfile", f"{site.pki}/server.key"]
    return [*arguments, "--ssl-ca-certs", f"{site.pki}/ca.pem", "--ssl-cert-reqs", "1"]


SERVERS = {
    "gunicorn-gthread": Server("gunicorn", ("django",), _gunicorn("gthread")),
    "gunicorn-sync": Server("gunicorn", ("django",), _gunicorn("sync")),
    "uvicorn": Server("uvicorn", ("django-asgi", "starlette"), _uvicorn),
}


def server_command(name: str | None, app: str, site: Site, port: int | None) -> list[str]:
    """Return the command that serves *app* on a TLS port, or on the site's Unix socket without TLS.

    Raises `CannotStart` for a server that is not installed or does not run this kind of application.
    """
    fitting = [key for key, server in SERVERS.items() if app in server.apps]
    name = name or fitting[0]
    if name not in fitting:
        raise CannotStart(f"{name} does not run --app {app}: use --server {' or --server '.join(fitting)}.")
    server = SERVERS[name]
    for module in (server.module, "django", *(("starlette",) if app == "starlette" else ())):
        if find_spec(module) is None:
            raise CannotStart(f"{module} is not installed: run pip install '.[demo]' in this environment.")
    return [sys.executable, "-m", *server.command(app, site, port)]
