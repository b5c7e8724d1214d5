"""`mtls-auth probe`: forged certificate headers, sent to a running deployment, and who was believed."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mtls_auth.certificate_files import MAX_FILE_BYTES, client_certificate_in
from mtls_auth.cli.assignments import header_names
from mtls_auth.cli.input_file import UnreadableFileError, read_file
from mtls_auth.cli.printable import printable
from mtls_auth.cli.source_options import dialect_named
from mtls_auth.diagnostics import DEFAULT_PATH, Diagnostics
from mtls_auth.dialect import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import CertificateRejected, ConfigurationError
from mtls_auth.probing import report
from mtls_auth.probing.forgeries import Victim
from mtls_auth.probing.judgement import Outcome
from mtls_auth.probing.probe import Probe
from mtls_auth.probing.sender import Client, Sender
from mtls_auth.probing.target import Target, UnreachableError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

TOKEN_VARIABLE = "MTLS_AUTH_TOKEN"  # noqa: S105  # its name
NOBODY, OWN = "without a certificate", "with its certificate"


def add_parser(subcommands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its arguments."""
    parser = subcommands.add_parser(
        "probe",
        help="send forged certificate headers to a running deployment, and say who was believed",
        description="Send forged certificate headers through a proxy, in every way that has worked somewhere, and ask "
        "the application's diagnostic endpoint whom it believes. Only for deployments of your own.",
        epilog="Exit status: 0 when nothing got through, 1 when something did, 2 for a wrong argument, and where the "
        "endpoint could not be asked. The endpoint is enabled by diagnostics=Diagnostics(token=…) of the WSGI and ASGI "
        "middlewares, by MTLS_AUTH['DIAGNOSTICS_TOKEN'] in Django: take it out again afterwards.",
    )
    add = parser.add_argument
    add("url", metavar="URL", help=f"the proxy: https://HOST[:PORT][/PATH]; the path is {DEFAULT_PATH} unless given")
    add(
        "--direct",
        metavar="URL",
        help="the application itself, past its proxy: http://…, https://…, unix:/run/app.sock",
    )
    add("--token", metavar="TEXT", help=f"the endpoint's token; without it the environment's {TOKEN_VARIABLE}")
    add("--ca", type=Path, metavar="FILE", help="the CA of the servers' certificates, in PEM; the system's by default")
    add("--cert", type=Path, metavar="FILE", help="a certificate of your own: each trick is tried without and with it")
    add("--key", type=Path, metavar="FILE", help="its key, unless it is in the same file")
    add(
        "--dialect",
        action="append",
        default=[],
        metavar="NAME",
        help=f"forge this dialect's headers alone (repeatable); by default all: {', '.join(BUILTIN)}",
    )
    add(
        "--header",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="how your proxy names a header of the only --dialect: leaf=ssl-client-cert (repeatable)",
    )
    add("--victim", metavar="FILE", help="the certificate to pretend; without it a new one, which nobody knows")
    add("--rate", type=_positive, default=20.0, metavar="N", help="requests a second (default: 20)")
    add("--timeout", type=_positive, default=5.0, metavar="SECONDS", help="how long to wait for an answer (default: 5)")
    add("--json", action="store_true", help="print one JSON object a line for each request")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Probe, print the report, and return the exit status. Raises `ConfigurationError`."""
    proxy = Target.parse(options.url)
    targets = [("proxy", proxy)]
    if options.direct is not None:
        targets.append(("direct", Target.parse(options.direct, proxy.path)))
    probe = Probe(
        Sender(_token(options.token, proxy.path), rate=options.rate, timeout=options.timeout),
        _victim(options.victim),
        _clients(options),
        _dialects(options.dialect, options.header),
    )
    try:
        examinations = [examination for role, target in targets for examination in probe.begin(role, target)]
        with _Progress() as progress:
            probe.run(examinations, progress.tell)
    except UnreachableError as error:
        raise ConfigurationError(str(error)) from error
    if options.json:
        for examination in examinations:
            for result in examination.results:
                print(json.dumps(report.as_json(examination, result)))
    else:
        for line in report.as_text(examinations, probe.notes).splitlines():
            print(printable(line))
    outcomes = {result.outcome for examination in examinations for result in examination.results}
    if any(outcome.got_through for outcome in outcomes):
        return 1
    return 2 if Outcome.UNJUDGED in outcomes else 0


class _Progress:
    """One line on stderr that is written over; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def tell(self, done: int, total: int, trick: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{done}/{total} {trick}", end="", file=sys.stderr, flush=True)


def _token(given: str | None, path: str) -> str:
    token = os.environ.get(TOKEN_VARIABLE, "") if given is None else given
    if not token:
        raise ConfigurationError(f"there is no token: give --token, or {TOKEN_VARIABLE} in the environment")
    return Diagnostics(token=token, path=path).token


def _victim(name: str | None) -> Victim:
    if name is None:
        return Victim.mint()
    try:
        return Victim.of(client_certificate_in(read_file(name, MAX_FILE_BYTES + 1)).der)
    except (UnreadableFileError, CertificateRejected) as error:
        raise ConfigurationError(f"--victim {name}: {error}") from error


def _clients(options: argparse.Namespace) -> list[Client]:
    if options.key is not None and options.cert is None:
        raise ConfigurationError("--key is given without --cert: name the certificate too")
    clients = [Client.of(NOBODY, ca=options.ca)]
    if options.cert is not None:
        clients.append(Client.of(OWN, ca=options.ca, files=(options.cert, options.key or options.cert)))
    return clients


def _dialects(names: Sequence[str], renames: Sequence[str]) -> list[Dialect] | None:
    dialects = [dialect_named(name) for name in names]
    if renames and len(dialects) != 1:
        raise ConfigurationError("--header renames headers of one dialect: give one --dialect with it")
    headers = header_names(renames)
    return [dialect.with_headers(**headers) for dialect in dialects] or None


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise ValueError(text)
    return number
