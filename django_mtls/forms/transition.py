"""What a confirmation page asks for: a reason, a comment, and which certificates."""

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_mtls.models import CRLReason

MAX_CERTIFICATES = 1000


class TransitionForm(forms.Form):
    """The certificates that the page showed, and a comment for the history."""

    # One field, not one for each: Django refuses requests of more than 1000 fields.
    certificates = forms.CharField(widget=forms.HiddenInput)
    comment = forms.CharField(
        label=gettext_lazy("Comment"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3, "cols": 66}),
        help_text=gettext_lazy("For the history: who reported it, the number of a ticket…"),
    )

    class Media:
        css = {"all": ("admin/css/forms.css", "django_mtls/admin.css")}  # noqa: RUF012

    @property
    def reason(self) -> CRLReason:
        """The reason of a valid form."""
        return CRLReason.CERTIFICATE_HOLD

    def clean_certificates(self) -> list[int]:
        numbers = self.cleaned_data["certificates"].split(",")
        if len(numbers) > MAX_CERTIFICATES or not all(number.isdecimal() and len(number) < 19 for number in numbers):
            raise ValidationError(_("Go back and select the certificates again."), code="invalid")
        return [int(number) for number in numbers]


class RevocationForm(TransitionForm):
    """The reason is asked for too; there is no default, because it stays in the history."""

    field_order = ("certificates", "revocation_reason", "comment")

    revocation_reason = forms.ChoiceField(
        label=gettext_lazy("Reason"),
        choices=[("", "---------"), *CRLReason.choices],
        help_text=gettext_lazy("Every reason is final, except for the certificate hold."),
    )

    @property
    def reason(self) -> CRLReason:
        return CRLReason(self.cleaned_data["revocation_reason"])
