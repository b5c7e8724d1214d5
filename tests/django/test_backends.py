"""The authentication backend: the middleware's decision as Django's `authenticate` wants it."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, load_backend
from django.contrib.auth.models import Group, Permission
from django.http import HttpRequest

from django_mtls.backends import ClientCertificateBackend
from django_mtls.directory import BACKEND
from mtls_auth import Anonymous, Authenticated, CertificateRejected, Denied, Reason
from tests.django.conftest import MODEL_BACKEND, Browser, Configure, Issue, by_nginx, enroll, identity_of, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_of_alice(configure: Configure, browser: Browser, issue: Issue) -> HttpRequest:
    """A request that the middleware let in."""
    enroll(issue("alice"), person("alice"))
    request: HttpRequest = browser.get("/sync/open/", by_nginx(issue("alice").der)).request
    return request


AUTHENTICATE = pytest.mark.parametrize(
    "authenticate", [authenticate, async_to_sync(aauthenticate)], ids=["authenticate", "aauthenticate"]
)


@AUTHENTICATE
def test_authenticate(request_of_alice: HttpRequest, authenticate: Any, django_assert_num_queries: Any) -> None:
    """`authenticate(request)` gives the certificate's user, without a query, sync and async."""
    with django_assert_num_queries(0):
        user = authenticate(request_of_alice)
    assert user is not None
    assert user.get_username() == "alice"
    assert user.backend == BACKEND


@AUTHENTICATE
def test_no_passwords(configure: Configure, settings: Any, authenticate: Any) -> None:
    """Where it is the only backend nobody logs in by password, sync or async."""
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    person("alice", password="right")
    assert authenticate(HttpRequest(), username="alice", password="right") is None


@pytest.mark.parametrize(
    "credentials",
    [{"username": "alice", "password": "wrong"}, {"token": "x"}, {"username": "bob"}],
    ids=["password", "token", "another name"],
)
@AUTHENTICATE
def test_credentials_are_not_ours(
    request_of_alice: HttpRequest, credentials: dict[str, str], authenticate: Any
) -> None:
    """Whoever gives credentials is asked for them: a certificate does not stand in for a wrong password."""
    assert authenticate(request_of_alice, **credentials) is None


@AUTHENTICATE
def test_right_password_beside_a_certificate(request_of_alice: HttpRequest, authenticate: Any) -> None:
    """A password is checked by the backend of passwords."""
    bob = person("bob", password="right")
    user = authenticate(request_of_alice, username="bob", password="right")
    assert user == bob
    assert user is not None
    assert user.backend == MODEL_BACKEND


def test_nobody(issue: Issue) -> None:
    """Without an admitted certificate there is nobody: no request, no middleware, no certificate, a refusal."""
    backend = ClientCertificateBackend()
    assert backend.authenticate(None) is None
    assert backend.authenticate(HttpRequest()) is None
    denied = Denied.because(CertificateRejected(Reason.REVOKED), identity_of(issue("alice")))
    for decision in (Anonymous(), denied, Authenticated(identity_of(issue("alice")), "somebody else's principal")):
        request: Any = HttpRequest()
        request.certificate_decision = decision
        assert backend.authenticate(request) is None


def test_permissions() -> None:
    """Permissions and groups come from the database, as with `ModelBackend`; none for the inactive."""
    backend: Any = load_backend(BACKEND)
    alice = person("alice")
    group = Group.objects.create(name="operators")
    group.permissions.add(Permission.objects.get(codename="view_revocation"))
    alice.groups.add(group)
    assert backend.has_perm(alice, "django_mtls.view_revocation")
    assert not backend.has_perm(alice, "django_mtls.add_revocation")
    inactive = person("inactive", is_active=False)
    inactive.groups.add(group)
    assert not backend.has_perm(inactive, "django_mtls.view_revocation")


GET_USER = pytest.mark.parametrize(
    "get_user",
    [ClientCertificateBackend().get_user, async_to_sync(ClientCertificateBackend().aget_user)],
    ids=["get_user", "aget_user"],
)


@GET_USER
def test_users_of_bound_sessions(configure: Configure, get_user: Any) -> None:
    """The user of a bound session is loaded if he is active."""
    configure(SESSION="user")
    alice = person("alice")
    assert get_user(alice.pk) == alice
    assert get_user(person("inactive", is_active=False).pk) is None
    assert get_user(0) is None


@GET_USER
def test_users_of_sessions_without_a_mode(configure: Configure, get_user: Any) -> None:
    """Without a session mode no session is of this backend: it loads nobody."""
    assert get_user(person("alice").pk) is None
