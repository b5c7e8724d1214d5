"""Certificates that the terminator keeps to itself: found by stated fingerprint, or their users by stated name."""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_mtls import lifecycle
from django_mtls.directory import Directory
from django_mtls.lookup import CommonNameLookup, FingerprintLookup
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from django_mtls.signals import certificate_denied
from django_mtls.stated_lookup import StatedFingerprintLookup, StatedNameLookup
from mtls_auth import (
    Assurance,
    CertificateRejected,
    CommonName,
    Evidence,
    Fingerprint,
    Identity,
    NoneOf,
    OrganizationalUnit,
    Policy,
    Reason,
    Statement,
    VouchedFor,
)
from mtls_auth.testing import IssuedCertificate
from tests.django.conftest import (
    NOTHING,
    PROXY,
    Answer,
    Browser,
    Clock,
    Configure,
    Issue,
    Sent,
    by_alibaba,
    by_linkerd,
    database_down,
    directory,
    enroll,
    identity_of,
    person,
    put,
)

pytestmark = pytest.mark.django_db

ALICE = Answer(200, "alice")
ANONYMOUS = Answer(200, "")
INSUFFICIENT = Answer(403, None, "insufficient_evidence")
SPIFFE_ID = "spiffe://example.org/ns/default/sa/alice"
DIGESTS: dict[str, Callable[[IssuedCertificate], str]] = {
    "sha1": lambda issued: sha1(issued.der, usedforsecurity=False).hexdigest(),
    "sha256": lambda issued: issued.fingerprint_sha256,
}
digests = pytest.mark.parametrize("digest", DIGESTS.values(), ids=DIGESTS)
VIEWS = pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])


def stated(fingerprint: str | None = None, name: str | None = None) -> Identity:
    """Return the identity of a statement."""
    statement = Statement(fingerprint=fingerprint, name=name)
    evidence = Evidence("stated", ("x",), Assurance.PROXY_VERDICT, lambda _raw: statement)
    return Identity.from_verified(VouchedFor().verify(evidence, at=timezone.now()))


@pytest.fixture
def alibaba(configure: Configure) -> Configure:
    """Configure a terminator that states fingerprints."""

    def change(**changes: Any) -> None:
        configure(SOURCE="alibaba-alb", TRUSTED_PROXIES=[PROXY], **changes)

    change()
    return change


@pytest.fixture
def linkerd(configure: Configure) -> Configure:
    """Configure a terminator that states names."""

    def change(**changes: Any) -> None:
        trust = {"TRUSTED_PROXIES": [PROXY], "PROXY_VERIFIES": True, "MAPPING": "stated_name"}
        configure(**{"SOURCE": "linkerd", **trust, **changes})

    change()
    return change


# By fingerprint


@VIEWS
@digests
@pytest.mark.parametrize(
    "form", [str.lower, str.upper, lambda text: ":".join(text[i : i + 2] for i in range(0, len(text), 2))]
)
def test_by_fingerprint(
    alibaba: Configure, browser: Browser, issue: Issue, view: str, digest: Any, form: Callable[[str], str]
) -> None:
    """SHA-1 and SHA-256, in the usual forms, stand for the enrolled certificate's user."""
    row = enroll(issue("alice"), person("alice"))
    enroll(issue("bob"), person("bob"))
    answer = browser.get(view, by_alibaba(form(digest(issue("alice")))))
    assert answer == ALICE
    decision = answer.request.certificate_decision
    assert decision.principal.certificate_id == row.pk
    assert decision.identity.fingerprint == digest(issue("alice"))
    assert decision.identity.statement is not None


VALIDITY: dict[str, tuple[timedelta, timedelta, str | None]] = {
    "in force": (timedelta(hours=-1), timedelta(hours=1), None),
    "first moment": (timedelta(0), timedelta(hours=1), None),
    "last moment": (timedelta(hours=-1), timedelta(0), None),
    "not yet valid": (timedelta(microseconds=1), timedelta(hours=1), "not_yet_valid"),
    "expired": (timedelta(hours=-1), timedelta(microseconds=-1), "expired"),
}


