"""The lab of the core tests: one PKI, and one request sent through every way into the package.

A `Request` is what arrives; a carrier hands it over as one adapter's server would and reports an `Answer`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from mtls_auth import (
    Anonymous,
    Authenticated,
    Authenticator,
    CertificateRejected,
    Connection,
    Decision,
    Denied,
    Reason,
    reloading,
)
from mtls_auth import asgi as asgi_adapter
from mtls_auth import wsgi as wsgi_adapter
from mtls_auth.known_headers import known_headers
from mtls_auth.peers import Peer
from mtls_auth.server_tls import PEER_EXTENSION, StatedFacts
from mtls_auth.starlette import CertificateUser, ClientCertificateBackend, decision
from mtls_auth.testing import CertificateAuthority
from tests.core.tls_lab import PKI, TLSLab
from tests.pki import BrokenLeaves

# Examples must not depend on the speed of the machine nor leave a database behind.
settings.register_profile("mtls_auth", deadline=None, database=None)
settings.load_profile("mtls_auth")

PROXY = "10.0.0.1"
PROXIES = ("10.0.0.0/8", "unix:/run/app.sock")
STRANGER = "203.0.113.9"

Message: TypeAlias = MutableMapping[str, Any]


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The root that signs everything."""
    return CertificateAuthority()


@pytest.fixture(scope="session")
def leaves(ca: CertificateAuthority) -> BrokenLeaves:
    """Its leaves, good and broken."""
    return BrokenLeaves(ca)


@pytest.fixture(scope="session")
def pki(leaves: BrokenLeaves) -> PKI:
    """Who issues to TLS servers and their clients."""
    return PKI(leaves)


@pytest.fixture
def lab(tmp_path: Path, pki: PKI) -> TLSLab:
    """The files of a TLS server of its own."""
    return TLSLab(tmp_path, pki)


@dataclass
class Clock:
    """A time that stands still until it is moved."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which changed files are looked for."""
    clock = Clock()
    monkeypatch.setattr(reloading, "time", clock)
    return clock


@dataclass(frozen=True, kw_only=True)
class Request:
    """What reaches the server: header fields in order, the transport peer, the certificate on its own TLS socket.

    `variables` are what the server itself puts into the environ or scope.
    """

    headers: Sequence[tuple[str, str]] = ()
    peer: str | None = PROXY
    tls: bytes | None = None
    variables: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it. `kind` is the decision's type; `passed` are the header names that the application saw.

    `fingerprint` and `name` are the identity's; the latter is what a terminator states that forwards no certificate.
    """

    kind: str
    reason: Reason | None = None
    subject_cn: str | None = None
    status: int | None = None
    passed: frozenset[str] = frozenset()
    fingerprint: str | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)


Carrier: TypeAlias = Callable[[Authenticator, Request], Answer]


class FakeSocket:
    """The socket of a connection as gunicorn hands it over and as asyncio's transports know it."""

    def __init__(self, peer: str = PROXY, der: bytes | None = None) -> None:
        self.peer = peer
        self.der = der

    def getpeername(self) -> object:
        return "" if self.peer.startswith("unix:") else (self.peer, 40000)

    def getsockname(self) -> object:
        return self.peer.removeprefix("unix:") if self.peer.startswith("unix:") else ("192.0.2.1", 443)

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        assert binary_form
        return self.der


@dataclass
class FakeTransport:
    """The part of an asyncio transport that tells about its connection, and what was written to it."""

    extra: Mapping[str, object]
    written: bytearray = field(default_factory=bytearray)
    closed: bool = False
    aborted: bool = False
    protocol: Any = None

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return self.extra.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def environ_of(request: Request) -> dict[str, Any]:
    """Return the environ that gunicorn builds: underscore names dropped, repeated fields joined by commas."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": STRANGER,
        "wsgi.url_scheme": "https",
        **request.variables,
    }
    for name, value in request.headers:
        if "_" not in name:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    if request.peer is not None:
        environ["gunicorn.socket"] = FakeSocket(request.peer, request.tls)
    return environ


def scope_of(request: Request, kind: str = "http") -> dict[str, Any]:
    """Return the scope that a server builds behind `mtls_auth.servers`: names in lower case, every field by itself."""
    secure = {"http": "https", "websocket": "wss"}[kind]
    return {
        "type": kind,
        "method": "GET",
        "scheme": secure,
        "path": "/",
        "query_string": b"",
        "client": (STRANGER, 50000),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "extensions": extensions_of(request),
        **request.variables,
    }


def extensions_of(request: Request) -> dict[str, Any]:
    """Return the scope extensions of a connection."""
    extensions: dict[str, Any] = {} if request.peer is None else {PEER_EXTENSION: request.peer}
    if request.tls is not None:
        extensions["tls"] = {"client_cert": request.tls, "client_cert_chain": ()}
    return extensions


def connection_of(authenticator: Authenticator, request: Request) -> Connection:
    """Return the neutral connection of a request."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    facts = StatedFacts(
        transport_peer=None if request.peer is None else Peer(request.peer),
        chain=() if request.tls is None else (request.tls,),
        variables=request.variables,
    )
    return Connection.from_headers(raw, authenticator.known_headers, facts)


