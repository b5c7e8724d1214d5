"""Enrol a certificate for a user."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from django_mtls import lifecycle
from django_mtls.advice import advise
from django_mtls.forms.certificate_input import CertificateInput
from django_mtls.models import EnrolledCertificate
from mtls_auth import Certificate, CertificateRejected

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[EnrolledCertificate]
else:
    _ModelForm = forms.ModelForm


class EnrolmentForm(CertificateInput, _ModelForm):
    """User, label and certificate. `by` is who enrols; saving the form saves nothing, `lifecycle.enroll` does."""

    by: AbstractBaseUser | AnonymousUser | None = None

    class Meta:
        model = EnrolledCertificate
        fields = ("user", "label")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The column may be empty for users who were deleted since.
        self.fields["user"].required = True

    def clean_user(self) -> AbstractBaseUser | None:
        user: AbstractBaseUser | None = self.cleaned_data["user"]
        if getattr(user, "is_superuser", False) and not getattr(self.by, "is_superuser", False):
            raise ValidationError(
                _("Whoever holds the certificate signs in as this superuser: ask a superuser to enrol it."),
                code="superuser",
            )
        return user

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.certificate is not None:
            self._check_enrollable(self.certificate)
        elif not self.was_used:
            self.add_error("pem", ValidationError(_("Paste the certificate, or choose a file."), code="required"))
        return cleaned

    def _check_enrollable(self, certificate: Certificate) -> None:
        field = "file" if self.files.get(self.add_prefix("file")) else "pem"
        try:
            lifecycle.check_enrollable(certificate)
        except CertificateRejected as rejected:
            self.add_error(field, ValidationError(advise(rejected), code=rejected.reason.value))
        except lifecycle.LifecycleError as error:
            self.add_error(field, ValidationError(str(error), code="lifecycle"))
