"""What to do about a refused certificate: one sentence for each reason that an operator meets."""

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from mtls_auth import CertificateRejected, Reason

_NEW_CERTIFICATE = gettext_lazy("Have a new certificate issued.")

ADVICE: Mapping[Reason, object] = {
    Reason.PRIVATE_KEY: gettext_lazy(
        "Nothing of it was kept. “openssl x509 -in FILE” prints the certificate of a PEM file, "
        "“openssl pkcs12 -in FILE -clcerts -nokeys” that of a PKCS#12 file."
    ),
    Reason.MALFORMED_CERTIFICATE: gettext_lazy(
        "Give one certificate as PEM with its BEGIN and END lines, or a file in PEM, DER or PKCS#7."
    ),
    Reason.UNUSABLE_NAME: gettext_lazy("Have a certificate issued whose names can be read in one way only."),
    Reason.WEAK_KEY: gettext_lazy("Have a certificate issued for an EC key, or for an RSA key of 2048 to 8192 bits."),
    Reason.WRONG_KEY_USAGE: gettext_lazy(
        "Have a certificate issued for TLS clients: extendedKeyUsage clientAuth, keyUsage digitalSignature."
    ),
    Reason.PROXY_UNPROVEN: gettext_lazy(
        "Let the proxy send MTLS_AUTH['PROXY_SECRET'] in the same place of its configuration as the certificate."
    ),
    Reason.INSUFFICIENT_EVIDENCE: gettext_lazy(
        "Let MTLS_AUTH['MAPPING'] and ['POLICY'] ask only for what the terminator states, as a Fingerprint; or let it "
        "forward the certificate."
    ),
    Reason.EXPIRED: _NEW_CERTIFICATE,
    Reason.NOT_YET_VALID: gettext_lazy("Wait until then, or set this computer’s clock."),
    Reason.UNTRUSTED: gettext_lazy(
        "Check that the issuing CA, and every CA above it, is in TRUST_ANCHORS, or comes with the certificate."
    ),
    Reason.NOT_ENROLLED: gettext_lazy("Enrol it, in the admin or with manage.py mtls_enroll."),
    Reason.PENDING: gettext_lazy("Approve it in the admin."),
    Reason.SUSPENDED: gettext_lazy("Reactivate it on its page in the admin, if it may be used again."),
    Reason.SUPERSEDED: gettext_lazy("Use the certificate that replaced it."),
    Reason.REVOKED: _NEW_CERTIFICATE,
    Reason.NO_USER: gettext_lazy("Have a new certificate issued, and enrol that for another user."),
    Reason.INACTIVE_USER: gettext_lazy("Make the user active in the admin, if they may sign in."),
    Reason.NOT_ALLOWED: gettext_lazy("Change MTLS_AUTH['POLICY'], or use a certificate that it admits."),
    Reason.CONTRADICTORY_EVIDENCE: gettext_lazy("Enrol the certificate for the user whom its common name names."),
    Reason.STORE_UNAVAILABLE: gettext_lazy("Check the connection to the database."),
}


def advise(rejected: CertificateRejected) -> str:
    """Return what is wrong and what to do, in sentences. The first is the core's English detail."""
    detail = rejected.detail or rejected.reason.value.replace("_", " ")
    sentence = _("Refused: %(detail)s.") % {"detail": detail.rstrip(".")}
    return f"{sentence} {ADVICE.get(rejected.reason, '')}".strip()
