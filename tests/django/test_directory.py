"""The directory: how old what it knows may be, what it costs, and what it does when the database does not answer."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, connection

from django_mtls import directory as directory_module
from django_mtls import freshness, lifecycle
from django_mtls.directory import MAX_ENTRY_AGE, Directory, Enrollment
from django_mtls.lookup import FingerprintLookup
from django_mtls.models import CRLReason, EnrolledCertificate, State
from mtls_auth import CertificateRejected, Identity, Reason, load_certificate
from mtls_auth.testing import IssuedCertificate
from tests.django.conftest import (
    Answer,
    Browser,
    Clock,
    Configure,
    Issue,
    by_nginx,
    database_down,
    directory,
    enroll,
    identity_of,
    person,
    put,
    revoke_serial,
)

pytestmark = pytest.mark.django_db

REVOKED = Answer(403, None, "revoked")
UNKNOWN = Answer(403, None, "not_enrolled")
DOWN = Answer(503, None, "store_unavailable")


@pytest.fixture
def alice(issue: Issue) -> EnrolledCertificate:
    """Alice's enrolled certificate."""
    return enroll(issue("alice"), person("alice"))


@pytest.fixture
def ask(browser: Browser, issue: Issue, clock: Clock, configure: Configure) -> Callable[..., Answer]:
    """Send a request with a certificate, alice's unless told otherwise, on either path."""
    return lambda name="alice": browser.get("/async/quiet/", by_nginx(issue(name).der))


Ask = Callable[..., Answer]
OK = Answer(200)


# What it costs


def test_immediate_costs_one_query(
    ask: Ask, browser: Browser, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """By default each request with a certificate asks once, and each without one never."""
    for _ in range(3):
        with django_assert_num_queries(1):
            assert ask() == OK
    with django_assert_num_queries(0):
        assert browser.get("/async/quiet/") == OK


@pytest.mark.parametrize("state", State)
def test_immediate_costs_one_query_in_every_state(
    ask: Ask, alice: EnrolledCertificate, state: State, django_assert_num_queries: Any
) -> None:
    """A refusal costs no more than an admission."""
    put(alice, state)
    with django_assert_num_queries(1):
        ask()


@pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])
@pytest.mark.parametrize(("staleness", "queries"), [(None, 1), (0, 1), (1, 0)], ids=["immediate", "0 s", "1 s"])
def test_the_user_costs_nothing_more(
    configure: Configure,
    browser: Browser,
    issue: Issue,
    clock: Clock,
    alice: EnrolledCertificate,
    view: str,
    staleness: float | None,
    queries: int,
    django_assert_num_queries: Any,
) -> None:
    """A view that reads `request.user`, and columns of it, asks no database for them."""
    configure(MAX_STALENESS=staleness)
    sent = by_nginx(issue("alice").der)
    browser.get(view, sent)
    with django_assert_num_queries(queries):
        answer = browser.get(view, sent)
        assert (answer.request.user.email, answer.request.user.is_staff) == ("", False)
    assert answer == Answer(200, "alice")


