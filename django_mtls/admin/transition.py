"""The steps in a certificate's life that the admin offers, each through one confirmation page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from django_mtls import lifecycle
from django_mtls.forms.transition import RevocationForm, TransitionForm
from django_mtls.models import CRLReason, EnrolledCertificate, State

Rows = Sequence[EnrolledCertificate]
Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step: its words, its form, and the call of `lifecycle` that takes it."""

    name: str
    offer: Text
    title: Text
    question: Text
    consequence: Text
    submit: Text
    form: type[TransitionForm]
    starts_from: frozenset[State]
    apply: Callable[[Rows, TransitionForm, AbstractBaseUser], Rows]
    lets_in: bool = False
    """Whether the certificate can sign in afterwards."""

    def is_allowed(self, row: EnrolledCertificate, by: Any) -> bool:
        """Whether *by* may take this step: only superusers let a certificate in that signs in as one."""
        return not self.lets_in or by.is_superuser or not getattr(row.user, "is_superuser", False)

    def can_start(self, row: EnrolledCertificate) -> bool:
        return row.state in self.starts_from


def _revoke(rows: Rows, form: TransitionForm, by: AbstractBaseUser) -> Rows:
    return lifecycle.revoke(rows, form.reason, comment=form.cleaned_data["comment"], by=by)


def _reactivate(rows: Rows, form: TransitionForm, by: AbstractBaseUser) -> Rows:
    for row in rows:
        lifecycle.reactivate(row, by=by)
    return rows


def history_text(transition: Transition, form: TransitionForm) -> str:
    """Return what the history says of it: what was done, why, and the comment."""
    if transition is REACTIVATE:
        text = _("Reactivated.")
    elif form.reason == CRLReason.CERTIFICATE_HOLD:
        text = _("Suspended.")
    else:
        text = _("Revoked. Reason: %(reason)s.") % {"reason": form.reason.label}
    return f"{text} {form.cleaned_data['comment']}".strip()


def outcome(transition: Transition, form: TransitionForm, count: int) -> str:
    """Return the message to the operator: what happened to how many."""
    if transition is REACTIVATE:
        text = ngettext_lazy(
            "%(count)d certificate was reactivated.", "%(count)d certificates were reactivated.", "count"
        )
    elif form.reason == CRLReason.CERTIFICATE_HOLD:
        text = ngettext_lazy("%(count)d certificate was suspended.", "%(count)d certificates were suspended.", "count")
    else:
        text = ngettext_lazy("%(count)d certificate was revoked.", "%(count)d certificates were revoked.", "count")
    return str(text % {"count": count})


REVOKE = Transition(
    name="revoke",
    offer=gettext_lazy("Revoke…"),
    title=ngettext_lazy("Revoke certificate", "Revoke certificates", "count"),
    question=ngettext_lazy(
        "Are you sure you want to revoke this certificate?",
        "Are you sure you want to revoke these %(count)d certificates?",
        "count",
    ),
    consequence=ngettext_lazy(
        "It is refused from the next request on, and cannot be enrolled again.",
        "They are refused from the next request on, and cannot be enrolled again.",
        "count",
    ),
    submit=gettext_lazy("Yes, revoke"),
    form=RevocationForm,
    starts_from=frozenset(State) - {State.REVOKED},
    apply=_revoke,
)
SUSPEND = Transition(
    name="suspend",
    offer=gettext_lazy("Suspend…"),
    title=ngettext_lazy("Suspend certificate", "Suspend certificates", "count"),
    question=ngettext_lazy(
        "Are you sure you want to suspend this certificate?",
        "Are you sure you want to suspend these %(count)d certificates?",
        "count",
    ),
    consequence=ngettext_lazy(
        "It is refused from the next request on, until somebody reactivates it.",
        "They are refused from the next request on, until somebody reactivates them.",
        "count",
    ),
    submit=gettext_lazy("Yes, suspend"),
    form=TransitionForm,
    starts_from=frozenset(State) - {State.REVOKED, State.SUSPENDED},
    apply=_revoke,
)
REACTIVATE = Transition(
    name="reactivate",
    offer=gettext_lazy("Reactivate…"),
    title=ngettext_lazy("Reactivate certificate", "Reactivate certificates", "count"),
    question=ngettext_lazy(
        "Are you sure you want to reactivate this certificate?",
        "Are you sure you want to reactivate these %(count)d certificates?",
        "count",
    ),
    consequence=ngettext_lazy(
        "It stands for its user again from the next request on.",
        "They stand for their users again from the next request on.",
        "count",
    ),
    submit=gettext_lazy("Yes, reactivate"),
    form=TransitionForm,
    starts_from=frozenset({State.SUSPENDED}),
    apply=_reactivate,
    lets_in=True,
)
TRANSITIONS = {transition.name: transition for transition in (REVOKE, SUSPEND, REACTIVATE)}
