from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_mtls.models.enrolled_certificate import EnrolledCertificate


class CRLReason(models.TextChoices):
    """Why a certificate was revoked; the names are RFC 5280's. §5.3.1"""

    UNSPECIFIED = "unspecified", _("Unspecified")
    KEY_COMPROMISE = "keyCompromise", _("Key compromise: somebody else may have the key")
    CA_COMPROMISE = "cACompromise", _("CA compromise")
    AFFILIATION_CHANGED = "affiliationChanged", _("Affiliation changed: the holder left or moved")
    SUPERSEDED = "superseded", _("Superseded by another certificate")
    CESSATION_OF_OPERATION = "cessationOfOperation", _("Cessation of operation: no longer needed")
    CERTIFICATE_HOLD = "certificateHold", _("Certificate hold: may be lifted again")
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", _("Privilege withdrawn")
    AA_COMPROMISE = "aACompromise", _("AA compromise")


class Revocation(models.Model):
    """A certificate, named by issuer and serial number, that stands for nobody any more. RFC 5280 §5.3

    Binds every reader of certificates, enrolled or not. Final, except for `certificateHold`.
    """

    issuer = models.TextField(_("issuer"), help_text=_("The issuer's name in RFC 4514 form, as “CN=Example CA”."))
    issuer_key = models.CharField(max_length=64, editable=False)
    serial_number = models.CharField(_("serial number"), max_length=40, help_text=_("Hexadecimal, colons allowed."))
    certificate = models.OneToOneField(
        EnrolledCertificate,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="revocation",
        verbose_name=_("enrolled certificate"),
    )
    reason = models.CharField(_("reason"), max_length=20, choices=CRLReason, default=CRLReason.UNSPECIFIED)
    comment = models.TextField(_("comment"), blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), default=timezone.now, editable=False)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("revoked by"),
    )

    class Meta:
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("serial_number", "issuer_key"), name="mtls_revocation_serial"),
            models.CheckConstraint(condition=models.Q(reason__in=CRLReason.values), name="mtls_revocation_reason"),
        )

    def __str__(self) -> str:
        return f"{self.serial_number} ({self.issuer})"
