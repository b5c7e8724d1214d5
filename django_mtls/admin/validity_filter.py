"""The list filter that asks the clock."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

SOON = timedelta(days=30)


class ValidityFilter(admin.SimpleListFilter):
    """Valid now, about to expire, or expired; whatever the stored state."""

    title = _("validity")
    parameter_name = "validity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("valid", _("Valid now")), ("soon", _("Expires within 30 days")), ("expired", _("Expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        conditions = {
            "valid": Q(not_before__lte=now, not_after__gte=now),
            "soon": Q(not_after__gte=now, not_after__lte=now + SOON),
            "expired": Q(not_after__lt=now),
        }
        condition = conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)
