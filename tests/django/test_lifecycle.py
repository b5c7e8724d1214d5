"""Enrolment, revocation, suspension and reactivation: what they write, refuse and announce."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from django.db import transaction
from django.utils import timezone

from django_mtls import lifecycle, signals
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from mtls_auth import CertificateRejected, Reason, load_certificate
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.django.operators import CA, enroll, user_named
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

LEAVES = BrokenLeaves(CA)
SIGNALS = {
    "enrolled": signals.certificate_enrolled,
    "revoked": signals.certificate_revoked,
    "suspended": signals.certificate_suspended,
    "reactivated": signals.certificate_reactivated,
}


@pytest.fixture
def alice() -> Any:
    """A user."""
    return user_named("alice")


@pytest.fixture
def announced() -> Iterator[list[tuple[str, Any, Any]]]:
    """What was announced: the signal's name, the certificate and who did it."""
    heard: list[tuple[str, Any, Any]] = []
    receivers = []
    for name, signal in SIGNALS.items():

        def receive(sender: Any, certificate: Any, by: Any, name: str = name, **keywords: Any) -> None:
            assert sender is EnrolledCertificate
            heard.append((name, certificate, by))

        receivers.append((signal, receive))
        signal.connect(receive)
    yield heard
    for signal, receive in receivers:
        signal.disconnect(receive)


