"""django_mtls.drf on requests of Django's test client."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from django_mtls import lifecycle
from django_mtls.drf import CertificatePermission, ClientCertificateAuthentication, certificate_permission
from mtls_auth import CommonName, load_client_certificate
from mtls_auth.testing import CertificateAuthority, escaped_pem

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@api_view(["GET", "POST"])
@authentication_classes([ClientCertificateAuthentication])
@permission_classes([CertificatePermission])
def whoami(request: Request) -> Response:
    identity: Any = request.auth
    return Response({"user": request.user.get_username(), "cn": identity.subject_cn})


@api_view(["GET"])
@authentication_classes([ClientCertificateAuthentication])
@permission_classes([certificate_permission(CommonName("alice"))])
def only_alice(request: Request) -> Response:
    return Response({"user": request.user.get_username()})


urlpatterns = [path("whoami", whoami), path("only-alice", only_alice)]


@pytest.fixture
def headers() -> dict[str, dict[str, Any]]:
    """The proxy's headers for alice and bob, both enrolled."""
    ca = CertificateAuthority()
    found = {}
    for name in ("alice", "bob"):
        issued = ca.issue(name)
        lifecycle.enroll(load_client_certificate(issued.der), User.objects.create_user(name))
        found[name] = {"X-SSL-Client-Cert": escaped_pem(issued.der), "X-SSL-Client-Verify": "SUCCESS"}
    return found


def test_the_certificate_is_user_and_auth(client: Client, headers: dict[str, dict[str, Any]]) -> None:
    """`request.user` is the certificate's user, `request.auth` its identity."""
    response = client.get("/whoami", headers=headers["bob"])
    assert response.json() == {"user": "bob", "cn": "bob"}


def test_without_a_certificate_nobody_is_admitted(client: Client, headers: dict[str, dict[str, Any]]) -> None:
    """A request without a certificate is refused, even in a user's session."""
    client.force_login(User.objects.get(username="alice"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/whoami").status_code == 403


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403)])
def test_a_policy_is_a_permission(client: Client, headers: dict[str, dict[str, Any]], who: str, status: int) -> None:
    """`certificate_permission` admits what its policy admits."""
    assert client.get("/only-alice", headers=headers[who]).status_code == status


@pytest.mark.parametrize(
    ("extra", "status"),
    [({}, 200), ({"Origin": "https://evil.example"}, 403), ({"Referer": "https://evil.example/"}, 403)],
    ids=["program", "origin", "referer"],
)
def test_browsers_need_a_csrf_token(headers: dict[str, dict[str, Any]], extra: dict[str, str], status: int) -> None:
    """A POST that looks like a browser's needs a CSRF token; a program's does not."""
    client = Client(enforce_csrf_checks=True)
    assert client.post("/whoami", headers=headers["alice"] | extra).status_code == status


@override_settings(MTLS_AUTH={"SOURCE": "tls"})
def test_another_source_means_nobody(client: Client, headers: dict[str, dict[str, Any]]) -> None:
    """Headers say nothing where the TLS socket is the source."""
    assert client.get("/whoami", headers=headers["alice"]).status_code == 403
