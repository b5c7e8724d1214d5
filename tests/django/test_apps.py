"""The app: its name, its checks and its signal handlers."""

from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks.registry import registry
from django.core.management import call_command
from django.db.models.signals import post_delete, post_save

from django_mtls import checks, freshness
from django_mtls.models import EnrolledCertificate, Revocation


def test_config() -> None:
    """The app calls itself by what its admin shows."""
    config = apps.get_app_config("django_mtls")
    assert str(config.verbose_name) == "Client certificates"
    assert {model.__name__ for model in config.get_models()} >= {"EnrolledCertificate", "Revocation", "StateVersion"}
    assert config.default_auto_field == "django.db.models.BigAutoField"


def test_checks_are_registered() -> None:
    """Seven checks are registered, three of them for deployment alone."""
    ours: set[Any] = {check for check in registry.registered_checks if check.__module__ == "django_mtls.checks"}
    deployed: set[Any] = {check for check in registry.deployment_checks if check.__module__ == "django_mtls.checks"}
    assert ours == {checks.check_settings, checks.check_middleware, checks.check_trust_anchors, checks.check_server}
    assert deployed == {checks.check_server_address, checks.check_connections, checks.check_diagnostics}


@pytest.mark.parametrize("model", [EnrolledCertificate, Revocation, User])
def test_signals_are_connected_once(model: type) -> None:
    """Every saved or deleted certificate, revocation and user is noticed, once however often the app gets ready."""
    freshness.connect()
    for signal in (post_save, post_delete):
        receivers, _async_receivers = signal._live_receivers(model)
        assert receivers.count(freshness._changed) == 1


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """The models need no migration that is not there."""
    call_command("makemigrations", "django_mtls", check=True, dry_run=True, verbosity=0)


def test_the_app_is_what_settings_name() -> None:
    """`INSTALLED_APPS` names the package; no dotted path of a config is needed."""
    assert "django_mtls" in settings.INSTALLED_APPS
    assert type(apps.get_app_config("django_mtls")).__name__ == "DjangoMTLSConfig"
