"""The state version: raised by everything that changes whom a certificate stands for.

Changes that no signal sees (`QuerySet.update()`, raw SQL) are not seen here either: `directory` caps the age of
what it remembers for their sake.
"""

from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import F
from django.db.models.signals import post_delete, post_save

from django_mtls.compiled_query import CompiledQuery
from django_mtls.models import EnrolledCertificate, Revocation, StateVersion

_ROW = 1


def bump(using: str) -> None:
    """Raise the version in the current transaction; readers see both the change and the version, or neither."""
    # The row lock makes the order of versions the order of commits.
    if not StateVersion.objects.using(using).filter(pk=_ROW).update(version=F("version") + 1):
        StateVersion.objects.using(using).get_or_create(pk=_ROW, defaults={"version": 1})


def read(using: str) -> int:
    """Return the current version; 0 before the first change."""
    row = _compiled(using).first()
    return row[0] if row is not None else 0


@cache
def _compiled(using: str) -> CompiledQuery:
    return CompiledQuery(StateVersion.objects.using(using).filter(pk=_ROW).order_by().values_list("version"))


def connect() -> None:
    """Bump on every saved or deleted certificate, revocation and user."""
    for model in (EnrolledCertificate, Revocation, get_user_model()):
        label = model._meta.label
        post_save.connect(_changed, sender=model, dispatch_uid=f"mtls-save-{label}")
        post_delete.connect(_changed, sender=model, dispatch_uid=f"mtls-delete-{label}")


def _changed(sender: Any, update_fields: frozenset[str] | None = None, **kwargs: Any) -> None:
    if update_fields == frozenset({"last_login"}):  # every login saves it, and nobody is admitted by it
        return
    if getattr(settings, "MTLS_AUTH", {}).get("MAX_STALENESS") is not None:
        bump(router.db_for_write(EnrolledCertificate))
