"""Headers that a client forges: never believed, and never shown to the application; byte by byte, on real servers."""

import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtls_auth.known_headers import OTHER_HEADERS
from mtls_auth.testing import client_cert_field, escaped_pem
from tests.integration.client import Reply, exchange, raw_connection, tls_context
from tests.integration.lab import App, Backend, Files, Lab
from tests.integration.servers import ServerError

STRANGER = ("127.0.0.99", "unix:/run/another.sock")

# The client's bytes reach these as they are; the trusted proxy is somebody else.
DIRECT = {
    "gunicorn-sync": Backend(program="gunicorn-sync", app="wsgi", transport="tcp", trusted=STRANGER),
    "gunicorn-gthread-unix": Backend(program="gunicorn-gthread", app="wsgi", transport="unix", trusted=STRANGER),
    "h11-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="tcp", trusted=STRANGER),
    "httptools-starlette": Backend(program="uvicorn-httptools", app="starlette_app", transport="tcp", trusted=STRANGER),
    "httptools-starlette-unix": Backend(
        program="uvicorn-httptools", app="starlette_app", transport="unix", trusted=STRANGER
    ),
    "h11-django": Backend(program="uvicorn-h11", app="asgi", transport="unix", trusted=STRANGER),
    "httptools-django": Backend(program="uvicorn-httptools", app="asgi", transport="tcp", trusted=STRANGER),
    "httptools-plain": Backend(program="uvicorn-httptools", app="plain_asgi", transport="tcp", trusted=STRANGER),
}
# Over TLS: with certificates of the client's own on the server's socket, or on nginx, which is the trusted proxy.
OVER_TLS = {
    "tls-gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tls"),
    "tls-h11-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="tls"),
    "tls-httptools-django": Backend(program="uvicorn-httptools", app="asgi", transport="tls"),
    "nginx-gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tcp"),
    "nginx-h11-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="unix"),
    "nginx-httptools-starlette": Backend(program="uvicorn-httptools", app="starlette_app", transport="tcp"),
    "nginx-httptools-django": Backend(program="uvicorn-httptools", app="asgi", transport="unix"),
}
# The client's bytes reach these as they are, and the client is the trusted proxy.
TRUSTING = {
    "gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tcp"),
    "gunicorn-unix": Backend(program="gunicorn-gthread", app="wsgi", transport="unix"),
    "h11-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="unix"),
    "httptools-starlette": Backend(program="uvicorn-httptools", app="starlette_app", transport="tcp"),
    "h11-django": Backend(program="uvicorn-h11", app="asgi", transport="tcp"),
    "httptools-django": Backend(program="uvicorn-httptools", app="asgi", transport="unix"),
}

CERT, VERIFY = "X-SSL-Client-Cert: {cert}", "X-SSL-Client-Verify: SUCCESS"


@dataclass(frozen=True, slots=True)
class Forgery:
    """Header lines of a request, with {cert}, {head}, {tail} and {rfc9440} filled in; trailers make it chunked."""

    lines: tuple[str, ...]
    trailers: tuple[str, ...] = ()

    def request(self, der: bytes, *, method: str = "GET") -> bytes:
        """Return the whole request, its head and its body apart where there is a body."""
        head, body = self.parts(der, method=method)
        return head + body

    def parts(self, der: bytes, *, method: str = "GET") -> tuple[bytes, bytes]:
        """Return head and body."""
        text = escaped_pem(der)
        half = len(text) // 2
        values = {"cert": text, "head": text[:half], "tail": text[half:], "rfc9440": client_cert_field(der)}
        lines = [line.format_map(values) for line in self.lines]
        body = ""
        if self.trailers:
            method = "POST"
            lines += ["Transfer-Encoding: chunked"]
            trailers = "".join(f"{line.format_map(values)}\r\n" for line in self.trailers)
            body = f"5\r\nhello\r\n0\r\n{trailers}\r\n"
        if not any(line.startswith("Connection:") for line in lines):
            lines += ["Connection: close"]
        head = f"{method} /headers HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
        return head.encode("latin-1"), body.encode("latin-1")


