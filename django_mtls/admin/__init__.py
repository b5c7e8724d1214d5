"""Enrolment, revocation and the user's certificates in Django's admin."""

from django_mtls.admin.certificate_admin import EnrolledCertificateAdmin
from django_mtls.admin.revocation_admin import RevocationAdmin
from django_mtls.admin.user_certificates import UserCertificates

__all__ = ["EnrolledCertificateAdmin", "RevocationAdmin", "UserCertificates"]
