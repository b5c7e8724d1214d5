"""The diagnostic endpoint: who may ask it, when it answers, and what it says."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mtls_auth import (
    NGINX,
    AgreeingSources,
    AnyVerifiedCertificate,
    Authenticator,
    CommonName,
    ConfigurationError,
    Forwarded,
    PathVerifier,
    Source,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth import asgi as asgi_adapter
from mtls_auth import wsgi as wsgi_adapter
from mtls_auth.diagnostics import DEFAULT_PATH, Diagnostics
from mtls_auth.dialects import BUILTIN
from mtls_auth.testing import CertificateAuthority
from mtls_auth.testing.headers import headers_for
from tests.core.conftest import PROXIES, PROXY, STRANGER, Request, environ_of, scope_of
from tests.pki import BrokenLeaves

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = ("Authorization", f"Bearer {TOKEN}")
DIAGNOSTICS = Diagnostics(token=TOKEN)
FORWARDED = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(PROXIES))

Headers = Sequence[tuple[str, str]]


class Reply:
    """What came back: from the endpoint or from the application."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def report(self) -> dict[str, Any]:
        """What the endpoint says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def ask_wsgi(authenticator: Authenticator, diagnostics: Diagnostics | None, request: Request, path: str) -> Reply:
    """Ask the WSGI middleware."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"application"]

    middleware = wsgi_adapter.ClientCertificateMiddleware(application, authenticator, diagnostics=diagnostics)
    environ = {**environ_of(request), "SCRIPT_NAME": path[:4], "PATH_INFO": path[4:]}

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> Any:
        started.append((status, headers))

    body = b"".join(middleware(environ, start_response))
    status, headers = started[0]
    return Reply(int(status.split()[0]), {name.lower(): value for name, value in headers}, body)


def ask_asgi(authenticator: Authenticator, diagnostics: Diagnostics | None, request: Request, path: str) -> Reply:
    """Ask the ASGI middleware."""
    sent = run_asgi(authenticator, diagnostics, {**scope_of(request), "path": path})
    headers = {name.decode(): value.decode() for name, value in sent[0].get("headers", [])}
    return Reply(sent[0]["status"], headers, sent[1]["body"])


