"""What the database says of a certificate: by fingerprint, by common name; one row, one query."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, connections

from django_mtls import lifecycle
from django_mtls.compiled_query import CompiledQuery
from django_mtls.conf import get_authenticator
from django_mtls.directory import Directory
from django_mtls.lookup import CommonNameLookup, FingerprintLookup, Row
from django_mtls.models import EnrolledCertificate, Revocation, State
from mtls_auth import CertificateRejected, IssuedBy, Reason, load_certificate
from tests.django.conftest import (
    Answer,
    Browser,
    Configure,
    Issue,
    by_nginx,
    enroll,
    identity_of,
    person,
    put,
    revoke_serial,
)
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

LOOKUPS = pytest.mark.parametrize("lookup_class", [FingerprintLookup, CommonNameLookup])


def _rejection(call: Any, *args: Any) -> CertificateRejected:
    with pytest.raises(CertificateRejected) as caught:
        call(*args)
    return caught.value


@LOOKUPS
def test_one_query(lookup_class: Any, issue: Issue, django_assert_num_queries: Any) -> None:
    """State, revocation and user come in one query, and the user object costs none."""
    row = enroll(issue("alice"), person("alice"))
    lookup, identity = lookup_class(), identity_of(issue("alice"))
    with django_assert_num_queries(1):
        found = lookup.fetch(identity)
        user = lookup.user(found)
        assert (user.username, user.email, user.is_superuser) == ("alice", "", False)
    assert (found.certificate_id, found.state, found.is_revoked) == (row.pk, "active", False)


@LOOKUPS
def test_the_user_is_what_the_orm_loads(lookup_class: Any, issue: Issue) -> None:
    """Every column has the value, and the type, that `User.objects.get` gives it."""
    last_login = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    values = {"last_login": last_login, "is_staff": True, "first_name": "Zoë", "email": "a@example.com"}
    enroll(issue("alice"), person("alice", **values))
    lookup = lookup_class()
    user = lookup.user(lookup.fetch(identity_of(issue("alice"))))
    expected = User.objects.get(username="alice")
    names = [field.attname for field in User._meta.concrete_fields]
    assert {name: getattr(user, name) for name in names} == {name: getattr(expected, name) for name in names}
    assert [type(getattr(user, name)) for name in names] == [type(getattr(expected, name)) for name in names]
    assert (user._state.adding, user._state.db, user.get_deferred_fields()) == (False, "default", set())
    assert user == expected


@LOOKUPS
def test_the_user_can_be_saved(lookup_class: Any, issue: Issue) -> None:
    """It is a user like any other: a view may change and save it."""
    enroll(issue("alice"), person("alice"))
    lookup = lookup_class()
    user = lookup.user(lookup.fetch(identity_of(issue("alice"))))
    user.first_name = "Alice"
    user.save()
    assert User.objects.get().first_name == "Alice"


@LOOKUPS
def test_nothing_found(lookup_class: Any, issue: Issue) -> None:
    """A certificate that stands for nobody has no row."""
    enroll(issue("bob"), person("bob"))
    assert lookup_class().fetch(identity_of(issue("alice"))) is None


@pytest.mark.parametrize("state", State)
def test_states(issue: Issue, state: State) -> None:
    """The row tells the state as it is stored."""
    put(enroll(issue("alice"), person("alice")), state)
    identity = identity_of(issue("alice"))
    for lookup in (FingerprintLookup(), CommonNameLookup()):
        found = lookup.fetch(identity)
        assert found is not None
        assert found.state == state


@LOOKUPS
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"serial_number": "1"}, False),
        ({"issuer_key": "0" * 64}, False),
    ],
    ids=["both", "other serial number", "other issuer"],
)
def test_revocation(lookup_class: Any, issue: Issue, changes: dict[str, str], expected: bool) -> None:
    """A revocation binds by issuer and serial number together."""
    enroll(issue("alice"), person("alice"))
    certificate = load_certificate(issue("alice").der)
    Revocation.objects.create(
        issuer=certificate.issuer.rfc4514_string(), **{**lifecycle.issued(certificate), **changes}
    )
    found = lookup_class().fetch(identity_of(issue("alice")))
    assert found.is_revoked is expected


def test_user_of_a_certificate_without_one(issue: Issue) -> None:
    """A certificate without a user has a row, and no user."""
    enroll(issue("alice"), None)
    lookup = FingerprintLookup()
    found = lookup.fetch(identity_of(issue("alice")))
    assert found is not None
    assert not lookup.has_user(found)


def test_two_certificates_of_one_user(issue: Issue) -> None:
    """A user may hold several, and each row is its own."""
    alice = person("alice")
    rows = [enroll(issue("alice", unit), alice) for unit in ("laptop", "phone")]
    put(rows[1], State.SUPERSEDED)
    lookup = FingerprintLookup()
    found = [lookup.fetch(identity_of(issue("alice", unit))) for unit in ("laptop", "phone")]
    assert [(row.certificate_id, row.state) for row in found if row] == [
        (rows[0].pk, "active"),
        (rows[1].pk, "superseded"),
    ]


# By common name


def test_common_name_without_enrolment(issue: Issue) -> None:
    """The user of this name needs no enrolled certificate."""
    alice = person("alice")
    lookup = CommonNameLookup()
    found = lookup.fetch(identity_of(issue("alice")))
    assert found is not None
    assert found[:3] == (None, State.ACTIVE, False)
    assert lookup.user(found) == alice


def test_common_name_revoked_without_enrolment(issue: Issue) -> None:
    """A revoked serial number binds here too."""
    person("alice")
    revoke_serial(issue("alice"))
    found = CommonNameLookup().fetch(identity_of(issue("alice")))
    assert found is not None
    assert found.is_revoked is True


@contextmanager
def case_insensitive_collation() -> Iterator[None]:
    """Let the database compare user names as many do: `alice` finds `Alice`."""

    def fold(execute: Any, sql: str, *args: Any) -> Any:
        column = '"auth_user"."username"'
        return execute(sql.replace(f"{column} = %s", f"LOWER({column}) = LOWER(%s)"), *args)

    with connection.execute_wrapper(fold):
        yield


@pytest.mark.parametrize("name", ["Alice", "ALICE", "alicE"])
def test_common_name_letter_by_letter(browser: Browser, configure: Configure, issue: Issue, name: str) -> None:
    """Where the database finds a user of another spelling, nobody is admitted."""
    configure(MAPPING="common_name", POLICY=IssuedBy("CN=Test CA"))
    person(name)
    with case_insensitive_collation():
        rejection = _rejection(CommonNameLookup().fetch, identity_of(issue("alice")))
        assert rejection.reason is Reason.NOT_ENROLLED
        assert "letter by letter" in rejection.detail
        assert browser.get("/sync/open/", by_nginx(issue("alice").der)) == Answer(403, None, "not_enrolled")


def test_common_name_in_its_own_case(issue: Issue) -> None:
    """Under the same collation the exact name is found."""
    person("alice")
    with case_insensitive_collation():
        assert CommonNameLookup().fetch(identity_of(issue("alice"))) is not None


@pytest.mark.parametrize("name", ["alice ", " alice", "Alice", "alic\u00e9", "\u0430lice", "", None], ids=ascii)
def test_row_of_another_name(issue: Issue, name: str | None) -> None:
    """Whatever row a database's comparison returns, its name is compared again."""
    lookup = CommonNameLookup()
    values = [name if field == "username" else None for field in lookup._user_fields]
    rejection = _rejection(lookup.row, (None, None, None, False, *values), identity_of(issue("alice")))
    assert rejection.reason is Reason.NOT_ENROLLED