def test_staleness_costs_nothing_within_it(
    configure: Configure, ask: Ask, clock: Clock, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """With MAX_STALENESS the first request asks twice, none within N seconds, and then one reads the version."""
    configure(MAX_STALENESS=1)
    with django_assert_num_queries(2):
        assert ask() == OK
    for seconds in (0, 0.5, 0.5):
        clock.advance(seconds)
        with django_assert_num_queries(0):
            assert ask() == OK
    clock.advance(0.01)
    with django_assert_num_queries(1) as captured:
        assert ask() == OK
    assert "django_mtls_stateversion" in captured[0]["sql"]
    with django_assert_num_queries(0):
        assert ask() == OK


def test_zero_staleness_costs_the_version(
    configure: Configure, ask: Ask, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """With MAX_STALENESS = 0 each request reads the version, one row of one column, and no more."""
    configure(MAX_STALENESS=0)
    with django_assert_num_queries(2):
        assert ask() == OK
    for _ in range(3):
        with django_assert_num_queries(1) as captured:
            assert ask() == OK
        assert captured[0]["sql"].startswith('SELECT "django_mtls_stateversion"."version"')
        assert "JOIN" not in captured[0]["sql"]


def test_the_query_is_compiled_once(
    configure: Configure, issue: Issue, alice: EnrolledCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ORM compiles the query of a process once."""
    compiled: list[str] = []
    original = FingerprintLookup.queryset

    def recorded(self: FingerprintLookup, alias: str) -> Any:
        compiled.append(alias)
        return original(self, alias)

    monkeypatch.setattr(FingerprintLookup, "queryset", recorded)
    found = Directory()
    for _ in range(3):
        found.map(identity_of(issue("alice")))
    assert len(compiled) == 1


# How old it may be


def _revoke(row: EnrolledCertificate) -> None:
    lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)


def _deactivate(row: EnrolledCertificate) -> None:
    user = row.user
    assert user is not None
    user.is_active = False
    user.save()


def _delete_user(row: EnrolledCertificate) -> None:
    assert row.user is not None
    row.user.delete()


def _revoke_serial(row: EnrolledCertificate) -> None:
    certificate = load_certificate(bytes(row.der))
    lifecycle.revoke_serial(certificate.issuer, certificate.serial_number, CRLReason.KEY_COMPROMISE)


CHANGES: dict[str, tuple[Callable[[EnrolledCertificate], object], Answer]] = {
    "revoke": (_revoke, REVOKED),
    "revoke serial": (_revoke_serial, REVOKED),
    "suspend": (lifecycle.suspend, Answer(403, None, "suspended")),
    "deactivate user": (_deactivate, Answer(403, None, "inactive_user")),
    "delete user": (_delete_user, Answer(403, None, "no_user")),
    "delete row": (lambda row: row.delete(), UNKNOWN),
}
changes = pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)


@changes
@pytest.mark.parametrize("staleness", [None, 0], ids=["immediate", "0 s"])
def test_changes_hold_from_the_next_request_on(
    configure: Configure, ask: Ask, alice: EnrolledCertificate, change: Any, expected: Answer, staleness: float | None
) -> None:
    """By default, and with MAX_STALENESS = 0, a change is seen at once."""
    configure(MAX_STALENESS=staleness)
    assert ask() == OK
    change(alice)
    assert ask() == expected


@changes
@pytest.mark.parametrize("staleness", [1, 2.5, 300])
def test_changes_hold_after_n_seconds(
    configure: Configure,
    ask: Ask,
    clock: Clock,
    alice: EnrolledCertificate,
    change: Any,
    expected: Answer,
    staleness: float,
) -> None:
    """With MAX_STALENESS = N a change is seen N seconds after the version was last read, or after the entry's age."""
    configure(MAX_STALENESS=staleness)
    assert ask() == OK
    change(alice)
    assert ask() == OK
    clock.advance(min(staleness, MAX_ENTRY_AGE))
    assert ask() == OK
    clock.advance(0.01)
    assert ask() == expected
    assert ask() == expected


@pytest.mark.parametrize("staleness", [None, 0, 1])
def test_reactivation_is_seen_like_any_change(
    configure: Configure, ask: Ask, clock: Clock, alice: EnrolledCertificate, staleness: float | None
) -> None:
    """What was remembered as refused is admitted again after N seconds."""
    configure(MAX_STALENESS=staleness)
    lifecycle.suspend(alice)
    assert ask() == Answer(403, None, "suspended")
    lifecycle.reactivate(alice)
    clock.advance(1.01)
    assert ask() == OK


def test_refusals_are_remembered(
    configure: Configure, ask: Ask, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """A revoked certificate asks no more often than an active one."""
    configure(MAX_STALENESS=1)
    _revoke(alice)
    assert ask() == REVOKED
    with django_assert_num_queries(0):
        assert ask() == REVOKED


def test_changes_behind_our_back(
    configure: Configure, ask: Ask, clock: Clock, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """What no signal sees, as `QuerySet.update()`, is seen when the entry is as old as any may get."""
    configure(MAX_STALENESS=1)
    assert ask() == OK
    User.objects.filter(username="alice").update(is_active=False)
    for _ in range(int(MAX_ENTRY_AGE)):
        clock.advance(1)
        assert ask() == OK
    clock.advance(0.01)
    assert ask() == Answer(403, None, "inactive_user")


def test_the_age_counts_from_the_read(configure: Configure, ask: Ask, clock: Clock, alice: EnrolledCertificate) -> None:
    """Being asked for does not make an entry younger."""
    configure(MAX_STALENESS=MAX_ENTRY_AGE * 10)
    assert ask() == OK
    put(alice, State.PENDING)
    clock.advance(MAX_ENTRY_AGE)
    assert ask() == OK
    clock.advance(0.01)
    assert ask() == Answer(403, None, "pending")


@pytest.mark.parametrize("staleness", [None, 0, 1])
def test_unknown_certificates_are_never_remembered(
    configure: Configure, ask: Ask, issue: Issue, staleness: float | None
) -> None:
    """A certificate that was refused as unknown is admitted as soon as it is enrolled, whatever saw the enrolment."""
    configure(MAX_STALENESS=staleness)
    person("alice")
    assert ask() == UNKNOWN
    row = EnrolledCertificate(
        user=User.objects.get(username="alice"), **lifecycle.facts(load_certificate(issue("alice").der))
    )
    EnrolledCertificate.objects.bulk_create([row])  # sends no signal
    assert ask() == OK


def test_unknown_certificates_take_no_memory(configure: Configure, issue: Issue, clock: Clock) -> None:
    """Nobody fills the map with certificates that are not enrolled."""
    configure(MAX_STALENESS=1)
    for name in ("x", "y"):
        with pytest.raises(CertificateRejected):
            directory().map(identity_of(issue(name)))
    assert directory()._standings == {}


def test_others_are_forgotten_too(
    configure: Configure, ask: Ask, clock: Clock, issue: Issue, alice: EnrolledCertificate
) -> None:
    """One change makes the process forget everything, which is simple, and enough."""
    configure(MAX_STALENESS=1)
    bob = enroll(issue("bob"), person("bob"))
    assert (ask(), ask("bob")) == (OK, OK)
    put(alice, State.PENDING)
    _revoke(bob)
    clock.advance(1.01)
    assert ask("bob") == REVOKED
    assert ask() == Answer(403, None, "pending")


def test_another_process_changes(configure: Configure, clock: Clock, issue: Issue, alice: EnrolledCertificate) -> None:
    """Two processes agree at most N seconds after a change by either."""
    configure(MAX_STALENESS=1)
    identity = identity_of(issue("alice"))
    processes = Directory(max_staleness=1), Directory(max_staleness=1)
    for process in processes:
        process.map(identity)
    _revoke(alice)
    clock.advance(1.01)
    for process in processes:
        assert _reason(process.map, identity) is Reason.REVOKED


def _reason(call: Callable[[Identity], object], identity: Identity) -> Reason | None:
    try:
        call(identity)
    except CertificateRejected as rejected:
        return rejected.reason
    return None


def test_recall_never_asks(
    configure: Configure, clock: Clock, issue: Issue, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """`recall` answers from memory or not at all."""
    identity = identity_of(issue("alice"))
    directories = {n: Directory(max_staleness=n) for n in (None, 0, 1)}
    with django_assert_num_queries(0):
        assert [found.recall(identity) for found in directories.values()] == [None] * 3
    for found in directories.values():
        found.map(identity)
    with django_assert_num_queries(0):
        assert directories[None].recall(identity) is None
        assert directories[0].recall(identity) is None
        recalled = directories[1].recall(identity)
    assert isinstance(recalled, Enrollment)
    assert (str(recalled), recalled.certificate_id) == ("alice", alice.pk)
    clock.advance(1.01)
    with django_assert_num_queries(0):
        assert directories[1].recall(identity) is None


def test_recall_refuses_what_is_remembered_as_refused(
    configure: Configure, clock: Clock, issue: Issue, alice: EnrolledCertificate
) -> None:
    """A remembered refusal is a refusal without the database."""
    _revoke(alice)
    found = Directory(max_staleness=1)
    identity = identity_of(issue("alice"))
    for call in (found.map, found.recall):
        assert _reason(call, identity) is Reason.REVOKED


# What does not get in


def _interleave(
    monkeypatch: pytest.MonkeyPatch, found: Directory, during: Callable[[], object], *, count: int = 1
) -> None:
    """Let *during* happen in another thread just after a row was read, and before it is remembered."""
    fetch = found._lookup.fetch
    calls: list[Identity] = []

    def fetch_slowly(identity: Identity) -> Any:
        row = fetch(identity)
        calls.append(identity)
        if len(calls) == count:
            during()
        return row

    monkeypatch.setattr(found._lookup, "fetch", fetch_slowly)


def test_a_row_read_before_a_change(
    configure: Configure,
    clock: Clock,
    issue: Issue,
    alice: EnrolledCertificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row that was read before a change does not come back after another thread has seen the change."""
    configure(MAX_STALENESS=1)
    identity, other = identity_of(issue("alice")), identity_of(issue("bob"))
    enroll(issue("bob"), person("bob"))
    found = Directory(max_staleness=1)

    def meanwhile() -> None:
        _revoke(alice)
        clock.advance(1.01)
        found.map(other)  # reads the version that the revocation raised

    _interleave(monkeypatch, found, meanwhile)
    assert _reason(found.map, identity) is None  # it was asked before
    assert _reason(found.map, identity) is Reason.REVOKED


def test_a_row_read_before_a_change_when_the_map_is_full(
    configure: Configure,
    clock: Clock,
    issue: Issue,
    alice: EnrolledCertificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same holds where the map is full and is emptied to make room."""
    configure(MAX_STALENESS=1)
    monkeypatch.setattr(directory_module, "MAX_ENTRIES", 1)
    identity, other = identity_of(issue("alice")), identity_of(issue("bob"))
    enroll(issue("bob"), person("bob"))
    found = Directory(max_staleness=1)
    found.map(other)  # now it is full

    def meanwhile() -> None:
        _revoke(alice)
        clock.advance(1.01)
        found.map(other)

    _interleave(monkeypatch, found, meanwhile)
    assert _reason(found.map, identity) is None
    assert _reason(found.map, identity) is Reason.REVOKED
    clock.advance(1.01)
    assert _reason(found.map, identity) is Reason.REVOKED


def test_the_clock_is_read_before_the_query(
    configure: Configure,
    clock: Clock,
    issue: Issue,
    alice: EnrolledCertificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow query makes what it found older, not younger."""
    configure(MAX_STALENESS=1)
    identity = identity_of(issue("alice"))
    found = Directory(max_staleness=1)
    read = freshness.read

    def read_slowly(using: str) -> int:
        version = read(using)
        clock.advance(5)
        return version

    monkeypatch.setattr(freshness, "read", read_slowly)
    found.map(identity)
    _revoke(alice)
    assert found.recall(identity) is None
    assert _reason(found.map, identity) is Reason.REVOKED


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_entries_are_bounded(
    configure: Configure, clock: Clock, issue: Issue, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """However many certificates come, no more than MAX_ENTRIES are remembered, and every answer is right."""
    configure(MAX_STALENESS=1)
    monkeypatch.setattr(directory_module, "MAX_ENTRIES", limit)
    names = ("a", "b", "c", "d")
    for name in names:
        enroll(issue(name), person(name))
    for name in names * 2:
        enrollment = directory().map(identity_of(issue(name)))
        assert str(enrollment) == name
        assert 1 <= len(directory()._standings) <= limit


def test_users_are_not_shared(
    configure: Configure, browser: Browser, issue: Issue, clock: Clock, alice: EnrolledCertificate
) -> None:
    """Each request has its own user object: what a view does to it ends with the request."""
    configure(MAX_STALENESS=60)
    sent = by_nginx(issue("alice").der)
    first = browser.get("/async/open/", sent).request.user
    first.is_superuser = True
    first.username = "root"
    second = browser.get("/async/open/", sent).request.user
    assert second is not first
    assert (second.username, second.is_superuser) == ("alice", False)


def test_mutable_columns_are_not_shared(configure: Configure, issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's column that holds a list or dict, as JSONField does, is not shared between requests either."""
    configure(MAX_STALENESS=60)
    enroll(issue("alice"), person("alice"))
    found = Directory(max_staleness=60)
    lookup = found._lookup
    fetch = lookup.fetch

    def fetch_json(identity: Identity) -> Any:
        row = fetch(identity)
        assert row is not None
        values = list(row.user_values)
        values[lookup._user_fields.index("last_name")] = {"theme": "dark"}
        return row._replace(user_values=values)

    monkeypatch.setattr(lookup, "fetch", fetch_json)
    identity = identity_of(issue("alice"))
    first: Any = found.map(identity).user
    first.last_name["theme"] = "light"
    second: Any = found.map(identity).user
    assert second.last_name == {"theme": "dark"}


# When the database does not answer


@pytest.mark.parametrize("staleness", [None, 0])
def test_database_down(configure: Configure, ask: Ask, alice: EnrolledCertificate, staleness: float | None) -> None:
    """Without a database nobody gets in, however often they were in before, and everybody does when it is back."""
    configure(MAX_STALENESS=staleness)
    assert ask() == OK
    with database_down():
        assert (ask(), ask()) == (DOWN, DOWN)
    assert ask() == OK


def test_database_down_with_staleness(
    configure: Configure, ask: Ask, clock: Clock, issue: Issue, alice: EnrolledCertificate
) -> None:
    """Without a database what is known is good for N seconds, and nothing older is."""
    configure(MAX_STALENESS=1)
    enroll(issue("bob"), person("bob"))
    assert ask() == OK
    with database_down():
        clock.advance(1)
        assert ask() == OK
        assert ask("bob") == DOWN
        clock.advance(0.01)
        assert (ask(), ask()) == (DOWN, DOWN)
        clock.advance(60)
        assert ask() == DOWN
    assert ask() == OK


def test_database_fails_between_the_queries(
    configure: Configure, ask: Ask, clock: Clock, alice: EnrolledCertificate
) -> None:
    """Where the version can be read and the row cannot, nobody gets in."""
    configure(MAX_STALENESS=1)

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if "enrolledcertificate" in sql:
            raise OperationalError("gone")
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        assert (ask(), ask()) == (DOWN, DOWN)
    assert ask() == OK


@pytest.mark.parametrize(
    "error",
    [OperationalError, InterfaceError, DatabaseError, ProgrammingError, IntegrityError],
    ids=lambda e: e.__name__,
)
@pytest.mark.parametrize("staleness", [None, 1])
def test_every_database_error(
    configure: Configure, issue: Issue, alice: EnrolledCertificate, error: type[Exception], staleness: float | None
) -> None:
    """Whatever error the database raises, the answer is `store_unavailable`, and its text goes no further."""

    def fail(*args: Any) -> Any:
        raise error("password=secret host=10.9.8.7")

    with connection.execute_wrapper(fail), pytest.raises(CertificateRejected) as caught:
        Directory(max_staleness=staleness).map(identity_of(issue("alice")))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert caught.value.detail == error.__name__


def test_other_errors_are_not_hidden(configure: Configure, issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is not reported as a database that is down."""
    found = Directory()

    def fail(identity: Identity) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(found._lookup, "fetch", fail)
    with pytest.raises(ZeroDivisionError):
        found.map(identity_of(issue("alice")))


# What it gives


def test_enrollment(configure: Configure, issue: Issue, alice: EnrolledCertificate) -> None:
    """The principal is the user, with the id of the enrolled certificate, and reads as the user's name."""
    enrollment = Directory().map(identity_of(issue("alice")))
    assert isinstance(enrollment, Enrollment)
    assert (enrollment.user, enrollment.certificate_id) == (User.objects.get(username="alice"), alice.pk)
    assert str(enrollment) == "alice"


REFUSALS: dict[str, tuple[Callable[[IssuedCertificate], object], Reason]] = {
    "unknown": (lambda issued: None, Reason.NOT_ENROLLED),
    "no user": (lambda issued: enroll(issued, None), Reason.NO_USER),
    "pending": (lambda issued: put(enroll(issued, person("alice")), State.PENDING), Reason.PENDING),
    "pending of nobody": (lambda issued: put(enroll(issued, None), State.PENDING), Reason.PENDING),
    "revoked of an inactive user": (
        lambda issued: (enroll(issued, person("alice", is_active=False)), revoke_serial(issued)),
        Reason.REVOKED,
    ),
}


@pytest.mark.parametrize(("happen", "reason"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("staleness", [None, 1])
def test_the_gravest_reason_is_named(
    configure: Configure, issue: Issue, happen: Any, reason: Reason, staleness: float | None
) -> None:
    """The certificate's own state is named before its user's."""
    happen(issue("alice"))
    assert _reason(Directory(max_staleness=staleness).map, identity_of(issue("alice"))) is reason
