"""The Django recipes, in this process."""

import unittest
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, override_settings
from django.urls import path

from django_mtls import lifecycle
from django_mtls.checks import W004, check_connections
from django_mtls.models import CRLReason, EnrolledCertificate, State
from django_mtls.problems import problems_of
from django_mtls.signals import certificate_denied
from mtls_auth import load_certificate
from mtls_auth.dialects import BUILTIN
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.docs.recipes import PINNED, recipe, recipes, run_python, text_of
from tests.integration.servers import unavailable

pytestmark = pytest.mark.django_db

OVER_TLS = {"wsgi.url_scheme": "https"}
BELIEVED = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["127.0.0.1"], "SERVER_ADDRESS_IS_PEER": True}


@dataclass
class FakeSocket:
    """The part of gunicorn's socket that is asked."""

    peer: Any
    own: Any
    der: bytes | None = None

    def getpeername(self) -> Any:
        return self.peer

    def getsockname(self) -> Any:
        return self.own

    def getpeercert(self, binary: Literal[True]) -> bytes | None:
        return self.der


def who_am_i(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"user": request.user.get_username()})


def urls(**views: Any) -> ModuleType:
    """Return a URL configuration with these views at their names."""
    module: Any = ModuleType("docs_urls")
    module.urlpatterns = [path(name, view) for name, view in {"whoami": who_am_i, **views}.items()]
    return module  # type: ignore[no-any-return]


def environ_of(mtls_auth: Mapping[str, Any], der: bytes, proxy: IssuedCertificate | None = None) -> dict[str, Any]:
    """Return the environ of a request that these settings believe; of several sources it is the first one's."""
    part = mtls_auth["SOURCES"][0] if "SOURCES" in mtls_auth else mtls_auth
    if part["SOURCE"] == "tls":
        return {"gunicorn.socket": FakeSocket(("192.0.2.1", 1), ("127.0.0.1", 443), der), **OVER_TLS}
    dialect = BUILTIN[part["SOURCE"]].with_headers(**part.get("HEADERS", {}))
    fields = dict(headers_for(dialect, der))
    if secret := part.get("PROXY_SECRET"):
        fields["x-proxy-secret"] = secret if isinstance(secret, str) else secret[-1]
    environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields.items()}
    own = proxy.der if proxy is not None and part.get("PROXY_CERTIFICATE") else None
    address = part.get("TRUSTED_PROXIES", ["192.0.2.1"])[0]
    if part.get("SERVER_ADDRESS_IS_PEER"):
        return {**environ, "REMOTE_ADDR": address}
    if address.startswith("unix:"):
        return {**environ, "gunicorn.socket": FakeSocket("", address.removeprefix("unix:"))}
    if not part.get("TRUSTED_PROXIES") and own is None:  # a server that hides its peer
        return environ
    over_tls = {} if own is None else OVER_TLS
    return {**environ, "gunicorn.socket": FakeSocket((address, 1), ("127.0.0.1", 8000), own), **over_tls}


def enroll(issued: IssuedCertificate, username: str) -> EnrolledCertificate:
    """Enrol a certificate for a new user."""
    return lifecycle.enroll(load_certificate(issued.der), get_user_model().objects.create_user(username))


def answer(environ: Mapping[str, Any], mtls_auth: Mapping[str, Any], url: str = "whoami", **views: Any) -> Any:
    """Return the answer of these views to a request with this environ."""
    with override_settings(MTLS_AUTH=mtls_auth, ROOT_URLCONF=urls(**views)):
        return Client().get(f"/{url}", **environ)


def ask(url: str, issued: IssuedCertificate | None, mtls_auth: Mapping[str, Any] = BELIEVED, **views: Any) -> Any:
    """Return the answer of these views to a request with a certificate."""
    return answer({} if issued is None else environ_of(mtls_auth, issued.der), mtls_auth, url, **views)


@recipes(
    "common-names-settings",
    "django-settings-tls",
    "hidden-peer",
    "hidden-peer-secret",
    "layer-4-settings",
    "nginx-settings",
    "nginx-settings-headers",
    "nginx-settings-tcp",
    "rfc9440-proxy-verifies",
    "rfc9440-trust-anchors",
    "servers-behind",
    "servers-settings",
    "sessions-settings",
    "speed-staleness",
    "trusted-addresses",
    "trusted-certificate",
    "trusted-certificate-name",
    "trusted-secret",
    "trusted-secret-rotation",
    "trusted-sources",
    "trusted-together",
    "unverified-trust-anchors",
)
def test_settings(
    recipe_id: str, ca: CertificateAuthority, alice: IssuedCertificate, proxy: IssuedCertificate, tmp_path: Path
) -> None:
    """The settings are without problems, believe whom they name, and nobody else."""
    anchors = tmp_path / "client-ca.pem"
    anchors.write_bytes(ca.pem)
    places = {"/etc/mysite/client-ca.pem": str(anchors), PINNED: proxy.fingerprint_sha256}
    replaced = {old: new for old, new in places.items() if old in text_of(recipe_id)}
    found = run_python(recipe_id, replaced, MTLS_AUTH={"SOURCE": "tls"})["MTLS_AUTH"]
    assert problems_of(found) == []
    environ = environ_of(found, alice.der, proxy)
    assert answer(environ, found).json() == {"reason": "not_enrolled"}
    enroll(alice, "alice")
    assert answer(environ, found).json() == {"user": "alice"}
    for forged, expected in _forged(environ, found):
        assert answer(forged, found).json() == expected


