"""Revoke a certificate that was never enrolled: by issuer and serial number."""

from typing import TYPE_CHECKING, Any

from cryptography import x509
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_mtls import lifecycle
from django_mtls.forms.certificate_input import CertificateInput
from django_mtls.forms.issuer_name import parse_issuer
from django_mtls.forms.serial_number import parse_serial
from django_mtls.models import CRLReason, Revocation

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Revocation]
else:
    _ModelForm = forms.ModelForm

FINAL_REASONS = [("", "---------"), *(choice for choice in CRLReason.choices if choice[0] != "certificateHold")]


class SerialRevocationForm(CertificateInput, _ModelForm):
    """Issuer and serial number, or the certificate itself. `named` is what a valid form found."""

    issuer = forms.CharField(
        label=gettext_lazy("Issuer"),
        required=False,
        max_length=4096,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("In RFC 4514 form, the most specific part first: CN=Example CA,O=Example"),
    )
    serial_number = forms.CharField(
        label=gettext_lazy("Serial number"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("Hexadecimal, colons allowed."),
    )
    reason = forms.ChoiceField(label=gettext_lazy("Reason"), choices=FINAL_REASONS)

    comment = forms.CharField(
        label=gettext_lazy("Comment"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3, "cols": 66}),
    )

    named: tuple[x509.Name, int] | None = None

    class Meta:
        model = Revocation
        fields = ("issuer", "serial_number", "reason", "comment")

    def clean_issuer(self) -> x509.Name | None:
        text = self.cleaned_data["issuer"]
        return parse_issuer(text) if text else None

    def clean_serial_number(self) -> int | None:
        text = self.cleaned_data["serial_number"]
        return parse_serial(text) if text else None

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        issuer, serial_number = cleaned.pop("issuer", None), cleaned.pop("serial_number", None)
        if self.errors:
            return cleaned
        if self.certificate is not None and (issuer or serial_number):
            self.add_error(None, ValidationError(_("Give issuer and serial number, or the certificate: not both.")))
        elif self.certificate is not None:
            self.named = (self.certificate.issuer, self.certificate.serial_number)
        elif issuer is not None and serial_number is not None:
            self.named = (issuer, serial_number)
        elif issuer is None and serial_number is None:
            self.add_error(None, ValidationError(_("Give issuer and serial number, or the certificate.")))
        else:
            missing = "issuer" if issuer is None else "serial_number"
            self.add_error(missing, ValidationError(_("A serial number is unique only with its issuer: give both.")))
        if self.named is not None:
            self._check_revocable(*self.named, CRLReason(cleaned["reason"]))
        return cleaned

    def _check_revocable(self, issuer: x509.Name, serial_number: int, reason: CRLReason) -> None:
        try:
            lifecycle.check_revocable(issuer, serial_number, reason)
        except lifecycle.LifecycleError as error:
            self.add_error(None, ValidationError(str(error), code="lifecycle"))
            return
        # As `openssl x509 -issuer` prints it: the least specific part first. Such a revocation would bind nobody.
        backwards = x509.Name(list(reversed(issuer.rdns)))
        if lifecycle.is_enrolled(backwards, serial_number) and not lifecycle.is_enrolled(issuer, serial_number):
            message = _(
                "The enrolled certificate of this serial number has the issuer “%(issuer)s”: the other way round."
            )
            values = {"issuer": backwards.rfc4514_string()}
            self.add_error("issuer", ValidationError(message, code="backwards", params=values))
