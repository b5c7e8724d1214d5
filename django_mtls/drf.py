"""Django REST framework: the certificate's user as `request.user`, and policies as permissions."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from django_mtls.directory import Enrollment
from django_mtls.request import decision_of
from mtls_auth import AnyVerifiedCertificate, Authenticated, Denied, Identity, Policy

# A browser sends one of these with every request that a page of another site can make it send.
_BROWSER_HEADERS = ("Origin", "Referer", "Sec-Fetch-Site", "Cookie")


class ClientCertificateAuthentication(SessionAuthentication):
    """Gives `request.user` the certificate's user and `request.auth` the `Identity`; never a session's user.

    A browser presents its certificate to whatever page asks, as it does with cookies: what looks like a browser
    needs a CSRF token. Programs without these headers do not.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, Identity] | None:
        match decision_of(request._request):
            case Authenticated(identity=identity, principal=Enrollment(user=user)):
                if any(request.headers.get(name) for name in _BROWSER_HEADERS):
                    self.enforce_csrf(request)
                return user, identity
            case _:
                return None


class CertificatePermission(BasePermission):
    """Base: admits what `policy` admits. Make one with `certificate_permission(policy)`."""

    policy: Policy = AnyVerifiedCertificate()

    def has_permission(self, request: Request, view: Any) -> bool:
        found = self.policy.decide(decision_of(request._request))
        self.message = found.reason.value if isinstance(found, Denied) else None
        return not isinstance(found, Denied)


def certificate_permission(policy: Policy) -> type[CertificatePermission]:
    """Return a permission class for `permission_classes`: 403 with the reason as detail unless *policy* admits."""
    return type("CertificatePermission", (CertificatePermission,), {"policy": policy})
