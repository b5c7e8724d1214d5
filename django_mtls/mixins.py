"""The decorator for class-based views."""

from typing import Any

from django.views.generic import View

from django_mtls.decorators import client_certificate_required
from mtls_auth import Policy


# A View itself: so Python puts it before `View` wherever it is written, or refuses to make the class.
class ClientCertificateRequiredMixin(View):
    """Lets a class-based view, sync or async, run only for a certificate that `certificate_policy` admits."""

    certificate_policy: Policy | None = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        policy = initkwargs.get("certificate_policy", cls.certificate_policy)
        return client_certificate_required(policy)(super().as_view(**initkwargs))