def twin(issued: IssuedCertificate) -> IssuedCertificate:
    """Return another certificate of the same issuer name and serial number, as a CA of that name would make it."""
    other = CertificateAuthority("Example CA").issue("twin")
    builder = (
        x509.CertificateBuilder()
        .subject_name(other.certificate.subject)
        .issuer_name(other.certificate.issuer)
        .public_key(other.certificate.public_key())
        .serial_number(issued.certificate.serial_number)
        .not_valid_before(other.certificate.not_valid_before_utc)
        .not_valid_after(other.certificate.not_valid_after_utc)
    )
    certificate = builder.sign(other.key, other.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    return IssuedCertificate(certificate=certificate, key=other.key, chain=(), root=other.root)


def named(issued: IssuedCertificate) -> tuple[x509.Name, int]:
    """Return issuer and serial number."""
    return issued.certificate.issuer, issued.certificate.serial_number


def state_of(row: EnrolledCertificate) -> str:
    """Return the stored state."""
    return EnrolledCertificate.objects.values_list("state", flat=True).get(pk=row.pk)


class TestEnroll:
    def test_columns(self, alice: Any) -> None:
        """Every column that follows from the certificate is written."""
        operator, issued = user_named("operator"), LEAVES.through_intermediate
        certificate = load_certificate(issued.der)
        row = lifecycle.enroll(certificate, alice, label="laptop", by=operator)
        row.refresh_from_db()
        assert (row.user, row.label, row.state, row.enrolled_by) == (alice, "laptop", State.ACTIVE, operator)
        assert (row.subject_cn, row.subject, row.issuer) == ("alice", "CN=alice,OU=Ops", "CN=Test Intermediate CA")
        assert row.fingerprint_sha256 == issued.fingerprint_sha256
        assert row.serial_number == f"{issued.certificate.serial_number:x}"
        assert (row.not_before, row.not_after) == (certificate.not_before, certificate.not_after)
        assert bytes(row.der) == issued.der
        assert len(row.spki_sha256) == 64

    def test_no_common_name(self, alice: Any) -> None:
        """A certificate without a common name is enrolled by its other names."""
        issued = CA.issue(subject=x509.Name([]), san=[x509.RFC822Name("alice@example.com")])
        row = enroll(alice, issued)
        assert (row.subject_cn, row.subject) == ("", "")

    @pytest.mark.parametrize(
        ("leaf", "reason"),
        [
            ("expired", Reason.EXPIRED),
            ("not_yet_valid", Reason.NOT_YET_VALID),
            ("server_only", Reason.WRONG_KEY_USAGE),
        ],
    )
    def test_not_in_force(self, alice: Any, leaf: str, reason: Reason) -> None:
        """What may not authenticate anybody now is not enrolled."""
        with pytest.raises(CertificateRejected) as raised:
            enroll(alice, getattr(LEAVES, leaf))
        assert raised.value.reason is reason
        assert not EnrolledCertificate.objects.exists()

    @pytest.mark.parametrize("user", ["alice", "bob"])
    def test_twice(self, alice: Any, user: str) -> None:
        """A certificate is enrolled once, and stands for one user."""
        enroll(alice, LEAVES.good)
        with pytest.raises(lifecycle.LifecycleError, match="enrolled already, for alice: active"):
            enroll(user_named(user), LEAVES.good)

    def test_of_a_deleted_user(self, alice: Any) -> None:
        """The certificate of a deleted user is not enrolled again."""
        enroll(alice, LEAVES.good)
        alice.delete()
        with pytest.raises(lifecycle.LifecycleError, match="for nobody"):
            enroll(user_named("bob"), LEAVES.good)

    def test_at_once(self, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two enrolments at once the later is refused, and its transaction can go on."""
        enroll(alice, LEAVES.good)
        monkeypatch.setattr(lifecycle, "check_enrollable", lambda certificate: None)
        with transaction.atomic():
            with pytest.raises(lifecycle.LifecycleError, match="a moment ago"):
                enroll(alice, LEAVES.good)
            assert EnrolledCertificate.objects.count() == 1

    @pytest.mark.parametrize("reason", [CRLReason.KEY_COMPROMISE, CRLReason.SUPERSEDED])
    def test_revoked(self, alice: Any, reason: CRLReason) -> None:
        """What was revoked by its serial number is not enrolled."""
        lifecycle.revoke_serial(*named(LEAVES.good), reason)
        with pytest.raises(lifecycle.LifecycleError, match="have a new one issued"):
            enroll(alice, LEAVES.good)


class TestRelabel:
    def test_one_column(self, alice: Any) -> None:
        """A new label leaves alone what changed meanwhile."""
        row = enroll(alice)
        lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
        lifecycle.relabel(row, "phone")
        row.refresh_from_db()
        assert (row.label, row.state) == ("phone", State.REVOKED)


class TestRevoke:
    def test_many(self, alice: Any) -> None:
        """Several are revoked in one step; those that were revoked already stay as they are."""
        rows = [enroll(alice) for _number in range(3)]
        assert lifecycle.revoke(rows[:1], CRLReason.SUPERSEDED, comment="first") == rows[:1]
        operator = user_named("operator")
        assert lifecycle.revoke(rows, CRLReason.KEY_COMPROMISE, comment="second", by=operator) == rows[1:]
        assert [state_of(row) for row in rows] == ["revoked"] * 3
        revocations = Revocation.objects.order_by("pk").values_list("reason", "comment", "revoked_by", "certificate")
        assert list(revocations) == [
            ("superseded", "first", None, rows[0].pk),
            ("keyCompromise", "second", operator.pk, rows[1].pk),
            ("keyCompromise", "second", operator.pk, rows[2].pk),
        ]

    def test_all_or_none(self, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """When one cannot be written, none is."""
        rows = [enroll(alice) for _number in range(2)]
        record = lifecycle._record
        calls = []

        def fail(*arguments: Any) -> Revocation:
            calls.append(arguments)
            if len(calls) == 2:
                raise ZeroDivisionError
            return record(*arguments)

        monkeypatch.setattr(lifecycle, "_record", fail)
        with pytest.raises(ZeroDivisionError):
            lifecycle.revoke(rows, CRLReason.KEY_COMPROMISE)
        assert [state_of(row) for row in rows] == ["active"] * 2
        assert not Revocation.objects.exists()

    def test_final(self, alice: Any) -> None:
        """A revoked certificate is neither suspended nor reactivated."""
        row = enroll(alice)
        lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
        lifecycle.suspend(row)
        assert state_of(row) == "revoked"
        with pytest.raises(lifecycle.LifecycleError, match="this one is revoked"):
            lifecycle.reactivate(row)
        assert Revocation.objects.get().reason == CRLReason.KEY_COMPROMISE

    def test_suspended(self, alice: Any) -> None:
        """A suspended certificate can be revoked for good."""
        row = enroll(alice)
        lifecycle.suspend(row)
        lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
        assert state_of(row) == "revoked"
        assert Revocation.objects.get().reason == CRLReason.KEY_COMPROMISE

    def test_none(self) -> None:
        """Nothing is revoked by an empty selection."""
        assert lifecycle.revoke([], CRLReason.KEY_COMPROMISE) == []


class TestSuspend:
    def test_and_reactivate(self, alice: Any) -> None:
        """A suspension is a certificate hold, and its lifting leaves no revocation behind."""
        row = enroll(alice)
        lifecycle.suspend(row, comment="Sick leave")
        assert state_of(row) == "suspended"
        revocation = Revocation.objects.get()
        assert (revocation.reason, revocation.comment) == (CRLReason.CERTIFICATE_HOLD, "Sick leave")
        lifecycle.reactivate(row)
        assert state_of(row) == "active"
        assert not Revocation.objects.exists()

    def test_active(self, alice: Any) -> None:
        """Only what is suspended is reactivated."""
        with pytest.raises(lifecycle.LifecycleError, match="this one is active"):
            lifecycle.reactivate(enroll(alice))


class TestRevokeSerial:
    def test_never_enrolled(self) -> None:
        """A certificate that was never enrolled is revoked by issuer and serial number."""
        row = lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.KEY_COMPROMISE, comment="Stolen")
        assert (row.issuer, row.certificate, row.comment) == ("CN=Example CA", None, "Stolen")

    def test_enrolled(self, alice: Any) -> None:
        """Every enrolled certificate of this number is revoked, whatever CA made it."""
        rows = [enroll(alice, LEAVES.good), enroll(alice, twin(LEAVES.good))]
        other = enroll(alice)
        lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.KEY_COMPROMISE)
        assert [state_of(row) for row in (*rows, other)] == ["revoked", "revoked", "active"]
        assert Revocation.objects.count() == 1

    def test_twice(self) -> None:
        """A revocation is final."""
        lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.KEY_COMPROMISE)
        with pytest.raises(lifecycle.LifecycleError, match="nothing to do"):
            lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.SUPERSEDED)

    def test_after_a_hold(self, alice: Any) -> None:
        """A held certificate can be revoked for good."""
        row = enroll(alice, LEAVES.good)
        lifecycle.suspend(row)
        lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.KEY_COMPROMISE)
        assert state_of(row) == "revoked"

    def test_hold(self, alice: Any) -> None:
        """Only an enrolled certificate is put on hold: nothing else could be reactivated."""
        with pytest.raises(lifecycle.LifecycleError, match="give another reason"):
            lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.CERTIFICATE_HOLD)
        row = enroll(alice, LEAVES.good)
        lifecycle.revoke_serial(*named(LEAVES.good), CRLReason.CERTIFICATE_HOLD)
        assert state_of(row) == "suspended"

    def test_hold_of_a_twin(self, alice: Any) -> None:
        """A hold on one of two certificates of one number does not undo what was final for the other."""
        one, other = enroll(alice, LEAVES.good), enroll(alice, twin(LEAVES.good))
        lifecycle.revoke([one], CRLReason.KEY_COMPROMISE)
        lifecycle.suspend(other)
        lifecycle.reactivate(other)
        assert Revocation.objects.get().reason == CRLReason.KEY_COMPROMISE


class TestSignals:
    def test_life(self, alice: Any, announced: list[Any], django_capture_on_commit_callbacks: Any) -> None:
        """Each step is announced with the certificate and who did it, when the transaction commits."""
        operator = user_named("operator")
        with django_capture_on_commit_callbacks(execute=True):
            row = lifecycle.enroll(load_certificate(LEAVES.good.der), alice, by=operator)
            assert announced == []
        with django_capture_on_commit_callbacks(execute=True):
            lifecycle.suspend(row, by=operator)
            lifecycle.reactivate(row, by=operator)
            lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
        assert announced == [
            ("enrolled", row, operator),
            ("suspended", row, operator),
            ("reactivated", row, operator),
            ("revoked", row, None),
        ]

    def test_rolled_back(self, alice: Any, announced: list[Any], django_capture_on_commit_callbacks: Any) -> None:
        """What did not happen is not announced."""

        def interrupted() -> None:
            with transaction.atomic():
                enroll(alice)
                raise ZeroDivisionError

        with django_capture_on_commit_callbacks(execute=True), pytest.raises(ZeroDivisionError):
            interrupted()
        assert announced == []
        assert not EnrolledCertificate.objects.exists()


def test_clock(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows carry the time at which they were written."""
    now = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: now)
    row = enroll(alice)
    lifecycle.revoke([row], CRLReason.SUPERSEDED)
    assert Revocation.objects.get().revoked_at == now
