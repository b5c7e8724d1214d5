"""What every application of the site answers: JSON values that tests compare."""

import os

from mtls_auth import Anonymous, Authenticated, Decision, Denied


def whoami(decision: Decision) -> dict[str, object]:
    """Say whom the application believes to be there, why not, and which process says so."""
    match decision:
        case Authenticated(identity=identity, principal=principal):
            return {
                "user": str(principal),
                "common_name": identity.subject_cn,
                "fingerprint": identity.fingerprint_sha256,
                "assurance": identity.assurance.value,
                "reason": None,
                "pid": os.getpid(),
            }
        case Anonymous(reason=reason) | Denied(reason=reason):
            return {"user": None, "reason": reason.value, "pid": os.getpid()}
