"""The confirmation page of a `Transition`, and what happens when it is confirmed."""

from typing import TYPE_CHECKING, Any

import django
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import ngettext

from django_mtls import lifecycle
from django_mtls.admin.transition import Rows, Transition, history_text, outcome
from django_mtls.forms.transition import TransitionForm

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _Admin = ModelAdmin[Any]

MAX_SHOWN = 100
_TEMPLATE = "admin/django_mtls/enrolledcertificate/transition_confirmation.html"


def ask(
    model_admin: "_Admin", request: HttpRequest, transition: Transition, rows: Rows, form: TransitionForm | None = None
) -> TemplateResponse:
    """Show what is about to happen to which certificates; *form* is a refused one, to be corrected."""
    if form is None:
        form = transition.form(initial={"certificates": ",".join(str(row.pk) for row in rows)})
    shown: Any = form  # Django's own pages wrap plain forms too
    visible = [field.name for field in form.visible_fields()]
    final = [row for row in rows if not transition.can_start(row)]
    one = rows[0] if len(rows) == 1 else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": transition.title % {"count": len(rows)},
        "subtitle": None,
        "opts": model_admin.opts,
        "object": one,
        "transition": transition,
        "question": transition.question % {"count": len(rows)},
        "consequence": transition.consequence % {"count": len(rows)},
        "rows": [(row, url_of(model_admin, "change", row.pk)) for row in rows[:MAX_SHOWN]],
        "more": max(len(rows) - MAX_SHOWN, 0),
        "unchanged": _unchanged(len(final)),
        "is_own": _own_fingerprint(request) in {row.fingerprint_sha256 for row in rows}
        and transition.name != "reactivate",
        "adminform": AdminForm(shown, [(None, {"fields": visible})], {}, model_admin=model_admin),
        "form": form,
        "errors": form.errors,
        "action_url": _with_filters(model_admin, request, url_of(model_admin, transition.name)),
        "cancel_url": _return_url(model_admin, request, rows),
        "breadcrumbs_as_list": django.VERSION >= (6, 1),
        "media": model_admin.media + form.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, _TEMPLATE, context)


def carry_out(
    model_admin: "_Admin", request: HttpRequest, transition: Transition, rows: Rows, form: TransitionForm
) -> HttpResponse:
    """Take the step and write the history, all or nothing; say what happened."""
    user: Any = request.user
    try:
        with transaction.atomic():
            changed = transition.apply(rows, form, user)
            if changed:
                LogEntry.objects.log_actions(
                    user_id=user.pk,
                    queryset=changed,
                    action_flag=CHANGE,
                    change_message=history_text(transition, form),
                )
    except lifecycle.LifecycleError as error:
        model_admin.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(_return_url(model_admin, request, rows))
    if changed:
        model_admin.message_user(request, outcome(transition, form, len(changed)), messages.SUCCESS)
    if len(changed) < len(rows):
        model_admin.message_user(request, _unchanged(len(rows) - len(changed)), messages.WARNING)
    return HttpResponseRedirect(_return_url(model_admin, request, rows))


def url_of(model_admin: "_Admin", view: str, *args: object) -> str:
    """Return the URL of a view of *model_admin*, on the site that it is registered with."""
    opts = model_admin.opts
    return reverse(
        f"admin:{opts.app_label}_{opts.model_name}_{view}", args=args, current_app=model_admin.admin_site.name
    )


def _return_url(model_admin: "_Admin", request: HttpRequest, rows: Rows) -> str:
    if len(rows) == 1:
        return _with_filters(model_admin, request, url_of(model_admin, "change", rows[0].pk))
    return _with_filters(model_admin, request, url_of(model_admin, "changelist"))


def _with_filters(model_admin: "_Admin", request: HttpRequest, url: str) -> str:
    filters = model_admin.get_preserved_filters(request)
    return add_preserved_filters({"preserved_filters": filters, "opts": model_admin.opts}, url)


def _own_fingerprint(request: HttpRequest) -> str | None:
    # None where the middleware is not installed, and for those who signed in otherwise.
    return getattr(getattr(request, "client_certificate", None), "fingerprint_sha256", None)


def _unchanged(count: int) -> str:
    if not count:
        return ""
    return ngettext(
        "%(count)d certificate is revoked already and stays as it is.",
        "%(count)d certificates are revoked already and stay as they are.",
        count,
    ) % {"count": count}