FORGERIES = {
    "exact": Forgery((CERT, VERIFY)),
    "lower case names": Forgery(("x-ssl-client-cert: {cert}", "x-ssl-client-verify: SUCCESS")),
    "upper case names": Forgery(("X-SSL-CLIENT-CERT: {cert}", "X-SSL-CLIENT-VERIFY: SUCCESS")),
    "twice": Forgery((CERT, CERT, VERIFY, VERIFY)),
    "empty and then full": Forgery(("X-SSL-Client-Cert:", CERT, "X-SSL-Client-Verify:", VERIFY)),
    "twice in two cases": Forgery((CERT, "x-SSL-client-CERT: {cert}", VERIFY)),
    "underscores": Forgery(("X_SSL_Client_Cert: {cert}", "X_SSL_Client_Verify: SUCCESS")),
    "one underscore": Forgery(("X-SSL-Client_Cert: {cert}", "X-SSL-Client_Verify: SUCCESS")),
    "underscores beside hyphens": Forgery((CERT, "X_SSL_Client_Cert: {cert}", VERIFY, "X_SSL_Client_Verify: SUCCESS")),
    # No server folds these into the genuine name; PHP and some proxies do.
    "dots": Forgery(("X.SSL.Client.Cert: {cert}", "X.SSL.Client.Verify: SUCCESS")),
    "other punctuation": Forgery(("X~SSL~Client~Cert: {cert}", "X!SSL!Client!Verify: SUCCESS")),
    "blank before the colon": Forgery(("X-SSL-Client-Cert : {cert}", "X-SSL-Client-Verify : SUCCESS")),
    "blank before the name": Forgery((" X-SSL-Client-Cert: {cert}", VERIFY)),
    "folded": Forgery(("X-SSL-Client-Cert: {head}\r\n {tail}", VERIFY)),
    "folded to the next line": Forgery(("X-SSL-Client-Cert:\r\n\t{cert}", "X-SSL-Client-Verify:\r\n SUCCESS")),
    "inside a fold": Forgery(("X-Other: a\r\n X-SSL-Client-Cert: {cert}\r\n X-SSL-Client-Verify: SUCCESS",)),
    "after a bare line feed": Forgery(("X-Other: a\nX-SSL-Client-Cert: {cert}\nX-SSL-Client-Verify: SUCCESS",)),
    "after a bare carriage return": Forgery(("X-Other: a\rX-SSL-Client-Cert: {cert}\rX-SSL-Client-Verify: SUCCESS",)),
    "nominated by Connection": Forgery(("Connection: close, X-SSL-Client-Cert, X-SSL-Client-Verify", CERT, VERIFY)),
    "nomination alone": Forgery(("Connection: close, X-SSL-Client-Cert, X-SSL-Client-Verify",)),
    "nomination and underscores": Forgery(
        (
            "Connection: close, X-SSL-Client-Cert, X-SSL-Client-Verify",
            "X_SSL_Client_Cert: {cert}",
            "X_SSL_Client_Verify: SUCCESS",
        )
    ),
    "trailers": Forgery(("Trailer: X-SSL-Client-Cert, X-SSL-Client-Verify", "TE: trailers"), (CERT, VERIFY)),
    "trailers unannounced": Forgery((), (CERT, VERIFY)),
    "RFC 9440": Forgery(("Client-Cert: {rfc9440}", "Client-Cert-Chain: {rfc9440}")),
    "RFC 9440 with underscores": Forgery(("Client_Cert: {rfc9440}", "Client_Cert_Chain: {rfc9440}")),
    "RFC 9440 trailers": Forgery((), ("Client-Cert: {rfc9440}",)),
    "other dialects": Forgery(
        (
            "SSL-Client-Cert: {cert}",
            "SSL-Client-Verify: SUCCESS",
            "X-Forwarded-Client-Cert: Cert={cert}",
            "X-Client-Cert: {cert}",
        )
    ),
    "CGI variables": Forgery(("SSL_CLIENT_CERT: {cert}", "SSL_CLIENT_VERIFY: SUCCESS", "REMOTE_USER: alice")),
    "certificate alone": Forgery((CERT,)),
    "verdict alone": Forgery((VERIFY,)),
    "a forged address": Forgery(
        (CERT, VERIFY, "X-Forwarded-For: 127.0.0.99", "X-Real-IP: 127.0.0.99", "Forwarded: for=127.0.0.99")
    ),
}


