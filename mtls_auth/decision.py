"""What came out: one of three values, to be matched in full."""

import logging
from dataclasses import dataclass
from typing import Self

from mtls_auth.errors import CertificateRejected, Reason
from mtls_auth.identity import Identity

logger = logging.getLogger("mtls_auth")


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No certificate was presented, or nobody who may speak for the client said so."""

    reason: Reason = Reason.NO_CERTIFICATE


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A verified certificate in force, and the principal that it stands for."""

    identity: Identity
    principal: object


@dataclass(frozen=True, slots=True)
class Denied:
    """Refused for `reason`. `identity` is known where the certificate could be verified; never act on it."""

    reason: Reason
    detail: str = ""
    identity: Identity | None = None

    @classmethod
    def because(cls, rejected: CertificateRejected, identity: Identity | None = None) -> Self:
        """Turn a rejection into a denial, and log it: reason, detail and fingerprint, never a header or a PEM."""
        logger.warning(
            "client certificate refused: %s (%s) %s",
            rejected.reason.value,
            rejected.detail,
            identity or "",
            extra={
                "reason": rejected.reason.value,
                "fingerprint_sha256": identity.fingerprint if identity else None,
            },
        )
        return cls(rejected.reason, rejected.detail, identity)


Decision = Anonymous | Authenticated | Denied
