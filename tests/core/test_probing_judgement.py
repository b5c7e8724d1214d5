"""What the answer to a forged request means."""

from typing import Any

import pytest

from mtls_auth.errors import Reason
from mtls_auth.probing.answer import Answer
from mtls_auth.probing.forgeries import Victim
from mtls_auth.probing.judgement import Outcome, judge
from mtls_auth.probing.tricks import Kind

VICTIM = Victim(der=b"", identifiers=frozenset({"victim", "spiffe://victim"}))


def report(
    decision: str = "anonymous", reason: str | None = "no_certificate", who: str | None = None
) -> dict[str, Any]:
    """Return what the endpoint says."""
    return {
        "decision": decision,
        "reason": reason,
        "fingerprint_sha256": who,
        "presented": [who] if who else [],
        "reads": [],
        "peer": "10.0.0.1",
        "peer_believed": True,
    }


NOBODY = report()
OWN = report("authenticated", None, "own")
UNKNOWN = report("denied", "not_enrolled", "own")
UNVERIFIED = report("denied", "proxy_rejected")
REQUIRED = report("denied", "certificate_required")


def outcome(
    honest: dict[str, Any], answer: dict[str, Any] | Answer, *, kind: Kind = Kind.COPY, forges: bool = True
) -> Outcome:
    """Judge an answer of the endpoint, or of somebody else."""
    found = answer if isinstance(answer, Answer) else Answer(status=200, report=answer)
    return judge(honest, found, VICTIM, kind=kind, forges=forges)


@pytest.mark.parametrize("honest", [NOBODY, OWN, UNKNOWN, UNVERIFIED, REQUIRED])
def test_the_same_as_ever(honest: dict[str, Any]) -> None:
    """Whoever is taken for the same as without the trick, denied ones too, has not got through."""
    assert outcome(honest, {**honest, "removed": ["x"], "peer": "other"}) is Outcome.BLOCKED


@pytest.mark.parametrize("honest", [NOBODY, OWN, UNKNOWN])
@pytest.mark.parametrize("who", ["victim", "spiffe://victim"])
def test_the_victim_is_believed(honest: dict[str, Any], who: str) -> None:
    """Whoever is taken for the victim has got through, by whatever the application knows the victim."""
    assert outcome(honest, report("authenticated", None, who)) is Outcome.BELIEVED


@pytest.mark.parametrize("reason", ["not_enrolled", "not_allowed", "untrusted", "expired", "malformed_certificate"])
def test_the_victim_is_refused(reason: str) -> None:
    """The victim's certificate counted as the proxy's word, whatever it was refused for."""
    assert outcome(NOBODY, report("denied", reason, "victim")) is Outcome.REACHED


def test_the_victim_is_presented_only() -> None:
    """It is enough that the source took the victim's certificate for the client's."""
    assert outcome(NOBODY, {**report("denied", "untrusted"), "presented": ["victim"]}) is Outcome.REACHED


@pytest.mark.parametrize("honest", [NOBODY, UNKNOWN])
def test_somebody_else_is_believed(honest: dict[str, Any]) -> None:
    """Whoever was nobody before and is somebody now has got through, also with a certificate of its own."""
    assert outcome(honest, OWN) is Outcome.BELIEVED


@pytest.mark.parametrize(
    "reason",
    [
        *("malformed_header", "ambiguous_header", "oversized_header", "contradictory_evidence"),
        *("malformed_certificate", "proxy_unproven"),
    ],
)
@pytest.mark.parametrize("honest", [NOBODY, OWN])
def test_refusals_of_the_application(honest: dict[str, Any], reason: str) -> None:
    """What the application refuses as no word of its proxy has not got through."""
    assert outcome(honest, report("denied", reason)) is Outcome.REFUSED


@pytest.mark.parametrize("reason", ["unverified", "proxy_rejected"])
def test_half_of_it(reason: str) -> None:
    """A certificate without the verdict that belongs to it was the proxy's in part only."""
    assert outcome(NOBODY, report("denied", reason)) is Outcome.HALF
    assert outcome(OWN, report("denied", reason)) is Outcome.HALF
    assert outcome(NOBODY, report("denied", reason), kind=Kind.NOMINATION) is Outcome.HALF
    assert outcome(REQUIRED, report("denied", reason), kind=Kind.NOMINATION) is Outcome.HALF


@pytest.mark.parametrize("honest", [OWN, UNVERIFIED])
def test_a_client_that_takes_its_verdict_away(honest: dict[str, Any]) -> None:
    """A nominated verdict leaves the client's own certificate unverified, which harms nobody else."""
    answer = report("denied", "unverified")
    assert outcome(honest, answer, kind=Kind.NOMINATION) is Outcome.LOST


@pytest.mark.parametrize("reason", ["unverified", "untrusted", "proxy_rejected"])
def test_nothing_was_forged(reason: str) -> None:
    """A trick that forges nothing cannot have brought a forged certificate."""
    assert outcome(NOBODY, report("denied", reason), forges=False) is Outcome.LOST


@pytest.mark.parametrize("answer", [NOBODY, REQUIRED])
def test_own_identity_lost(answer: dict[str, Any]) -> None:
    """A client that is nobody now has harmed itself."""
    assert outcome(OWN, answer) is Outcome.LOST


@pytest.mark.parametrize("reason", ["untrusted", "weak_key", "unusable_name", "insufficient_evidence", "private_key"])
def test_other_denials(reason: str) -> None:
    """A denial to which only a certificate leads says that one got as far, even if nobody tells whose."""
    assert outcome(NOBODY, report("denied", reason)) is Outcome.REACHED


def test_every_reason_has_an_outcome() -> None:
    """No denial of somebody who was nobody before passes for an honest answer."""
    for reason in Reason:
        found = outcome(NOBODY, report("denied", reason))
        assert found is not Outcome.BLOCKED
        assert found.got_through or reason in {
            *("no_certificate", "certificate_required", "malformed_header", "ambiguous_header", "oversized_header"),
            *("contradictory_evidence", "malformed_certificate", "proxy_unproven", "store_unavailable"),
        }


def test_the_store_is_gone() -> None:
    """Without the application's database nobody can tell."""
    assert outcome(NOBODY, report("denied", "store_unavailable")) is Outcome.UNJUDGED


@pytest.mark.parametrize(
    "status", [None, 400, 403, 405, 408, 411, 413, 414, 417, 421, 426, 431, 494, 500, 501, 502, 505]
)
def test_refusals_on_the_way(status: int | None) -> None:
    """What a proxy or a server refuses, or does not answer, did not reach the application."""
    assert outcome(NOBODY, Answer(status=status)) is Outcome.REFUSED


@pytest.mark.parametrize("status", [101, 200, 204, 301, 302, 401, 404, 429, 503, 504])
def test_somebody_else_answers(status: int) -> None:
    """An answer that is neither the endpoint's nor a refusal tells nothing."""
    assert outcome(NOBODY, Answer(status=status)) is Outcome.UNJUDGED


def test_order() -> None:
    """The worst that can be is to be believed; whatever got through is worse than what did not."""
    outcomes = sorted(Outcome, key=lambda outcome: outcome.severity)
    assert outcomes[-1] is Outcome.BELIEVED
    assert [outcome.got_through for outcome in outcomes] == [False] * 4 + [True] * 3
