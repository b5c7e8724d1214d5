"""Where the database is asked from an event loop."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync
from django.contrib.auth.models import User
from django.db import connection

from django_mtls import threads
from django_mtls.threads import run_in_request_thread, run_outside_requests
from tests.django.conftest import person

pytestmark = pytest.mark.django_db  # closing old connections looks at them

RUNNERS = pytest.mark.parametrize("run", [run_in_request_thread, run_outside_requests], ids=lambda run: run.__name__)


@RUNNERS
def test_result_and_arguments(run: Any) -> None:
    """The function gets its arguments, and its result comes back."""
    assert async_to_sync(run)(lambda *args: args, 1, "b") == (1, "b")


@RUNNERS
def test_exceptions_come_back(run: Any) -> None:
    """What the function raises is raised where it was asked for."""

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async_to_sync(run)(fail)


@RUNNERS
def test_not_on_the_event_loop(run: Any) -> None:
    """It runs in another thread than the loop, which goes on meanwhile."""

    async def main() -> tuple[int, int]:
        return threading.get_ident(), await run(threading.get_ident)

    loop, worker = asyncio.run(main())
    assert loop != worker


@RUNNERS
def test_the_thread_of_the_request(run: Any) -> None:
    """Within one request, as Django's handler delimits it, it is always the same thread: one connection."""

    async def request() -> set[int]:
        async with ThreadSensitiveContext():
            return {await run(threading.get_ident) for _ in range(5)}

    async def main() -> list[set[int]]:
        return list(await asyncio.gather(request(), request()))

    for found in asyncio.run(main()):
        assert len(found) == 1


def test_transaction_of_the_request() -> None:
    """Within a request it sees what the request's own transaction has not committed yet."""
    person("alice")
    assert async_to_sync(run_in_request_thread)(User.objects.count) == 1
    assert connection.in_atomic_block


@pytest.mark.parametrize(
    ("run", "expected"),
    [(run_in_request_thread, ["work"]), (run_outside_requests, ["close", "work", "close"])],
    ids=["within", "outside"],
)
def test_old_connections(monkeypatch: pytest.MonkeyPatch, run: Any, expected: list[str]) -> None:
    """Outside of requests old connections are closed before and after; within, Django's signals do it."""
    events: list[str] = []
    monkeypatch.setattr(threads, "close_old_connections", lambda: events.append("close"))
    async_to_sync(run)(events.append, "work")
    assert events == expected


def test_old_connections_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are closed after an error too."""
    events: list[str] = []
    monkeypatch.setattr(threads, "close_old_connections", lambda: events.append("close"))

    def fail() -> None:
        events.append("fail")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async_to_sync(run_outside_requests)(fail)
    assert events == ["close", "fail", "close"]
