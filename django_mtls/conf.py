"""The setting `MTLS_AUTH`: one dict, read once into a frozen `Settings`, and the one `Authenticator` made of it."""

from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_mtls.configured import anchor_files_of, denied_view_of, source_of, verifier_of
from django_mtls.problems import problems_of
from django_mtls.settings import Settings
from mtls_auth import AnyVerifiedCertificate, Authenticator


@cache
def get_settings() -> Settings:
    """Return the settings; raise `ImproperlyConfigured` with every problem at once."""
    raw: Any = getattr(django_settings, "MTLS_AUTH", None)
    if problems := problems_of(raw):
        raise ImproperlyConfigured("\n".join(f"{problem.message} {problem.hint}" for problem in problems))
    values = {key.lower(): value for key, value in raw.items()}
    values |= {
        "sources": tuple(raw.get("SOURCES") or ()),
        "trusted_proxies": tuple(raw.get("TRUSTED_PROXIES", ())),
        "trust_anchors": anchor_files_of(raw),
        "denied_view": denied_view_of(raw),
    }
    return Settings(**values)


@cache
def get_authenticator() -> Authenticator:
    """Return the one authenticator of the project: middleware, commands and admin decide by it."""
    from django_mtls.directory import Directory  # here: it needs the models

    settings = get_settings()
    raw = django_settings.MTLS_AUTH
    return Authenticator(
        source_of(raw),
        policy=AnyVerifiedCertificate() if settings.policy is None else settings.policy,
        verifier=verifier_of(raw),
        mapper=Directory(mapping=settings.mapping, max_staleness=settings.max_staleness),
        required=settings.required,
        cache_entries=settings.cache_entries,
    )


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"MTLS_AUTH", "AUTH_USER_MODEL", "DATABASE_ROUTERS"}:
        get_settings.cache_clear()
        get_authenticator.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django-mtls-conf")
