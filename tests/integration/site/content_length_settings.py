"""The same site, whose answers have a Content-Length."""

from tests.integration.site.settings import *  # noqa: F403
from tests.integration.site.settings import MIDDLEWARE as _MIDDLEWARE

MIDDLEWARE = ["django.middleware.common.CommonMiddleware", *_MIDDLEWARE]
