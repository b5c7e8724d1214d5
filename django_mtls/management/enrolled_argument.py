"""An enrolled certificate as an argument of a command: its fingerprint."""

from django.core.management import CommandError
from django.utils.translation import gettext as _

from django_mtls.models import EnrolledCertificate
from mtls_auth import ConfigurationError
from mtls_auth.mapping import normalize_fingerprint


def enrolled_certificate(fingerprint: str) -> EnrolledCertificate:
    """Return the certificate of this SHA-256 fingerprint, in hex with or without colons."""
    try:
        digits = normalize_fingerprint(fingerprint)
    except ConfigurationError as error:
        raise CommandError(f"{error}.") from error
    row = EnrolledCertificate.objects.select_related("user").filter(fingerprint_sha256=digits).first()
    if row is None:
        message = _("No certificate with the fingerprint %(fingerprint)s is enrolled: see manage.py mtls_list.")
        raise CommandError(message % {"fingerprint": digits})
    return row
