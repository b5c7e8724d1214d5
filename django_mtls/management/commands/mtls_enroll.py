"""manage.py mtls_enroll"""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_mtls import lifecycle
from django_mtls.advice import advise
from django_mtls.management.certificate_argument import certificate_of, read_argument
from django_mtls.management.user_argument import user_named
from django_mtls.models import EnrolledCertificate
from mtls_auth import CertificateRejected


class Command(BaseCommand):
    help = "Enrol a client certificate: from the next request on it stands for the user."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="who signs in with it")
        parser.add_argument("file", help="the certificate in PEM, DER or PKCS#7, without a private key; - reads stdin")
        length = EnrolledCertificate._meta.get_field("label").max_length or 0
        parser.add_argument("--label", default="", help=f"what it is, as “laptop”; at most {length} characters")

    def handle(self, *, username: str, file: str, label: str, **options: Any) -> None:
        user = user_named(username)
        length = EnrolledCertificate._meta.get_field("label").max_length or 0
        if len(label) > length:
            raise CommandError(_("The label has more than %(count)d characters: shorten it.") % {"count": length})
        certificate = certificate_of(file, read_argument(file))
        try:
            row = lifecycle.enroll(certificate, user, label=label)
        except CertificateRejected as rejected:
            raise CommandError(advise(rejected)) from rejected
        except lifecycle.LifecycleError as error:
            raise CommandError(str(error)) from error
        values = {"certificate": row, "fingerprint": row.fingerprint_sha256, "user": username}
        self.stdout.write(
            self.style.SUCCESS(_("Enrolled %(certificate)s for %(user)s.") % values)
            + f"\nSHA-256 {row.fingerprint_sha256}"
        )
        if not user.is_active:
            message = _("The user %(user)s is not active: the certificate is refused until that changes.")
            self.stderr.write(self.style.WARNING(message % values))
