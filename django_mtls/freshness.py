"""The state version: raised by everything that changes whom a certificate stands for.

Changes that no signal sees (`QuerySet.update()`, raw SQL) are not seen here either: `directory` caps the age of
what it remembers for their sake.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import F, Model
from django.db.models.signals import post_delete, post_save, pre_save

from django_mtls.compiled_query import CompiledQuery
from django_mtls.models import EnrolledCertificate, Revocation, StateVersion
from django_mtls.remembered_user import refresh_unchanged

_ROW = 1


def bump(using: str) -> None:
    """Raise the version, in the transaction of the change where there is one: both are seen, or neither.

    A plain `save()` outside a transaction commits first; only a crash between the two could lose the version.
    """
    # The row lock makes the order of versions the order of commits.
    rows = StateVersion.objects.using(using).filter(pk=_ROW)
    while not rows.update(version=F("version") + 1):
        StateVersion.objects.using(using).get_or_create(pk=_ROW)


def read(using: str) -> int:
    """Return the current version; 0 before the first change."""
    row = _compiled(using).one()
    return row[0] if row is not None else 0


@cache
def _compiled(using: str) -> CompiledQuery:
    return CompiledQuery(StateVersion.objects.using(using).filter(pk=_ROW).order_by().values_list("version"))


def connect() -> None:
    """Bump on every saved or deleted certificate, revocation and user, proxy and child models included."""
    # Without a sender: the signals of a proxy or child model name that one.
    pre_save.connect(_refresh, dispatch_uid="django-mtls-save")
    post_save.connect(_changed, dispatch_uid="django-mtls-saved")
    post_delete.connect(_changed, dispatch_uid="django-mtls-deleted")


def _refresh(sender: type[Model], **kwargs: Any) -> None:
    if issubclass(sender, get_user_model()):
        refresh_unchanged(sender, **kwargs)


def _changed(sender: type[Model], update_fields: frozenset[str] | None = None, **kwargs: Any) -> None:
    if issubclass(sender, (EnrolledCertificate, Revocation)):
        # Whatever the settings of this process say: others may remember.
        bump(router.db_for_write(EnrolledCertificate))
        return
    # A child of the user model, and the parent that holds its columns, are the user too.
    if not issubclass(sender, get_user_model()) and not issubclass(get_user_model(), sender):
        return
    if update_fields == frozenset({"last_login"}):  # every login saves it, and nobody is admitted by it
        return
    raw = getattr(settings, "MTLS_AUTH", None)
    if isinstance(raw, Mapping) and raw.get("MAX_STALENESS") is not None:
        bump(router.db_for_write(EnrolledCertificate))
