"""Who a verified certificate speaks of, in the field's own terms."""

import base64
from dataclasses import dataclass
from typing import Self

from mtls_auth.certificate import Certificate
from mtls_auth.evidence import Assurance
from mtls_auth.verification import VerifiedCertificate


@dataclass(frozen=True, slots=True)
class Identity:
    """The names and fingerprints of one verified certificate, and who vouches for it.

    Not a user: `mapping` makes one of it. Holding a certificate proves nothing; only verifiers lead here.
    """

    verified: VerifiedCertificate

    @classmethod
    def from_verified(cls, verified: VerifiedCertificate) -> Self:
        return cls(verified)

    @property
    def certificate(self) -> Certificate:
        return self.verified.certificate

    @property
    def assurance(self) -> Assurance:
        return self.verified.assurance

    @property
    def fingerprint_sha256(self) -> str:
        """SHA-256 of the DER, 64 lower-case hex digits."""
        return self.verified.certificate.fingerprint_sha256

    @property
    def x5t_s256(self) -> str:
        """The same in base64url without padding. RFC 8705 §3.1, RFC 7515 §4.1.8."""
        return base64.urlsafe_b64encode(bytes.fromhex(self.fingerprint_sha256)).decode().rstrip("=")

    @property
    def subject_cn(self) -> str | None:
        """The one common name of the subject, None without one."""
        return self.verified.certificate.common_name

    def __str__(self) -> str:
        return f"{self.subject_cn or 'no common name'} (SHA-256 {self.fingerprint_sha256[:16]}…)"
