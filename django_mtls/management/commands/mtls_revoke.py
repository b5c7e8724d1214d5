"""manage.py mtls_revoke"""

from argparse import ArgumentParser
from typing import Any

from cryptography import x509
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_mtls import lifecycle
from django_mtls.forms.issuer_name import parse_issuer
from django_mtls.forms.serial_number import parse_serial
from django_mtls.management.certificate_argument import certificate_of, read_argument
from django_mtls.management.enrolled_argument import enrolled_certificate
from django_mtls.models import CRLReason, State


class Command(BaseCommand):
    help = (
        "Revoke a client certificate: it is refused from the next request on. Name it by the fingerprint of an "
        "enrolled one, by the certificate itself, or by issuer and serial number; the last two need no enrolment."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        name = parser.add_mutually_exclusive_group(required=True)
        name.add_argument("--fingerprint", help="SHA-256 of an enrolled certificate, hexadecimal, colons allowed")
        name.add_argument("--file", help="the certificate in PEM, DER or PKCS#7; - reads stdin")
        name.add_argument(
            "--issuer", help="issuer's name in RFC 4514 form, as “CN=Example CA,O=Example”; with --serial"
        )
        parser.add_argument("--serial", help="serial number, hexadecimal, colons allowed; with --issuer")
        parser.add_argument(
            "--reason",
            required=True,
            choices=CRLReason.values,
            metavar="REASON",
            help=f"one of {', '.join(CRLReason.values)} (RFC 5280). certificateHold suspends, the others are final",
        )
        parser.add_argument("--comment", default="", help="for the history")

    def handle(
        self,
        *,
        fingerprint: str | None,
        file: str | None,
        issuer: str | None,
        serial: str | None,
        reason: str,
        comment: str,
        **options: Any,
    ) -> None:
        if (issuer is None) != (serial is None):
            raise CommandError(_("A serial number is unique only with its issuer: give --issuer and --serial."))
        try:
            if fingerprint is not None:
                text = self._by_fingerprint(fingerprint, CRLReason(reason), comment)
            else:
                name, number = self._named(file, issuer, serial)
                lifecycle.revoke_serial(name, number, CRLReason(reason), comment=comment)
                text = f"{number:x} ({name.rfc4514_string()})"
        except lifecycle.LifecycleError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            self.style.SUCCESS(_("Revoked %(certificate)s: %(reason)s.") % {"certificate": text, "reason": reason})
        )

    def _by_fingerprint(self, fingerprint: str, reason: CRLReason, comment: str) -> str:
        row = enrolled_certificate(fingerprint)
        if row.state == State.REVOKED:
            raise CommandError(_("This certificate is revoked already: there is nothing to do."))
        lifecycle.revoke([row], reason, comment=comment)
        return str(row)

    def _named(self, file: str | None, issuer: str | None, serial: str | None) -> tuple[x509.Name, int]:
        if file is not None:
            certificate = certificate_of(file, read_argument(file))
            return certificate.issuer, certificate.serial_number
        try:
            return parse_issuer(issuer or ""), parse_serial(serial or "")
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
