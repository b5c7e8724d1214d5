"""What is asked of a session, apart from the middleware that asks."""

import pytest
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from django_mtls import sessions
from tests.django.conftest import Answer, Browser, Configure, Issue, by_nginx, enroll, person


@pytest.mark.parametrize("mode", [None, "certificate"])
def test_without_sessions(configure: Configure, mode: str | None) -> None:
    """A request that has no session, as without SessionMiddleware, is left alone."""
    configure(SESSION=mode)
    request = HttpRequest()
    sessions.begin(request, None)
    assert not hasattr(request, "session")


@pytest.mark.django_db
def test_a_password_login_beside_a_certificate(configure: Configure, browser: Browser, issue: Issue) -> None:
    """A login by password in a request with a certificate is Django's own session: nobody else's mark is put on it."""
    enroll(issue("alice"), person("alice"))
    sent = by_nginx(issue("alice").der)
    answer = browser.get("/sync/log-in/?name=alice", sent)
    assert sessions.HOLDER_KEY not in answer.request.session
    assert answer.request.session[SESSION_KEY] == str(answer.request.user.pk)
    assert browser.get("/sync/open/") == Answer(200, "alice")
