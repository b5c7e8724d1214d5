"""The state version: raised by every change that matters, in its transaction, and by nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import user_logged_in
from django.contrib.auth.models import Group, User
from django.db import connection, models, transaction
from django.db.models.signals import post_delete, post_save
from django.test import RequestFactory
from django.test.utils import isolate_apps

from django_mtls import freshness, lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, StateVersion
from mtls_auth import load_certificate
from tests.django.conftest import Configure, Issue, enroll, person, revoke_serial

pytestmark = pytest.mark.django_db


def version() -> int:
    return freshness.read("default")


@pytest.fixture
def stale(configure: Configure) -> None:
    """Versions are kept where MAX_STALENESS is set."""
    configure(MAX_STALENESS=1)


@pytest.fixture
def alice(issue: Issue) -> EnrolledCertificate:
    """Alice's enrolled certificate."""
    return enroll(issue("alice"), person("alice"))


def test_version() -> None:
    """It is 0 before the first change, and each bump raises it by one."""
    StateVersion.objects.all().delete()
    assert version() == 0
    freshness.bump("default")
    assert version() == 1
    freshness.bump("default")
    assert version() == 2
    assert StateVersion.objects.count() == 1


def test_cost(django_assert_num_queries: Any) -> None:
    """Reading is one query, and so is raising."""
    freshness.bump("default")
    with django_assert_num_queries(1):
        version()
    with django_assert_num_queries(1):
        freshness.bump("default")


def _user(row: EnrolledCertificate) -> User:
    assert row.user is not None
    return User.objects.get(pk=row.user.pk)


def _save_user(row: EnrolledCertificate, **values: Any) -> None:
    user = _user(row)
    for name, value in values.items():
        setattr(user, name, value)
    user.save()


