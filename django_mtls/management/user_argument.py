"""A user as an argument of a command: the user name."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management import CommandError
from django.utils.translation import gettext as _


def user_named(name: str) -> AbstractBaseUser:
    """Return the user of this name, letter by letter."""
    model: Any = get_user_model()
    try:
        user: AbstractBaseUser = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        message = _("There is no user whose %(field)s is %(name)r: check the spelling, or create the user first.")
        raise CommandError(message % {"field": model.USERNAME_FIELD, "name": name}) from None
    return user
