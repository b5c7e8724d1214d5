"""SQL compiled once: the same rows as the queryset, for whatever values come."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import MultipleObjectsReturned
from django.db.models import Exists, OuterRef, Subquery, Value

from django_mtls.compiled_query import CompiledQuery
from tests.django.conftest import person

pytestmark = pytest.mark.django_db


def by_name(*columns: Any) -> CompiledQuery:
    return CompiledQuery(User.objects.filter(username="%name%").order_by().values_list(*columns))


def test_one() -> None:
    """The placeholder is filled in at each call."""
    person("alice", email="a@example.com")
    person("bob", email="b@example.com")
    query = by_name("email")
    assert [query.one(name=name) for name in ("alice", "bob", "carol")] == [
        ("a@example.com",),
        ("b@example.com",),
        None,
    ]


HOSTILE = ["'", '"', "' OR 1=1 --", "%", "%s", "%(name)s", "%name%", "\\", "é", "🦊", "a" * 150, ""]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_values_are_values(name: str) -> None:
    """Whatever text comes is a value, never SQL, never a placeholder."""
    User.objects.create(username="other")
    query = by_name("username")
    assert query.one(name=name) is None
    User.objects.create(username=name)
    assert query.one(name=name) == (name,)


def test_conversions() -> None:
    """Columns are converted as the ORM converts them, the truth of SQLite included."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    person("alice", last_login=moment)
    columns = ("pk", "is_active", "last_login", "date_joined", Exists(User.objects.filter(username="%name%")))
    row = by_name(*columns).one(name="alice")
    assert row == (*User.objects.values_list(*columns[:4]).get(), True)
    assert row is not None
    assert [type(value) for value in row[1:4]] == [bool, datetime, datetime]


def test_null() -> None:
    """NULL is None, through every converter."""
    person("alice")
    assert by_name("last_login").one(name="alice") == (None,)


def test_several_placeholders_in_subqueries() -> None:
    """Placeholders in subqueries are filled in too, each by its name, each as often as it stands there."""
    person("alice", email="a@example.com")
    person("bob", email="b@example.com")
    other = User.objects.filter(username=Value("%other%")).order_by()
    query = CompiledQuery(
        User.objects.filter(username="%name%", first_name="")
        .order_by()
        .values_list(
            "username", Subquery(other.values("email")), Exists(other.filter(pk=OuterRef("pk"))), Value("%name%")
        )
    )
    assert query.one(name="alice", other="bob") == ("alice", "b@example.com", False, "alice")
    assert query.one(name="bob", other="bob") == ("bob", "b@example.com", True, "bob")


def test_values_that_only_look_like_placeholders() -> None:
    """Fixed values of the queryset stay what they are."""
    User.objects.create(username="alice", first_name="%", last_name="50%")
    query = CompiledQuery(
        User.objects.filter(username="%name%", first_name="%", last_name="50%", is_active=True)
        .order_by()
        .values_list("username")
    )
    assert query.one(name="alice") == ("alice",)


def test_several_rows() -> None:
    """Of several rows none is chosen."""
    for name in ("alice", "bob"):
        person(name, first_name="x")
    query = CompiledQuery(User.objects.filter(first_name="%name%").order_by().values_list("username"))
    with pytest.raises(MultipleObjectsReturned):
        query.one(name="x")
    assert query.one(name="y") is None


def test_no_placeholder() -> None:
    """A query may have none."""
    person("alice")
    assert CompiledQuery(User.objects.order_by().values_list("username")).one() == ("alice",)


def test_a_missing_value_is_an_error() -> None:
    """A placeholder without a value is never sent to the database."""
    with pytest.raises(KeyError):
        by_name("pk").one()


def test_one_query_a_call(django_assert_num_queries: Any) -> None:
    """A call is one query, and compiling is none."""
    with django_assert_num_queries(0):
        query = by_name("pk")
    with django_assert_num_queries(2):
        query.one(name="alice")
        query.one(name="alice")
