"""What is asked of a session, apart from the middleware that asks."""

import pytest
from django.http import HttpRequest

from django_mtls import sessions
from tests.django.conftest import Configure


@pytest.mark.parametrize("mode", [None, "certificate"])
def test_without_sessions(configure: Configure, mode: str | None) -> None:
    """A request that has no session, as without SessionMiddleware, is left alone."""
    configure(SESSION=mode)
    request = HttpRequest()
    sessions.begin(request, None)
    assert not hasattr(request, "session")