def _forged(
    environ: Mapping[str, Any], mtls_auth: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yield the same request from elsewhere, and with another secret from the right place; and what is answered."""
    part = mtls_auth["SOURCES"][0] if "SOURCES" in mtls_auth else mtls_auth
    if "TRUSTED_PROXIES" in part or "PROXY_CERTIFICATE" in part:
        stranger = FakeSocket(("192.0.2.66", 1), ("127.0.0.1", 8000))
        yield {**environ, "gunicorn.socket": stranger, "REMOTE_ADDR": "192.0.2.66"}, {"user": ""}
    secrets = part.get("PROXY_SECRET", ())
    if secrets:
        yield {**environ, "HTTP_X_PROXY_SECRET": "another-value-of-some-length"}, {"reason": "proxy_unproven"}
    if isinstance(secrets, list):
        yield {**environ, "HTTP_X_PROXY_SECRET": secrets[0]}, {"user": "alice"}


@recipe("stated-name")
def test_stated_name() -> None:
    """The user is found by the name that the mesh states, and no policy on a certificate admits it."""
    name = "web.shop.serviceaccount.identity.linkerd.cluster.local"
    found = run_python("stated-name")["MTLS_AUTH"]
    assert problems_of(found) == []
    peer = FakeSocket((found["TRUSTED_PROXIES"][0], 1), ("127.0.0.1", 8000))
    environ = {"HTTP_L5D_CLIENT_ID": name, "gunicorn.socket": peer}
    assert answer(environ, found).json() == {"reason": "not_enrolled"}
    get_user_model().objects.create_user(name)
    assert answer(environ, found).json() == {"user": name}
    reports = run_python("django-view")["reports"]
    assert answer(environ, found, "reports", reports=reports).json() == {"reason": "insufficient_evidence"}


@recipes("speed-asgi", "speed-wsgi")
def test_postgresql_keeps_its_connections(recipe_id: str) -> None:
    databases: dict[str, Any] = {"default": {"CONN_MAX_AGE": 0, "OPTIONS": {}}}
    connection = connections["default"]
    with (
        patch.object(connection, "vendor", "postgresql"),
        patch.object(connection, "settings_dict", databases["default"]),
    ):
        assert check_connections(None) == [W004]
        run_python(recipe_id, DATABASES=databases)
        assert check_connections(None) == []


@recipes("django-view", "readme-django-view")
def test_view(recipe_id: str, alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    enroll(alice, "alice")
    enroll(bob, "bob")
    reports = run_python(recipe_id)["reports"]
    assert ask("reports", alice, reports=reports).json()["user"] == "alice"
    assert ask("reports", bob, reports=reports).json() == {"reason": "not_allowed"}
    assert ask("reports", None, reports=reports).json() == {"reason": "certificate_required"}


@recipe("django-class-view")
def test_class_based_view(ca: CertificateAuthority, alice: IssuedCertificate) -> None:
    backup = ca.issue("backup.example.com")
    enroll(backup, "backup")
    enroll(alice, "alice")
    view = run_python("django-class-view")["Backup"].as_view()
    assert ask("backup", backup, backup=view).json() == {"user": "backup"}
    assert ask("backup", alice, backup=view).json() == {"reason": "not_allowed"}


@recipe("django-denied-view")
def test_denied_view(alice: IssuedCertificate) -> None:
    denied = run_python("django-denied-view")["denied"]
    response = ask("whoami", alice, {**BELIEVED, "DENIED_VIEW": denied})
    assert (response.status_code, response.json()) == (403, {"error": "not_enrolled", "contact": "it@example.com"})


@recipe("drf-view")
def test_rest_framework(alice: IssuedCertificate, bob: IssuedCertificate) -> None:
    if find_spec("rest_framework") is None:
        unavailable("djangorestframework")
    enroll(alice, "alice")
    enroll(bob, "bob")
    view = run_python("drf-view")["Reports"].as_view()
    assert ask("reports", alice, reports=view).json() == {
        "user": "alice",
        "certificate": alice.fingerprint_sha256,
    }
    response = ask("reports", bob, reports=view)
    assert (response.status_code, response.json()) == (403, {"detail": "not_allowed"})


@recipe("signals")
def test_signal(alice: IssuedCertificate, capsys: pytest.CaptureFixture[str]) -> None:
    lifecycle.revoke([enroll(alice, "alice")], CRLReason.KEY_COMPROMISE)
    alarm = run_python("signals")["alarm"]
    try:
        ask("whoami", alice)
    finally:
        certificate_denied.disconnect(alarm)
    assert capsys.readouterr().out == f"a revoked certificate came to /whoami: {alice.fingerprint_sha256}\n"


@recipe("lifecycle")
def test_lifecycle(alice: IssuedCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_user_model().objects.create_user("alice")
    (tmp_path / "alice.pem").write_bytes(alice.pem)
    monkeypatch.chdir(tmp_path)
    run_python("lifecycle")
    assert EnrolledCertificate.objects.get().state == State.REVOKED


@recipe("testing-django")
def test_the_test_case(alice: IssuedCertificate) -> None:
    test_case = run_python("testing-django")["ReportsTests"]
    result = unittest.TestResult()
    with override_settings(ROOT_URLCONF=urls(reports=run_python("django-view")["reports"])):
        unittest.TestLoader().loadTestsFromTestCase(test_case).run(result)
    assert (result.testsRun, result.errors, result.failures) == (3, [], [])