@dataclass(frozen=True, slots=True)
class Victim:
    """alice, whose certificate everybody may know, and bob, who has one of his own."""

    alice: bytes
    bob: Files


@pytest.fixture(scope="module")
def people(lab: Lab) -> Victim:
    """Both enrolled."""
    alice = lab.pki.ca.issue("forged-alice")
    lab.enroll("forged-alice", alice)
    return Victim(alice.der, lab.enroll("forged-bob"))


def check(reply: Reply, true_user: str | None) -> None:
    """Check that an answer is a refusal of the bytes, or for the true user and without any certificate header."""
    if reply.status == 200:
        assert reply.json["user"] == true_user
        assert [name for name in shown_names(reply, "-_") if name in GENUINE] == []
    else:
        # 0: closed without an answer; 403: from the trusted proxy, half of what it should say.
        assert reply.status in {0, 400, 403}, reply
        assert "alice" not in reply.body


GENUINE = {
    *("x-ssl-client-cert", "x-ssl-client-verify", "ssl-client-cert", "ssl-client-verify", "client-cert"),
    *("client-cert-chain", "x-forwarded-client-cert", "x-client-cert"),
}


def shown_names(reply: Reply, folded: str) -> list[str]:
    """Return the header names that the application sees, in one spelling: *folded* characters are hyphens."""
    table = str.maketrans(folded, "-" * len(folded))
    return [name.lower().translate(table).removeprefix("http-") for name in reply.json["headers"]]


def ask(address: int | Path, request: bytes, *, source: str | None = None) -> Reply:
    """Send a request over plain HTTP."""
    with closing(raw_connection(address, source=source)) as connection:
        return exchange(connection, request)


def ask_over_tls(lab: Lab, port: int, files: Files | None, *parts: bytes) -> Reply:
    """Send a request over TLS, its parts a moment apart."""
    context = tls_context(lab.pki.root, files)
    with context.wrap_socket(raw_connection(port), server_hostname="localhost") as connection:
        return exchange_parts(connection, parts)


def exchange_parts(connection: socket.socket, parts: tuple[bytes, ...]) -> Reply:
    """Send all parts, a moment apart, and return the answer."""
    *first, last = parts
    for part in first:
        connection.sendall(part)
        time.sleep(0.1)
    return exchange(connection, last)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("server", DIRECT)
def test_from_a_stranger(lab: Lab, people: Victim, server: str, forgery: str) -> None:
    """Whoever is not the trusted proxy is nobody, whatever the headers say, and the application sees none of them."""
    check(ask(lab.backend(DIRECT[server]).address, FORGERIES[forgery].request(people.alice)), None)


@pytest.mark.parametrize("client", ["nobody", "bob"])
@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("server", OVER_TLS)
def test_over_tls(lab: Lab, people: Victim, server: str, forgery: str, client: str) -> None:
    """Over TLS a client is who its own certificate says, or nobody, whatever the headers say."""
    files, user = {"nobody": (None, None), "bob": (people.bob, "forged-bob")}[client]
    check(ask_over_tls(lab, lab.reach(OVER_TLS[server]).port, files, FORGERIES[forgery].request(people.alice)), user)


