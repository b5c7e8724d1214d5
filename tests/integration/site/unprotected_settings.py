"""The same site without the product: what the settings of a recipe are added to."""

from tests.integration.site.settings import *  # noqa: F403
from tests.integration.site.settings import INSTALLED_APPS as _INSTALLED_APPS
from tests.integration.site.settings import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [app for app in _INSTALLED_APPS if app != "django_mtls"]
MIDDLEWARE = [middleware for middleware in _MIDDLEWARE if not middleware.startswith("django_mtls.")]
