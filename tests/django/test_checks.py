"""System checks: which ids a project meets, when, and through `manage.py check`."""

import re
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import Tags, Warning, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_mtls import checks
from mtls_auth.testing import CertificateAuthority
from tests.django.conftest import MIDDLEWARE, MODEL_BACKEND, NGINX_SETTINGS, Configure, our_ids, texts

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
LOGIN = "django_mtls.middleware.CertificateLoginMiddleware"


def pretend(monkeypatch: pytest.MonkeyPatch, vendor: str, settings_dict: dict[str, Any]) -> None:
    fake = SimpleNamespace(vendor=vendor, settings_dict=settings_dict)
    monkeypatch.setattr(checks, "connections", {"default": fake})


@pytest.fixture(autouse=True)
def _no_database_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the checks say does not depend on the database that the tests run on."""
    pretend(monkeypatch, "sqlite", {})


def test_a_working_project_is_clean(configure: Configure) -> None:
    """A project that follows the documentation hears nothing, from any check of Django."""
    assert run_checks() == []


ORDERS: dict[str, tuple[list[str], list[str]]] = {
    "documented": ([SESSION, AUTH, MIDDLEWARE, LOGIN], []),
    "certificate first": ([MIDDLEWARE, SESSION, AUTH, LOGIN], []),
    "certificate alone": ([MIDDLEWARE], []),
    "nothing": ([], ["W001"]),
    "others": ([SESSION, AUTH], ["W001"]),
    "login without certificate": ([SESSION, AUTH, LOGIN], ["E007", "W001"]),
    "login above certificate": ([SESSION, AUTH, LOGIN, MIDDLEWARE], ["E007"]),
    "login above authentication": ([SESSION, MIDDLEWARE, LOGIN, AUTH], ["E007"]),
    "login without authentication": ([SESSION, MIDDLEWARE, LOGIN], ["E007"]),
    "certificate twice": ([SESSION, AUTH, MIDDLEWARE, MIDDLEWARE, LOGIN], ["E011"]),
    "login twice": ([SESSION, AUTH, MIDDLEWARE, LOGIN, LOGIN], ["E011"]),
    "login twice, once too early": ([SESSION, LOGIN, AUTH, MIDDLEWARE, LOGIN], ["E007", "E011"]),
}


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize(("middleware", "expected"), ORDERS.values(), ids=ORDERS)
def test_order(configure: Configure, settings: Any, middleware: list[str], expected: list[str], kind: Any) -> None:
    """The middlewares are there once and in order, or the check says how."""
    settings.MIDDLEWARE = kind(middleware)
    assert our_ids() == expected


@pytest.mark.parametrize(
    ("backends", "middleware", "expected"),
    [
        ([MODEL_BACKEND], [SESSION, AUTH, MIDDLEWARE, LOGIN], ["E008"]),
        ([MODEL_BACKEND], [SESSION, AUTH, MIDDLEWARE], []),
        (["django_mtls.backends.ClientCertificateBackend"], [SESSION, AUTH, MIDDLEWARE, LOGIN], []),
    ],
    ids=["missing", "not needed", "there"],
)
def test_backend(
    configure: Configure, settings: Any, backends: list[str], middleware: list[str], expected: list[str]
) -> None:
    """The login middleware needs its backend."""
    settings.AUTHENTICATION_BACKENDS = backends
    settings.MIDDLEWARE = middleware
    assert our_ids() == expected


@pytest.mark.parametrize(
    ("session", "middleware", "expected"),
    [
        ("certificate", [AUTH, MIDDLEWARE, LOGIN], ["E012"]),
        ("user", [AUTH, MIDDLEWARE, LOGIN, SESSION], ["E012"]),
        ("user", [SESSION, AUTH, MIDDLEWARE, LOGIN], []),
        (None, [AUTH, MIDDLEWARE, LOGIN], []),
    ],
    ids=["missing", "below", "there", "not needed"],
)
def test_sessions(
    configure: Configure, settings: Any, session: str | None, middleware: list[str], expected: list[str]
) -> None:
    """A login into a session needs Django's sessions."""
    configure(SESSION=session)
    settings.MIDDLEWARE = middleware
    assert our_ids() == expected


def test_everything_at_once(settings: Any) -> None:
    """Problems of settings, order, backend and header removal are reported in one run."""
    settings.MTLS_AUTH = {"SORCE": "tls"}
    settings.MIDDLEWARE = [LOGIN, LOGIN]
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND]
    assert our_ids() == ["E001", "E003", "E007", "E008", "E011", "W001"]


@pytest.mark.parametrize(
    ("days", "expected"), [(-1, ["W002"]), (29, ["W002"]), (31, [])], ids=["expired", "in 29 days", "in 31 days"]
)
def test_trust_anchor_ends(configure: Configure, tmp_path: Path, days: int, expected: list[str]) -> None:
    """A trust anchor that ends within 30 days is a warning, however many others last."""
    file = tmp_path / "ca.pem"
    ending = CertificateAuthority(not_after=datetime.now(UTC) + timedelta(days=days))
    file.write_bytes(CertificateAuthority().pem + ending.pem)
    configure(TRUST_ANCHORS=[file])
    assert our_ids() == expected