def run_asgi(
    authenticator: Authenticator, diagnostics: Diagnostics | None, scope: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return what the ASGI middleware sends, around an application that says its name."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"application"})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = asgi_adapter.ClientCertificateMiddleware(application, authenticator, diagnostics=diagnostics)
    asyncio.run(middleware(scope, receive, send))
    return sent


BOTH = pytest.mark.parametrize("ask", [ask_wsgi, ask_asgi], ids=["wsgi", "asgi"])


def authenticator(source: Source = FORWARDED, **options: Any) -> Authenticator:
    """Return one that believes the proxies' Nginx."""
    return Authenticator(source, policy=AnyVerifiedCertificate(), **options)


def by_nginx(der: bytes, *more: tuple[str, str], peer: str = PROXY) -> Request:
    """Return a question as Nginx forwards it."""
    return Request(headers=[BEARER, *headers_for(NGINX, der), *more], peer=peer)


@BOTH
def test_who_is_believed(ask: Any, leaves: BrokenLeaves) -> None:
    """The endpoint says who is believed, on whose word, and names the headers that were removed."""
    reply = ask(authenticator(), DIAGNOSTICS, by_nginx(leaves.good.der), DEFAULT_PATH)
    removed = reply.report.pop("removed")
    assert reply.status == 200
    assert reply.report | {"removed": ()} == {
        "decision": "authenticated",
        "reason": None,
        "subject_cn": "alice",
        "fingerprint_sha256": leaves.good.fingerprint_sha256,
        "assurance": "proxy_verdict",
        "source": "nginx",
        "presented": [leaves.good.fingerprint_sha256],
        "reads": [{"name": "nginx", "headers": ["x-ssl-client-cert", "x-ssl-client-verify"]}],
        "removed": (),
        "peer": PROXY,
        "peer_believed": True,
    }
    names = {name.lower().removeprefix("http_").replace("_", "-") for name in removed}
    assert names == {"x-ssl-client-cert", "x-ssl-client-verify"}


@BOTH
def test_it_is_not_for_caches_and_holds_no_values(ask: Any, leaves: BrokenLeaves) -> None:
    """The answer is JSON that nobody stores; neither the certificate nor the token is in it."""
    reply = ask(authenticator(), DIAGNOSTICS, by_nginx(leaves.good.der), DEFAULT_PATH)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert TOKEN.encode() not in reply.body
    assert b"CERTIFICATE" not in reply.body


@BOTH
def test_nobody(ask: Any) -> None:
    """Without a certificate nobody is believed, and the peer is told all the same."""
    reply = ask(authenticator(), DIAGNOSTICS, Request(headers=[BEARER]), DEFAULT_PATH)
    assert (reply.report["decision"], reply.report["reason"]) == ("anonymous", "no_certificate")
    assert (reply.report["presented"], reply.report["source"], reply.report["removed"]) == ([], None, [])
    assert (reply.report["peer"], reply.report["peer_believed"]) == (PROXY, True)


@BOTH
def test_a_stranger(ask: Any, leaves: BrokenLeaves) -> None:
    """Headers of somebody else than the proxy are named as removed, and nobody is believed."""
    reply = ask(authenticator(), DIAGNOSTICS, by_nginx(leaves.good.der, peer=STRANGER), DEFAULT_PATH)
    assert (reply.report["decision"], reply.report["peer_believed"], reply.report["presented"]) == (
        "anonymous",
        False,
        [],
    )
    assert len(reply.report["removed"]) == 2


@BOTH
def test_denials_are_answered_too(ask: Any, ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """A denied request gets 200 and the reason, with the identity where the certificate could be verified."""
    strict = Authenticator(FORWARDED, policy=CommonName("bob"))
    reply = ask(strict, DIAGNOSTICS, by_nginx(leaves.good.der), DEFAULT_PATH)
    assert (reply.status, reply.report["decision"], reply.report["reason"]) == (200, "denied", "not_allowed")
    assert reply.report["fingerprint_sha256"] == leaves.good.fingerprint_sha256


@BOTH
def test_a_denial_before_verification(ask: Any, leaves: BrokenLeaves) -> None:
    """Of a certificate that no anchor signed the endpoint tells whose it would have been."""
    verifier = PathVerifier([CertificateAuthority("Other").certificate])
    reply = ask(authenticator(verifier=verifier), DIAGNOSTICS, by_nginx(leaves.good.der), DEFAULT_PATH)
    assert (reply.report["reason"], reply.report["fingerprint_sha256"]) == ("untrusted", None)
    assert (reply.report["presented"], reply.report["source"]) == ([leaves.good.fingerprint_sha256], "nginx")


@BOTH
@pytest.mark.parametrize(
    ("headers", "reason", "source"),
    [
        ([("X-SSL-Client-Cert", "garbage"), ("X-SSL-Client-Verify", "SUCCESS")], "malformed_header", "nginx"),
        ([("X-SSL-Client-Verify", "SUCCESS")], "contradictory_evidence", None),
    ],
)
def test_what_cannot_be_read(ask: Any, headers: Headers, reason: str, source: str | None) -> None:
    """Headers that make no sense present nobody."""
    reply = ask(authenticator(), DIAGNOSTICS, Request(headers=[BEARER, *headers]), DEFAULT_PATH)
    assert (reply.report["reason"], reply.report["presented"], reply.report["source"]) == (reason, [], source)


@BOTH
def test_a_terminator_without_certificates(ask: Any, leaves: BrokenLeaves) -> None:
    """What a terminator states of a certificate that it keeps to itself is told as it states it."""
    dialect = BUILTIN["alibaba-alb"]
    source = Forwarded(dialect=dialect, proxies=TrustedProxies.parse(PROXIES))
    headers = headers_for(dialect, leaves.good.der)
    reply = ask(authenticator(source), DIAGNOSTICS, Request(headers=[BEARER, *headers]), DEFAULT_PATH)
    assert (reply.report["decision"], reply.report["subject_cn"]) == ("authenticated", None)
    assert reply.report["presented"] == [reply.report["fingerprint_sha256"]] == [headers[0][1]]


@pytest.mark.parametrize(
    ("source", "believed"),
    [
        (TLSSocket(), None),
        (AgreeingSources((TLSSocket(), FORWARDED)), True),
        (AgreeingSources((TLSSocket(), TLSSocket())), None),
    ],
    ids=["socket", "socket and proxy", "two sockets"],
)
@BOTH
def test_whether_a_proxy_is_believed(ask: Any, source: Source, believed: bool | None) -> None:
    """Where several sources are read, one proxy that is believed is enough; where none is, nobody can be."""
    reply = ask(authenticator(source), DIAGNOSTICS, Request(headers=[BEARER]), DEFAULT_PATH)
    assert reply.report["peer_believed"] is believed


@BOTH
def test_a_hidden_peer(ask: Any) -> None:
    """Where the server hides the peer, the address is told that the server states."""
    reply = ask(authenticator(), DIAGNOSTICS, Request(headers=[BEARER], peer=None), DEFAULT_PATH)
    assert (reply.report["peer"], reply.report["peer_believed"]) == (STRANGER, False)


@BOTH
@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ([], DEFAULT_PATH),
        ([("Authorization", "")], DEFAULT_PATH),
        ([("Authorization", TOKEN)], DEFAULT_PATH),
        ([("Authorization", f"Basic {TOKEN}")], DEFAULT_PATH),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], DEFAULT_PATH),
        ([("Authorization", f"Bearer {TOKEN}0")], DEFAULT_PATH),
        ([("Authorization", f"Bearer  {TOKEN}")], DEFAULT_PATH),
        ([("Authorization", f"Bearer {TOKEN.upper()}")], DEFAULT_PATH),
        ([("Authorization", f"Bearer {TOKEN}\xe9")], DEFAULT_PATH),
        ([BEARER, BEARER], DEFAULT_PATH),
        ([BEARER], "/"),
        ([BEARER], f"{DEFAULT_PATH}/"),
        ([BEARER], DEFAULT_PATH.upper()),
        ([BEARER], f"/x{DEFAULT_PATH}"),
        ([BEARER], f"http://localhost/x{DEFAULT_PATH}"),
        ([BEARER], f"x:/{DEFAULT_PATH}"),
    ],
)
def test_everybody_else(ask: Any, headers: Headers, path: str) -> None:
    """Without the very token, or on another path, the request is the application's as if there were no endpoint."""
    reply = ask(authenticator(), DIAGNOSTICS, Request(headers=headers), path)
    assert reply.body == b"application"


