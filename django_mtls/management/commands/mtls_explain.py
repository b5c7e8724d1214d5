"""manage.py mtls_explain"""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_mtls.advice import advise
from django_mtls.conf import get_authenticator
from django_mtls.explanation import Step, explain
from django_mtls.management.certificate_argument import certificate_of, read_argument
from django_mtls.management.enrolled_argument import enrolled_certificate
from mtls_auth import Certificate, CertificateRejected, load_certificate
from mtls_auth.certificate_files import certificates_in


class Command(BaseCommand):
    help = (
        "Say step by step what the application decides about a certificate now, by the code that decides about "
        "requests. It does not know the connection: whether the proxy is believed, and what a view asks for. "
        "Ends with status 1 if the certificate is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        name = parser.add_mutually_exclusive_group(required=True)
        name.add_argument(
            "file", nargs="?", help="the certificate in PEM, DER or PKCS#7, with its intermediates; - reads stdin"
        )
        name.add_argument("--fingerprint", help="SHA-256 of an enrolled certificate, hexadecimal, colons allowed")

    def handle(self, *, file: str | None, fingerprint: str | None, **options: Any) -> None:
        certificate, chain = self._from_file(file) if file is not None else self._enrolled(fingerprint or "")
        self._describe(certificate)
        for step in explain(chain, get_authenticator()):
            self._report(step)
            if step.rejected is not None:
                reason = step.rejected.reason
                values = {"reason": reason.value, "status": reason.status}
                raise CommandError(_("The certificate is refused: %(reason)s, HTTP %(status)d.") % values)
        self.stdout.write(self.style.SUCCESS(_("The certificate is admitted. A view may ask for more.")))

    def _from_file(self, file: str) -> tuple[Certificate, tuple[bytes, ...]]:
        data = read_argument(file)
        leaf = certificate_of(file, data)
        return leaf, (leaf.der, *(der for der in certificates_in(data) if der != leaf.der))

    def _enrolled(self, fingerprint: str) -> tuple[Certificate, tuple[bytes, ...]]:
        der = bytes(enrolled_certificate(fingerprint).der)
        try:
            return load_certificate(der), (der,)
        except CertificateRejected as rejected:
            raise CommandError(advise(rejected)) from rejected

    def _describe(self, certificate: Certificate) -> None:
        facts = (
            (_("Subject"), certificate.subject.rfc4514_string() or "-"),
            (_("Issuer"), certificate.issuer.rfc4514_string()),
            (_("Serial number"), certificate.serial_hex),
            (_("Valid"), f"{certificate.not_before.isoformat(' ')} – {certificate.not_after.isoformat(' ')}"),
            ("SHA-256", certificate.fingerprint_sha256),
        )
        for name, value in facts:
            self.stdout.write(f"{name}: {value}")
        self.stdout.write("")

    def _report(self, step: Step) -> None:
        if step.rejected is None:
            self.stdout.write(f"{self.style.SUCCESS(_('yes'))}  {step.title}: {step.found}")
        else:
            self.stdout.write(f"{self.style.ERROR(_('NO'))}   {step.title}: {advise(step.rejected)}")