@pytest.mark.parametrize(
    ("days", "expected"), [(3650, ["W003"]), (29, ["W002", "W003"])], ids=["of an unknown kind", "and ends soon"]
)
def test_trust_anchor_that_verifies_nobody(
    configure: Configure, tmp_path: Path, days: int, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A trust anchor whose key no path can be verified with is a warning, beside one that is good too."""
    file = tmp_path / "ca.pem"
    ed25519 = CertificateAuthority("Ed25519 CA", key_type="ed25519", not_after=datetime.now(UTC) + timedelta(days=days))
    file.write_bytes(CertificateAuthority().pem + ed25519.pem)
    configure(TRUST_ANCHORS=[file])
    assert our_ids() == expected
    assert "Ed25519 CA" in caplog.text


def test_deploy_checks(configure: Configure) -> None:
    """SERVER_ADDRESS_IS_PEER is a warning of `check --deploy` alone."""
    configure(SERVER_ADDRESS_IS_PEER=True)
    assert our_ids() == []
    assert our_ids(include_deployment_checks=True) == ["W005"]
    configure()
    assert our_ids(include_deployment_checks=True) == []


BY_SECRET = {"SOURCE": "nginx", "PROXY_SECRET": "h8dqZ5x1Lk3vB7nMq2Wt"}
RUNNING: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
    "runserver": (["manage.py", "runserver", "--noreload"], {}, ["runserver"]),
    "django-admin runserver": (["/usr/bin/django-admin", "runserver"], {}, ["runserver"]),
    "hypercorn": (["/srv/venv/bin/hypercorn", "project.asgi"], {}, ["hypercorn"]),
    "uvicorn": (["/srv/venv/bin/uvicorn", "project.asgi:application"], {}, ["uvicorn"]),
    "uvicorn that tells": (["uvicorn", "--http", "mtls_auth.servers.uvicorn:HTTPProtocol", "project.asgi"], {}, []),
    "gunicorn": (["gunicorn", "project.wsgi"], {}, []),
    "another command": (["manage.py", "check", "runserver"], {}, []),
    "no arguments": ([], {}, []),
    "runserver, address is peer": (["manage.py", "runserver"], {"SERVER_ADDRESS_IS_PEER": True}, []),
    "runserver, by secret": (["manage.py", "runserver"], BY_SECRET, []),
    "runserver, by address and secret": (
        ["manage.py", "runserver"],
        {"PROXY_SECRET": "h8dqZ5x1Lk3vB7nM"},
        ["runserver"],
    ),
    "runserver, one of several": (
        ["manage.py", "runserver"],
        {"SOURCE": "tls", "SOURCES": [{"SOURCE": "tls"}, NGINX_SETTINGS]},
        ["runserver"],
    ),
    "hypercorn, by secret": (["hypercorn", "project.asgi"], BY_SECRET, []),
}
WAYS_OUT = {"runserver": "runserver_mtls", "hypercorn": "mtls_auth.servers.hypercorn", "uvicorn": "HTTPProtocol"}


@pytest.fixture
def _run_as(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.delenv("UVICORN_HTTP", raising=False)
    monkeypatch.delitem(sys.modules, "mtls_auth.servers.hypercorn", raising=False)
    monkeypatch.setattr("sys.argv", argv)


@pytest.mark.usefixtures("_run_as")
@pytest.mark.parametrize(("argv", "changes", "expected"), RUNNING.values(), ids=RUNNING)
def test_hidden_peer(
    configure: Configure, settings: Any, argv: list[str], changes: dict[str, Any], expected: list[str]
) -> None:
    """Under a server that is known to hide the peer trust by address is a warning, which names the server."""
    if "SOURCES" in changes:
        settings.MTLS_AUTH = {"SOURCES": changes["SOURCES"]}
    else:
        configure(**changes)
    found = [message for message in run_checks() if message.id == "django_mtls.W007"]
    assert [message.obj for message in found] == expected
    for message in found:
        assert isinstance(message, Warning)
        for way_out in (WAYS_OUT[str(message.obj)], "PROXY_SECRET", "SERVER_ADDRESS_IS_PEER", "every client can be"):
            assert way_out in str(message.hint)


@pytest.mark.usefixtures("_run_as")
@pytest.mark.parametrize(
    ("argv", "changes", "expected"),
    [
        (["manage.py", "runserver"], {"SOURCE": "tls"}, ["runserver"]),
        (["manage.py", "runserver"], {}, []),
        (["manage.py", "runserver_mtls"], {"SOURCE": "tls"}, []),
        (["manage.py", "check"], {"SOURCE": "tls"}, []),
        (["hypercorn", "project.asgi"], {"SOURCE": "tls"}, ["hypercorn"]),
        (["hypercorn", "project.asgi"], {"SOURCE": "mod_wsgi"}, []),
        (["gunicorn", "project.wsgi"], {"SOURCE": "tls"}, []),
    ],
)
def test_kept_certificate(configure: Configure, argv: list[str], changes: dict[str, Any], expected: list[str]) -> None:
    """Under a server that is known to keep certificates the TLS socket is a warning, which says what serves instead."""
    configure(**changes)
    found = [message for message in run_checks() if message.id == "django_mtls.W008"]
    assert [message.obj for message in found] == expected
    for message in found:
        assert isinstance(message, Warning)
        assert WAYS_OUT[str(message.obj)] in str(message.hint)


DATABASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "new connections": ({"CONN_MAX_AGE": 0}, {}, ["W004"]),
    "new connections, other options": ({"CONN_MAX_AGE": 0, "OPTIONS": {"sslmode": "require"}}, {}, ["W004"]),
    "kept": ({"CONN_MAX_AGE": 60}, {}, []),
    "kept for ever": ({"CONN_MAX_AGE": None}, {}, []),
    "pool": ({"CONN_MAX_AGE": 0, "OPTIONS": {"pool": True}}, {}, []),
    "staleness": ({"CONN_MAX_AGE": 0}, {"MAX_STALENESS": 1}, []),
    "zero staleness": ({"CONN_MAX_AGE": 0}, {"MAX_STALENESS": 0}, ["W004"]),
}


@pytest.mark.parametrize(("database", "changes", "expected"), DATABASES.values(), ids=DATABASES)
def test_connections(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    database: dict[str, Any],
    changes: dict[str, Any],
    expected: list[str],
) -> None:
    """A new PostgreSQL connection for each request is a warning, unless requests do not ask."""
    configure(**changes)
    pretend(monkeypatch, "postgresql", database)
    found = checks.check_connections(None, databases=["default"])
    assert [message.id for message in found] == [f"django_mtls.{id}" for id in expected]


@pytest.mark.parametrize("vendor", ["sqlite", "mysql"])
def test_other_databases(configure: Configure, monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    """Other databases connect cheaply."""
    pretend(monkeypatch, vendor, {"CONN_MAX_AGE": 0})
    assert checks.check_connections(None) == []


def test_connection_check_is_for_deployment(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """W004 comes with `check --deploy`, also where no database is named for its checks; it opens no connection."""
    pretend(monkeypatch, "postgresql", {"CONN_MAX_AGE": 0})
    assert our_ids() == []
    assert our_ids(include_deployment_checks=True) == ["W004"]
    assert our_ids(tags=[Tags.security], include_deployment_checks=True) == ["W004"]


@pytest.mark.parametrize(
    "check",
    [checks.check_trust_anchors, checks.check_server, checks.check_server_address, checks.check_connections],
    ids=lambda check: check.__name__,
)
def test_checks_keep_silent_about_broken_settings(settings: Any, check: Any) -> None:
    """Settings that cannot be read are one error, not one for each check."""
    settings.MTLS_AUTH = {"SOURCE": "nginx", "TRUST_ANCHORS": ["nothing.pem"]}
    assert check(None) == []


def _check(**options: Any) -> tuple[list[str], str]:
    """Run `manage.py check`; return our ids, and all that it says."""
    out, err = StringIO(), StringIO()
    try:
        call_command("check", stdout=out, stderr=err, no_color=True, **options)
    except SystemCheckError as error:
        err.write(str(error))
    text = out.getvalue() + err.getvalue()
    return sorted(set(re.findall(r"\(django_mtls\.([EW]\d+)\)", text))), text


def test_command(configure: Configure, settings: Any) -> None:
    """`manage.py check` runs the checks, and `--deploy` more of them."""
    configure(SERVER_ADDRESS_IS_PEER=True)
    assert _check() == ([], "System check identified no issues (0 silenced).\n")
    assert _check(deploy=True)[0] == ["W005"]
    settings.MTLS_AUTH = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["0.0.0.0/0", "x"]}
    settings.MIDDLEWARE = [SESSION, AUTH, LOGIN]
    found, text = _check()
    assert found == ["E005", "E007", "W001"]
    assert text.count("(django_mtls.E005)") == 2
    assert "HINT: Order MIDDLEWARE" in text


def test_command_by_tag(settings: Any) -> None:
    """The checks carry Django's tag `security`."""
    settings.MTLS_AUTH = {}
    assert _check(tags=["security"])[0] == ["E003"]
    assert _check(tags=["models"])[0] == []


def test_silencing(configure: Configure, settings: Any) -> None:
    """A check can be silenced by its id."""
    configure(SERVER_ADDRESS_IS_PEER=True)
    settings.SILENCED_SYSTEM_CHECKS = ["django_mtls.W005"]
    silenced = [m for m in run_checks(include_deployment_checks=True) if str(m.id).startswith("django_mtls.")]
    assert all(message.is_silenced() for message in silenced)
    assert "W005" in texts(silenced)
