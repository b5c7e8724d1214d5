"""A certificate, pasted or uploaded."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from django_mtls.advice import advise
from mtls_auth import Certificate, CertificateRejected
from mtls_auth.certificate_files import MAX_FILE_BYTES, client_certificate_in

_SUFFIXES = ".pem,.crt,.cer,.der,.p7b,.p7c"


class CertificateInput(forms.Form):
    """Two fields for one certificate; a valid form has it as `certificate`, None if neither field was used.

    What was pasted is shown again only if it was a certificate: anything else might be a private key.
    """

    pem = forms.CharField(
        label=gettext_lazy("Certificate in PEM"),
        required=False,
        max_length=MAX_FILE_BYTES,
        widget=forms.Textarea(
            attrs={
                "class": "vLargeTextField mtls-pem",
                "rows": 10,
                "cols": 66,
                "spellcheck": "false",
                "autocomplete": "off",
                "autocapitalize": "off",
                "placeholder": "-----BEGIN CERTIFICATE-----",
            }
        ),
        help_text=gettext_lazy("Paste the text with its BEGIN and END lines."),
    )
    file = forms.FileField(
        label=gettext_lazy("Or a file"),
        required=False,
        max_length=255,
        widget=forms.FileInput(attrs={"accept": _SUFFIXES}),
        help_text=gettext_lazy(
            "PEM, DER or PKCS#7 (.pem, .crt, .cer, .der, .p7b), without a private key: never .p12 or .pfx."
        ),
    )

    certificate: Certificate | None = None
    # Whether one of the two fields was used, be it in vain.
    was_used = False

    class Media:
        css = {"all": ("django_mtls/admin.css",)}  # noqa: RUF012

    @sensitive_variables("cleaned")
    def clean(self) -> dict[str, Any] | None:
        pasted_name, file_name = self.add_prefix("pem"), self.add_prefix("file")
        self.was_used = bool(self.data.get(pasted_name, "").strip() or file_name in self.files)
        cleaned = super().clean() or self.cleaned_data
        # Taken out: whoever uses the form gets the certificate, and the material goes out of reach.
        pasted, uploaded = cleaned.pop("pem", ""), cleaned.pop("file", None)
        if self.was_used:
            self._read(pasted, uploaded)
        if self.certificate is None:
            self._forget(pasted_name)
        return cleaned

    @sensitive_variables("pasted", "uploaded", "data")
    def _read(self, pasted: str, uploaded: Any) -> None:
        if pasted and uploaded:
            self.add_error("file", ValidationError(_("Paste a certificate or choose a file, not both."), code="both"))
            return
        data = uploaded.read(MAX_FILE_BYTES + 1) if uploaded else pasted.encode()
        if not data:  # the field has its own error
            return
        try:
            self.certificate = client_certificate_in(data)
        except CertificateRejected as rejected:
            field = "file" if uploaded else "pem"
            self.add_error(field, ValidationError(advise(rejected), code=rejected.reason.value))

    def _forget(self, name: str) -> None:
        remaining: Any = self.data.copy() if isinstance(self.data, QueryDict) else dict(self.data)
        remaining.pop(name, None)
        self.data = remaining
