"""The life of a certificate: the only code that writes the app's rows.

Every function takes `by`, the user who did it (None for a command), checks, writes in one transaction, and
sends its signal when that commits.
"""

from collections.abc import Iterable
from functools import partial
from hashlib import sha1
from typing import Any

from cryptography import x509
from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, models, transaction
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from django_mtls import signals
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from mtls_auth import Certificate
from mtls_auth.certificate import spki_sha256
from mtls_auth.issuer_key import issuer_key

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
    check_enrollable(certificate)
    holder: Any = user  # whatever model AUTH_USER_MODEL names
    row = EnrolledCertificate(user=holder, label=label, enrolled_by_id=by.pk if by else None, **facts(certificate))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            _announce(signals.certificate_enrolled, row, by)
    except IntegrityError as error:
        raise LifecycleError(_("This certificate was enrolled by somebody else a moment ago: look it up.")) from error
    return row


def check_enrollable(certificate: Certificate) -> None:
    """Raise what `enroll` would raise for *certificate*; writes nothing."""
    certificate.check_client_usage()
    certificate.check_validity(timezone.now())
    row = EnrolledCertificate.objects.filter(fingerprint_sha256=certificate.fingerprint_sha256).first()
    if row is not None:
        values = {"user": row.user or _("nobody"), "state": row.shown_state}
        raise LifecycleError(_("This certificate is enrolled already, for %(user)s: %(state)s.") % values)
    if Revocation.objects.filter(**issued(certificate)).exists():
        raise LifecycleError(_("This certificate was revoked: have a new one issued, and enrol that."))


def relabel(certificate: EnrolledCertificate, label: str) -> None:
    """Call *certificate* something else; touches no other column."""
    certificate.label = label
    certificate.save(update_fields=["label"])


def revoke(
    certificates: Iterable[EnrolledCertificate], reason: CRLReason, *, comment: str = "", by: User = None
) -> list[EnrolledCertificate]:
    """Revoke enrolled certificates, all or none, and return them. Already revoked ones are left as they are.

    `certificateHold` suspends: `reactivate` lifts it. Every other reason is final.
    """
    done: list[EnrolledCertificate] = []
    with transaction.atomic():
        rows = EnrolledCertificate.objects.select_for_update().filter(pk__in=[row.pk for row in certificates])
        for row in rows.order_by("pk"):
            if row.state != State.REVOKED:
                _revoke(row, reason, comment, by)
                done.append(row)
    return done


def revoke_serial(
    issuer: x509.Name, serial_number: int, reason: CRLReason, *, comment: str = "", by: User = None
) -> Revocation:
    """Revoke by issuer and serial number: a certificate that was never enrolled, or every enrolled one of them.

    Raises `LifecycleError` if that is done already, or for a `certificateHold` that nothing could lift.
    """
    check_revocable(issuer, serial_number, reason)
    key: dict[str, Any] = {"issuer_key": issuer_key(issuer), "serial_number": f"{serial_number:x}"}
    with transaction.atomic():
        rows = list(EnrolledCertificate.objects.select_for_update().filter(**key).order_by("pk"))
        if not rows:
            return _record(key, issuer.rfc4514_string(), None, reason, comment, by)
        return [_revoke(row, reason, comment, by) for row in rows][-1]


def check_revocable(issuer: x509.Name, serial_number: int, reason: CRLReason) -> None:
    """Raise what `revoke_serial` would raise; writes nothing."""
    key: dict[str, Any] = {"issuer_key": issuer_key(issuer), "serial_number": f"{serial_number:x}"}
    existing = Revocation.objects.filter(**key).first()
    if existing is not None and existing.reason != CRLReason.CERTIFICATE_HOLD:
        raise LifecycleError(_("This serial number of this issuer is revoked already: there is nothing to do."))
    if reason == CRLReason.CERTIFICATE_HOLD and not is_enrolled(issuer, serial_number):
        raise LifecycleError(_("Only an enrolled certificate can be put on hold: give another reason."))


def is_enrolled(issuer: x509.Name, serial_number: int) -> bool:
    """Whether a certificate of this issuer and serial number is enrolled, in whatever state."""
    key: dict[str, Any] = {"issuer_key": issuer_key(issuer), "serial_number": f"{serial_number:x}"}
    return EnrolledCertificate.objects.filter(**key).exists()


def suspend(certificate: EnrolledCertificate, *, comment: str = "", by: User = None) -> None:
    """Refuse *certificate* until `reactivate`. RFC 5280's `certificateHold`."""
    revoke([certificate], CRLReason.CERTIFICATE_HOLD, comment=comment, by=by)


def reactivate(certificate: EnrolledCertificate, *, by: User = None) -> None:
    """Lift a suspension; raise `LifecycleError` for a certificate that is not suspended."""
    with transaction.atomic():
        row = EnrolledCertificate.objects.select_for_update().get(pk=certificate.pk)
        if row.state != State.SUSPENDED:
            values = {"state": row.get_state_display()}
            raise LifecycleError(_("Only a suspended certificate can be reactivated; this one is %(state)s.") % values)
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
        "fingerprint_sha1": sha1(certificate.der, usedforsecurity=False).hexdigest(),
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
    # Two enrolled certificates of one serial number: a hold on one does not lift what was final for the other.
    final = Revocation.objects.filter(**key).exclude(reason=CRLReason.CERTIFICATE_HOLD).first()
    if final is not None:
        return final
    values = {"issuer": issuer, "certificate": row, "reason": reason, "comment": comment, "revoked_by": by}
    return Revocation.objects.update_or_create(**key, defaults={**values, "revoked_at": timezone.now()})[0]


def _announce(signal: Signal, row: models.Model, by: User) -> None:
    transaction.on_commit(partial(signal.send, sender=EnrolledCertificate, certificate=row, by=by))
