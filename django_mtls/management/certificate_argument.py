"""A certificate as an argument of a command: a file, or standard input as “-”."""

import sys
from pathlib import Path

from django.core.management import CommandError
from django.utils.translation import gettext as _

from django_mtls.advice import advise
from mtls_auth import Certificate, CertificateRejected
from mtls_auth.certificate_files import MAX_FILE_BYTES, client_certificate_in


def read_argument(name: str) -> bytes:
    """Return the bytes of the file *name*, at most one more than may be read."""
    if name == "-":
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(_("%(file)s: %(reason)s.") % {"file": name, "reason": error.strerror or error}) from error


def certificate_of(name: str, data: bytes) -> Certificate:
    """Return the one client certificate in *data*; refuse private keys."""
    try:
        return client_certificate_in(data)
    except CertificateRejected as rejected:
        raise CommandError(f"{name}: {advise(rejected)}") from rejected
