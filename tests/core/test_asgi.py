"""The ASGI middleware: HTTP and WebSocket, one event loop, a thread only where the mapper needs it."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mtls_auth import (
    NGINX,
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    ByCommonName,
    CommonName,
    Denied,
    Forwarded,
    Identity,
    Reason,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.asgi import DECISION_KEY, ClientCertificateMiddleware, Receive, Scope, Send
from tests.core.conftest import PROXIES, Message, Request, drive, scope_of
from tests.pki import BrokenLeaves


class Recorder:
    """An application that keeps the scopes it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "test.received", "message": await receive()})


class ThreadMapper:
    """A mapper that must block, and remembers where it was called."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def recall(self, identity: Identity) -> None:
        return None

    def map(self, identity: Identity) -> str:
        self.threads.append(threading.get_ident())
        return "user"


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_decision_is_in_the_scope(leaves: BrokenLeaves, kind: str) -> None:
    """The application gets the decision in a scope of its own; the server's stays as it was."""
    application = Recorder()
    middleware = ClientCertificateMiddleware(application, Authenticator(TLSSocket(), policy=CommonName("alice")))
    scope = scope_of(Request(headers=[("Client-Cert", "x"), ("Accept", "*/*")], tls=leaves.good.der), kind)
    before = {**scope, "headers": list(scope["headers"])}

    drive(middleware, scope)

    (seen,) = application.scopes
    assert isinstance(seen[DECISION_KEY], Authenticated)
    assert seen["headers"] == [(b"accept", b"*/*")]
    assert scope == before
    assert {key: value for key, value in seen.items() if key not in {DECISION_KEY, "headers"}} == {
        key: value for key, value in scope.items() if key != "headers"
    }


@pytest.mark.parametrize("headers", [[], [("Accept", "*/*")], [("Client-Cert", "x")]], ids=["none", "other", "known"])
def test_late_trailers_do_not_come_in(headers: list[tuple[str, str]]) -> None:
    """What a server appends to its list of headers after the decision, the application does not see."""
    application = Recorder()
    middleware = ClientCertificateMiddleware(application, Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()))
    scope = scope_of(Request(headers=headers))
    drive(middleware, scope)
    scope["headers"].append((b"client-cert", b"forged"))
    assert (b"client-cert", b"forged") not in application.scopes[0]["headers"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_receive_and_send_pass(kind: str) -> None:
    """Messages go through in both directions, unread."""
    middleware = ClientCertificateMiddleware(Recorder(), Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()))
    message = {"type": f"{kind}.something"}
    assert drive(middleware, scope_of(Request(), kind), message) == [{"type": "test.received", "message": message}]


@pytest.mark.parametrize("kind", ["lifespan", "http.future"])
def test_other_scopes_pass(kind: str) -> None:
    """A scope of another type goes to the application as the very object it is, without a decision."""
    application = Recorder()
    scope: Scope = {"type": kind}
    middleware = ClientCertificateMiddleware(
        application, Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), required=True)
    )
    drive(middleware, scope, {"type": "startup"})
    assert application.scopes == [{"type": kind}]
    assert application.scopes[0] is scope


def test_a_decision_in_the_scope_is_replaced() -> None:
    """Whatever stood at the decision's key before does not survive."""
    application = Recorder()
    middleware = ClientCertificateMiddleware(application, Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()))
    drive(middleware, {**scope_of(Request()), DECISION_KEY: "forged"})
    assert application.scopes[0][DECISION_KEY] == Anonymous()


SOURCE = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(PROXIES))


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([], 403, Reason.CERTIFICATE_REQUIRED),
        ([("X-SSL-Client-Cert", "x"), ("X-SSL-Client-Verify", "SUCCESS")], 400, Reason.MALFORMED_HEADER),
        ([("X-SSL-Client-Cert", "x" * 16385), ("X-SSL-Client-Verify", "SUCCESS")], 431, Reason.OVERSIZED_HEADER),
    ],
)
def test_denied(headers: list[tuple[str, str]], status: int, reason: Reason) -> None:
    """A denial is answered with status and reason over HTTP, with close code 1008 before a WebSocket is accepted."""
    application = Recorder()
    middleware = ClientCertificateMiddleware(
        application, Authenticator(SOURCE, policy=AnyVerifiedCertificate(), required=True)
    )

    start, body = drive(middleware, scope_of(Request(headers=headers)))
    assert start == {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body["body"])).encode()),
            (b"cache-control", b"no-store"),
        ],
    }
    assert json.loads(body["body"]) == {"reason": reason.value}

    closed = drive(middleware, scope_of(Request(headers=headers), "websocket"))
    assert closed == [{"type": "websocket.close", "code": 1008, "reason": reason.value}]
    assert application.scopes == []


