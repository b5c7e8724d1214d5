"""Where a mapper that asks Django's database runs, seen from an event loop."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections


async def run_in_request_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run in the thread that Django keeps for the current request: its connection, its transaction."""
    return await sync_to_async(function, thread_sensitive=True)(*args)


async def run_outside_requests(function: Callable[..., Any], *args: Any) -> Any:
    """Run where no Django request is under way, as around a Starlette app; honours `CONN_MAX_AGE` by itself."""
    return await sync_to_async(_closing, thread_sensitive=True)(function, *args)


def _closing(function: Callable[..., Any], *args: Any) -> Any:
    close_old_connections()  # Django's request signals, which do this, are not sent here
    try:
        return function(*args)
    finally:
        close_old_connections()