@BOTH
def test_off_by_default(ask: Any) -> None:
    """A middleware that was given no diagnostics has no endpoint."""
    assert ask(authenticator(), None, Request(headers=[BEARER]), DEFAULT_PATH).body == b"application"


@BOTH
@pytest.mark.parametrize("path", ["http://localhost", "https://localhost:8443", "http://[::1]:80"])
def test_absolute_targets(ask: Any, path: str) -> None:
    """A server that hands on the whole target of a request reaches the endpoint too, in whatever scheme."""
    reply = ask(authenticator(), DIAGNOSTICS, Request(headers=[BEARER]), f"{path}{DEFAULT_PATH}")
    assert reply.report["decision"] == "anonymous"


@BOTH
def test_another_path(ask: Any) -> None:
    """The endpoint is where the operator puts it, and nowhere else; the scheme's name is in any case."""
    diagnostics = Diagnostics(token=TOKEN, path="/internal/who")
    request = Request(headers=[("Authorization", f"bearer {TOKEN}")])
    assert ask(authenticator(), diagnostics, request, "/internal/who").report["decision"] == "anonymous"
    assert ask(authenticator(), diagnostics, request, DEFAULT_PATH).body == b"application"


def test_a_websocket_is_told_in_its_first_message(leaves: BrokenLeaves) -> None:
    """A WebSocket to the endpoint is accepted, told who is believed, and closed; denied ones too."""
    for policy in (AnyVerifiedCertificate(), CommonName("bob")):
        scope = {**scope_of(by_nginx(leaves.good.der), "websocket"), "path": DEFAULT_PATH}
        sent = run_asgi(Authenticator(FORWARDED, policy=policy), DIAGNOSTICS, scope)
        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert json.loads(sent[1]["text"])["presented"] == [leaves.good.fingerprint_sha256]


def test_other_websockets() -> None:
    """Any other WebSocket is the application's."""
    sent = run_asgi(authenticator(), DIAGNOSTICS, scope_of(Request(headers=[BEARER]), "websocket"))
    assert sent == [{"type": "websocket.close", "code": 4000}]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"token": TOKEN[:-1]}, "fewer than 32 random characters"),
        ({"token": "a" * 40}, "fewer than 32 random characters"),
        ({"token": None}, "fewer than 32 random characters"),
        ({"token": TOKEN + " "}, "characters that no header carries"),
        ({"token": TOKEN + ","}, "characters that no header carries"),
        ({"token": TOKEN + "é"}, "characters that no header carries"),
        ({"token": TOKEN + "\n"}, "characters that no header carries"),
        ({"token": TOKEN, "path": "who"}, "begin with a slash"),
        ({"token": TOKEN, "path": "/who?x"}, "begin with a slash"),
        ({"token": TOKEN, "path": "/é"}, "begin with a slash"),
        ({"token": TOKEN, "path": None}, "begin with a slash"),
    ],
)
def test_configuration(values: dict[str, Any], problem: str) -> None:
    """A token that can be guessed or does not travel, and a path that no request has, are refused at once."""
    with pytest.raises(ConfigurationError, match=problem):
        Diagnostics(**values)


def test_every_problem_at_once() -> None:
    """Everything that is wrong is told at once, without the token."""
    with pytest.raises(ConfigurationError) as raised:
        Diagnostics(token="secret", path="")
    assert len(raised.value.problems) == 2
    assert "secret" not in str(raised.value)


def test_the_token_is_not_shown() -> None:
    """Logs of the configuration do not hold the token."""
    assert TOKEN not in repr(DIAGNOSTICS)
