from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoMTLSConfig(AppConfig):
    name = "django_mtls"
    verbose_name = _("Client certificates")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Imported here: they need the models and the settings of a ready project.
        from django_mtls import checks, freshness

        checks.register()
        freshness.connect()