def received(
    *headers: tuple[str, str],
    peer: str | None = PROXY,
    address: str | None = None,
    tls: tuple[str | bytes, ...] = (),
    variables: Mapping[str, object] | None = None,
    names: Sequence[str] = ("x-proxy-secret",),
) -> Connection:
    """Return a connection of these headers and facts; *names* are known beside those of the built-in dialects."""
    facts = StatedFacts(
        transport_peer=None if peer is None else Peer(peer), address=address, chain=tls, variables=variables or {}
    )
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Connection.from_headers(raw, known_headers(names), facts)


def answer_of(found: Decision, *, status: int | None = None, passed: frozenset[str] = frozenset()) -> Answer:
    """Report a decision."""
    match found:
        case Anonymous():
            return Answer(kind="anonymous", status=status, passed=passed)
        case Authenticated(identity=identity):
            stated = identity.statement
            return Answer(
                kind="authenticated",
                subject_cn=identity.subject_cn if stated is None else None,
                status=status,
                passed=passed,
                fingerprint=identity.fingerprint,
                name=None if stated is None else stated.name,
            )
        case Denied(reason=reason):
            return Answer(kind="denied", reason=reason, status=status)


def through_authenticator(authenticator: Authenticator, request: Request) -> Answer:
    """Ask the authenticator itself."""
    return answer_of(authenticator.authenticate(connection_of(authenticator, request)))


def through_wsgi(authenticator: Authenticator, request: Request) -> Answer:
    """Ask as a WSGI server does."""
    seen: list[Answer] = []
    started: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        passed = frozenset(key.removeprefix("HTTP_").lower() for key in environ if key.startswith("HTTP_"))
        seen.append(answer_of(environ[wsgi_adapter.DECISION_KEY], status=200, passed=passed))
        start_response("200 OK", [])
        return [b""]

    middleware = wsgi_adapter.ClientCertificateMiddleware(application, authenticator)
    body = b"".join(middleware(environ_of(request), lambda status, headers: started.append(status)))  # type: ignore[arg-type]
    assert len(started) == 1
    return seen[0] if seen else _denial(int(started[0][:3]), body)


def through_asgi(authenticator: Authenticator, request: Request) -> Answer:
    """Ask as an ASGI server does for HTTP."""
    seen, sent = _through_middleware(authenticator, scope_of(request))
    return seen[0] if seen else _http_denial(sent)


def through_websocket(authenticator: Authenticator, request: Request) -> Answer:
    """Ask as an ASGI server does for a WebSocket; the status of a denial is the close code."""
    seen, sent = _through_middleware(authenticator, scope_of(request, "websocket"))
    if seen:
        return seen[0]
    (close,) = sent
    assert close["type"] == "websocket.close"
    return Answer(kind="denied", reason=Reason(close["reason"]), status=close["code"])


def through_starlette(authenticator: Authenticator, request: Request) -> Answer:
    """Ask a Starlette application, with the certificate's user by its own authentication middleware."""
    seen: list[Answer] = []

    def endpoint(received: StarletteRequest) -> JSONResponse:
        answer = answer_of(decision(received), status=200, passed=frozenset(received.headers))
        assert received.user.is_authenticated == (answer.kind == "authenticated")
        assert isinstance(received.user, CertificateUser) == (answer.kind == "authenticated")
        seen.append(answer)
        return JSONResponse({})

    application = Starlette(
        routes=[Route("/", endpoint)],
        middleware=[
            Middleware(asgi_adapter.ClientCertificateMiddleware, authenticator=authenticator),
            Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend()),
        ],
    )

    sent = drive(application, scope_of(request))
    return seen[0] if seen else _http_denial(sent)


CARRIERS: dict[str, Carrier] = {
    "authenticator": through_authenticator,
    "wsgi": through_wsgi,
    "asgi": through_asgi,
    "websocket": through_websocket,
    "starlette": through_starlette,
}


def _denial(status: int, body: bytes) -> Answer:
    return Answer(kind="denied", reason=Reason(json.loads(body)["reason"]), status=status)


def _http_denial(sent: list[Message]) -> Answer:
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return _denial(start["status"], body["body"])


def _through_middleware(authenticator: Authenticator, scope: Message) -> tuple[list[Answer], list[Message]]:
    seen: list[Answer] = []

    async def application(scope: Message, receive: asgi_adapter.Receive, send: asgi_adapter.Send) -> None:
        passed = frozenset(name.decode("latin-1") for name, _value in scope["headers"])
        seen.append(answer_of(scope[asgi_adapter.DECISION_KEY], status=200, passed=passed))

    return seen, drive(asgi_adapter.ClientCertificateMiddleware(application, authenticator), scope)


def drive(application: asgi_adapter.ASGIApp, scope: Message, *received: Message) -> list[Message]:
    """Run an ASGI application on one scope and the messages that it receives; return those that it sends."""
    incoming = list(received or [{"type": f"{scope['type']}.{'request' if scope['type'] == 'http' else 'connect'}"}])
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        return await asyncio.Future[Message]()  # the client says nothing more

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))  # type: ignore[arg-type]  # an ASGI application is a coroutine function
    return sent


def reason_of(call: Callable[..., object], *arguments: object, **keywords: object) -> Reason | None:
    """Return the reason that a call is refused for, None if it is not; let any other exception through."""
    try:
        call(*arguments, **keywords)
    except CertificateRejected as rejected:
        return rejected.reason
    return None
