"""The user's certificates on the user's page, whoever's `UserAdmin` that is."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_mtls.models import EnrolledCertificate

if TYPE_CHECKING:
    _FormSet = forms.BaseInlineFormSet[EnrolledCertificate, Any, Any]
    _Inline = admin.TabularInline[EnrolledCertificate, Any]
else:
    _FormSet = forms.BaseInlineFormSet
    _Inline = admin.TabularInline

MAX_SHOWN = 20


class ReadOnlyFormSet(_FormSet):
    """The newest rows, never bound to what was posted: the user's page can be saved without them."""

    def __init__(self, data: Any = None, files: Any = None, **kwargs: Any) -> None:
        super().__init__(None, None, **kwargs)
        self.new_objects, self.changed_objects, self.deleted_objects = [], [], []

    def get_queryset(self) -> QuerySet[EnrolledCertificate]:
        if not hasattr(self, "_newest"):
            self._newest = super().get_queryset()[:MAX_SHOWN]
        return self._newest

    def is_valid(self) -> bool:
        return True

    def save(self, commit: bool = True) -> list[EnrolledCertificate]:
        return []


class UserCertificates(_Inline):
    """The user's newest certificates, each a link to its page. Nothing can be changed here."""

    model = EnrolledCertificate
    fk_name = "user"
    formset = ReadOnlyFormSet
    template = "admin/django_mtls/user_certificates.html"
    verbose_name = _("client certificate")
    verbose_name_plural = _("client certificates")
    fields = ("label", "shown_state", "not_after")
    readonly_fields = fields
    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = True

    class Media:
        css = {"all": ("django_mtls/admin.css",)}  # noqa: RUF012

    @admin.display(description=_("state"))
    def shown_state(self, row: EnrolledCertificate) -> str:
        return row.shown_state

    def get_queryset(self, request: HttpRequest) -> QuerySet[EnrolledCertificate]:
        return super().get_queryset(request).defer("der", "issuer")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or super().has_change_permission(request, obj)


def show_on_users_page(site: AdminSite) -> None:
    """Let the admin of the users on *site* show `UserCertificates`, without a change to its class; idempotent."""
    model = get_user_model()
    if not site.is_registered(model):
        return
    user_admin: Any = site.get_model_admin(model)
    original = user_admin.get_inlines
    if getattr(original, "shows_certificates", False):
        return

    def get_inlines(request: HttpRequest, obj: Any) -> list[Any]:
        inlines = list(original(request, obj))
        # A user who is being added has no certificates, and a project may show them by itself.
        return inlines if obj is None or UserCertificates in inlines else [*inlines, UserCertificates]

    get_inlines.shows_certificates = True  # type: ignore[attr-defined]
    user_admin.get_inlines = get_inlines
