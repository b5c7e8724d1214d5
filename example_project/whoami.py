"""What both applications answer: who the certificate says you are."""

import json
from collections.abc import Mapping

from mtls_auth import Authenticated, Decision, Identity, OrganizationalUnit, Reason

# alice's certificate has the organizational unit Finance, bob's has Engineering.
REPORTS = OrganizationalUnit("Finance")


def whoami(decision: Decision, refused: Reason | None = None) -> dict[str, object]:
    """Return the answer of `/whoami` as JSON values; `refused` says why somebody known may not go further."""
    if isinstance(decision, Authenticated):
        return {"user": str(decision.principal), "certificate": facts(decision.identity), "reason": refused}
    return {"user": None, "certificate": None, "reason": refused or decision.reason}


def facts(identity: Identity) -> dict[str, object]:
    """Return what a certificate says of itself, and who vouches for it."""
    certificate = identity.certificate
    return {
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "subject_cn": certificate.common_name,
        "serial_number": certificate.serial_hex,
        "not_after": certificate.not_after.isoformat(),
        "assurance": identity.assurance,
    }


def as_json(values: Mapping[str, object]) -> str:
    """Return the text of an answer, with the newline that a shell's prompt needs."""
    return json.dumps(values) + "\n"
