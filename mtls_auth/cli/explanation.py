"""`mtls-auth explain`: what the authenticator decides about requests as they were received, and why."""

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mtls_auth.authenticator import Authenticator, utc_now
from mtls_auth.cli.explained_request import ExplainedRequest
from mtls_auth.cli.input_file import UnreadableFileError, read_file
from mtls_auth.cli.printable import printable
from mtls_auth.cli.request_head import MAX_HEAD_BYTES
from mtls_auth.dialects import BUILTIN, Dialect
from mtls_auth.errors import ConfigurationError
from mtls_auth.mapping import ByIdentity
from mtls_auth.peers import Peer, TrustedProxies
from mtls_auth.policy import AnyVerifiedCertificate
from mtls_auth.sources import Forwarded
from mtls_auth.verification import PathVerifier, Verifier, VouchedFor

if TYPE_CHECKING:
    from argparse import _SubParsersAction

# With a handler of its own, the logger does not print denials on stderr: the output says them already.
_SILENCE = logging.NullHandler()


def add_parser(subcommands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its arguments."""
    parser = subcommands.add_parser(
        "explain",
        help="decide about requests that a proxy sent, and say why",
        description="Decide about HTTP requests as a server received them: anonymous, authenticated or denied.",
        epilog="Exit status: 0 when every request was decided, 2 for a wrong argument or an unreadable file.",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object a line for each request")
    add("--dialect", required=True, metavar="NAME", help=f"how the proxy writes: {', '.join(BUILTIN)}")
    add(
        "--header",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="how your proxy names a header of the dialect: leaf=ssl-client-cert (repeatable)",
    )
    add(
        "--trust",
        action="append",
        required=True,
        metavar="CIDR|unix:PATH",
        help="a network, address or Unix socket of a trusted proxy (repeatable)",
    )
    add("--peer", required=True, metavar="ADDRESS", help="who sent the request: an IP address or unix:PATH")
    add(
        "--anchors",
        action="append",
        default=[],
        metavar="FILE",
        help="a PEM file of trust anchors: verify the path instead of taking the proxy's word (repeatable)",
    )
    add("--proxy-verifies", action="store_true", help="the proxy forwards no certificate that it did not verify")
    add("--at", metavar="TIME", help="decide as of this time: 2026-06-01T12:00:00Z")
    add("requests", nargs="+", metavar="REQUEST-FILE", help="a request head as received; - is standard input")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all decisions; return 2 if a file could not be read. Raises `ConfigurationError`."""
    logging.getLogger("mtls_auth").addHandler(_SILENCE)
    peer = _peer(options.peer)
    source = Forwarded(
        dialect=_dialect(options.dialect, options.header),
        proxies=_proxies(options.trust),
        proxy_verifies=options.proxy_verifies,
    )
    at = _time(options.at) if options.at is not None else None
    authenticator = Authenticator(
        source,
        policy=AnyVerifiedCertificate(),
        verifier=_verifier(options.anchors, source),
        mapper=ByIdentity(),
        clock=(lambda: at) if at is not None else utc_now,
    )
    status = 0
    for name in options.requests:
        try:
            data = read_file(name, MAX_HEAD_BYTES + 1)
        except UnreadableFileError as error:
            print(f"mtls-auth: {printable(name)}: {error}", file=sys.stderr)
            status = 2
            continue
        explained = ExplainedRequest.decide(name, data, peer, source, authenticator)
        print(json.dumps(explained.as_json()) if options.json else explained.as_text())
    return status


def _dialect(name: str, renames: Iterable[str]) -> Dialect:
    dialect = BUILTIN.get(name)
    if dialect is None:
        raise ConfigurationError(f"--dialect {name!r} is not known: name one of {', '.join(BUILTIN)}")
    names: dict[str, str] = {}
    for rename in renames:
        field, equals, header = rename.partition("=")
        if not equals:
            raise ConfigurationError(f"--header {rename!r}: write FIELD=NAME, as leaf=ssl-client-cert")
        if field in names:
            raise ConfigurationError(f"--header {field}=… is given twice: give it once")
        names[field] = header
    try:
        return dialect.with_headers(**names)
    except ConfigurationError as error:
        raise ConfigurationError(*(f"--header: {problem}" for problem in error.problems)) from error


def _proxies(entries: Iterable[str]) -> TrustedProxies:
    try:
        return TrustedProxies.parse(entries)
    except ConfigurationError as error:
        raise ConfigurationError(
            *(f"--trust: {problem}; write 10.0.0.0/8, 192.0.2.7 or unix:/run/app.sock" for problem in error.problems)
        ) from error


def _peer(text: str) -> Peer:
    if not text.startswith("unix:/"):
        try:
            ip_address(text)
        except ValueError as error:
            raise ConfigurationError(f"--peer {text!r}: write one IP address or unix:/run/app.sock") from error
    return Peer(text)


def _verifier(anchors: list[str], source: Forwarded) -> Verifier:
    if anchors:
        try:
            return PathVerifier.from_files(*anchors)
        except ConfigurationError as error:
            raise ConfigurationError(
                *(f"{problem}; name a PEM file with your CA's certificate" for problem in error.problems)
            ) from error
    if not source.vouches:
        raise ConfigurationError(
            f"--dialect {source.dialect.name} says nothing about verification: name trust anchors with --anchors FILE, "
            "or give --proxy-verifies if your proxy forwards only certificates that it verified"
        )
    return VouchedFor()


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"--at {text!r}: write the time as 2026-06-01T12:00:00Z") from error
    raise ConfigurationError(f"--at {text!r} has no offset: write it as 2026-06-01T12:00:00Z")