def test_common_name_is_no_pattern(issue: Issue) -> None:
    """The characters of LIKE mean themselves."""
    person("alice")
    for name in ("%", "al_ce", "a%", "%common_name%"):
        assert CommonNameLookup().fetch(identity_of(issue(name))) is None


def test_common_name_like_a_placeholder(issue: Issue) -> None:
    """A user may be called like a placeholder of the compiled query."""
    person("%fingerprint%")
    found = CommonNameLookup().fetch(identity_of(issue("%fingerprint%")))
    assert found is not None


@pytest.mark.parametrize("name", ["\ufb01ona", "\u212a", "\u212b", "e\u0301ve", "\u2460"], ids=ascii)
def test_unstable_common_name(issue: Issue, name: str, django_assert_num_queries: Any) -> None:
    """A name that normalisation turns into another is refused before the database is asked."""
    with django_assert_num_queries(0):
        assert _rejection(CommonNameLookup().fetch, identity_of(issue(name))).reason is Reason.UNUSABLE_NAME


def test_no_common_name(leaves: BrokenLeaves, django_assert_num_queries: Any) -> None:
    """A certificate without a common name stands for nobody by name."""
    issued = leaves.ca.issue(san=[x509.DNSName("alice.example.com")])
    with django_assert_num_queries(0):
        assert _rejection(CommonNameLookup().fetch, identity_of(issued)).reason is Reason.UNUSABLE_NAME


@pytest.mark.parametrize("holder", ["bob", None])
def test_enrolled_for_another(issue: Issue, holder: str | None) -> None:
    """A certificate that is enrolled for somebody else, or for a user who was deleted, contradicts itself."""
    person("alice")
    enroll(issue("alice"), person(holder) if holder else None)
    rejection = _rejection(CommonNameLookup().fetch, identity_of(issue("alice")))
    assert rejection.reason is Reason.CONTRADICTORY_EVIDENCE