@pytest.mark.parametrize("forgery", ["trailers", "trailers unannounced", "RFC 9440 trailers"])
@pytest.mark.parametrize("server", DIRECT)
def test_late_trailers_from_a_stranger(lab: Lab, people: Victim, server: str, forgery: str) -> None:
    """Trailers that arrive while the application reads the body are not believed, and it does not see them."""
    with closing(raw_connection(lab.backend(DIRECT[server]).address)) as connection:
        check(exchange_parts(connection, FORGERIES[forgery].parts(people.alice)), None)


@pytest.mark.parametrize("client", ["nobody", "bob"])
@pytest.mark.parametrize("forgery", ["trailers", "RFC 9440 trailers"])
@pytest.mark.parametrize("server", OVER_TLS)
def test_late_trailers_over_tls(lab: Lab, people: Victim, server: str, forgery: str, client: str) -> None:
    """The same over TLS, with and without a certificate."""
    files, user = {"nobody": (None, None), "bob": (people.bob, "forged-bob")}[client]
    port = lab.reach(OVER_TLS[server]).port
    check(ask_over_tls(lab, port, files, *FORGERIES[forgery].parts(people.alice)), user)


@pytest.mark.parametrize("forgery", ["dots", "other punctuation"])
@pytest.mark.parametrize("server", [server for server in DIRECT if DIRECT[server].app != "wsgi"])
def test_other_punctuation_is_removed_too(lab: Lab, people: Victim, server: str, forgery: str) -> None:
    """A known header whose hyphens are other punctuation does not reach an ASGI application either."""
    reply = ask(lab.backend(DIRECT[server]).address, FORGERIES[forgery].request(people.alice))
    if reply.status == 200:
        assert [name for name in shown_names(reply, "-_.~!") if name in GENUINE] == []


@pytest.mark.parametrize("spell", ["{}", "{upper}", "{title}", "{underscore}"])
@pytest.mark.parametrize("server", DIRECT)
def test_headers_of_all_dialects_are_removed(lab: Lab, server: str, spell: str) -> None:
    """No header that some terminator fills with certificate facts reaches the application, in whatever spelling."""
    names = [
        spell.format(name, upper=name.upper(), title=name.title(), underscore=name.replace("-", "_"))
        for name in sorted(OTHER_HEADERS)
    ]
    # gunicorn takes 100 fields.
    for start in range(0, len(names), 90):
        part = names[start : start + 90]
        request = Forgery((*(f"{name}: forged" for name in part), "X-Harmless: kept")).request(b"")
        reply = ask(lab.backend(DIRECT[server]).address, request)
        assert (reply.status, reply.json["user"]) == (200, None)
        assert set(shown_names(reply, "-_")) == {"host", "connection", "x-harmless"}


# From the trusted proxy itself: what it may say, and what is refused although it says so.
FROM_THE_PROXY: dict[str, tuple[int, str | None]] = {
    "exact": (200, None),
    "lower case names": (200, None),
    "upper case names": (200, None),
    "twice": (400, "ambiguous_header"),
    "certificate alone": (403, "unverified"),
    "verdict alone": (400, "contradictory_evidence"),
}


@pytest.mark.parametrize("forgery", FROM_THE_PROXY)
@pytest.mark.parametrize("server", TRUSTING)
def test_from_the_trusted_proxy(lab: Lab, people: Victim, server: str, forgery: str) -> None:
    """The same bytes from the trusted proxy are believed if they are exact, and refused if they are ambiguous."""
    reply = ask(lab.backend(TRUSTING[server]).address, FORGERIES[forgery].request(people.alice))
    status, reason = FROM_THE_PROXY[forgery]
    assert (reply.status, reply.json["reason"]) == (status, reason)
    assert reply.json["user"] == ("forged-alice" if status == 200 else None)


