"""Users made of remembered rows, and what saving them writes."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from django_mtls.directory import Directory
from django_mtls.lookup import FingerprintLookup
from tests.django.conftest import Configure, Issue, enroll, identity_of, person

pytestmark = pytest.mark.django_db


def test_saving_writes_what_changed(configure: Configure, issue: Issue) -> None:
    """`user.save()` does not write back what was only remembered: a user deactivated meanwhile stays so."""
    configure(MAX_STALENESS=60)
    enroll(issue("alice"), person("alice"))
    found = Directory(max_staleness=60)
    user: Any = found.map(identity_of(issue("alice"))).user
    User.objects.filter(username="alice").update(is_active=False, is_staff=True, last_name="Smith")
    user.first_name = "Alice"
    user.save()
    now = User.objects.get(username="alice")
    assert (now.is_active, now.is_staff, now.first_name, now.last_name) == (False, True, "Alice", "Smith")


def test_update_fields(configure: Configure, issue: Issue) -> None:
    """With `update_fields` nothing is read again: Django's own rules hold."""
    enroll(issue("alice"), person("alice"))
    user: Any = Directory(max_staleness=60).map(identity_of(issue("alice"))).user
    User.objects.filter(username="alice").update(last_name="Smith")
    user.last_name = "Jones"
    user.save(update_fields=["last_name"])
    assert User.objects.get(username="alice").last_name == "Jones"


def test_other_users_are_saved_as_ever(django_assert_num_queries: object) -> None:
    """A user that no certificate made is saved whole, in one query."""
    user = person("bob")
    user.first_name = "Bob"
    with django_assert_num_queries(1):  # type: ignore[operator]
        user.save()
    assert User.objects.get(username="bob").first_name == "Bob"


def test_a_deleted_user(configure: Configure, issue: Issue) -> None:
    """A remembered user that was deleted meanwhile is saved as Django saves a deleted user."""
    enroll(issue("alice"), person("alice"))
    user: Any = Directory(max_staleness=60).map(identity_of(issue("alice"))).user
    User.objects.all().delete()
    user.save()
    assert User.objects.get().username == "alice"


def test_a_user_model_without_a_column(issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `is_active` is no column, the user object answers."""
    enroll(issue("alice"), person("alice"))
    lookup = FingerprintLookup()
    monkeypatch.setattr(lookup, "_active_index", None)
    row = lookup.fetch(identity_of(issue("alice")))
    assert row is not None
    assert lookup.is_active(row)
    User.objects.update(is_active=False)
    row = lookup.fetch(identity_of(issue("alice")))
    assert row is not None
    assert not lookup.is_active(row)
