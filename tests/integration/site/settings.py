"""Django settings of the site under test; everything that varies comes from the environment."""

import os
from urllib.parse import urlsplit

from mtls_auth import AnyVerifiedCertificate

SECRET_KEY = "integration"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.integration.site.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_mtls",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_mtls.middleware.ClientCertificateMiddleware",
    "django_mtls.middleware.CertificateLoginMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "django_mtls.backends.ClientCertificateBackend",
    "django.contrib.auth.backends.ModelBackend",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# "sqlite:///path" or "postgresql:///name?host=/socket/directory".
_url = urlsplit(os.environ["MTLS_SITE_DATABASE"])
_database: dict[str, object]
if _url.scheme == "sqlite":
    _database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _url.path,
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
else:
    _database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": "postgres",
        "HOST": _url.query.removeprefix("host="),
    }
DATABASES = {"default": {**_database, "CONN_MAX_AGE": None}}


def _list(name: str) -> list[str]:
    return [item for item in os.environ.get(name, "").split(",") if item]


MTLS_AUTH: dict[str, object] = {
    "SOURCE": os.environ.get("MTLS_SITE_SOURCE", "tls"),
    "POLICY": AnyVerifiedCertificate(),
    "TRUSTED_PROXIES": _list("MTLS_SITE_TRUSTED_PROXIES"),
    "PROXY_VERIFIES": "MTLS_SITE_PROXY_VERIFIES" in os.environ,
    "TRUST_ANCHORS": _list("MTLS_SITE_TRUST_ANCHORS"),
    "DENIED_VIEW": "tests.integration.site.views.denied",
}
if _staleness := os.environ.get("MTLS_SITE_MAX_STALENESS"):
    MTLS_AUTH["MAX_STALENESS"] = float(_staleness)