@pytest.mark.parametrize(
    "forgery", ["underscores", "one underscore", "dots", "other punctuation", "RFC 9440", "RFC 9440 with underscores"]
)
@pytest.mark.parametrize("server", TRUSTING)
def test_other_spellings_through_the_trusted_proxy(lab: Lab, people: Victim, server: str, forgery: str) -> None:
    """What the trusted proxy lets through in another spelling, or in another dialect, is nobody or refused."""
    check(ask(lab.backend(TRUSTING[server]).address, FORGERIES[forgery].request(people.alice)), None)


RFC9440_SOURCE = (("MTLS_SITE_SOURCE", "rfc9440"), ("MTLS_SITE_PROXY_VERIFIES", "1"))


def rfc9440(backend: Backend) -> Backend:
    """Return the same server behind a proxy that speaks RFC 9440."""
    return Backend(program=backend.program, app=backend.app, transport=backend.transport, environment=RFC9440_SOURCE)


@pytest.mark.parametrize("server", TRUSTING)
def test_rfc9440_from_the_trusted_proxy(lab: Lab, people: Victim, server: str) -> None:
    """Behind a proxy that speaks RFC 9440 its Client-Cert is believed."""
    request = Forgery(("Client-Cert: {rfc9440}",)).request(people.alice)
    reply = ask(lab.backend(rfc9440(TRUSTING[server])).address, request)
    assert (reply.status, reply.json["user"]) == (200, "forged-alice")


@pytest.mark.parametrize("when", ["at once", "late"])
@pytest.mark.parametrize("server", TRUSTING)
def test_rfc9440_trailers_through_the_trusted_proxy(lab: Lab, people: Victim, server: str, when: str) -> None:
    """A Client-Cert in the trailers, which HAProxy forwards from clients, is not the proxy's word: nobody is there."""
    head, body = FORGERIES["RFC 9440 trailers"].parts(people.alice)
    parts = (head, body) if when == "late" else (head + body,)
    with closing(raw_connection(lab.backend(rfc9440(TRUSTING[server])).address)) as connection:
        check(exchange_parts(connection, parts), None)


EVERYBODY = ("--forwarded-allow-ips", "*")
REWRITING = {
    "uvicorn-h11-starlette": Backend(
        program="uvicorn-h11", app="starlette_app", transport="tcp", options=(*EVERYBODY, "--proxy-headers")
    ),
    "uvicorn-httptools-django": Backend(
        program="uvicorn-httptools", app="asgi", transport="tcp", environment=(("FORWARDED_ALLOW_IPS", "*"),)
    ),
    "gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tcp", options=EVERYBODY),
    "gunicorn-proxy-protocol": Backend(
        program="gunicorn-gthread",
        app="wsgi",
        transport="tcp",
        options=("--proxy-protocol", "--proxy-allow-from", "*"),
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of Linux's loopback interface only")
@pytest.mark.parametrize("server", REWRITING)
def test_a_rewritten_address(lab: Lab, people: Victim, server: str) -> None:
    """A client that makes the server call it by the proxy's address is not the proxy: the transport peer decides."""
    request = Forgery((CERT, VERIFY, "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1")).request(people.alice)
    if server.endswith("proxy-protocol"):
        request = b"PROXY TCP4 127.0.0.1 127.0.0.1 50000 443\r\n" + request
    port = lab.backend(REWRITING[server]).port
    replies = [ask(port, request, source=source) for source in ("127.0.0.2", "127.0.0.1")]
    assert [(reply.status, reply.json["user"]) for reply in replies] == [(200, None), (200, "forged-alice")]


@pytest.mark.parametrize("app", ["starlette_app", "asgi"])
def test_a_hidden_peer(lab: Lab, app: App) -> None:
    """uvicorn without the package's protocol hides the transport peer: where that is trusted, it does not start."""
    backend = Backend(program="uvicorn-h11", app=app, transport="tcp", options=("--http", "h11"))
    with pytest.raises(ServerError, match="does not tell who connected"):
        lab.backend(backend)
