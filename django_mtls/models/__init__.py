from django_mtls.models.enrolled_certificate import EnrolledCertificate, State
from django_mtls.models.revocation import CRLReason, Revocation
from django_mtls.models.state_version import StateVersion

__all__ = ["CRLReason", "EnrolledCertificate", "Revocation", "State", "StateVersion"]
