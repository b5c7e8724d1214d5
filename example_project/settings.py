"""Django settings of the example. `python -m example_project` gives the two variables."""

import os
from pathlib import Path

STATE = Path(os.environ.get("MTLS_EXAMPLE_DIRECTORY", Path(__file__).parent / "state")).absolute()
BEHIND = os.environ.get("MTLS_EXAMPLE_BEHIND", "")

_secret = STATE / "secret-key"
SECRET_KEY = _secret.read_text() if _secret.exists() else "only for commands that serve nobody"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
STATIC_URL = "/static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "db.sqlite3",
        "CONN_MAX_AGE": None,
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_mtls",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_mtls.middleware.ClientCertificateMiddleware",
    "django_mtls.middleware.CertificateLoginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "django_mtls.backends.ClientCertificateBackend",
    "django.contrib.auth.backends.ModelBackend",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Where the certificate comes from: the Python server's own TLS socket, or Nginx on a socket that only it knows.
MTLS_AUTH: dict[str, object] = {"SOURCE": "tls", "DENIED_VIEW": "example_project.views.denied"}
if BEHIND == "nginx":
    MTLS_AUTH |= {"SOURCE": "nginx", "TRUSTED_PROXIES": [f"unix:{STATE / 'app.sock'}"]}
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"mtls_auth": {"handlers": ["console"], "level": "INFO"}},
}
