"""A Django site that is just enough to import the models and the commands."""

import django
from django.conf import settings


def configure() -> None:
    """Set Django up, once."""
    if settings.configured:
        return
    settings.configure(
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_mtls"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MTLS_AUTH={"SOURCE": "tls"},
    )
    django.setup()
