"""`CertificateLoginMiddleware`: `request.user` for one request, or in a session that ends with the certificate."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY, user_logged_in, user_logged_out
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_mtls import lifecycle, sessions
from django_mtls.directory import BACKEND
from django_mtls.middleware import CertificateLoginMiddleware
from django_mtls.models import CRLReason, EnrolledCertificate, State
from mtls_auth import Anonymous
from tests.django.conftest import (
    BROWSERS,
    NOTHING,
    Answer,
    Browser,
    Configure,
    Issue,
    Sent,
    by_nginx,
    enroll,
    person,
    put,
)

pytestmark = pytest.mark.django_db

ANONYMOUS = Answer(200, "")
VIEWS = pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])
MODES = pytest.mark.parametrize("mode", ["certificate", "user"])


class Holders:
    """Alice with two certificates, bob with one: what each sends."""

    def __init__(self, issue: Issue) -> None:
        alice = person("alice")
        self.rows = {
            "laptop": enroll(issue("alice", "laptop"), alice),
            "phone": enroll(issue("alice", "phone"), alice),
            "bob": enroll(issue("bob"), person("bob")),
        }
        self.laptop = by_nginx(issue("alice", "laptop").der)
        self.phone = by_nginx(issue("alice", "phone").der)
        self.bob = by_nginx(issue("bob").der)


@pytest.fixture
def holders(issue: Issue, configure: Configure) -> Holders:
    return Holders(issue)


def keep(browser: Browser, value: str | None = None, sent: Sent = NOTHING) -> str | None:
    """Put a value into the session, and return what was there."""
    query = "" if value is None else f"?value={value}"
    found: str | None = browser.get(f"/sync/keep/{query}", sent).json()["kept"]
    return found


# Without a session


@VIEWS
def test_user_follows_the_certificate(configure: Configure, browser: Browser, holders: Holders, view: str) -> None:
    """By default `request.user` is whoever the certificate of this very request stands for."""
    answers = [browser.get(view, sent) for sent in (holders.laptop, NOTHING, holders.bob, holders.phone, NOTHING)]
    assert answers == [Answer(200, "alice"), ANONYMOUS, Answer(200, "bob"), Answer(200, "alice"), ANONYMOUS]


@VIEWS
def test_no_session_is_touched(
    configure: Configure, browser: Browser, holders: Holders, view: str, django_assert_num_queries: Any
) -> None:
    """A login for one request reads no session, makes none and sets no cookie."""
    with django_assert_num_queries(1):
        answer = browser.get(view, holders.laptop)
    assert answer == Answer(200, "alice")
    assert (answer.request.session.accessed, answer.request.session.modified) == (False, False)
    assert not answer.response.cookies
    assert "Cookie" not in answer.response.headers.get("Vary", "")
    assert Session.objects.count() == 0


def test_no_login_signal(configure: Configure, browser: Browser, holders: Holders) -> None:
    """A login for one request is no login: no signal, no last_login."""
    received: list[Any] = []

    def receive(**kwargs: Any) -> None:
        received.append(kwargs)

    user_logged_in.connect(receive)
    try:
        browser.get("/sync/open/", holders.laptop)
    finally:
        user_logged_in.disconnect(receive)
    assert received == []
    assert User.objects.get(username="alice").last_login is None


@VIEWS
def test_the_user_is_one_object(configure: Configure, browser: Browser, holders: Holders, view: str) -> None:
    """`request.user` and `await request.auser()` are the principal's one user, and know their backend."""
    request = browser.get(view, holders.laptop).request
    request.user.first_name = "changed"
    assert request.certificate_decision.principal.user.first_name == "changed"
    assert async_to_sync(request.auser)() is request.user
    assert isinstance(request.user, User)
    assert request.user.backend == BACKEND
    assert request.user.is_authenticated is True


def test_permissions(configure: Configure, browser: Browser, holders: Holders) -> None:
    """The user has the permissions that the database gives him, and no others."""
    alice = User.objects.get(username="alice")
    alice.user_permissions.add(Permission.objects.get(codename="view_enrolledcertificate"))
    user = browser.get("/sync/open/", holders.laptop).request.user
    assert user.has_perm("django_mtls.view_enrolledcertificate")
    assert not user.has_perm("django_mtls.delete_enrolledcertificate")


