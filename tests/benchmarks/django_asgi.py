"""Django under ASGI: what needs the database costs a hop into a thread; what does not must cost none."""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import repeat
from typing import Any

from tests.benchmarks import counters
from tests.benchmarks.asgi import nginx_scopes
from tests.benchmarks.django_site import AUTH, CERTIFICATE, LOGIN, NAME, SESSION, Database, Site, middleware, mode, site
from tests.benchmarks.report import Table, row
from tests.benchmarks.rounds import Case, Pace, measure


async def view(request: Any) -> Any:
    """Answer with the certificate's user, or nobody's."""
    from django.http import HttpResponse

    principal = getattr(getattr(request, "certificate_decision", None), "principal", None)
    return HttpResponse(principal.user.get_username() if principal else b"ok")


def __getattr__(name: str) -> Any:
    # As in `django_wsgi`.
    if name == "urlpatterns":
        from django.urls import re_path

        return [re_path("", view)]
    raise AttributeError(name)


def tables(pace: Pace, database: Database) -> list[Table]:
    """Measure on *database*; needs a process in which Django is not configured."""
    loop = asyncio.new_event_loop()
    try:
        with site(database, __name__) as here:
            cases = _cases(here, loop)
            counts = {case: _counts(case) for case in cases}
            measured = measure(cases, pace)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    rows = []
    for case in cases:
        queries, hops = counts[case]
        own = hops - counts[case.baseline][1] if case.baseline else None
        rows.append(row(case, measured[case], **{"queries": queries, "thread hops": hops, "hops over": own}))
    remark = (
        "Django's own handler hops into threads for its signals: “hops over” are ours. Each request's thread is new."
    )
    return [Table(f"Django, ASGI, {database.title}", rows, [remark])]


def _cases(here: Site, loop: asyncio.AbstractEventLoop) -> list[Case]:
    def case(
        name: str,
        stack: Sequence[str],
        baseline: Case | None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Case:
        return _case(name, stack, here, loop, baseline, around)

    certificate, full = (CERTIFICATE,), (SESSION, AUTH, CERTIFICATE, LOGIN)
    bare = case("bare view", (), None)
    session = case("Session+Auth, user untouched", (SESSION, AUTH), bare)
    return [
        bare,
        session,
        case("certificate: MAX_STALENESS=60", certificate, bare, partial(mode, 60)),
        case("certificate: immediate", certificate, bare, partial(mode, None)),
        case("certificate and request.user: MAX_STALENESS=60", full, session, partial(mode, 60)),
        case("certificate and request.user: immediate", full, session, partial(mode, None)),
    ]


def _case(
    name: str,
    stack: Sequence[str],
    here: Site,
    loop: asyncio.AbstractEventLoop,
    baseline: Case | None,
    around: Callable[[], AbstractContextManager[object]],
) -> Case:
    from django.core.handlers.asgi import ASGIHandler

    with middleware(stack):
        handler: Any = ASGIHandler()
    scope = nginx_scopes(here.header)
    bodies: list[bytes] = [b""]

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            bodies[0] = message["body"]

    async def requests(count: int) -> None:
        for _ in repeat(None, count):
            await handler(scope(), _Receive(), send)

    def batch(count: int) -> None:
        loop.run_until_complete(requests(count))

    with around():
        batch(1)
    if bodies[0] != (NAME.encode() if CERTIFICATE in stack else b"ok"):
        raise RuntimeError(f"{name}: {bodies[0]!r}")
    return Case(name, batch, baseline, around=around)


class _Receive:
    """One request's body, and then a client that stays."""

    def __init__(self) -> None:
        self._received = False

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._received:
            await asyncio.get_running_loop().create_future()
        self._received = True
        return {"type": "http.request", "body": b"", "more_body": False}


def _counts(case: Case) -> tuple[int, int]:
    with case.around():
        case.batch(1)
        with counters.queries() as queries, counters.thread_hops() as hops:
            case.batch(1)
    return int(queries), int(hops)
