"""What came out: one of three values, to be matched in full."""

from dataclasses import dataclass

from mtls_auth.errors import Reason
from mtls_auth.identity import Identity


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


Decision = Anonymous | Authenticated | Denied
