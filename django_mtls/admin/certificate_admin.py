"""Enrolled certificates: list, enrolment, page with every fact, revocation of one or many."""

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from django_mtls import lifecycle
from django_mtls.admin import certificate_facts, confirmation
from django_mtls.admin.bounded_paginator import BoundedPaginator
from django_mtls.admin.certificate_search import HELP, find_certificates
from django_mtls.admin.object_link import object_link
from django_mtls.admin.transition import REVOKE, TRANSITIONS, Transition
from django_mtls.admin.user_certificates import show_on_users_page
from django_mtls.admin.user_field import UserFieldMixin
from django_mtls.admin.validity_filter import ValidityFilter
from django_mtls.forms.enrolment import EnrolmentForm
from django_mtls.forms.transition import MAX_CERTIFICATES
from django_mtls.models import EnrolledCertificate, Revocation

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[EnrolledCertificate]
else:
    _ModelAdmin = admin.ModelAdmin


class CertificateChangeList(ChangeList):
    """The list without the certificates themselves, which may be 64 kB each."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return super().get_queryset(request, exclude_parameters).defer("der", "issuer")


@admin.register(EnrolledCertificate)
class EnrolledCertificateAdmin(UserFieldMixin, _ModelAdmin):
    """Writes through `lifecycle` alone. A row is never deleted, and never moves to another user."""

    list_display = ("name", "user_link", "shown_state", "label", "not_after", "short_fingerprint")
    list_filter = ("state", ValidityFilter)
    list_select_related = ("user",)
    # Sorted by what has an index.
    sortable_by = ("not_after",)
    search_fields = ("fingerprint_sha256",)
    search_help_text = HELP
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    actions = ("revoke_selected",)

    class Media:
        css = {"all": ("django_mtls/admin.css",)}  # noqa: RUF012
        js = ("django_mtls/copy.js", "django_mtls/name_autocomplete.js")

    # --- list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CertificateChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[EnrolledCertificate], search_term: str
    ) -> tuple[QuerySet[EnrolledCertificate], bool]:
        return find_certificates(queryset, search_term), False

    @admin.display(description=gettext_lazy("subject"))
    def name(self, row: EnrolledCertificate) -> str:
        return Truncator(row.subject_cn or row.subject or _("no name")).chars(60)

    @admin.display(description=gettext_lazy("user"))
    def user_link(self, row: EnrolledCertificate) -> str:
        return _("nobody") if row.user is None else object_link(self.admin_site, row.user)

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, row: EnrolledCertificate) -> str:
        return row.shown_state

    @admin.display(description=gettext_lazy("fingerprint"))
    def short_fingerprint(self, row: EnrolledCertificate) -> str:
        return f"{row.fingerprint_sha256[:16]}…"

    # --- who may do what

    def has_delete_permission(self, request: HttpRequest, obj: EnrolledCertificate | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: EnrolledCertificate | None = None) -> bool:
        """Whether revoking, suspending and reactivating are allowed: change certificates and add revocations."""
        return self.has_change_permission(request, obj) and request.user.has_perm("django_mtls.add_revocation")

    # --- enrolment

    def get_form(
        self, request: HttpRequest, obj: EnrolledCertificate | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if not change:
            kwargs["form"] = type("EnrolmentForm", (EnrolmentForm,), {"by": request.user})
        return super().get_form(request, obj, change, **kwargs)

    @method_decorator(sensitive_post_parameters())
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except lifecycle.LifecycleError as error:  # somebody was faster
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(confirmation.url_of(self, "add"))

    @method_decorator(sensitive_post_parameters())
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> EnrolledCertificate:
        row: EnrolledCertificate = super().save_form(request, form, change)
        user: Any = request.user
        return (
            row if change else lifecycle.enroll(form.certificate, form.cleaned_data["user"], label=row.label, by=user)
        )

    def save_model(self, request: HttpRequest, obj: EnrolledCertificate, form: Any, change: bool) -> None:
        if change:
            lifecycle.relabel(obj, obj.label)
        elif not getattr(obj.user, "is_active", True):
            message = _("The user %(user)s is not active: the certificate is refused until that changes.")
            self.message_user(request, message % {"user": obj.user}, messages.WARNING)

    # --- the certificate's page

    def get_readonly_fields(self, request: HttpRequest, obj: EnrolledCertificate | None = None) -> Any:
        if obj is None:
            return ()
        columns = ("user", "subject", "issuer", "not_before", "not_after", "enrolled_at", "enrolled_by")
        return (*columns, "shown_state", "how_revoked", *certificate_facts.FACTS)

    def get_fieldsets(self, request: HttpRequest, obj: EnrolledCertificate | None = None) -> Any:
        if obj is None:
            return (
                (None, {"fields": ("user", "label")}),
                (_("Certificate"), {"fields": ("pem", "file")}),
            )
        facts = certificate_facts
        usage = (facts.public_key, facts.key_usage, facts.extended_key_usage, facts.authority)
        return (
            (None, {"fields": ("user", "shown_state", "label")}),
            (_("Names"), {"fields": ("subject", facts.alternative_names, "issuer", facts.serial_number)}),
            (_("Validity"), {"fields": ("not_before", "not_after")}),
            (
                _("Fingerprints"),
                {"fields": (facts.fingerprint, facts.fingerprint_sha1, facts.x5t_s256, facts.spki_pin)},
            ),
            (_("Key and signature"), {"fields": (*usage, facts.signature_hash, facts.version)}),
            (_("Enrolment and revocation"), {"fields": ("enrolled_at", "enrolled_by", "how_revoked")}),
            (_("Certificate"), {"fields": (facts.pem,)}),
        )

    @admin.display(description=gettext_lazy("revocation"))
    def how_revoked(self, row: EnrolledCertificate) -> str:
        # By issuer and serial number, as requests look it up; the link between the rows is for convenience.
        found = Revocation.objects.filter(issuer_key=row.issuer_key, serial_number=row.serial_number).first()
        if found is None:
            return _("none")
        link = object_link(self.admin_site, found, found.get_reason_display())
        return format_html("{}<br>{}", link, found.comment) if found.comment else link

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: EnrolledCertificate | None = None,
    ) -> HttpResponse:
        if obj is not None and self.has_revoke_permission(request, obj):
            context["transitions"] = [
                (transition.offer, confirmation.url_of(self, f"{transition.name}_one", obj.pk))
                for transition in TRANSITIONS.values()
                if transition.can_start(obj) and transition.is_allowed(obj, request.user)
            ]
        return super().render_change_form(request, context, add, change, form_url, obj)

    # --- revocation, suspension, reactivation

    def get_urls(self) -> list[URLPattern]:
        # Here every admin is registered, and no page has been asked for.
        show_on_users_page(self.admin_site)
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        urls: list[URLPattern] = []
        for name, transition in TRANSITIONS.items():
            one = self.admin_site.admin_view(partial(self._ask_about_one, transition=transition))
            many = self.admin_site.admin_view(partial(self._confirmed, transition=transition))
            urls += [
                path(f"<path:object_id>/{name}/", one, name=f"{prefix}_{name}_one"),
                path(f"{name}/", many, name=f"{prefix}_{name}"),
            ]
        return urls + super().get_urls()

    @admin.action(permissions=["revoke"], description=gettext_lazy("Revoke selected %(verbose_name_plural)s…"))
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[EnrolledCertificate]) -> HttpResponse | None:
        rows = list(queryset[: MAX_CERTIFICATES + 1])
        if len(rows) > MAX_CERTIFICATES:
            message = _("At most %(count)d certificates can be revoked at once: filter the list and go on in portions.")
            self.message_user(request, message % {"count": MAX_CERTIFICATES}, messages.ERROR)
            return None
        if not rows:
            return None
        return confirmation.ask(self, request, REVOKE, rows)

    def _ask_about_one(self, request: HttpRequest, object_id: str, *, transition: Transition) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if not self.has_revoke_permission(request, row):
            raise PermissionDenied
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        if not transition.is_allowed(row, request.user):
            raise PermissionDenied
        if not transition.can_start(row):
            message = _("Nothing to do: this certificate is %(state)s.") % {"state": row.get_state_display()}
            self.message_user(request, message, messages.WARNING)
            return HttpResponseRedirect(confirmation.url_of(self, "change", row.pk))
        return confirmation.ask(self, request, transition, [row])

    def _confirmed(self, request: HttpRequest, *, transition: Transition) -> HttpResponse:
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        form = transition.form(request.POST)
        valid = form.is_valid()
        rows = list(
            self.get_queryset(request).select_related("user").filter(pk__in=form.cleaned_data.get("certificates", ()))
        )
        if request.method != "POST" or not rows:
            self.message_user(request, _("No certificate was selected: select them in the list."), messages.WARNING)
            return HttpResponseRedirect(confirmation.url_of(self, "changelist"))
        for row in rows:
            if not self.has_revoke_permission(request, row) or not transition.is_allowed(row, request.user):
                raise PermissionDenied
        if not valid:
            return confirmation.ask(self, request, transition, rows, form)
        return confirmation.carry_out(self, request, transition, rows, form)
