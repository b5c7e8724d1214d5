"""The field that chooses a user: a search where the project's user admin can search, the id otherwise."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.forms import ModelChoiceField
from django.http import HttpRequest

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class UserFieldMixin(_ModelAdmin):
    """For a `ModelAdmin` whose model has a `user`; never a list of all of them."""

    @property
    def _user_admin(self) -> "admin.ModelAdmin[Any] | None":
        model = get_user_model()
        return self.admin_site.get_model_admin(model) if self.admin_site.is_registered(model) else None

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        # Not declared: that would be an error in projects whose user admin does not search.
        users = self._user_admin
        found = users is not None and users.get_search_fields(request) and users.has_view_permission(request)
        return ("user",) if found else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not self.get_autocomplete_fields(request):
            kwargs["widget"] = ForeignKeyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, ModelChoiceField):
            # Users are made, changed and deleted on their own pages.
            widget: Any = field.widget
            widget.can_add_related = widget.can_change_related = widget.can_delete_related = False
        return field
