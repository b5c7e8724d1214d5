"""Revocations: of enrolled certificates, and by issuer and serial number of those that never were."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from django_mtls import lifecycle
from django_mtls.admin.bounded_paginator import BoundedPaginator
from django_mtls.admin.certificate_facts import code, with_colons
from django_mtls.admin.certificate_search import find_serial
from django_mtls.admin.confirmation import url_of
from django_mtls.admin.object_link import object_link
from django_mtls.forms.serial_revocation import SerialRevocationForm
from django_mtls.models import CRLReason, Revocation

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Revocation]
else:
    _ModelAdmin = admin.ModelAdmin


@admin.register(Revocation)
class RevocationAdmin(_ModelAdmin):
    """A revocation is final: none is changed or deleted. A hold is lifted on the certificate's page."""

    list_display = ("serial_number", "issuer_name", "reason", "certificate_link", "revoked_at")
    list_filter = ("reason",)
    list_select_related = ("certificate",)
    sortable_by = ()
    search_fields = ("serial_number",)
    search_help_text = gettext_lazy("A serial number, hexadecimal or decimal.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator

    class Media:
        css = {"all": ("django_mtls/admin.css",)}  # noqa: RUF012

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Revocation], search_term: str
    ) -> tuple[QuerySet[Revocation], bool]:
        return find_serial(queryset, search_term), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Revocation]:
        return super().get_queryset(request).defer("certificate__der")

    @admin.display(description=gettext_lazy("issuer"))
    def issuer_name(self, row: Revocation) -> str:
        return Truncator(row.issuer).chars(80)

    @admin.display(description=gettext_lazy("enrolled certificate"))
    def certificate_link(self, row: Revocation) -> str:
        return _("never enrolled") if row.certificate is None else object_link(self.admin_site, row.certificate)

    @admin.display(description=gettext_lazy("serial number"))
    def serial(self, row: Revocation) -> str:
        return code(row.serial_number, with_colons(row.serial_number))

    def has_change_permission(self, request: HttpRequest, obj: Revocation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Revocation | None = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Revocation | None = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = SerialRevocationForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Revocation | None = None) -> Any:
        if obj is not None:
            return (
                (None, {"fields": ("issuer", "serial", "certificate")}),
                (None, {"fields": ("reason", "comment", "revoked_at", "revoked_by")}),
            )
        return (
            (None, {"fields": ("reason", "comment")}),
            (_("By issuer and serial number"), {"fields": ("issuer", "serial_number")}),
            (_("Or by the certificate itself"), {"fields": ("pem", "file")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Revocation | None = None) -> Any:
        return (
            () if obj is None else ("issuer", "serial", "certificate", "reason", "comment", "revoked_at", "revoked_by")
        )

    @method_decorator(sensitive_post_parameters())
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except lifecycle.LifecycleError as error:  # somebody was faster
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(url_of(self, "add"))

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Revocation:
        super().save_form(request, form, change)
        user: Any = request.user
        data = form.cleaned_data
        issuer, serial_number = form.named
        return lifecycle.revoke_serial(
            issuer, serial_number, CRLReason(data["reason"]), comment=data["comment"], by=user
        )

    def save_model(self, request: HttpRequest, obj: Revocation, form: Any, change: bool) -> None:
        if obj.certificate_id is None:
            message = _("No enrolled certificate has this number. It is revoked for exactly this issuer: %(issuer)s")
            self.message_user(request, message % {"issuer": obj.issuer}, messages.INFO)
