"""The WSGI middleware: decision in, headers out, denials answered."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from mtls_auth import (
    NGINX,
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    CommonName,
    Denied,
    Forwarded,
    Reason,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.wsgi import DECISION_KEY, ClientCertificateMiddleware
from tests.core.conftest import PROXIES, Request, environ_of
from tests.pki import BrokenLeaves

Started = list[tuple[str, list[tuple[str, str]]]]


class Body:
    """The body of an application, which servers close when it is sent."""

    closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"hello"

    def close(self) -> None:
        self.closed = True


def call(middleware: ClientCertificateMiddleware, environ: dict[str, Any]) -> tuple[Started, Iterable[bytes]]:
    """Call the middleware as a server does."""
    started: Started = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        started.append((status, headers))

    return started, middleware(environ, start_response)


def greet(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Say what the environ holds."""
    start_response("200 OK", [("X-App", "1")])
    return [type(environ[DECISION_KEY]).__name__.encode()]


def test_the_application_s_own_answer(leaves: BrokenLeaves) -> None:
    """The answer of the application comes through as the very object that it returned."""
    body = Body()

    def application(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("X-App", "1")])
        assert isinstance(environ[DECISION_KEY], Authenticated)
        return body

    middleware = ClientCertificateMiddleware(application, Authenticator(TLSSocket(), policy=CommonName("alice")))
    started, returned = call(middleware, environ_of(Request(tls=leaves.good.der)))
    assert started == [("200 OK", [("X-App", "1")])]
    assert returned is body
    assert not body.closed


def test_anonymous() -> None:
    """Without a certificate the application is called with `Anonymous`."""
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
    middleware = ClientCertificateMiddleware(greet, Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()))
    _started, body = call(middleware, environ)
    assert list(body) == [b"Anonymous"]
    assert environ[DECISION_KEY] == Anonymous()


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([], "403 Forbidden", Reason.CERTIFICATE_REQUIRED),
        ([("X-SSL-Client-Cert", "x"), ("X-SSL-Client-Verify", "SUCCESS")], "400 Bad Request", Reason.MALFORMED_HEADER),
        (
            [("X-SSL-Client-Cert", "x" * 16385), ("X-SSL-Client-Verify", "SUCCESS")],
            "431 Request Header Fields Too Large",
            Reason.OVERSIZED_HEADER,
        ),
    ],
)
def test_denied(headers: list[tuple[str, str]], status: str, reason: Reason) -> None:
    """A denial is answered with the status and the reason, and nothing of the detail; the application is not called."""
    source = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(PROXIES))
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate(), required=True)
    environ = environ_of(Request(headers=headers))

    middleware = ClientCertificateMiddleware(lambda environ, start_response: pytest.fail("called"), authenticator)
    started, body = call(middleware, environ)

    content = b"".join(body)
    assert json.loads(content) == {"reason": reason.value}
    ((sent_status, sent_headers),) = started
    assert sent_status == status
    assert dict(sent_headers) == {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
    }


def test_denied_app() -> None:
    """An application of the caller's own answers denials: it finds the `Denied`, and no certificate header."""
    source = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(PROXIES))
    headers = [("X-SSL-Client-Cert", "x"), ("Client-Cert", "x"), ("Accept", "*/*")]
    environ = environ_of(Request(headers=headers))
    middleware = ClientCertificateMiddleware(
        lambda environ, start_response: pytest.fail("called"),
        Authenticator(source, policy=AnyVerifiedCertificate()),
        denied_app=greet,
    )
    started, body = call(middleware, environ)
    assert list(body) == [b"Denied"]
    assert started[0][0] == "200 OK"
    assert isinstance(environ[DECISION_KEY], Denied)
    assert environ[DECISION_KEY].reason is Reason.UNVERIFIED
    assert [key for key in environ if key.startswith("HTTP_")] == ["HTTP_ACCEPT"]


def test_a_decision_in_the_environ_is_replaced() -> None:
    """Whatever stood at the decision's key before does not survive."""
    environ: dict[str, Any] = {DECISION_KEY: "forged"}
    call(ClientCertificateMiddleware(greet, Authenticator(TLSSocket(), policy=AnyVerifiedCertificate())), environ)
    assert environ[DECISION_KEY] == Anonymous()
