"""Servers that tell the application neither who connected nor with which certificate, by the program that runs.

Behind these, trust by address believes nobody, and the TLS socket shows nobody. A server that is not in the table is
not guessed at: where it hides the peer, `Forwarded` says so in the log when certificate headers come.
"""

import os
import re
import shlex
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from mtls_auth.errors import ConfigurationError
from mtls_auth.forwarded import Forwarded
from mtls_auth.sources import Source, TLSSocket, parts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentServer:
    """A server that tells neither peer nor certificate: always, or where one of `options` has one of these `values`.

    `instead` says how it can be made to tell, or what to do if it cannot; it tells where the module `told_by` is
    imported. "" is the option left out. `variable` names what the server reads besides its command line: more
    arguments, or the value of the option where it `holds_value`.
    """

    name: str
    instead: str
    told_by: str = ""
    options: tuple[str, ...] = ()
    values: frozenset[str] = frozenset({""})
    variable: str = ""
    holds_value: bool = False


_PROXY = "it has no way to tell: end TLS in a proxy in front, and name its dialect"
_UVICORN_HTTP = "serve with uvicorn --http mtls_auth.servers.uvicorn:HTTPProtocol"
_UVICORN = SilentServer(
    name="uvicorn",
    instead=_UVICORN_HTTP,
    options=("--http",),
    values=frozenset({"", "auto", "h11", "httptools", "zttp"}),  # not the protocols of `mtls_auth.servers`
    variable="UVICORN_HTTP",
    holds_value=True,
)
_GUNICORN = SilentServer(
    name="gunicorn",  # sync, gthread and gevent put the connection's socket into the environ
    instead="serve with gunicorn -k sync, gthread or gevent, or with one of mtls_auth.servers.gunicorn: ASGIWorker, "
    "UvicornWorker, TornadoWorker",
    options=("--worker-class", "-k"),
    values=frozenset({"asgi", "tornado"})
    | {
        f"{module}.Uvicorn{worker}"
        for module in ("uvicorn.workers", "uvicorn_worker")
        for worker in ("Worker", "H11Worker")
    },
    variable="GUNICORN_CMD_ARGS",
)
_HYPERCORN = SilentServer(
    name="hypercorn",
    instead="serve with hypercorn -c python:mtls_auth.servers.hypercorn",
    told_by="mtls_auth.servers.hypercorn",
)
_WAITRESS = SilentServer(name="waitress", instead=_PROXY)

SERVERS: Mapping[str, SilentServer] = {
    "cheroot": SilentServer(
        name="cheroot",
        instead='serve with python -m mtls_auth.servers.cheroot, or take ServerEnviron(CHEROOT), in Django "cheroot"',
    ),
    "daphne": SilentServer(name="daphne", instead="serve with python -m mtls_auth.servers.daphne"),
    "fastapi": SilentServer(name="the fastapi command", instead=_UVICORN_HTTP),  # it is uvicorn, with fewer options
    "granian": SilentServer(name="granian", instead=_PROXY),
    "gunicorn": _GUNICORN,
    "hypercorn": _HYPERCORN,
    # What it and uWSGI put into sys.argv.
    "mod_wsgi": SilentServer(name="mod_wsgi", instead='take ServerEnviron(MOD_WSGI), in Django "mod_wsgi"'),
    "robyn": SilentServer(name="robyn", instead=_PROXY),
    "uvicorn": _UVICORN,
    "uwsgi": SilentServer(
        name="uWSGI",
        instead='serve with --https, not --https-socket, and take ServerEnviron(UWSGI), in Django "uwsgi"',
    ),
    "waitress": _WAITRESS,
    "waitress-serve": _WAITRESS,
}
"""By the name of the program, or of the package that `python -m` runs."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The server that runs, with the option that makes it silent, and how it can be made to tell."""

    server: str
    instead: str


def silence_of(argv: Sequence[str], environ: Mapping[str, str], modules: Container[str] = ()) -> Silence | None:
    """Return the server that runs with these arguments if it is silent, None if that is not known."""
    server = SERVERS.get(_program(argv[0])) if argv else None
    if server is None or (server.told_by and server.told_by in modules):
        return None
    given = environ.get(server.variable, "")
    before = [server.options[0], given] if given and server.holds_value else shlex.split(given)
    value = _value(server.options, [*before, *argv[1:]])
    if value not in server.values:
        return None
    return Silence(f"{server.name} {server.options[-1]} {value}" if value else server.name, server.instead)


def hides_peer(source: Source) -> Silence | None:
    """Return the server of this process if it is known to be silent, and *source* needs the peer."""
    return silence_of(sys.argv, os.environ, sys.modules) if needs_peer(source) else None


def keeps_certificate(source: Source) -> Silence | None:
    """Return the server of this process if it is known to be silent, and *source* needs its TLS layer."""
    return silence_of(sys.argv, os.environ, sys.modules) if needs_certificate(source) else None


def check_server_tells(source: Source) -> None:
    """Raise `ConfigurationError` where the server of this process is known to keep what *source* needs."""
    problems: list[str] = []
    if (silence := keeps_certificate(source)) is not None:
        problems.append(f"{silence.server} keeps client certificates to itself: {silence.instead}")
    if (silence := hides_peer(source)) is not None:
        problems.append(
            f"{silence.server} does not tell who connected, and trust by address believes nobody: {silence.instead}; "
            "or leave the addresses out, and trust by a ProxySecret; or, if nothing at all rewrites REMOTE_ADDR or the "
            "scope's client, say server_address_is_peer=True: where something does, every client can be the proxy"
        )
    if problems:
        raise ConfigurationError(*problems)


def needs_peer(source: Source) -> bool:
    """Whether *source*, or one of several, believes nobody where the server hides the peer."""
    # A secret beside them does not help: all that is given has to hold.
    return any(
        isinstance(part, Forwarded) and part.proxies is not None and not part.server_address_is_peer
        for part in parts_of(source)
    )


def needs_certificate(source: Source) -> bool:
    """Whether *source*, or one of several, finds nobody where the server keeps its clients' certificates."""
    return any(
        isinstance(part, TLSSocket) or (isinstance(part, Forwarded) and part.certificate is not None)
        for part in parts_of(source)
    )


def _program(path: str) -> str:
    """Return the name of a script, or of the package whose `__main__.py` runs."""
    *directories, name = re.split(r"[/\\]", path)
    if name == "__main__.py" and directories:
        name = directories[-1]
    return name.lower().removesuffix(".exe")


def _value(options: tuple[str, ...], arguments: Sequence[str]) -> str:
    """Return the last value of an option, "" without one."""
    found = ""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        for option in options:
            if argument == option:
                found = following
            elif option.startswith("--") and argument.startswith(f"{option}="):
                found = argument.removeprefix(f"{option}=")
            elif not option.startswith("--") and argument.startswith(option):
                found = argument.removeprefix(option)
    return found
