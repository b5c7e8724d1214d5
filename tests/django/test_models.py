"""What the database holds, and what it refuses whoever writes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError
from django.utils import timezone, translation

from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State, StateVersion
from tests.django.operators import CA, enroll, user_named

pytestmark = pytest.mark.django_db


def test_migrations() -> None:
    """One migration makes what the models say."""
    call_command("makemigrations", "django_mtls", check=True, dry_run=True, verbosity=0)


def test_reasons() -> None:
    """The reasons are those of RFC 5280 §5.3.1, without removeFromCRL, which is no reason to revoke."""
    assert set(CRLReason.values) == {
        "unspecified",
        "keyCompromise",
        "cACompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "certificateHold",
        "privilegeWithdrawn",
        "aACompromise",
    }


class TestConstraints:
    @pytest.mark.parametrize(
        ("model", "values"),
        [(EnrolledCertificate, {"state": "admitted"}), (Revocation, {"reason": "removeFromCRL"})],
        ids=["state", "reason"],
    )
    def test_choices(self, model: type[models.Model], values: dict[str, str]) -> None:
        """A state or a reason that is none is refused by the database itself."""
        lifecycle.revoke([enroll(user_named("alice"))], CRLReason.SUPERSEDED)
        with pytest.raises(IntegrityError), transaction.atomic():
            model._default_manager.update(**values)

    def test_one_row_a_certificate(self) -> None:
        """A certificate is enrolled once."""
        row = enroll(user_named("alice"))
        row.pk = None
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save(force_insert=True)

    def test_one_revocation_a_serial_number(self) -> None:
        """A serial number of an issuer is revoked once."""
        lifecycle.revoke([enroll(user_named("alice"))], CRLReason.SUPERSEDED)
        row = Revocation.objects.get()
        row.pk, row.certificate = None, None
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save(force_insert=True)


class TestEnrolledCertificate:
    def test_text(self) -> None:
        """A certificate is called by its common name and fingerprint, and by its subject without one."""
        row = enroll(user_named("alice"))
        assert str(row) == f"alice ({row.fingerprint_sha256[:16]}…)"
        row.subject_cn = ""
        assert str(row) == f"CN=alice ({row.fingerprint_sha256[:16]}…)"
        row.subject = ""
        assert str(row) == f"— ({row.fingerprint_sha256[:16]}…)"

    @pytest.mark.parametrize(
        ("state", "ended", "shown"),
        [
            (State.ACTIVE, False, "active"),
            (State.ACTIVE, True, "expired"),
            (State.SUSPENDED, False, "suspended"),
            (State.SUSPENDED, True, "expired"),
            (State.REVOKED, True, "revoked"),
        ],
    )
    def test_shown_state(self, state: State, ended: bool, shown: str) -> None:
        """People are shown what the clock ended as expired; what was revoked stays revoked."""
        row = EnrolledCertificate(state=state, not_after=timezone.now() + timedelta(hours=-1 if ended else 1))
        assert (row.has_expired, row.shown_state) == (ended, shown)

    def test_last_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A certificate is in force up to and including its last second, as RFC 5280 §4.1.2.5 says."""
        end = datetime(2027, 1, 1, tzinfo=UTC)
        row = EnrolledCertificate(not_after=end)
        for moment, expired in ((end, False), (end + timedelta(microseconds=1), True)):
            monkeypatch.setattr(timezone, "now", lambda moment=moment: moment)
            assert row.has_expired is expired

    def test_users(self) -> None:
        """A user has several certificates; they outlive the user and stand for nobody."""
        alice = user_named("alice")
        rows = [enroll(alice), enroll(alice)]
        assert set(alice.client_certificates.all()) == set(rows)
        alice.delete()
        assert list(EnrolledCertificate.objects.values_list("user", flat=True)) == [None, None]

    def test_operators(self) -> None:
        """Rows outlive the operators who wrote them."""
        operator = user_named("operator")
        row = enroll(user_named("alice"))
        lifecycle.revoke([row], CRLReason.SUPERSEDED, by=operator)
        EnrolledCertificate.objects.update(enrolled_by=operator)
        operator.delete()
        assert Revocation.objects.get().revoked_by is None
        assert EnrolledCertificate.objects.get().enrolled_by is None

    def test_order(self) -> None:
        """The newest comes first."""
        rows = [enroll(user_named("alice")) for _number in range(3)]
        assert list(EnrolledCertificate.objects.all()) == rows[::-1]

    def test_translated_state(self) -> None:
        """The names of the states can be translated; the stored values are not."""
        row = enroll(user_named("alice"))
        with translation.override("de"):
            assert row.state == "active"


class TestOthers:
    def test_revocation_text(self) -> None:
        """A revocation is called by serial number and issuer."""
        lifecycle.revoke([enroll(user_named("alice"), CA.issue("alice"))], CRLReason.SUPERSEDED)
        row = Revocation.objects.get()
        assert str(row) == f"{row.serial_number} (CN=Example CA)"

    def test_revocation_outlives_certificate(self) -> None:
        """Whatever happens to the row of a certificate, its revocation stays."""
        row = enroll(user_named("alice"))
        lifecycle.revoke([row], CRLReason.SUPERSEDED)
        row.delete()
        assert Revocation.objects.get().certificate is None

    def test_state_version_text(self) -> None:
        """A version is a number."""
        assert str(StateVersion(version=7)) == "7"


@pytest.mark.parametrize(
    ("queryset", "index"),
    [
        (lambda: EnrolledCertificate.objects.filter(fingerprint_sha256="a"), "mtls_certificate_fingerprint"),
        (
            lambda: EnrolledCertificate.objects.filter(fingerprint_sha256__gte="a", fingerprint_sha256__lt="ag"),
            "mtls_certificate_fingerprint",
        ),
        (lambda: EnrolledCertificate.objects.filter(serial_number="a").order_by(), "mtls_certificate_serial"),
        (
            lambda: EnrolledCertificate.objects.filter(serial_number="a", issuer_key="b").order_by(),
            "mtls_certificate_serial",
        ),
        (
            lambda: EnrolledCertificate.objects.filter(state="revoked").order_by("state", "-pk"),
            "mtls_certificate_state_id",
        ),
        (lambda: EnrolledCertificate.objects.order_by("-not_after"), "mtls_certificate_not_after"),
        (lambda: EnrolledCertificate.objects.filter(fingerprint_sha1="a"), "mtls_certificate_sha1"),
        (lambda: Revocation.objects.filter(serial_number="a").order_by(), "mtls_revocation_serial"),
    ],
)
def test_indexes(queryset: Any, index: str) -> None:
    """What requests and the admin ask is answered from an index."""
    if connection.vendor != "sqlite":
        pytest.skip("a planner with statistics reads small tables whole")
    plan = queryset().explain()
    # SQLite names the index of a unique constraint by number.
    assert "USING INDEX" in plan or "USING COVERING INDEX" in plan, plan
    assert index in plan or "autoindex" in plan, plan


def test_no_protection() -> None:
    """Nothing of ours keeps a project from deleting its users."""
    alice = user_named("alice")
    enroll(alice)
    try:
        alice.delete()
    except ProtectedError:  # pragma: no cover
        pytest.fail("the certificate protects its user")
