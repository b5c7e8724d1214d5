from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """Stored states. `expired` is not one: it follows from the clock."""

    PENDING = "pending", _("pending")
    ACTIVE = "active", _("active")
    SUSPENDED = "suspended", _("suspended")
    SUPERSEDED = "superseded", _("superseded")
    REVOKED = "revoked", _("revoked")


class EnrolledCertificate(models.Model):
    """A client certificate that stands for a user. Written by `django_mtls.lifecycle` alone; never deleted.

    The key of an account is the fingerprint of the whole certificate: it cannot collide across issuers.
    """

    fingerprint_sha256 = models.CharField(_("SHA-256 fingerprint"), max_length=64, editable=False)
    # What some terminators state of a certificate that they do not forward; nothing else is found by it.
    fingerprint_sha1 = models.CharField(
        _("SHA-1 fingerprint"), max_length=40, editable=False, default="", db_default=""
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        # The row outlives its user: a deleted user's certificate stays known, and stands for nobody.
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="client_certificates",
        verbose_name=_("user"),
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ACTIVE)
    label = models.CharField(_("label"), max_length=100, blank=True, help_text=_("What this is, as “laptop”."))

    subject_cn = models.CharField(_("common name"), max_length=255, blank=True, editable=False)
    subject = models.TextField(_("subject"), editable=False)
    issuer = models.TextField(_("issuer"), editable=False)
    issuer_key = models.CharField(max_length=64, editable=False)
    serial_number = models.CharField(_("serial number"), max_length=40, editable=False)
    not_before = models.DateTimeField(_("valid from"), editable=False)
    not_after = models.DateTimeField(_("valid until"), editable=False)
    spki_sha256 = models.CharField(_("public key SHA-256"), max_length=64, editable=False)
    der = models.BinaryField(_("certificate"), editable=False)

    enrolled_at = models.DateTimeField(_("enrolled at"), default=timezone.now, editable=False)
    enrolled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("enrolled by"),
    )

    class Meta:
        verbose_name = _("enrolled certificate")
        verbose_name_plural = _("enrolled certificates")
        # `-pk` is newest first without an index of its own.
        ordering = ("-pk",)
        constraints = (
            # Not `unique=True`: PostgreSQL would get a second, pattern index of twice the size.
            models.UniqueConstraint(fields=("fingerprint_sha256",), name="mtls_certificate_fingerprint"),
            models.CheckConstraint(condition=models.Q(state__in=State.values), name="mtls_certificate_state"),
        )
        indexes = (
            models.Index(fields=("state", "id"), name="mtls_certificate_state_id"),
            # The serial number first: people search for it without its issuer.
            models.Index(fields=("serial_number", "issuer_key"), name="mtls_certificate_serial"),
            # For `LIKE 'prefix%'`; databases without operator classes build a plain index.
            models.Index(fields=("subject_cn",), name="mtls_certificate_cn", opclasses=("varchar_pattern_ops",)),
            models.Index(fields=("-not_after",), name="mtls_certificate_not_after"),
            models.Index(fields=("fingerprint_sha1",), name="mtls_certificate_sha1"),
        )

    def __str__(self) -> str:
        return f"{self.subject_cn or self.subject or '—'} ({self.fingerprint_sha256[:16]}…)"

    @property
    def has_expired(self) -> bool:
        return self.not_after < timezone.now()

    @property
    def shown_state(self) -> str:
        """The state as people read it: `expired` for what only the clock ended."""
        if self.has_expired and self.state != State.REVOKED:
            return gettext("expired")
        return str(self.get_state_display())
