"""The decorator for class-based views."""

from typing import TYPE_CHECKING, Any

from django_mtls.decorators import client_certificate_required
from mtls_auth import Policy

if TYPE_CHECKING:
    from django.views.generic import View
else:
    View = object


class ClientCertificateRequiredMixin(View):
    """Lets a class-based view, sync or async, run only for a certificate that `certificate_policy` admits."""

    certificate_policy: Policy | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.as_view.__func__ is not ClientCertificateRequiredMixin.as_view.__func__:  # type: ignore[attr-defined]
            raise TypeError(f"{cls.__name__}: write ClientCertificateRequiredMixin before the view class")

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        policy = initkwargs.get("certificate_policy", cls.certificate_policy)
        return client_certificate_required(policy)(super().as_view(**initkwargs))