def test_other_certificates_of_the_user_do_not_matter(issue: Issue) -> None:
    """What became of another certificate of the same user is not asked."""
    put(enroll(issue("alice", "old"), person("alice")), State.SUPERSEDED)
    found = CommonNameLookup().fetch(identity_of(issue("alice")))
    assert found is not None
    assert found[:3] == (None, State.ACTIVE, False)


# Custom user models


def test_username_field_is_honoured(
    browser: Browser, configure: Configure, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The common name is compared with the column that USERNAME_FIELD names, and no other."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    configure(MAPPING="common_name", POLICY=IssuedBy("CN=Test CA"))
    User.objects.create(username="a1", email="alice@example.com")
    User.objects.create(username="mallory@example.com", email="m@example.com")
    found = browser.get("/sync/open/", by_nginx(issue("alice@example.com").der))
    assert found == Answer(200, "alice@example.com")
    assert found.request.user.username == "a1"
    assert browser.get("/sync/open/", by_nginx(issue("mallory@example.com").der)).reason == "not_enrolled"


def test_a_user_without_a_name(issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose USERNAME_FIELD is null is a user all the same: enrolled by fingerprint, he is admitted."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "last_login")  # the one nullable column
    user = person("alice")
    enroll(issue("alice"), user)
    lookup = FingerprintLookup()
    found = lookup.fetch(identity_of(issue("alice")))
    assert found is not None
    assert lookup.user(found) == user


def test_a_name_that_is_not_unique(issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a user model allows two users of one name, the name stands for neither."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "first_name")
    for number in ("1", "2"):
        User.objects.create(username=number, first_name="alice")
    rejection = _rejection(CommonNameLookup().fetch, identity_of(issue("alice")))
    assert rejection.reason is Reason.NOT_ENROLLED


def test_user_model_of_the_project() -> None:
    """The columns are those of AUTH_USER_MODEL, in the order in which `from_db` wants them."""
    lookup = FingerprintLookup()
    assert lookup._user_model is get_user_model()
    assert lookup._user_fields == tuple(field.attname for field in User._meta.concrete_fields)


# Routers


class Replica:
    """Reads certificates from a replica."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return "replica" if model is EnrolledCertificate else None


def record_aliases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every compiled query adds the database that it asks."""
    asked: list[str] = []
    one = CompiledQuery.one

    def recorded(self: CompiledQuery, **values: str) -> tuple[Any, ...] | None:
        asked.append(self._alias)
        return one(self, **values)

    monkeypatch.setattr(CompiledQuery, "one", recorded)
    return asked


@pytest.fixture
def replica(configure: Configure, settings: Any) -> Iterator[None]:
    """A second alias, for the same connection; the router reads from it."""
    connections["replica"] = connections["default"]
    settings.DATABASE_ROUTERS = ["tests.django.test_lookup.Replica"]
    yield
    del connections["replica"]


@LOOKUPS
def test_router(lookup_class: Any, replica: None, issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup asks the database that the router names for reading, and the user says that he came from it."""
    enroll(issue("alice"), person("alice"))
    asked = record_aliases(monkeypatch)
    lookup = lookup_class()
    user = lookup.user(lookup.fetch(identity_of(issue("alice"))))
    assert user._state.db == "replica"
    assert asked == ["replica"]


@pytest.mark.parametrize("staleness", [None, 0, 1])
def test_router_on_the_request_path(
    replica: None,
    configure: Configure,
    browser: Browser,
    issue: Issue,
    staleness: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Version and row are read from the same database."""
    configure(MAX_STALENESS=staleness)
    enroll(issue("alice"), person("alice"))
    asked = record_aliases(monkeypatch)
    answer = browser.get("/async/open/", by_nginx(issue("alice").der))
    assert answer == Answer(200, "alice")
    assert set(asked) == {"replica"}


def test_router_that_changes_its_mind(replica: None, issue: Issue, settings: Any) -> None:
    """The router is asked at each request: one query is compiled for each database."""
    enroll(issue("alice"), person("alice"))
    lookup = FingerprintLookup()
    lookup.fetch(identity_of(issue("alice")))
    settings.DATABASE_ROUTERS = []
    lookup.fetch(identity_of(issue("alice")))
    assert lookup._queries.keys() == {"replica", "default"}


def test_mapping_names_the_lookup(configure: Configure) -> None:
    """MAPPING decides which lookup answers."""
    for mapping, expected in (("fingerprint", FingerprintLookup), ("common_name", CommonNameLookup)):
        configure(MAPPING=mapping, POLICY=IssuedBy("CN=Test CA"))
        mapper = get_authenticator().mapper
        assert isinstance(mapper, Directory)
        assert type(mapper._lookup) is expected


def test_row_is_what_it_says() -> None:
    """A row is four facts."""
    assert Row._fields == ("certificate_id", "state", "is_revoked", "user_values")
