"""What can be counted exactly, on any machine: database queries, and hops from the event loop into a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Count:
    """A number of calls, in whatever threads."""

    def __init__(self) -> None:
        self._calls: list[None] = []

    def add(self) -> None:
        self._calls.append(None)

    def __int__(self) -> int:
        return len(self._calls)


@contextmanager
def calls_of(owner: type, method: str) -> Iterator[Count]:
    """Count the calls of *method* on all instances of *owner*."""
    count = Count()
    original = getattr(owner, method)

    def counting(*args: Any, **kwargs: Any) -> Any:
        count.add()
        return original(*args, **kwargs)

    with patch.object(owner, method, counting):
        yield count


def thread_hops() -> Any:
    """Count what is handed to thread pools: where `to_thread`, `sync_to_async` and `run_in_executor` all end."""
    return calls_of(ThreadPoolExecutor, "submit")


def queries() -> Any:
    """Count statements on every Django database connection."""
    from django.db.backends.utils import CursorWrapper  # here: the core's benchmarks load no Django

    return calls_of(CursorWrapper, "_execute_with_wrappers")
