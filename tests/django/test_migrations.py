"""What migrations make of rows that are there already."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from django_mtls.models import EnrolledCertificate
from mtls_auth.testing import CertificateAuthority
from tests.django.conftest import enroll, person

BEFORE, AFTER = "0001_initial", "0002_stated_fingerprints"
CONTENTS = "SELECT fingerprint_sha256, subject, state, serial_number, der FROM django_mtls_enrolledcertificate"

Migrate = Callable[[str], Any]


def latest() -> str:
    """Return the name of the app's last migration."""
    ((_app, name),) = MigrationExecutor(connection).loader.graph.leaf_nodes("django_mtls")
    return str(name)


@pytest.fixture
def migrate(transactional_db: None) -> Iterator[Migrate]:
    """Migrate the app to a migration, and return the models as they were then; in the end to the last one."""

    def to(name: str) -> Any:
        executor = MigrationExecutor(connection)
        executor.migrate([("django_mtls", name)])
        return executor.loader.project_state([("django_mtls", name)]).apps

    yield to
    to(latest())


def rows_before(apps: Any, number: int) -> None:
    """Write rows as the first migration knows them, of which no two hold the same certificate."""
    model = apps.get_model("django_mtls", "EnrolledCertificate")
    now = datetime.now(UTC)
    ders = [b"certificate %d" % index for index in range(number)]
    model.objects.bulk_create(
        model(
            fingerprint_sha256=sha256(der).hexdigest(),
            subject=f"CN={index}",
            issuer="CN=CA",
            issuer_key="0" * 64,
            serial_number=f"{index:x}",
            not_before=now,
            not_after=now,
            spki_sha256="0" * 64,
            der=der,
        )
        for index, der in enumerate(ders)
    )


def contents() -> set[tuple[Any, ...]]:
    """Return what every row holds, in the columns that were always there."""
    with connection.cursor() as cursor:
        cursor.execute(CONTENTS)
        return {tuple(map(str, (*row[:-1], bytes(row[-1])))) for row in cursor.fetchall()}


@pytest.mark.parametrize("number", [0, 1, 1000, 2345], ids=str)
def test_sha1_of_rows_that_are_there(migrate: Migrate, number: int) -> None:
    """Each row gets the SHA-1 fingerprint of its own certificate, in however many batches; nothing else changes."""
    rows_before(migrate(BEFORE), number)
    before = contents()
    migrate(AFTER)
    found = list(EnrolledCertificate.objects.values_list("fingerprint_sha1", "der"))
    assert len(found) == number
    assert [row for row in found if row[0] != sha1(bytes(row[1]), usedforsecurity=False).hexdigest()] == []
    assert contents() == before


def test_there_and_back(migrate: Migrate) -> None:
    """The migration is undone without a loss, and done again."""
    enroll(CertificateAuthority().issue("alice"), person("alice"))
    rows_before(migrate(BEFORE), 3)
    assert "fingerprint_sha1" not in _columns()
    before = contents()
    assert len(before) == 4
    migrate(AFTER)
    assert contents() == before
    assert "fingerprint_sha1" in _columns()
    row = EnrolledCertificate.objects.get(user=User.objects.get(username="alice"))
    assert row.fingerprint_sha1 == sha1(bytes(row.der), usedforsecurity=False).hexdigest()


def test_the_index(migrate: Migrate) -> None:
    """The column is indexed after it, and not before."""
    for name, expected in ((BEFORE, False), (AFTER, True)):
        migrate(name)
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(cursor, "django_mtls_enrolledcertificate")
        assert ("mtls_certificate_sha1" in constraints) is expected


def _columns() -> set[str]:
    with connection.cursor() as cursor:
        table = connection.introspection.get_table_description(cursor, "django_mtls_enrolledcertificate")
    return {column.name for column in table}