@pytest.mark.parametrize("mode", [None, "certificate", "user"])
@VIEWS
def test_password_session_is_left_alone(
    configure: Configure, browser: Browser, holders: Holders, view: str, mode: str | None
) -> None:
    """A request without a certificate keeps the user and the data of a password session, in every mode."""
    configure(SESSION=mode)
    browser.get("/sync/log-in/?name=bob")
    keep(browser, "password data")
    key = browser.session_key
    assert browser.get(view) == Answer(200, "bob")
    assert keep(browser) == "password data"
    assert browser.session_key == key


@VIEWS
def test_certificate_beside_a_password_session_of_another(
    configure: Configure, browser: Browser, holders: Holders, view: str
) -> None:
    """Without a session mode too, the certificate's user never meets what another user's session holds."""
    browser.get("/sync/log-in/?name=bob")
    keep(browser, "bob's data")
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert keep(browser, None, holders.laptop) is None
    assert browser.get(view) == ANONYMOUS


@VIEWS
def test_certificate_beside_a_password_session_of_the_same(
    configure: Configure, browser: Browser, holders: Holders, view: str
) -> None:
    """A user who logged in by password and presents his certificate keeps his session."""
    browser.get("/sync/log-in/?name=alice")
    keep(browser, "data")
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert keep(browser, None, holders.laptop) == "data"
    assert browser.get(view) == Answer(200, "alice")


def test_certificate_beside_an_anonymous_session(configure: Configure, browser: Browser, holders: Holders) -> None:
    """An anonymous session, as a shop's basket, is kept beside a certificate."""
    keep(browser, "basket")
    assert keep(browser, None, holders.laptop) == "basket"
    assert browser.get("/sync/open/") == ANONYMOUS


# In a session


@MODES
@VIEWS
def test_login(configure: Configure, browser: Browser, holders: Holders, mode: str, view: str) -> None:
    """The first request logs in: session, cookie, signal, last_login. The next one does nothing of it again."""
    configure(SESSION=mode)
    received: list[Any] = []

    def receive(user: Any, **kwargs: Any) -> None:
        received.append(user.username)

    user_logged_in.connect(receive)
    try:
        answers = [browser.get(view, holders.laptop) for _ in range(3)]
    finally:
        user_logged_in.disconnect(receive)
    assert answers == [Answer(200, "alice")] * 3
    assert received == ["alice"]
    assert User.objects.get(username="alice").last_login is not None
    assert "sessionid" in answers[0].response.cookies
    assert not answers[1].response.cookies
    assert Session.objects.count() == 1
    session = answers[2].request.session
    assert session[SESSION_KEY] == str(User.objects.get(username="alice").pk)
    assert session[BACKEND_SESSION_KEY] == BACKEND
    assert session.modified is False


@MODES
@VIEWS
def test_cost(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str, django_assert_num_queries: Any
) -> None:
    """A request in a bound session costs the certificate's query and the session's, and writes nothing."""
    configure(SESSION=mode)
    browser.get(view, holders.laptop)
    with django_assert_num_queries(2) as captured:
        assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert all(query["sql"].startswith("SELECT") for query in captured)


@MODES
@VIEWS
def test_session_ends_when_the_certificate_goes(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str
) -> None:
    """A bound session without its certificate is nobody's: it is deleted, and so is its cookie."""
    configure(SESSION=mode)
    logged_out: list[str] = []

    def receive(user: Any, **kwargs: Any) -> None:
        logged_out.append(user.username)

    user_logged_out.connect(receive)
    try:
        keep(browser, "secret", holders.laptop)
        assert browser.get(view) == ANONYMOUS
    finally:
        user_logged_out.disconnect(receive)
    assert logged_out == ["alice"]
    assert Session.objects.count() == 0
    assert browser.session_key is None
    assert keep(browser) is None


