"""`mtls-auth explain`: what the authenticator decides about requests as they were received, and why."""

import argparse
import json
import logging
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth.authenticator import Authenticator, utc_now
from mtls_auth.cli.explained_request import ExplainedRequest
from mtls_auth.cli.input_file import UnreadableFileError, read_file
from mtls_auth.cli.printable import printable
from mtls_auth.cli.request_head import MAX_HEAD_BYTES
from mtls_auth.cli.source_options import add_source_options, agreed, sources_of
from mtls_auth.errors import ConfigurationError
from mtls_auth.mapping import ByIdentity
from mtls_auth.peers import Peer
from mtls_auth.policy import AnyVerifiedCertificate
from mtls_auth.server_tls import StatedFacts
from mtls_auth.sources import Source, unvouched
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
    add_source_options(parser)
    add("--peer", required=True, metavar="ADDRESS", help="who sent the request: an IP address or unix:PATH")
    add(
        "--anchors",
        action="append",
        default=[],
        metavar="FILE",
        help="a PEM file of trust anchors: verify the path instead of taking the proxy's word (repeatable)",
    )
    add(
        "--chain",
        action="append",
        default=[],
        metavar="FILE",
        help="a PEM file of intermediates that the proxy does not forward, for --anchors (repeatable)",
    )
    add(
        "--peer-certificate",
        metavar="FILE",
        help="a PEM file of the certificate that the peer presented on the server's own TLS socket",
    )
    add("--at", metavar="TIME", help="decide as of this time: 2026-06-01T12:00:00Z")
    add("requests", nargs="+", metavar="REQUEST-FILE", help="a request head as received; - is standard input")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all decisions; return 2 if a file could not be read. Raises `ConfigurationError`."""
    logging.getLogger("mtls_auth").addHandler(_SILENCE)
    peer = _peer(options.peer)
    sources = sources_of(options)
    source = agreed(sources)
    server = StatedFacts(transport_peer=peer, address=str(peer), chain=_presented(options.peer_certificate))
    at = _time(options.at) if options.at is not None else None
    authenticator = Authenticator(
        source,
        policy=AnyVerifiedCertificate(),
        verifier=_verifier(options.anchors, options.chain, source),
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
        explained = ExplainedRequest.decide(name, data, server, sources, authenticator)
        print(json.dumps(explained.as_json()) if options.json else explained.as_text())
    return status


def _peer(text: str) -> Peer:
    if not text.startswith("unix:/"):
        try:
            ip_address(text)
        except ValueError as error:
            raise ConfigurationError(f"--peer {text!r}: write one IP address or unix:/run/app.sock") from error
    return Peer(text)


def _presented(file: str | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        certificates = x509.load_pem_x509_certificates(read_file(file, MAX_HEAD_BYTES))
    except (UnreadableFileError, ValueError) as error:
        raise ConfigurationError(f"--peer-certificate {file!r}: name a readable PEM file ({error})") from error
    return tuple(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def _verifier(anchors: list[str], chain: list[str], source: Source) -> Verifier:
    if anchors:
        try:
            return PathVerifier.from_files(*anchors, intermediates=chain)
        except ConfigurationError as error:
            raise ConfigurationError(
                *(f"{problem}; name a PEM file with your CA's certificate" for problem in error.problems)
            ) from error
    if chain:
        raise ConfigurationError("--chain is for path building: name trust anchors with --anchors FILE too")
    if silent := unvouched(source):
        never = any(dialect.unverified for dialect in silent)
        raise ConfigurationError(
            f"--dialect {', '.join(dialect.name for dialect in silent)} says nothing about verification: name trust "
            "anchors with --anchors FILE"
            + ("" if never else ", or give --proxy-verifies if your proxy forwards only certificates that it verified")
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
