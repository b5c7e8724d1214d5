"""A link to an object's page in the admin."""

from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html


def object_link(site: AdminSite, row: Model, text: str = "") -> str:
    """Return a link to *row* on *site*, or the text alone where the project does not show such objects there."""
    opts = row._meta
    try:
        url = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=(quote(row.pk),), current_app=site.name)
    except NoReverseMatch:
        return text or str(row)
    return format_html('<a href="{}">{}</a>', url, text or str(row))
