"""Django under WSGI: the whole handler, with and without certificates, beside what Django and the peers offer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import repeat
from typing import Any

from tests.benchmarks import counters, peers, traffic
from tests.benchmarks.core import nginx_fields
from tests.benchmarks.django_site import (
    AUTH,
    CERTIFICATE,
    LOGIN,
    NAME,
    REMOTE_USER,
    SESSION,
    Database,
    Site,
    middleware,
    mode,
    site,
)
from tests.benchmarks.report import Table, absent, row
from tests.benchmarks.rounds import Case, Pace, measure, repeated

SQLITE_TARGET = 80.0
POSTGRESQL_TARGET = 300.0
STALE_TARGET = 10.0

NOBODY, USER, PRINCIPAL = "/", "/user", "/principal"


def view(request: Any) -> Any:
    """Answer with the name that the path asks for: nobody's, `request.user`'s, the certificate's principal's."""
    from django.http import HttpResponse

    if request.path_info == USER:
        return HttpResponse(request.user.get_username())
    if request.path_info == PRINCIPAL:
        return HttpResponse(request.certificate_decision.principal.user.get_username())
    return HttpResponse(b"ok")


def __getattr__(name: str) -> Any:
    # Django takes this module as the URLconf; the core's benchmarks must not import Django.
    if name == "urlpatterns":
        from django.urls import re_path

        return [re_path("", view)]
    raise AttributeError(name)


def tables(pace: Pace, database: Database) -> list[Table]:
    """Measure on *database*; needs a process in which Django is not configured."""
    with site(database, __name__) as here:
        cases, missing = _cases(here, database)
        queries = {case: _queries(case) for case in cases}
        measured = measure(cases, pace)
    rows = [row(case, measured[case], queries=queries[case]) for case in cases]
    rows += [absent(name, "not installed") for name in missing]
    remarks = ["A MAX_STALENESS of N > 0 adds one query every N seconds and process, to whichever request comes first."]
    return [Table(f"Django, WSGI, {database.title}", rows, remarks)]


def _cases(here: Site, database: Database) -> tuple[list[Case], list[str]]:
    header = nginx_fields(repeat(here.header))
    cookie = {"HTTP_COOKIE": f"sessionid={here.session}"}
    remote_cookie = {"HTTP_COOKIE": f"sessionid={here.remote_user_session}", "REMOTE_USER": NAME}
    is_sqlite = "sqlite3" in database.settings["ENGINE"]
    immediate = SQLITE_TARGET if is_sqlite else POSTGRESQL_TARGET
    certificate, full = (CERTIFICATE,), (SESSION, AUTH, CERTIFICATE, LOGIN)

    bare = _case("bare view", (), NOBODY, header, {}, None)
    bare_without = _case("bare view, no certificate", (), NOBODY, {}, {}, None)
    session = _case("Session+Auth, user untouched", (SESSION, AUTH), NOBODY, header, {}, bare)

    def ours(stack: Sequence[str], path: str, base: Case, what: str) -> list[Case]:
        return [
            _case(f"{what}: immediate", stack, path, header, {}, base, immediate, partial(mode, None)),
            _case(f"{what}: MAX_STALENESS=1", stack, path, header, {}, base, STALE_TARGET, partial(mode, 1)),
            _case(f"{what}: MAX_STALENESS=0", stack, path, header, {}, base, None, partial(mode, 0)),
        ]

    cases = [
        bare,
        bare_without,
        session,
        *ours(certificate, PRINCIPAL, bare, "certificate"),
        *ours(full, USER, session, "certificate and request.user"),
        _case("certificate: none came", certificate, NOBODY, {}, {}, bare_without, STALE_TARGET, partial(mode, None)),
        _case("Session+Auth, logged in", (SESSION, AUTH), USER, header, cookie, bare),
        _case("RemoteUserMiddleware, cookie kept", (SESSION, AUTH, REMOTE_USER), USER, header, remote_cookie, bare),
        _case(
            "RemoteUserMiddleware, no cookie", (SESSION, AUTH, REMOTE_USER), USER, header, {"REMOTE_USER": NAME}, bare
        ),
    ]
    missing = []
    for peer in peers.DJANGO:
        if not peer.installed:
            missing.append(peer.name)
            continue
        facts = {**peer.facts, **(cookie if peer.needs_session else {})}
        cases.append(_case(peer.name, (SESSION, AUTH, peer.middleware), USER, header, facts, bare))
    return cases, missing


def _case(
    name: str,
    stack: Sequence[str],
    path: str,
    fields: Mapping[str, traffic.Field],
    facts: Mapping[str, Any],
    baseline: Case | None,
    target: float | None = None,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Case:
    from django.core.handlers.wsgi import WSGIHandler

    with middleware(stack):
        handler = WSGIHandler()
    environ = traffic.environs(fields, **facts, **{"PATH_INFO": path, "HTTP_HOST": "app.example.com"})
    status: list[str] = []

    def start_response(line: str, headers: object, exc_info: object = None) -> None:
        status[:] = [line]

    def request() -> bytes:
        response: Any = handler(environ(), start_response)  # type: ignore[arg-type]  # a stand-in
        body: bytes = response.content
        response.close()
        return body

    with around():
        body = request()
    if (status, body) != (["200 OK"], b"ok" if path == NOBODY else NAME.encode()):
        raise RuntimeError(f"{name}: {status} {body!r}")
    return Case(name, repeated(request), baseline, target, around=around)


def _queries(case: Case) -> int:
    """Return the fewest queries of three requests: into one of them may fall what happens every N seconds."""
    counts = []
    with case.around():
        case.batch(1)
        for _ in range(3):
            with counters.queries() as queries:
                case.batch(1)
            counts.append(int(queries))
    return min(counts)
