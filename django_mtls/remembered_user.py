"""Users made of remembered rows: saving one writes what the request changed, and nothing that it only remembered.

A whole `user.save()` would otherwise write back `is_active` or `is_staff` as they were seconds ago.
"""

from typing import Any

from django.db.models import Model

_REMEMBERED = "_mtls_remembered"


def mark(user: Any, values: tuple[Any, ...]) -> None:
    """Note the column values that *user* was made of, in the order of its concrete fields."""
    user.__dict__[_REMEMBERED] = values


def refresh_unchanged(
    sender: type[Model], instance: Any, using: str, update_fields: frozenset[str] | None = None, **kwargs: Any
) -> None:
    """Before a whole marked user is saved, read anew every column that the request did not change."""
    remembered = instance.__dict__.pop(_REMEMBERED, None)
    if remembered is None or update_fields is not None:
        return
    now = sender._base_manager.using(using).filter(pk=instance.pk).first()
    if now is None:
        return
    for field, value in zip(instance._meta.concrete_fields, remembered, strict=True):
        if getattr(instance, field.attname) == value:
            setattr(instance, field.attname, getattr(now, field.attname))
