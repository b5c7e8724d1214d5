"""Why a certificate was refused: the exceptions and the stable reason codes.

    MTLSAuthError                 base, never raised itself
    ├── ConfigurationError        while building; lists every problem at once
    └── CertificateRejected       while deciding; one Reason, one detail for the log

Everything inside the package raises `CertificateRejected`; `Authenticator` turns it into `Denied` once.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Reason codes: stable API of logs, signals, metrics and tests. Messages may change, these do not."""

    NO_CERTIFICATE = "no_certificate"
    CERTIFICATE_REQUIRED = "certificate_required"

    MALFORMED_HEADER = "malformed_header"
    AMBIGUOUS_HEADER = "ambiguous_header"
    OVERSIZED_HEADER = "oversized_header"
    CONTRADICTORY_EVIDENCE = "contradictory_evidence"
    MALFORMED_CERTIFICATE = "malformed_certificate"
    PRIVATE_KEY = "private_key"

    UNVERIFIED = "unverified"
    PROXY_UNPROVEN = "proxy_unproven"
    PROXY_REJECTED = "proxy_rejected"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    UNTRUSTED = "untrusted"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    WRONG_KEY_USAGE = "wrong_key_usage"
    WEAK_KEY = "weak_key"
    UNUSABLE_NAME = "unusable_name"

    NOT_ENROLLED = "not_enrolled"
    PENDING = "pending"
    SUSPENDED = "suspended"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    NO_USER = "no_user"
    INACTIVE_USER = "inactive_user"
    NOT_ALLOWED = "not_allowed"

    STORE_UNAVAILABLE = "store_unavailable"

    @property
    def status(self) -> int:
        """HTTP status of a denial for this reason; 403 unless the request or our store is at fault."""
        return _STATUS.get(self, 403)


# A bad certificate is 403, not 401: from here a TLS client cannot be challenged for another one.
_STATUS = {
    Reason.MALFORMED_HEADER: 400,
    Reason.AMBIGUOUS_HEADER: 400,
    Reason.CONTRADICTORY_EVIDENCE: 400,
    Reason.MALFORMED_CERTIFICATE: 400,
    Reason.PRIVATE_KEY: 400,
    Reason.OVERSIZED_HEADER: 431,  # RFC 9440 §2.4
    Reason.STORE_UNAVAILABLE: 503,
}


class MTLSAuthError(Exception):
    """Base class of this package's exceptions; never raised itself."""


class ConfigurationError(MTLSAuthError):
    """The configuration cannot work; `problems` lists everything that is wrong, with what to do."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class CertificateRejected(MTLSAuthError):
    """The evidence or the certificate is refused for `reason`; `detail` is for the log.

    `detail` never holds a header value, a PEM or a secret.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
