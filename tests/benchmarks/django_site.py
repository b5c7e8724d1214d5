"""A Django site to be measured, in a process of its own: settings, tables, alice, her certificate and sessions."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mtls_auth.testing import escaped_pem
from tests.benchmarks import peers
from tests.benchmarks.leaves import mint

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
REMOTE_USER = "django.contrib.auth.middleware.RemoteUserMiddleware"
CERTIFICATE = "django_mtls.middleware.ClientCertificateMiddleware"
LOGIN = "django_mtls.middleware.CertificateLoginMiddleware"

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
REMOTE_USER_BACKEND = "django.contrib.auth.backends.RemoteUserBackend"

MTLS_AUTH = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["127.0.0.1"], "SERVER_ADDRESS_IS_PEER": True}
NAME = "alice"


@dataclass(frozen=True, slots=True)
class Database:
    """Where the site's tables are: a title for people, and `DATABASES["default"]`."""

    title: str
    settings: Mapping[str, Any]


def sqlite(*, persistent: bool) -> Database:
    """Return a file in the way of a small production site."""
    options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}
    age = {"CONN_MAX_AGE": None} if persistent else {}
    return Database("SQLite (file, WAL)", {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": options, **age})


def postgresql(url: str, title: str, *, persistent: bool, **options: Any) -> Database:
    """Return the database of *url*; tables are made in a new one beside it."""
    parts = urlsplit(url)
    return Database(
        title,
        {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": parts.port or "",
            "OPTIONS": options,
            "CONN_MAX_AGE": None if persistent else 0,
        },
    )


@dataclass(frozen=True, slots=True)
class Site:
    """What requests need: alice's certificate as nginx sends it, and the cookies of two sessions of hers."""

    header: bytes
    session: str
    remote_user_session: str


@contextmanager
def site(database: Database, urlconf: str) -> Iterator[Site]:
    """Configure Django in this process, once, and yield the site."""
    import django
    from django.conf import settings

    with tempfile.TemporaryDirectory(prefix="mtls-benchmark-") as directory:
        path = str(Path(directory) / "site.sqlite3")
        is_file = not database.settings.get("NAME")
        name = path if is_file else f"mtls_benchmark_{os.getpid()}"
        default = {"NAME": path, **database.settings, "TEST": {"NAME": name}}
        settings.configure(
            SECRET_KEY="benchmarks",
            ALLOWED_HOSTS=["*"],
            USE_TZ=True,
            ROOT_URLCONF=urlconf,
            DATABASES={"default": default},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            INSTALLED_APPS=[
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django.contrib.sessions",
                "django_mtls",
            ],
            AUTHENTICATION_BACKENDS=[
                "django_mtls.backends.ClientCertificateBackend",
                MODEL_BACKEND,
                REMOTE_USER_BACKEND,
                *peers.django_backends(),
            ],
            MTLS_AUTH=MTLS_AUTH,
            LOGGING_CONFIG=None,
            **peers.DJANGO_SETTINGS,
        )
        django.setup()
        from django.db import connection

        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        try:
            yield _populate()
        finally:
            connection.creation.destroy_test_db(path, verbosity=0)


def _populate() -> Site:
    from django.contrib.auth import get_user_model
    from django.test import Client

    from django_mtls import lifecycle
    from mtls_auth import load_client_certificate

    user = get_user_model().objects.create_user(NAME, "alice@example.com")
    der = mint("rsa", 1)[0]
    lifecycle.enroll(load_client_certificate(der), user)

    def session(backend: str) -> str:
        client = Client()
        client.force_login(user, backend)
        return client.cookies["sessionid"].value

    return Site(escaped_pem(der).encode(), session(MODEL_BACKEND), session(REMOTE_USER_BACKEND))


@contextmanager
def mode(max_staleness: float | None) -> Iterator[None]:
    """Let the middlewares run with this `MAX_STALENESS`, with empty caches."""
    from django.test import override_settings

    with override_settings(MTLS_AUTH={**MTLS_AUTH, "MAX_STALENESS": max_staleness}):
        yield


@contextmanager
def middleware(names: Sequence[str]) -> Iterator[None]:
    """Let a handler be built with these middlewares."""
    from django.test import override_settings

    with override_settings(MIDDLEWARE=list(names)):
        yield
