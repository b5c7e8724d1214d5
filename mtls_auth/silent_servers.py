"""Servers that do not tell the application who connected, recognised by the program that runs.

Behind these, trust by address believes nobody. A server that is not in the table is not guessed at: where it hides
the peer, `Forwarded` says so in the log when certificate headers come.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtls_auth.errors import ConfigurationError
from mtls_auth.forwarded import Forwarded
from mtls_auth.sources import AgreeingSources, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class HidingServer:
    """A server that hides the peer: always, or where one of `options` has one of these `values`.

    "" is the option left out. `variable` names what the server reads besides its command line: more arguments, or
    the value of the option where it `holds_value`.
    """

    name: str
    options: tuple[str, ...] = ()
    values: frozenset[str] = frozenset({""})
    variable: str = ""
    holds_value: bool = False


_UVICORN = HidingServer(
    name="uvicorn",
    options=("--http",),
    values=frozenset({"", "auto", "h11", "httptools", "zttp"}),  # not the protocol of `mtls_auth.servers`
    variable="UVICORN_HTTP",
    holds_value=True,
)
_GUNICORN = HidingServer(
    name="gunicorn",  # sync, gthread and gevent put the connection's socket into the environ
    options=("--worker-class", "-k"),
    values=frozenset({"asgi", "tornado", "gevent_wsgi", "gevent_pywsgi"})
    | {
        f"{module}.Uvicorn{worker}"
        for module in ("uvicorn.workers", "uvicorn_worker")
        for worker in ("Worker", "H11Worker")
    },
    variable="GUNICORN_CMD_ARGS",
)

SERVERS: Mapping[str, HidingServer] = {
    "cheroot": HidingServer(name="cheroot"),
    "daphne": HidingServer(name="daphne"),
    "fastapi": HidingServer(name="the fastapi command"),  # uvicorn, and no way to name a protocol
    "granian": HidingServer(name="granian"),
    "gunicorn": _GUNICORN,
    "hypercorn": HidingServer(name="hypercorn"),
    "mod_wsgi": HidingServer(name="mod_wsgi"),  # what it and uWSGI put into sys.argv
    "uvicorn": _UVICORN,
    "uwsgi": HidingServer(name="uWSGI"),
    "waitress": HidingServer(name="waitress"),
    "waitress-serve": HidingServer(name="waitress"),
}
"""By the name of the program, or of the package that `python -m` runs."""


def hidden_by(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the server that runs with these arguments if it hides the peer, None if that is not known."""
    server = SERVERS.get(_program(argv[0])) if argv else None
    if server is None:
        return None
    given = environ.get(server.variable, "")
    before = [server.options[0], given] if given and server.holds_value else shlex.split(given)
    value = _value(server.options, [*before, *argv[1:]])
    if value not in server.values:
        return None
    return f"{server.name} {server.options[-1]} {value}" if value else server.name


def hiding_server(source: Source) -> str | None:
    """Return the server of this process if it is known to hide the peer, and *source* needs that."""
    return hidden_by(sys.argv, os.environ) if needs_peer(source) else None


def check_peer_is_told(source: Source) -> None:
    """Raise `ConfigurationError` where the server of this process is known to hide what *source* needs."""
    server = hiding_server(source)
    if server is not None:
        raise ConfigurationError(
            f"{server} does not tell who connected, and trust by address believes nobody: serve with gunicorn "
            "-k sync, gthread or gevent, or with uvicorn --http mtls_auth.servers.uvicorn:HTTPProtocol; or leave the "
            "addresses out, and trust by a ProxySecret; or, if nothing at all rewrites REMOTE_ADDR or the scope's "
            "client, say server_address_is_peer=True: where something does, every client can be the proxy"
        )


def needs_peer(source: Source) -> bool:
    """Whether *source*, or one of several, believes nobody where the server hides the peer."""
    if isinstance(source, AgreeingSources):
        return any(map(needs_peer, source.sources))
    # A secret beside them does not help: all that is given has to hold.
    return isinstance(source, Forwarded) and source.proxies is not None and not source.server_address_is_peer


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
