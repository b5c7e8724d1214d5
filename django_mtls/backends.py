"""The authentication backend: `authenticate(request)` gives the certificate's user."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from django_mtls.conf import get_settings
from django_mtls.directory import Enrollment
from mtls_auth import Authenticated


class ClientCertificateBackend(ModelBackend):
    """Takes the decision that the middleware made on this request; knows no passwords.

    Users and permissions come from the database as with `ModelBackend`.
    """

    def authenticate(  # type: ignore[override]  # no user name, no password
        self, request: HttpRequest | None, **credentials: Any
    ) -> AbstractBaseUser | None:
        if credentials:
            return None
        match getattr(request, "certificate_decision", None):
            case Authenticated(principal=Enrollment(user=user)):
                return user
            case _:
                return None

    async def aauthenticate(  # type: ignore[override]  # as above
        self, request: HttpRequest | None, **credentials: Any
    ) -> AbstractBaseUser | None:
        return self.authenticate(request, **credentials)

    def get_user(self, user_id: Any) -> Any:
        """Return the user of a session that a certificate began; nobody once `SESSION` is switched off."""
        return None if get_settings().session is None else super().get_user(user_id)

    async def aget_user(self, user_id: Any) -> Any:
        return None if get_settings().session is None else await super().aget_user(user_id)