def test_denied_app() -> None:
    """An application of the caller's own answers denied HTTP requests; WebSockets are closed all the same."""
    application, denied_app = Recorder(), Recorder()
    middleware = ClientCertificateMiddleware(
        application, Authenticator(SOURCE, policy=AnyVerifiedCertificate()), denied_app=denied_app
    )
    request = Request(headers=[("X-SSL-Client-Cert", "x"), ("Client_Cert", "x")])
    drive(middleware, scope_of(request))
    (seen,) = denied_app.scopes
    assert isinstance(seen[DECISION_KEY], Denied)
    assert seen[DECISION_KEY].reason is Reason.UNVERIFIED
    assert seen["headers"] == []
    assert [message["type"] for message in drive(middleware, scope_of(request, "websocket"))] == ["websocket.close"]
    assert (len(denied_app.scopes), application.scopes) == (1, [])


def test_no_thread_without_need(leaves: BrokenLeaves) -> None:
    """A mapper that needs no database, a denial and an anonymous request do not leave the event loop."""

    async def run_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        raise AssertionError("left the event loop")

    for policy, request in (
        (AnyVerifiedCertificate(), Request(tls=leaves.good.der)),
        (CommonName("bob"), Request(tls=leaves.good.der)),
        (AnyVerifiedCertificate(), Request(tls=leaves.expired.der)),
        (AnyVerifiedCertificate(), Request()),
    ):
        authenticator = Authenticator(TLSSocket(), policy=policy, mapper=ByCommonName())
        middleware = ClientCertificateMiddleware(Recorder(), authenticator, run_in_thread=run_in_thread)
        assert len(drive(middleware, scope_of(request))) in {1, 2}


def test_a_thread_where_needed(leaves: BrokenLeaves) -> None:
    """A mapper that must ask its database does so in another thread."""
    application, mapper = Recorder(), ThreadMapper()
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=mapper)
    drive(ClientCertificateMiddleware(application, authenticator), scope_of(Request(tls=leaves.good.der)))
    assert application.scopes[0][DECISION_KEY].principal == "user"
    assert len(mapper.threads) == 1
    assert mapper.threads != [threading.get_ident()]


def test_a_thread_beside_trio(leaves: BrokenLeaves) -> None:
    """In an event loop of trio the mapper is asked in a thread of trio's."""
    trio = pytest.importorskip("trio")
    application, mapper = Recorder(), ThreadMapper()
    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=mapper)
    middleware = ClientCertificateMiddleware(application, authenticator)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None: ...

    trio.run(middleware, scope_of(Request(tls=leaves.good.der)), receive, send)
    assert application.scopes[0][DECISION_KEY].principal == "user"
    assert len(mapper.threads) == 1
    assert mapper.threads != [threading.get_ident()]


def test_the_caller_s_threads(leaves: BrokenLeaves) -> None:
    """The caller may say in which thread that is."""
    application, mapper = Recorder(), ThreadMapper()
    used: list[object] = []

    async def run_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        used.append(function)
        return function(*arguments)

    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=mapper)
    middleware = ClientCertificateMiddleware(application, authenticator, run_in_thread=run_in_thread)
    drive(middleware, scope_of(Request(tls=leaves.good.der)))
    assert used == [authenticator.admit]
    assert mapper.threads == [threading.get_ident()]


def test_requests_side_by_side(leaves: BrokenLeaves) -> None:
    """Requests that overlap in one event loop keep their own decisions."""
    arrived: list[tuple[str, str]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        decision = scope[DECISION_KEY]
        arrived.append((scope["path"], str(decision.principal) if isinstance(decision, Authenticated) else "nobody"))

    authenticator = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate(), mapper=ByCommonName())
    middleware = ClientCertificateMiddleware(application, authenticator)
    people = {"alice": leaves.good.der, "Zoë": leaves.named("Zoë").der, "nobody": None}

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    async def run() -> None:
        scopes = [{**scope_of(Request(tls=der)), "path": name} for name, der in people.items()] * 20
        await asyncio.gather(*(middleware(scope, receive, send) for scope in scopes))

    asyncio.run(run())
    assert len(arrived) == 60
    assert all(path == name for path, name in arrived)
