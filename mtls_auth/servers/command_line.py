"""The command line of the WSGI servers that have none for mutual TLS: what to serve, where, with which files."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from mtls_auth.errors import ConfigurationError
from mtls_auth.server_context import ServerTLS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

CANNOT_SERVE = 1
WRONG_ARGUMENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the command line asks for."""

    application: "WSGIApplication"
    host: str
    port: int
    tls: ServerTLS
    threads: int | None = None


Listen: TypeAlias = Callable[[Served], Callable[[], object]]
"""Binds the port, raising OSError where it cannot, and returns the function that serves until Ctrl-C."""


def main(listen: Listen, *, server: str, threads: int | None = None, arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C and return the exit status: 2 for a wrong argument or file, 1 for a port that is not free.

    *threads* is the default of `--threads`, None for a server without a limit.
    """
    options = _parser(server, threads).parse_args(arguments)
    # The reasons of failed handshakes go to the log; an application that configures logging itself has the last word.
    logging.basicConfig(format="%(message)s")
    logging.getLogger("mtls_auth").setLevel(logging.INFO)
    try:
        served = _served(options)
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return WRONG_ARGUMENT
    where = f"https://{f'[{served.host}]' if ':' in served.host else served.host}:{served.port}"
    try:
        serve = listen(served)
    except OSError as error:
        print(f"cannot serve on {where}: {error.strerror or error}", file=sys.stderr)
        return CANNOT_SERVE
    asked = "required" if served.tls.required else "asked for"
    print(f"Serving {options.application} on {where}, client certificates are {asked}. Ctrl-C stops it.", flush=True)
    with suppress(KeyboardInterrupt):
        serve()
    return 0


def load_application(target: str) -> "WSGIApplication":
    """Import `module:name`, where `:application` may be left out. Raises `ConfigurationError` where there is none.

    What goes wrong inside the module is not caught.
    """
    module_name, _, name = target.partition(":")
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(
            f"there is no module {error.name}, of {target}: run the command in the folder that it is in"
        ) from None
    for part in (name or "application").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(f"the module {module_name} has no {name or 'application'}, of {target}") from None
    if not callable(found):
        raise ConfigurationError(f"{target} is not a WSGI application: it cannot be called")
    return found


def _served(options: argparse.Namespace) -> Served:
    host, port = options.bind
    tls = ServerTLS(
        certificate=options.certificate,
        key=options.key,
        client_ca=options.client_ca,
        crl=options.crl,
        required=options.required,
    )
    application = load_application(options.application)
    return Served(application=application, host=host, port=port, tls=tls, threads=getattr(options, "threads", None))


def _parser(server: str, threads: int | None) -> argparse.ArgumentParser:
    program = f"python -m mtls_auth.servers.{server}"
    parser = argparse.ArgumentParser(
        prog=program,
        description=f"Serve a WSGI application on {server} with mutual TLS. The files are PEM; they are read again "
        "when they change.",
        epilog=f"example: {program} mysite.wsgi:application --bind 127.0.0.1:8443 --certificate server.pem "
        "--key server.key --client-ca clients.pem",
    )
    parser.add_argument("application", metavar="MODULE:NAME", help="the application; NAME may be left out for that")
    parser.add_argument(
        "--bind", metavar="HOST:PORT", type=_address, default=("127.0.0.1", 8443), help="default: 127.0.0.1:8443"
    )
    parser.add_argument("--certificate", metavar="FILE", required=True, help="the server's, with its intermediates")
    parser.add_argument("--key", metavar="FILE", required=True, help="its private key, not encrypted")
    parser.add_argument("--client-ca", metavar="FILE", required=True, help="the CAs whose clients are welcome")
    parser.add_argument("--crl", metavar="FILE", help="revocation lists of every CA that issues to clients")
    parser.add_argument(
        "--required",
        action="store_true",
        help="refuse clients without a certificate (default: the application sees that they have none)",
    )
    if threads is not None:
        parser.add_argument(
            "--threads", metavar="N", type=_positive, default=threads, help=f"requests at once (default: {threads})"
        )
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"{text}: write an IPv6 address in brackets, as in [::1]:8443")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text}: give an address and a port, as in 127.0.0.1:8443")
    return host, int(port)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return int(text)