@MODES
@VIEWS
def test_a_stolen_cookie(configure: Configure, browser: Browser, holders: Holders, mode: str, view: str) -> None:
    """The cookie of a bound session is worth nothing without the certificate, nor with another user's."""
    configure(SESSION=mode)
    for sent, expected in ((NOTHING, ANONYMOUS), (holders.bob, Answer(200, "bob"))):
        keep(browser, "alice's secret", holders.laptop)
        thief = type(browser)()
        thief.client.cookies["sessionid"] = browser.session_key
        assert thief.get(view, sent) == expected
        assert keep(thief, None, sent) is None


@MODES
@VIEWS
def test_certificate_of_another_user(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str
) -> None:
    """Another user's certificate begins another session: nothing of the first user's is in it."""
    configure(SESSION=mode)
    keep(browser, "alice's secret", holders.laptop)
    key = browser.session_key
    assert browser.get(view, holders.bob) == Answer(200, "bob")
    assert keep(browser, None, holders.bob) is None
    assert browser.session_key not in {None, key}
    assert not Session.objects.filter(session_key=key).exists()
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert keep(browser, None, holders.laptop) is None


@VIEWS
def test_another_certificate_of_the_same_user(
    configure: Configure, browser: Browser, holders: Holders, view: str
) -> None:
    """Bound to the certificate, a session ends with it; bound to the user, it goes on with his other certificate."""
    for mode, expected in (("certificate", None), ("user", "data")):
        configure(SESSION=mode)
        keep(browser, "data", holders.laptop)
        key = browser.session_key
        assert browser.get(view, holders.phone) == Answer(200, "alice")
        assert keep(browser, None, holders.phone) == expected
        assert (browser.session_key == key) is (mode == "user")
        assert browser.get(view) == ANONYMOUS


ENDS = {
    "revoked": lambda row: lifecycle.revoke([row], CRLReason.KEY_COMPROMISE),
    "suspended": lifecycle.suspend,
    "superseded": lambda row: put(row, State.SUPERSEDED),
    "inactive user": lambda row: User.objects.update(is_active=False),
    "row deleted": lambda row: row.delete(),
}


@MODES
@VIEWS
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_session_ends_with_the_certificate(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str, end: Any
) -> None:
    """A certificate that may not come in any more takes its session along, whether it is presented or not."""
    configure(SESSION=mode)
    keep(browser, "secret", holders.laptop)
    end(holders.rows["laptop"])
    assert browser.get(view, holders.laptop).status == 403
    assert browser.get(view) == ANONYMOUS
    assert keep(browser) is None
    assert Session.objects.count() == 0


@MODES
@VIEWS
@pytest.mark.parametrize("name", ["alice", "bob"])
def test_certificate_after_a_password(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str, name: str
) -> None:
    """A certificate that comes into a password session begins a new one: nothing is taken along."""
    configure(SESSION=mode)
    browser.get(f"{view.replace('open', 'log-in')}?name={name}")
    keep(browser, "password data")
    key = browser.session_key
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert keep(browser, None, holders.laptop) is None
    assert browser.session_key != key
    assert browser.get(view) == ANONYMOUS


@MODES
def test_anonymous_session_before(configure: Configure, browser: Browser, holders: Holders, mode: str) -> None:
    """What an anonymous visitor left is kept at login, as Django keeps it, under a new key."""
    configure(SESSION=mode)
    keep(browser, "basket")
    key = browser.session_key
    assert keep(browser, None, holders.laptop) == "basket"
    assert browser.session_key != key
    assert not Session.objects.filter(session_key=key).exists()


@MODES
@VIEWS
def test_password_login_within(configure: Configure, browser: Browser, holders: Holders, mode: str, view: str) -> None:
    """Whoever logs in by password while a certificate is presented does not keep another's session with it."""
    configure(SESSION=mode)
    keep(browser, "alice's secret", holders.laptop)
    browser.get(f"{view.replace('open', 'log-in')}?name=bob", holders.laptop)
    assert keep(browser) is None
    assert browser.get(view) == Answer(200, "bob")
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert browser.get(view) == ANONYMOUS


@MODES
@VIEWS
def test_without_certificate_and_session(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str
) -> None:
    """The anonymous get no session."""
    configure(SESSION=mode)
    answer = browser.get(view)
    assert answer == ANONYMOUS
    assert not answer.response.cookies
    assert Session.objects.count() == 0


