"""The core ASGI middleware over a bare application: driven by hand, and in an event loop; Starlette, x509middleware."""

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from itertools import cycle, repeat
from typing import Any

from mtls_auth import NGINX, Authenticated, Source, TLSSocket
from mtls_auth.asgi import DECISION_KEY, ClientCertificateMiddleware
from mtls_auth.peers import Peer
from mtls_auth.server_tls import PEER_EXTENSION
from mtls_auth.servers.tls_extension import ConnectionApp
from mtls_auth.testing import escaped_pem
from tests.benchmarks import counters, peers, traffic
from tests.benchmarks.core import (
    COLD_CERTIFICATES,
    COLD_TARGET,
    HOT_TARGET,
    SOCKET_TARGET,
    authenticator,
    forwarded,
    nginx_fields,
    unseen,
)
from tests.benchmarks.leaves import mint
from tests.benchmarks.report import Cell, Table, absent, row
from tests.benchmarks.rounds import Batch, Case, Pace, measure, repeated

SHIM_TARGET = 2.0

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
Scopes = Callable[[], dict[str, Any]]
Driver = Callable[[App, Scopes], Batch]


def tables(pace: Pace) -> list[Table]:
    loop = asyncio.new_event_loop()

    def in_loop(app: App, scope: Scopes) -> Batch:
        async def requests(count: int) -> None:
            for _ in repeat(None, count):
                await app(scope(), receive, send)

        return lambda count: loop.run_until_complete(requests(count))

    try:
        rows: list[dict[str, Cell]] = []
        missing: list[str] = []
        cases = [*core_cases("by hand", by_hand), *core_cases("asyncio", in_loop)]
        for build in (starlette_cases, peers.x509_cases):
            try:
                cases += build(in_loop)
            except ImportError as error:
                missing.append(str(error.name))
        hops = {case: _hops(case) for case in cases}
        measured = measure(cases, pace)
        rows += [row(case, measured[case], **{"thread hops": hops[case]}) for case in cases if case.baseline]
        rows += [absent(name, "not installed") for name in missing]
    finally:
        loop.close()
    return [Table("Core, ASGI", rows)]


def core_cases(where: str, drive: Driver) -> list[Case]:
    rsa = [escaped_pem(der).encode() for der in mint("rsa", COLD_CERTIFICATES)]
    chain = (mint("ec", 1)[0],)
    secure = {"extensions": {"tls": {"client_cert_chain": chain}}}
    return [
        *_pair(f"hot: header, RSA-2048, {where}", forwarded(NGINX), nginx_scopes(rsa[0]), drive),
        *_pair(f"hot: TLS extension, {where}", TLSSocket(), traffic.scopes({}, **secure), drive, SOCKET_TARGET),
        *_shim(f"the wrapper of a connection, {where}", secure["extensions"], drive),
        *_cold(f"cold: header, RSA-2048, {where}", rsa, drive),
    ]


def nginx_scopes(leaf: bytes) -> Scopes:
    """Return requests with nginx's headers, from a server that says who the transport peer is."""
    return traffic.scopes(nginx_fields(repeat(leaf)), extensions={PEER_EXTENSION: Peer("127.0.0.1")})


def starlette_cases(drive: Driver) -> list[Case]:
    """Return a Starlette application, and the same with `request.user` from the certificate."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from mtls_auth.starlette import ClientCertificateBackend

    async def anybody(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def somebody(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok" if request.user.is_authenticated else "nobody")

    leaf = escaped_pem(mint("rsa", 1)[0]).encode()
    stack = [
        Middleware(ClientCertificateMiddleware, authenticator=authenticator(forwarded(NGINX))),
        Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend()),
    ]
    base = Case("bare Starlette", drive(Starlette(routes=[Route("/", anybody)]), nginx_scopes(leaf)))
    app = Starlette(routes=[Route("/", somebody)], middleware=stack)
    return [base, Case("hot: Starlette, request.user", drive(app, nginx_scopes(leaf)), base)]


def _shim(name: str, extensions: dict[str, Any], drive: Driver) -> list[Case]:
    """Return the bare application, and what a shim of `mtls_auth.servers` puts around it on each connection."""
    base = Case("bare application", drive(bare, traffic.scopes({})))
    app = ConnectionApp(bare, {**extensions, PEER_EXTENSION: Peer("127.0.0.1")}, lambda: None)
    return [base, Case(name, drive(app.__call__, traffic.scopes({})), base, SHIM_TARGET)]  # type: ignore[arg-type]


def _pair(name: str, source: Source, scope: Scopes, drive: Driver, target: float = HOT_TARGET) -> list[Case]:
    base = Case("bare application", drive(bare, scope))
    _check(source, scope)
    app = ClientCertificateMiddleware(bare, authenticator(source))
    return [base, Case(name, drive(app.__call__, scope), base, target)]


def _cold(name: str, leaves: list[bytes], drive: Driver) -> list[Case]:
    facts = {"extensions": {PEER_EXTENSION: Peer("127.0.0.1")}}
    base = Case("bare application", drive(bare, traffic.scopes(nginx_fields(cycle(leaves)), **facts)))
    batch, around = unseen(
        leaves,
        lambda leaf: drive(
            ClientCertificateMiddleware(bare, authenticator(forwarded(NGINX))).__call__,
            traffic.scopes(nginx_fields(leaf), **facts),
        ),
    )
    return [base, Case(name, batch, base, COLD_TARGET, len(leaves) - 1, around)]


def _check(source: Source, scope: Scopes) -> None:
    seen: list[object] = []

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope[DECISION_KEY])

    by_hand(ClientCertificateMiddleware(app, authenticator(source)).__call__, scope)(1)
    if not isinstance(seen[0], Authenticated):
        raise RuntimeError(f"{seen[0]}")


def _hops(case: Case) -> int:
    with case.around(), counters.thread_hops() as hops:
        case.batch(2)
    return int(hops)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer like an application that does nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def receive() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: MutableMapping[str, Any]) -> None:
    pass


def by_hand(app: App, scope: Scopes) -> Batch:
    """Drive each request without an event loop; it may not wait for anything."""

    def request() -> None:
        try:
            app(scope(), receive, send).send(None)
        except StopIteration:
            return
        raise RuntimeError("the request waits for something")

    return repeated(request)