CHANGES: dict[str, Callable[[EnrolledCertificate], object]] = {
    "revoke": lambda row: lifecycle.revoke([row], CRLReason.UNSPECIFIED),
    "suspend": lambda row: lifecycle.suspend(row),
    "save row": lambda row: row.save(),
    "delete row": lambda row: row.delete(),
    "delete rows": lambda row: EnrolledCertificate.objects.all().delete(),
    "deactivate user": lambda row: _save_user(row, is_active=False),
    "deactivate user, that column alone": lambda row: _user(row).save(update_fields=["is_active"]),
    "last login and more": lambda row: _user(row).save(update_fields=["last_login", "is_active"]),
    "rename user": lambda row: _save_user(row, username="bob"),
    "password": lambda row: _save_user(row, password="!"),
    "delete user": lambda row: _user(row).delete(),
    "delete users": lambda row: User.objects.all().delete(),
    "new user": lambda row: person("bob"),
    "delete revocation": lambda row: Revocation.objects.all().delete(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_raise_it(
    stale: None, alice: EnrolledCertificate, issue: Issue, change: Callable[[EnrolledCertificate], object]
) -> None:
    """Whatever changes whom a certificate stands for raises the version."""
    revoke_serial(issue("revoked"))
    before = version()
    change(alice)
    assert version() > before


def test_enrolment_and_reactivation_raise_it(stale: None, issue: Issue) -> None:
    """So do the beginnings: enrolment, and the end of a suspension."""
    alice = person("alice")
    seen = [version()]
    row = lifecycle.enroll(load_certificate(issue("alice").der), alice)
    seen.append(version())
    lifecycle.suspend(row)
    seen.append(version())
    lifecycle.reactivate(row)
    seen.append(version())
    revoke_serial(issue("bob"))
    seen.append(version())
    assert seen == sorted(set(seen))


def _login_signal(row: EnrolledCertificate) -> None:
    user = _user(row)
    request = RequestFactory().get("/")
    user_logged_in.send(sender=User, request=request, user=user)
    assert User.objects.get(pk=user.pk).last_login is not None


NO_CHANGES: dict[str, Callable[[EnrolledCertificate], object]] = {
    "login": _login_signal,
    "last login": lambda row: _user(row).save(update_fields=["last_login"]),
    "group": lambda row: Group.objects.create(name="ops"),
    "update": lambda row: User.objects.update(first_name="x"),
    "nothing": lambda row: None,
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_others_do_not(
    stale: None, alice: EnrolledCertificate, change: Callable[[EnrolledCertificate], object]
) -> None:
    """A login, or a change that nobody is admitted by, raises nothing."""
    before = version()
    change(alice)
    assert version() == before


def test_without_staleness_users_cost_nothing(
    configure: Configure, alice: EnrolledCertificate, django_assert_num_queries: Any
) -> None:
    """In immediate mode certificates raise the version, for processes that remember; users are saved as ever."""
    before = version()
    lifecycle.suspend(alice)
    after = version()
    assert after > before
    with django_assert_num_queries(1):
        User.objects.create(username="bob")
    assert version() == after


@pytest.mark.parametrize("value", [None, "tls"], ids=["missing", "no dict"])
def test_broken_settings_do_not_break_saving(settings: Any, value: object) -> None:
    """Users can be saved while MTLS_AUTH is wrong: the checks tell, not an exception in a data migration."""
    settings.MTLS_AUTH = value
    assert person("alice").pk


def test_rolled_back(stale: None, alice: EnrolledCertificate) -> None:
    """The version falls with the change that raised it."""
    before = version()
    with transaction.atomic():
        lifecycle.suspend(alice)
        assert version() > before
        transaction.set_rollback(True)
    assert version() == before
    alice.refresh_from_db()
    assert alice.state == "active"


def test_two_first_changes_at_once(stale: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two first changes raises the version too, where the first has just made the row."""
    StateVersion.objects.all().delete()
    update = models.QuerySet.update
    other_process: list[int] = []

    def update_a_moment_too_early(self: Any, **values: Any) -> int:
        count = update(self, **values)
        if self.model is StateVersion and not other_process:
            other_process.append(1)
            freshness.bump("default")
        return count

    monkeypatch.setattr(models.QuerySet, "update", update_a_moment_too_early)
    freshness.bump("default")
    assert other_process
    assert version() == 2


@isolate_apps("django.contrib.auth", "django.contrib.contenttypes", "tests.django")
def test_proxy_models_of_the_user(stale: None, alice: EnrolledCertificate) -> None:
    """A user who is saved through a proxy model is the same user."""

    class Employee(User):
        class Meta:
            proxy = True
            app_label = "auth"

    before = version()
    employee = Employee.objects.get(username="alice")
    employee.is_active = False
    employee.save()
    assert version() > before


@isolate_apps("django.contrib.auth", "django.contrib.contenttypes", "tests.django")
@pytest.mark.parametrize("signal", [post_save, post_delete], ids=["saved", "deleted"])
def test_children_of_the_user(stale: None, signal: Any) -> None:
    """A user who is saved through a child model, with a table of its own, is a changed user too."""

    class Employee(User):
        class Meta:
            app_label = "auth"

    before = version()
    signal.send(sender=Employee, instance=Employee(), created=False, raw=False, using="default")
    assert version() > before


LIFECYCLE: dict[str, Callable[[EnrolledCertificate], object]] = {
    "revoke": CHANGES["revoke"],
    "suspend": CHANGES["suspend"],
    "revoke serial": lambda row: lifecycle.revoke_serial(
        load_certificate(bytes(row.der)).issuer, int(row.serial_number, 16), CRLReason.UNSPECIFIED
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", LIFECYCLE.values(), ids=LIFECYCLE)
def test_change_and_version_are_committed_together(
    stale: None, alice: EnrolledCertificate, change: Callable[[EnrolledCertificate], object]
) -> None:
    """Whoever reads the version of a change reads the change too: both are written in one transaction."""
    writes: list[tuple[str, bool]] = []

    def watch(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("UPDATE", "INSERT")):
            writes.append((sql.split('"')[1], connection.in_atomic_block))
        return execute(sql, *args)

    with connection.execute_wrapper(watch):
        change(alice)
    assert {table for table, _atomic in writes} == {
        "django_mtls_enrolledcertificate",
        "django_mtls_revocation",
        "django_mtls_stateversion",
    }
    assert all(atomic for _table, atomic in writes)


def test_another_database(configure: Configure, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is raised where certificates are written."""
    configure(MAX_STALENESS=1)
    settings.DATABASE_ROUTERS = ["tests.django.test_freshness.Writer"]
    bumped: list[str] = []
    monkeypatch.setattr(freshness, "bump", bumped.append)
    person("alice")
    assert bumped == ["elsewhere"]


class Writer:
    """Writes certificates to another database."""

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return "elsewhere" if model is EnrolledCertificate else None