@digests
@pytest.mark.parametrize(("start", "end", "reason"), VALIDITY.values(), ids=VALIDITY)
def test_validity_is_the_row_s(
    alibaba: Configure,
    browser: Browser,
    issue: Issue,
    digest: Any,
    start: timedelta,
    end: timedelta,
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The statement tells no validity: the enrolled row does, on every request. RFC 5280 §4.1.2.5."""
    now = timezone.now()
    enroll(issue("alice"), person("alice"))
    EnrolledCertificate.objects.update(not_before=now + start, not_after=now + end)
    monkeypatch.setattr("django_mtls.stated_lookup.timezone.now", lambda: now)
    expected = ALICE if reason is None else Answer(403, None, reason)
    assert browser.get("/sync/open/", by_alibaba(digest(issue("alice")))) == expected


def test_when_it_ended(issue: Issue) -> None:
    """The detail says when."""
    row = enroll(issue("alice"), person("alice"))
    for column, detail in (("not_before", "valid from "), ("not_after", "expired ")):
        moment = timezone.now() + timedelta(days=1 if column == "not_before" else -1)
        EnrolledCertificate.objects.update(**{"not_before": row.not_before, "not_after": row.not_after, column: moment})
        with pytest.raises(CertificateRejected) as caught:
            StatedFingerprintLookup().fetch(stated(row.fingerprint_sha256))
        assert caught.value.detail == f"{detail}{moment:%Y-%m-%d %H:%M:%S} UTC"


def _revoke_elsewhere(row: EnrolledCertificate) -> None:
    Revocation.objects.create(issuer=row.issuer, issuer_key=row.issuer_key, serial_number=row.serial_number)


def _deactivate(row: EnrolledCertificate) -> None:
    User.objects.update(is_active=False)


def _delete_user(row: EnrolledCertificate) -> None:
    assert row.user is not None
    row.user.delete()


STATES: dict[str, tuple[Callable[[EnrolledCertificate], object], str]] = {
    "pending": (lambda row: put(row, State.PENDING), "pending"),
    "suspended": (lifecycle.suspend, "suspended"),
    "superseded": (lambda row: put(row, State.SUPERSEDED), "superseded"),
    "revoked": (lambda row: lifecycle.revoke([row], CRLReason.KEY_COMPROMISE), "revoked"),
    "serial revoked, row active": (_revoke_elsewhere, "revoked"),
    "inactive user": (_deactivate, "inactive_user"),
    "deleted user": (_delete_user, "no_user"),
    "deleted row": (lambda row: row.delete(), "not_enrolled"),
    "another certificate": (
        lambda row: EnrolledCertificate.objects.update(fingerprint_sha256="0" * 64, fingerprint_sha1="0" * 40),
        "not_enrolled",
    ),
}


@VIEWS
@digests
@pytest.mark.parametrize("staleness", [None, 0, 60], ids=str)
@pytest.mark.parametrize(("happen", "reason"), STATES.values(), ids=STATES)
def test_states(
    alibaba: Configure,
    browser: Browser,
    issue: Issue,
    clock: Clock,
    view: str,
    digest: Any,
    staleness: float | None,
    happen: Callable[[EnrolledCertificate], object],
    reason: str,
) -> None:
    """What became of the certificate holds from the next request on, MAX_STALENESS or not."""
    alibaba(MAX_STALENESS=staleness)
    row = enroll(issue("alice"), person("alice"))
    sent = by_alibaba(digest(issue("alice")))
    assert browser.get(view, sent) == ALICE
    happen(row)
    assert browser.get(view, sent) == Answer(403, None, reason)


VERDICTS: dict[str, tuple[Sent, Answer]] = {
    "none": (by_alibaba("", "NONE"), ANONYMOUS),
    "failed": (by_alibaba("a" * 40, "FAILED:certificate has expired"), Answer(403, None, "proxy_rejected")),
    "for none": (by_alibaba("a" * 40, "NONE"), Answer(400, None, "contradictory_evidence")),
    "alone": (by_alibaba("", "SUCCESS"), Answer(400, None, "contradictory_evidence")),
    "neither length": (by_alibaba("a" * 41), Answer(400, None, "malformed_header")),
    "of nothing": (by_alibaba("da39a3ee5e6b4b0d3255bfef95601890afd80709"), Answer(400, None, "malformed_header")),
    "unknown": (by_alibaba("a" * 40), Answer(403, None, "not_enrolled")),
}


@pytest.mark.parametrize(("sent", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(alibaba: Configure, browser: Browser, issue: Issue, sent: Sent, expected: Answer) -> None:
    """A fingerprint counts with the positive verdict, and one that nobody enrolled stands for nobody."""
    enroll(issue("alice"), person("alice"))
    assert browser.get("/sync/open/", sent) == expected


def test_rows_without_sha1(alibaba: Configure, browser: Browser, issue: Issue) -> None:
    """A row that has no SHA-1 fingerprint is found by SHA-256 alone; no text finds the empty one."""
    enroll(issue("alice"), person("alice"))
    EnrolledCertificate.objects.update(fingerprint_sha1="")
    assert browser.get("/sync/open/", by_alibaba(DIGESTS["sha256"](issue("alice")))) == ALICE
    assert browser.get("/sync/open/", by_alibaba(DIGESTS["sha1"](issue("alice")))).reason == "not_enrolled"


def test_two_of_one_sha1(alibaba: Configure, browser: Browser, issue: Issue) -> None:
    """Where two certificates have one SHA-1 fingerprint, it stands for neither."""
    for name in ("alice", "bob"):
        enroll(issue(name), person(name))
    EnrolledCertificate.objects.update(fingerprint_sha1="a" * 40)
    assert browser.get("/sync/open/", by_alibaba("a" * 40)).reason == "not_enrolled"


def test_fingerprint_queries_use_indexes() -> None:
    """Either digest is answered from its index."""
    if connection.vendor != "sqlite":
        pytest.skip("a planner with statistics reads small tables whole")
    plan = EnrolledCertificate.objects.filter(StatedFingerprintLookup().condition()).explain()
    assert "mtls_certificate_sha1" in plan
    assert "autoindex" in plan or "mtls_certificate_fingerprint" in plan
    assert "SCAN" not in plan


def test_no_fingerprint(django_assert_num_queries: Any) -> None:
    """A name alone is not enough for enrolled certificates; no query is asked."""
    with django_assert_num_queries(0), pytest.raises(CertificateRejected) as caught:
        StatedFingerprintLookup().fetch(stated(name="alice"))
    assert caught.value.reason == Reason.INSUFFICIENT_EVIDENCE


@digests
def test_whole_certificates_beside(
    configure: Configure, browser: Browser, issue: Issue, settings: Any, digest: Any
) -> None:
    """A fingerprint of one source and a certificate of another are both understood."""
    enroll(issue("alice"), person("alice"))
    proxy = {"TRUSTED_PROXIES": [PROXY]}
    settings.MTLS_AUTH = {"SOURCES": [{"SOURCE": "tls"}, {"SOURCE": "alibaba-alb", **proxy}]}
    assert browser.get("/sync/open/", by_alibaba(digest(issue("alice")))) == ALICE
    assert browser.get("/sync/open/", Sent(tls=issue("alice").der)) == ALICE


# By name


@VIEWS
@pytest.mark.parametrize("name", ["alice.default.serviceaccount.identity.linkerd.cluster.local", SPIFFE_ID])
def test_by_name(linkerd: Configure, browser: Browser, view: str, name: str) -> None:
    """The client's name in the mesh is the name of a user, without any enrolment."""
    person(name)
    answer = browser.get(view, by_linkerd(name))
    assert answer == Answer(200, name)
    assert answer.request.certificate_decision.principal.certificate_id is None


NAMES: dict[str, tuple[str, Answer]] = {
    "none": ("", ANONYMOUS),
    "unknown": ("bob", Answer(403, None, "not_enrolled")),
    "other case": ("Alice", Answer(403, None, "not_enrolled")),
    "beginning": ("alic", Answer(403, None, "not_enrolled")),
    "pattern": ("al%", Answer(400, None, "malformed_header")),
    "placeholder": ("%common_name%", Answer(400, None, "malformed_header")),
    "with a blank": ("alice admin", Answer(400, None, "malformed_header")),
    "twice": ("alice,alice", Answer(400, None, "ambiguous_header")),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES)
def test_names(linkerd: Configure, browser: Browser, name: str, expected: Answer) -> None:
    """A name is compared letter by letter."""
    person("alice")
    assert browser.get("/sync/open/", by_linkerd(name)) == expected


def test_inactive_user_by_name(linkerd: Configure, browser: Browser) -> None:
    """A user who may not log in does not, by a name either."""
    person("alice", is_active=False)
    assert browser.get("/sync/open/", by_linkerd("alice")) == Answer(403, None, "inactive_user")


def by_istio(fingerprint: str, name: str = SPIFFE_ID) -> Sent:
    """What an Istio sidecar states of its client."""
    return Sent(
        headers=(("X-Forwarded-Client-Cert", f'By=spiffe://example.org/me;Hash={fingerprint};Subject="";URI={name}'),)
    )


@pytest.fixture
def istio(linkerd: Configure) -> Configure:
    """Configure a terminator that states fingerprints and SPIFFE IDs."""
    return lambda **changes: linkerd(**{"SOURCE": "istio", **changes})


def test_spiffe(istio: Configure, browser: Browser, issue: Issue) -> None:
    """The SPIFFE ID is the name of a user, or the hash that of an enrolled certificate, as MAPPING says."""
    person(SPIFFE_ID)
    enroll(issue("alice"), person("alice"))
    sent = by_istio(issue("alice").fingerprint_sha256)
    istio(MAPPING="fingerprint")
    assert browser.get("/sync/open/", sent) == ALICE
    EnrolledCertificate.objects.all().delete()
    assert browser.get("/sync/open/", sent).reason == "not_enrolled"
    istio()
    assert browser.get("/sync/open/", sent) == Answer(200, SPIFFE_ID)


@pytest.mark.parametrize(
    ("holder", "happen", "reason"),
    [
        (SPIFFE_ID, None, None),
        ("alice", None, "contradictory_evidence"),
        (SPIFFE_ID, lifecycle.suspend, "suspended"),
        (SPIFFE_ID, lambda row: lifecycle.revoke([row], CRLReason.KEY_COMPROMISE), "revoked"),
    ],
    ids=["same user", "another user", "suspended", "revoked"],
)
def test_enrolled_too(
    istio: Configure, browser: Browser, issue: Issue, holder: str, happen: Any, reason: str | None
) -> None:
    """A certificate that is mapped by name and enrolled as well must agree, and must not be refused."""
    istio()
    person("alice")
    person(SPIFFE_ID)
    row = enroll(issue("alice"), User.objects.get(username=holder))
    if happen is not None:
        happen(row)
    answer = browser.get("/sync/open/", by_istio(issue("alice").fingerprint_sha256))
    assert (answer.user, answer.reason) == (SPIFFE_ID if reason is None else None, reason)
    if reason is None:
        assert answer.request.certificate_decision.principal.certificate_id == row.pk


def test_one_query_by_name(django_assert_num_queries: Any) -> None:
    """State, revocation and user come in one query."""
    person("alice")
    lookup = StatedNameLookup()
    with django_assert_num_queries(1):
        row = lookup.fetch(stated(name="alice"))
        assert row is not None
        assert lookup.user(row).get_username() == "alice"
    assert (row.certificate_id, row.state, row.is_revoked) == (None, "active", False)


def test_an_empty_revocation_is_nobody_s(linkerd: Configure, browser: Browser, issue: Issue) -> None:
    """A name has no serial number: no revocation of another certificate is its own."""
    lifecycle.revoke([enroll(issue("bob"), person("bob"))], CRLReason.KEY_COMPROMISE)
    person("alice")
    assert browser.get("/sync/open/", by_linkerd("alice")) == ALICE


UNUSABLE = ["\ufb01ona", "\u212a", "e\u0301ve", "alice\u200b", "\u202eecila", "al\nice", " alice", "a" * 256]


@pytest.mark.parametrize("name", UNUSABLE, ids=ascii)
def test_unusable_names(name: str, django_assert_num_queries: Any) -> None:
    """A name that can be read in two ways is refused before the database is asked, whoever decoded it."""
    with django_assert_num_queries(0), pytest.raises(CertificateRejected) as caught:
        StatedNameLookup().fetch(stated(name=name))
    assert caught.value.reason == Reason.UNUSABLE_NAME


@pytest.mark.parametrize(
    ("mapping", "identity"),
    [
        ("stated_name", lambda issue: identity_of(issue("alice"))),
        ("stated_name", lambda issue: stated(fingerprint="a" * 40)),
        ("common_name", lambda issue: stated(name="alice")),
        ("fingerprint", lambda issue: stated(name="alice")),
    ],
    ids=["certificate by stated name", "fingerprint by stated name", "name by common name", "name by fingerprint"],
)
def test_insufficient(issue: Issue, mapping: str, identity: Any) -> None:
    """What a mapping needs and the evidence lacks is refused, even for users of that name."""
    person("alice")
    with pytest.raises(CertificateRejected) as caught:
        Directory(mapping=mapping).map(identity(issue))
    assert caught.value.reason == Reason.INSUFFICIENT_EVIDENCE


def test_mapping_names_the_lookups() -> None:
    """Certificates and statements have lookups of their own."""
    expected = {
        "fingerprint": (FingerprintLookup, StatedFingerprintLookup),
        "common_name": (CommonNameLookup, CommonNameLookup),
        "stated_name": (StatedNameLookup, StatedNameLookup),
    }
    for mapping, lookups in expected.items():
        found = Directory(mapping=mapping)
        assert (type(found._lookup), type(found._stated)) == lookups


# What it costs, and how old it may be


@pytest.mark.parametrize("staleness", [None, 0, 60], ids=str)
@digests
def test_statements_are_never_remembered(
    alibaba: Configure,
    browser: Browser,
    issue: Issue,
    clock: Clock,
    staleness: float | None,
    digest: Any,
    django_assert_num_queries: Any,
) -> None:
    """Only the row tells whether it is in force: each request asks once, MAX_STALENESS or not."""
    alibaba(MAX_STALENESS=staleness)
    enroll(issue("alice"), person("alice"))
    sent = by_alibaba(digest(issue("alice")))
    for _ in range(3):
        with django_assert_num_queries(1):
            assert browser.get("/async/quiet/", sent) == Answer(200)
    assert directory()._standings == {}
    identity = browser.get("/async/quiet/", sent).request.certificate_decision.identity
    assert directory().recall(identity) is None
    with django_assert_num_queries(0):
        assert browser.get("/async/quiet/") == Answer(200)


def test_names_are_never_remembered(
    linkerd: Configure, browser: Browser, clock: Clock, django_assert_num_queries: Any
) -> None:
    """A name is asked for on each request too."""
    linkerd(MAX_STALENESS=60)
    person("alice")
    for _ in range(2):
        with django_assert_num_queries(1):
            assert browser.get("/async/open/", by_linkerd("alice")) == ALICE


@pytest.mark.parametrize("staleness", [None, 60], ids=str)
def test_database_down(alibaba: Configure, browser: Browser, issue: Issue, staleness: float | None) -> None:
    """Without the database nobody is admitted."""
    alibaba(MAX_STALENESS=staleness)
    enroll(issue("alice"), person("alice"))
    sent = by_alibaba(DIGESTS["sha1"](issue("alice")))
    assert browser.get("/async/quiet/", sent) == Answer(200)
    with database_down():
        assert browser.get("/async/quiet/", sent) == Answer(503, None, "store_unavailable")


# Policies

GUARDS = ["decorator/ops", "mixin/ops"]


@pytest.mark.parametrize(
    "guard", [f"{kind}/{guard}" for guard in GUARDS for kind in ("sync", "async")] + ["sync/attribute/ops"]
)
def test_guards_need_a_certificate(alibaba: Configure, browser: Browser, issue: Issue, guard: str) -> None:
    """A policy on what only the certificate tells denies, and says why; one on nothing admits."""
    enroll(issue("alice", "Ops"), person("alice"))
    sent = by_alibaba(DIGESTS["sha1"](issue("alice", "Ops")))
    assert browser.get(f"/{guard}/", sent) == INSUFFICIENT
    assert browser.get(f"/{guard}/") == Answer(403, None, "certificate_required")
    for admitting in ("decorator/any", "mixin/any"):
        assert browser.get(f"/sync/{admitting}/", sent) == ALICE


SITE_POLICIES: dict[str, tuple[Callable[[IssuedCertificate], Policy], Answer]] = {
    "its fingerprint": (lambda issued: Fingerprint(DIGESTS["sha1"](issued)), ALICE),
    "its other fingerprint": (lambda issued: Fingerprint(issued.fingerprint_sha256), INSUFFICIENT),
    "another fingerprint": (lambda issued: Fingerprint("a" * 40), Answer(403, None, "not_allowed")),
    "common name": (lambda issued: CommonName("alice"), INSUFFICIENT),
    "not another": (lambda issued: NoneOf(OrganizationalUnit("Sales")), INSUFFICIENT),
    "both": (lambda issued: Fingerprint(DIGESTS["sha1"](issued)) & CommonName("alice"), INSUFFICIENT),
}


@pytest.mark.parametrize(("policy", "expected"), SITE_POLICIES.values(), ids=SITE_POLICIES)
def test_site_policies(alibaba: Configure, browser: Browser, issue: Issue, policy: Any, expected: Answer) -> None:
    """The policy of the site decides on what is stated, and on nothing else."""
    enroll(issue("alice"), person("alice"))
    alibaba(POLICY=policy(issue("alice")))
    assert browser.get("/sync/open/", by_alibaba(DIGESTS["sha1"](issue("alice")))) == expected


# Sessions


@VIEWS
@pytest.mark.parametrize("mode", ["certificate", "user"])
def test_session_is_bound_to_the_fingerprint(
    alibaba: Configure, browser: Browser, issue: Issue, mode: str, view: str
) -> None:
    """A session holds as long as the same certificate is stated, or another one of its user."""
    alibaba(SESSION=mode)
    alice = person("alice")
    laptop, phone, bob = issue("alice", "laptop"), issue("alice", "phone"), issue("bob")
    for issued, user in ((laptop, alice), (phone, alice), (bob, person("bob"))):
        enroll(issued, user)
    sent = by_alibaba(DIGESTS["sha1"](laptop))
    answer = browser.get("/sync/keep/?value=secret", sent)
    assert answer.request.session["_mtls_fingerprint"] == DIGESTS["sha1"](laptop)
    assert browser.get(view, sent) == ALICE
    assert browser.get("/sync/keep/", sent).json() == {"kept": "secret"}
    expected = "secret" if mode == "user" else None
    assert browser.get("/sync/keep/", by_alibaba(DIGESTS["sha1"](phone))).json() == {"kept": expected}
    assert browser.get("/sync/keep/", by_alibaba(DIGESTS["sha1"](bob))).json() == {"kept": None}
    assert browser.get(view) == ANONYMOUS
    assert browser.session_key is None


@VIEWS
def test_session_is_bound_to_the_name(linkerd: Configure, browser: Browser, view: str) -> None:
    """Without a fingerprint the name is what the session is bound to."""
    linkerd(SESSION="certificate")
    for name in ("alice", "bob"):
        person(name)
    answer = browser.get("/sync/keep/?value=secret", by_linkerd("alice"))
    assert answer.request.session["_mtls_fingerprint"] == "name:alice"
    assert browser.get(view, by_linkerd("alice")) == ALICE
    assert browser.get("/sync/keep/", by_linkerd("alice")).json() == {"kept": "secret"}
    assert browser.get("/sync/keep/", by_linkerd("bob")).json() == {"kept": None}
    assert browser.get(view, NOTHING) == ANONYMOUS


def test_session_of_renewed_mesh_certificates(istio: Configure, browser: Browser, issue: Issue) -> None:
    """A mesh renews certificates by the hour: bound to the user the session goes on, bound to the certificate not."""
    person(SPIFFE_ID)
    for mode, expected in (("user", "secret"), ("certificate", None)):
        istio(SESSION=mode)
        browser.get("/sync/keep/?value=secret", by_istio("a" * 64))
        assert browser.get("/sync/keep/", by_istio("b" * 64)).json() == {"kept": expected}
        browser.get("/sync/open/")


# What a view finds


def test_identity_in_a_view(alibaba: Configure, browser: Browser, issue: Issue) -> None:
    """A view reads what is stated; what only the certificate tells raises, and no default stands in for it."""
    enroll(issue("alice"), person("alice"))
    identity = browser.get("/sync/open/", by_alibaba(DIGESTS["sha1"](issue("alice")))).request.client_certificate
    assert identity.fingerprint == DIGESTS["sha1"](issue("alice"))
    assert identity.reference == identity.fingerprint
    assert identity.assurance == Assurance.PROXY_VERDICT
    for attribute in ("certificate", "subject_cn", "fingerprint_sha256", "x5t_s256"):
        with pytest.raises(CertificateRejected) as caught:
            getattr(identity, attribute)
        assert caught.value.reason == Reason.INSUFFICIENT_EVIDENCE


def test_denials_carry_the_fingerprint(alibaba: Configure, browser: Browser, issue: Issue) -> None:
    """The signal of a refusal names the stated fingerprint."""
    received: list[dict[str, Any]] = []

    def receive(**values: Any) -> None:
        received.append(values)

    certificate_denied.connect(receive)
    try:
        browser.get("/sync/open/", by_alibaba("a" * 40))
    finally:
        certificate_denied.disconnect(receive)
    assert [(found["reason"], found["fingerprint_sha256"]) for found in received] == [("not_enrolled", "a" * 40)]


def test_moments_are_aware(issue: Issue) -> None:
    """The row's moments are compared as moments, whatever the database keeps."""
    enroll(issue("alice"), person("alice"))
    seen: list[datetime] = []
    lookup = StatedFingerprintLookup()
    original = lookup.row

    def look(row: tuple[Any, ...], identity: Identity) -> Any:
        seen.extend(row[:2])
        return original(row, identity)

    lookup.row = look  # type: ignore[method-assign]
    assert lookup.fetch(stated(issue("alice").fingerprint_sha256)) is not None
    assert all(moment.tzinfo is not None for moment in seen)


@pytest.mark.parametrize("view", ["sync", "async"])
def test_a_careless_view(linkerd: Configure, browser: Browser, view: str) -> None:
    """A view that asks a statement for a certificate's name is a denial, not a server error; its own errors are its."""
    person("alice")
    assert browser.get(f"/{view}/careless/", by_linkerd("alice")) == INSUFFICIENT
    with pytest.raises(LookupError):
        browser.get(f"/{view}/careless/?fail=1", by_linkerd("alice"))
