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
from django_mtls.models import EnrolledCertificate
from mtls_auth import CommonName, Fingerprint, load_client_certificate
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


SHA1 = "a" * 40


@api_view(["GET"])
@authentication_classes([ClientCertificateAuthentication])
@permission_classes([certificate_permission(Fingerprint(SHA1))])
def only_stated(request: Request) -> Response:
    identity: Any = request.auth
    return Response({"user": request.user.get_username(), "reference": identity.reference})


urlpatterns = [path("whoami", whoami), path("only-alice", only_alice), path("only-stated", only_stated)]


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


@pytest.mark.usefixtures("headers")
@override_settings(
    MTLS_AUTH={"SOURCE": "alibaba-alb", "TRUSTED_PROXIES": ["127.0.0.1"], "SERVER_ADDRESS_IS_PEER": True}
)
def test_a_stated_fingerprint(client: Client) -> None:
    """A permission on what only the certificate tells denies with that reason; one on what is stated admits."""
    EnrolledCertificate.objects.filter(user__username="alice").update(fingerprint_sha1=SHA1)
    stated = {"X-Forwarded-Clientcert-Fingerprint": SHA1, "X-Forwarded-Clientcert-Clientverify": "SUCCESS"}
    response = client.get("/only-alice", headers=stated)
    assert (response.status_code, response.json()["detail"]) == (403, "insufficient_evidence")
    assert client.get("/only-stated", headers=stated).json() == {"user": "alice", "reference": SHA1}
