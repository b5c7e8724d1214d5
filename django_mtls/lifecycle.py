"""The life of a certificate: the only code that writes the app's rows.

Every function takes `by`, the user who did it (None for a command), checks, writes in one transaction, and
sends its signal when that commits.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from cryptography import x509
from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.dispatch import Signal
from django.utils import timezone

from django_mtls import signals
from django_mtls.issuer_key import issuer_key
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from mtls_auth import Certificate
from mtls_auth.certificate import spki_sha256

User = AbstractBaseUser | None


class LifecycleError(Exception):
    """What was asked for cannot be done; the message says why and what to do."""


def enroll(
    certificate: Certificate, user: AbstractBaseUser, *, label: str = "", by: User = None
) -> EnrolledCertificate:
    """Let *certificate* stand for *user* from the next request on.

    Raises `CertificateRejected` if it may not authenticate clients or is not in force, and `LifecycleError` if it
    is enrolled already or was revoked. Does not check who issued it.
    """
    certificate.check_client_usage()
    certificate.check_validity(timezone.now())
    with transaction.atomic():
        row = EnrolledCertificate.objects.filter(fingerprint_sha256=certificate.fingerprint_sha256).first()
        if row is not None:
            raise LifecycleError(f"This certificate is enrolled already, for {row.user or 'nobody'}: {row.state}.")
        if Revocation.objects.filter(**issued(certificate)).exists():
            raise LifecycleError("This certificate was revoked: issue and enrol a new one.")
        holder: Any = user  # whatever model AUTH_USER_MODEL names
        row = EnrolledCertificate(user=holder, label=label, enrolled_by_id=by.pk if by else None, **facts(certificate))
        row.save(force_insert=True)
        _announce(signals.certificate_enrolled, row, by)
    return row


def revoke(
    certificates: Iterable[EnrolledCertificate], reason: CRLReason, *, comment: str = "", by: User = None
) -> list[Revocation]:
    """Revoke enrolled certificates, all or none. Already revoked ones are left as they are.

    `certificateHold` suspends: `reactivate` lifts it. Every other reason is final.
    """
    done: list[Revocation] = []
    with transaction.atomic():
        rows = EnrolledCertificate.objects.select_for_update().filter(pk__in=[row.pk for row in certificates])
        for row in rows.order_by("pk"):
            if row.state != State.REVOKED:
                done += [_revoke(row, reason, comment, by)]
    return done


def revoke_serial(
    issuer: x509.Name, serial_number: int, reason: CRLReason, *, comment: str = "", by: User = None
) -> Revocation:
    """Revoke by issuer and serial number: a certificate that was never enrolled, or every enrolled one of them."""
    key: dict[str, Any] = {"issuer_key": issuer_key(issuer), "serial_number": f"{serial_number:x}"}
    with transaction.atomic():
        rows = list(EnrolledCertificate.objects.select_for_update().filter(**key).order_by("pk"))
        existing = Revocation.objects.filter(**key).first()
        if existing is not None and existing.reason != CRLReason.CERTIFICATE_HOLD:
            raise LifecycleError("This serial number of this issuer is revoked already.")
        if not rows:
            return _record(key, issuer.rfc4514_string(), None, reason, comment, by)
        return [_revoke(row, reason, comment, by) for row in rows][-1]


def suspend(certificate: EnrolledCertificate, *, comment: str = "", by: User = None) -> None:
    """Refuse *certificate* until `reactivate`. RFC 5280's `certificateHold`."""
    revoke([certificate], CRLReason.CERTIFICATE_HOLD, comment=comment, by=by)


def reactivate(certificate: EnrolledCertificate, *, by: User = None) -> None:
    """Lift a suspension; raise `LifecycleError` for a certificate that is not suspended."""
    with transaction.atomic():
        row = EnrolledCertificate.objects.select_for_update().get(pk=certificate.pk)
        if row.state != State.SUSPENDED:
            raise LifecycleError(f"Only a suspended certificate can be reactivated; this one is {row.state}.")
        Revocation.objects.filter(
            issuer_key=row.issuer_key, serial_number=row.serial_number, reason=CRLReason.CERTIFICATE_HOLD
        ).delete()
        row.state = State.ACTIVE
        row.save(update_fields=["state"])
        _announce(signals.certificate_reactivated, row, by)


def issued(certificate: Certificate) -> dict[str, str]:
    """Return the columns that name *certificate* by issuer and serial number."""
    return {"issuer_key": issuer_key(certificate.issuer), "serial_number": certificate.serial_hex}


def facts(certificate: Certificate) -> dict[str, Any]:
    """Return the columns of `EnrolledCertificate` that follow from the certificate alone."""
    return {
        **issued(certificate),
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "subject_cn": certificate.common_name or "",
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "spki_sha256": spki_sha256(certificate),
        "der": certificate.der,
    }


def _revoke(row: EnrolledCertificate, reason: CRLReason, comment: str, by: User) -> Revocation:
    on_hold = reason == CRLReason.CERTIFICATE_HOLD
    row.state = State.SUSPENDED if on_hold else State.REVOKED
    row.save(update_fields=["state"])
    key: dict[str, Any] = {"issuer_key": row.issuer_key, "serial_number": row.serial_number}
    revocation = _record(key, row.issuer, row, reason, comment, by)
    _announce(signals.certificate_suspended if on_hold else signals.certificate_revoked, row, by)
    return revocation


def _record(
    key: dict[str, Any], issuer: str, row: EnrolledCertificate | None, reason: CRLReason, comment: str, by: User
) -> Revocation:
    values = {"issuer": issuer, "certificate": row, "reason": reason, "comment": comment, "revoked_by": by}
    return Revocation.objects.update_or_create(**key, defaults={**values, "revoked_at": timezone.now()})[0]


def _announce(signal: Signal, row: models.Model, by: User) -> None:
    transaction.on_commit(partial(signal.send, sender=EnrolledCertificate, certificate=row, by=by))
