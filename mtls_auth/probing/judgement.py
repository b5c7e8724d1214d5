"""What the application's answer to a forged request means, beside its answer to an honest one."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from mtls_auth.errors import Reason
from mtls_auth.probing.answer import Answer
from mtls_auth.probing.forgeries import Victim
from mtls_auth.probing.tricks import Kind


class Outcome(StrEnum):
    """What became of one forged request, the worst last."""

    BLOCKED = "blocked"
    """Removed on the way, or not believed: the application decided as it does without them."""
    REFUSED = "refused"
    """The proxy, the server or the application refused the request, as malformed, ambiguous or unproven; or nobody
    answered it, though an honest one right after it was answered."""
    LOST = "own identity lost"
    """The client took its own certificate away from itself; nobody else was believed."""
    UNJUDGED = "not judged"
    """Somebody answered who is not the endpoint: it cannot be seen who was believed."""
    HALF = "GOT THROUGH in part"
    """What was forged counted as the proxy's word, and contradicted the rest of it."""
    REACHED = "GOT THROUGH, refused later"
    """The forged certificate counted as the proxy's word, and was refused by what comes after."""
    BELIEVED = "GOT THROUGH, believed"
    """The application believed to have somebody else before it."""

    @property
    def got_through(self) -> bool:
        return self in {Outcome.HALF, Outcome.REACHED, Outcome.BELIEVED}

    @property
    def severity(self) -> int:
        return list(Outcome).index(self)


# Refused before anything of the request counted as evidence.
_REFUSED = frozenset(
    {
        Reason.MALFORMED_HEADER,
        Reason.AMBIGUOUS_HEADER,
        Reason.OVERSIZED_HEADER,
        Reason.CONTRADICTORY_EVIDENCE,
        Reason.MALFORMED_CERTIFICATE,
        Reason.PROXY_UNPROVEN,
    }
)
# A certificate without the verdict that belongs to it.
_HALF = frozenset({Reason.UNVERIFIED, Reason.PROXY_REJECTED})
_NOBODY = frozenset({Reason.NO_CERTIFICATE, Reason.CERTIFICATE_REQUIRED})
_COMPARED = ("decision", "reason", "fingerprint_sha256", "presented")


def judge(honest: Mapping[str, Any], answer: Answer, victim: Victim, *, kind: Kind, forges: bool) -> Outcome:
    """Judge the answer to a trick, given the report on the same client without it.

    Does not know what the application does beside this package. A certificate that counted as the proxy's word is
    recognised by the *victim*'s fingerprint, and by reasons that only a certificate leads to.
    """
    report = answer.report
    if report is None:
        return Outcome.REFUSED if answer.refused else Outcome.UNJUDGED
    authenticated = report["decision"] == "authenticated"
    if not victim.identifiers.isdisjoint({report["fingerprint_sha256"], *report["presented"]}):
        return Outcome.BELIEVED if authenticated else Outcome.REACHED
    if is_same(honest, report):
        return Outcome.BLOCKED
    if authenticated:
        return Outcome.BELIEVED
    reason = report["reason"]
    if reason in _REFUSED:
        return Outcome.REFUSED
    if reason == Reason.STORE_UNAVAILABLE:
        return Outcome.UNJUDGED
    if reason in _NOBODY or not forges:
        return Outcome.LOST
    if reason in _HALF:
        # Without its verdict the client's own certificate is unverified, too.
        has_own = honest["reason"] not in _NOBODY
        return Outcome.LOST if kind is Kind.NOMINATION and has_own else Outcome.HALF
    return Outcome.REACHED


def is_same(honest: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """Whether two reports say the same of the client."""
    return all(honest[field] == report[field] for field in _COMPARED)