@MODES
@VIEWS
def test_bound_sessions_after_the_mode_is_switched_off(
    configure: Configure, browser: Browser, holders: Holders, mode: str, view: str
) -> None:
    """A bound session is no password session: when SESSION is None again it lets nobody in without the certificate."""
    configure(SESSION=mode)
    browser.get(view, holders.laptop)
    configure(SESSION=None)
    assert browser.get(view, holders.laptop) == Answer(200, "alice")
    assert browser.get(view) == ANONYMOUS


def test_modes_differ_in_one_thing(configure: Configure, browser: Browser, holders: Holders) -> None:
    """From "user" to "certificate" a running session ends at the next other certificate, not before."""
    configure(SESSION="user")
    keep(browser, "data", holders.laptop)
    configure(SESSION="certificate")
    assert keep(browser, None, holders.laptop) == "data"
    assert keep(browser, None, holders.phone) is None


def test_the_session_names_the_fingerprint(configure: Configure, browser: Browser, holders: Holders) -> None:
    """What binds it is the fingerprint, not the serial number nor the name."""
    configure(SESSION="certificate")
    session = browser.get("/sync/open/", holders.laptop).request.session
    assert (
        session[sessions.FINGERPRINT_KEY]
        == EnrolledCertificate.objects.get(pk=holders.rows["laptop"].pk).fingerprint_sha256
    )


# Misplaced


@pytest.mark.parametrize("door", BROWSERS)
@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (["certificate", "login"], "put it below AuthenticationMiddleware"),
        (["session", "login", "auth", "certificate"], "put it below AuthenticationMiddleware"),
        (["session", "auth", "login"], "add it to MIDDLEWARE"),
        (["session", "auth", "login", "certificate"], "add it to MIDDLEWARE"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("mode", [None, "user"])
def test_misplaced(
    configure: Configure, settings: Any, stack: list[str], message: str, door: str, mode: str | None
) -> None:
    """In the wrong place it raises, and lets nobody through."""
    names = {
        "session": "django.contrib.sessions.middleware.SessionMiddleware",
        "auth": "django.contrib.auth.middleware.AuthenticationMiddleware",
        "certificate": "django_mtls.middleware.ClientCertificateMiddleware",
        "login": "django_mtls.middleware.CertificateLoginMiddleware",
    }
    configure(SESSION=mode)
    settings.MIDDLEWARE = [names[name] for name in stack]
    with pytest.raises(ImproperlyConfigured, match=message):
        BROWSERS[door]().get("/sync/open/")


def test_without_sessions(configure: Configure, settings: Any) -> None:
    """For one request it needs `request.user` and no session."""

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")

    request: Any = RequestFactory().get("/")
    request.user = None
    request.certificate_decision = Anonymous()
    assert CertificateLoginMiddleware(view)(request).content == b"seen"
    assert request.user is None


# What one certificate's user leaves behind


@VIEWS
def test_a_session_is_never_taken_along(configure: Configure, browser: Browser, holders: Holders, view: str) -> None:
    """Without SESSION too, what a view put into alice's session is gone for the next user, and for nobody."""
    for following in (NOTHING, holders.bob):
        assert keep(browser, "data", holders.laptop) is None
        assert keep(browser, None, holders.phone) == "data"
        assert browser.get(view, following).user == ("" if following is NOTHING else "bob")
        assert keep(browser, None, holders.laptop) is None


def test_answers_are_private(configure: Configure, browser: Browser, holders: Holders) -> None:
    """What was made for a certificate stays out of shared caches; what was made for nobody says nothing."""
    assert browser.get("/sync/open/", holders.laptop).response.headers["Cache-Control"] == "private"
    assert "Cache-Control" not in browser.get("/sync/open/").response.headers


def test_auser_ends_with_the_session(configure: Configure, browser: Browser, holders: Holders) -> None:
    """When a bound session ends, `await request.auser()` is nobody as well."""
    configure(SESSION="certificate")
    browser.get("/sync/open/", holders.laptop)
    request = browser.get("/sync/open/").request
    assert not async_to_sync(request.auser)().is_authenticated
