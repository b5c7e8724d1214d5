"""Who a verified certificate speaks of, in the field's own terms."""

import base64
from dataclasses import dataclass
from typing import Self

from mtls_auth.certificate import Certificate
from mtls_auth.evidence import SHA256_DIGITS, Assurance, Statement, digest_name, without_certificate
from mtls_auth.verification import VerifiedCertificate


@dataclass(frozen=True, slots=True)
class Identity:
    """The names and fingerprints of one verified certificate, and who vouches for it.

    Not a user: `mapping` makes one of it. Holding a certificate proves nothing; only verifiers lead here. Where the
    terminator forwards no certificate, whatever is not in its `statement` raises `insufficient_evidence`: so every
    policy and mapper that needs it denies.
    """

    verified: VerifiedCertificate

    @classmethod
    def from_verified(cls, verified: VerifiedCertificate) -> Self:
        return cls(verified)

    @property
    def certificate(self) -> Certificate:
        """The certificate. Raises `insufficient_evidence` where the terminator keeps it to itself."""
        certificate = self.verified.certificate
        if isinstance(certificate, Statement):
            raise without_certificate("this")
        return certificate

    @property
    def statement(self) -> Statement | None:
        """What the terminator says of a certificate that it does not forward; None where it forwards it."""
        certificate = self.verified.certificate
        return certificate if isinstance(certificate, Statement) else None

    @property
    def fingerprint(self) -> str | None:
        """The SHA-256 fingerprint, or the digest that the terminator states: perhaps SHA-1 (40 digits), or None."""
        certificate = self.verified.certificate
        return certificate.fingerprint if isinstance(certificate, Statement) else certificate.fingerprint_sha256

    @property
    def reference(self) -> str:
        """What tells this identity from all others: its fingerprint, or else the name that the terminator states."""
        statement = self.statement
        return self.fingerprint or f"name:{statement.name if statement is not None else ''}"

    @property
    def assurance(self) -> Assurance:
        return self.verified.assurance

    @property
    def fingerprint_sha256(self) -> str:
        """SHA-256 of the DER, 64 lower-case hex digits."""
        certificate = self.verified.certificate
        if not isinstance(certificate, Statement):
            return certificate.fingerprint_sha256
        if certificate.fingerprint is None or len(certificate.fingerprint) != SHA256_DIGITS:
            raise without_certificate("a SHA-256 fingerprint")
        return certificate.fingerprint

    @property
    def x5t_s256(self) -> str:
        """The same in base64url without padding. RFC 8705 §3.1, RFC 7515 §4.1.8."""
        return base64.urlsafe_b64encode(bytes.fromhex(self.fingerprint_sha256)).decode().rstrip("=")

    @property
    def subject_cn(self) -> str | None:
        """The one common name of the subject, None without one."""
        return self.certificate.common_name

    def __str__(self) -> str:
        statement = self.statement
        name = self.subject_cn or "no common name" if statement is None else statement.name or "no name"
        digest = self.fingerprint
        if digest is None:
            return name
        return f"{name} ({digest_name(digest)} {digest[:16]}…)"
