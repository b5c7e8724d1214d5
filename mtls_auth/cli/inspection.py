"""`mtls-auth inspect`: every certificate of every file, and whether it would do as a client certificate."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mtls_auth.authenticator import utc_now
from mtls_auth.cli.certificate_input import CertificateInput
from mtls_auth.cli.certificate_report import CertificateReport
from mtls_auth.cli.certificate_text import certificate_text
from mtls_auth.cli.input_file import UnreadableFileError, read_file
from mtls_auth.cli.printable import printable

if TYPE_CHECKING:
    from argparse import _SubParsersAction

MAX_FILE_BYTES = 16 * 1024 * 1024


def add_parser(subcommands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its arguments."""
    parser = subcommands.add_parser(
        "inspect",
        help="show every certificate of files",
        description="Show the certificates of PEM, DER or PKCS#7 files, and whether they would do as client "
        "certificates. No signature is verified.",
        epilog="Exit status: 0 when every file was read, 2 when one could not be opened.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line for each certificate")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a certificate file; - is standard input")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all reports; return 2 if a file could not be opened."""
    status, now, blank_line = 0, utc_now(), False
    for name in options.files:
        try:
            for report in _reports(name, now):
                text = json.dumps(report.as_json()) if options.json else certificate_text(report)
                print(f"\n{text}" if blank_line else text)
                blank_line = not options.json
        except UnreadableFileError as error:
            print(f"mtls-auth: {printable(name)}: {error}", file=sys.stderr)
            status = 2
    return status


def _reports(name: str, now: datetime) -> Iterator[CertificateReport]:
    data = read_file(name, MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFileError("it is larger than 16 MiB: split it, or give another file")
    held = CertificateInput.read(data)
    if held.has_private_key:
        print(
            f"mtls-auth: {printable(name)}: there is a private key in this file; it was not read and is not shown. "
            "Keep it secret, and give others the certificate alone",
            file=sys.stderr,
        )
    for index, found in enumerate(held.found, 1):
        yield CertificateReport.of(name, index, found, now)
