"""Sending one request and reading what comes back, over sockets: in bytes, over TLS, by HTTP/2."""

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded, TrailersReceived

from mtls_auth.diagnostics import DEFAULT_PATH
from mtls_auth.errors import ConfigurationError
from mtls_auth.probing import http1
from mtls_auth.probing.answer import Answer
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS
from mtls_auth.probing.sender import Client, Sender
from mtls_auth.probing.target import Target, UnreachableError
from mtls_auth.probing.tricks import TRICKS
from mtls_auth.testing import CertificateAuthority
from tests.core.probed import LOCALHOST, TOKEN, answering

REPORT: dict[str, Any] = {
    "decision": "anonymous",
    "reason": "no_certificate",
    "fingerprint_sha256": None,
    "presented": [],
    "reads": [],
    "peer": "127.0.0.1",
    "peer_believed": True,
}
TEXT = json.dumps(REPORT).encode()
FORGED = (("x-ssl-client-cert", "cert"), ("x-ssl-client-verify", "SUCCESS"))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, and server and client with their keys."""
    directory = tmp_path_factory.mktemp("pki")
    ca = CertificateAuthority()
    (directory / "ca.pem").write_bytes(ca.pem)
    ca.issue_server("localhost", LOCALHOST).write(directory, "server")
    ca.issue_server("example.org").write(directory, "elsewhere")
    ca.issue("alice").write(directory, "client")
    return directory


def server_context(
    pki: Path, protocol: str | None = None, *, name: str = "server", ask: bool = False
) -> ssl.SSLContext:
    """Return a server's context that offers one protocol, and asks for a client certificate or not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    if ask:
        context.load_verify_locations(pki / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client(pki: Path, name: str | None = None) -> Client:
    """Return a client that trusts the CA, with a certificate or without."""
    files = (pki / f"{name}.pem", pki / f"{name}.key") if name else None
    return Client.of(name or "nobody", ca=pki / "ca.pem", files=files)


def sender(**options: float) -> Sender:
    """Return one that does not wait long."""
    return Sender(TOKEN, **{"rate": 10_000, "timeout": 1, **options})


def ask(port: int, pki: Path, *, scheme: str = "http", trick: str = "exact", **options: float) -> Answer:
    """Send one trick to a port."""
    target = Target.parse(f"{scheme}://localhost:{port}/who")
    return sender(**options).send(target, client(pki), TRICKS[trick], FORGED)


def saying(answer: bytes, received: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """Return a server that reads a request's head and says this."""

    def talk(connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
            data += more
        if received is not None:
            received.append(data)
        connection.sendall(answer)

    return talk


def response(status: int, body: bytes = b"", *, more: bytes = b"") -> bytes:
    """Return an HTTP/1.1 response."""
    return b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), more, body)


def test_a_report(pki: Path) -> None:
    """The endpoint's report is read, and the request carried the token and the forged headers."""
    received: list[bytes] = []
    with answering(saying(response(200, TEXT), received)) as port:
        assert ask(port, pki) == Answer(status=200, report=REPORT)
    assert received[0].startswith(b"GET /who HTTP/1.1\r\nHost: localhost:")
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode() in received[0]
    assert b"\r\nx-ssl-client-cert: cert\r\n" in received[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[]", b"null", b'{"decision": "anonymous"}', b"[" * 60_000, b"\xff\xfe", TEXT[:-1]],
    ids=["nothing", "text", "list", "null", "another object", "deep", "bytes", "cut off"],
)
def test_somebody_else_s_answer(pki: Path, body: bytes) -> None:
    """What is no report of the endpoint is none, whatever its status."""
    with answering(saying(response(200, body))) as port:
        assert ask(port, pki) == Answer(status=200)


@pytest.mark.parametrize("status", [302, 403, 404, 500])
def test_other_statuses(pki: Path, status: int) -> None:
    """A report counts with the endpoint's own status only."""
    with answering(saying(response(status, TEXT))) as port:
        answer = ask(port, pki)
    assert answer == Answer(status=status)
    assert str(answer) == f"HTTP {status}"


@pytest.mark.parametrize(
    "frame",
    [
        bytes([0x81, 126]) + len(TEXT).to_bytes(2, "big") + TEXT,
        bytes([0x81, 127]) + len(TEXT).to_bytes(8, "big") + TEXT,
    ],
    ids=["medium", "long"],
)
def test_a_websocket(pki: Path, frame: bytes) -> None:
    """Of an upgraded connection the first message is read."""
    upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    with answering(saying(upgraded + frame)) as port:
        assert ask(port, pki, trick="WebSocket upgrade") == Answer(status=101, report=REPORT)


@pytest.mark.parametrize("frame", [b"", b"\x81", b"\x82\x02{}", b"\x81\x02{}", b"\x88\x00"])
def test_a_websocket_that_says_something_else(pki: Path, frame: bytes) -> None:
    """A WebSocket without the report in its first message tells nothing."""
    upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    with answering(saying(upgraded + frame)) as port:
        assert ask(port, pki, trick="WebSocket upgrade") == Answer(status=101)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"hello\r\n\r\n"])
def test_closed_without_an_answer(pki: Path, answer: bytes) -> None:
    """A connection that ends before a whole answer is told apart from one with an answer."""
    with answering(saying(answer)) as port:
        found = ask(port, pki)
    assert (found.status, found.report) == (None, None)
    assert found.refused
    assert str(found).startswith("closed without an answer")


def test_an_answer_that_is_cut_off(pki: Path) -> None:
    """Half a report is none, and no refusal either."""
    with answering(saying(response(200, TEXT)[:-9])) as port:
        assert ask(port, pki) == Answer(status=200)


def test_an_answer_before_the_end_of_the_request(pki: Path) -> None:
    """A server that answers and closes before the request is complete has answered all the same."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(response(400))

    with answering(talk) as port:
        assert ask(port, pki, trick="late trailers").status == 400


def test_parts_are_sent_a_moment_apart(pki: Path) -> None:
    """The parts of a request arrive one after the other."""
    times: list[float] = []

    def talk(connection: socket.socket) -> None:
        data = b""
        while not data.endswith(b"SUCCESS\r\n\r\n"):
            data += connection.recv(65536)
            times.append(time.monotonic())
        connection.sendall(response(200, TEXT))

    with answering(talk) as port:
        assert ask(port, pki, trick="late trailers").report == REPORT
    assert len(times) == 3
    assert times[2] - times[0] > http1.PAUSE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_answer_in_time(pki: Path, scheme: str) -> None:
    """A server that says nothing is not waited for beyond the time-out, nor one that does not shake hands."""
    release: list[float] = []

    def talk(connection: socket.socket) -> None:
        while connection.recv(65536):
            release.append(time.monotonic())

    start = time.monotonic()
    with answering(talk) as port:
        if scheme == "http":
            assert str(ask(port, pki, timeout=0.2)) == "no answer in time"
        else:
            with pytest.raises(UnreachableError, match="timed out"):
                ask(port, pki, scheme="https", timeout=0.2)
    assert time.monotonic() - start < 3


def test_nobody_listens(pki: Path) -> None:
    """Where nobody listens the target cannot be reached."""
    with answering(saying(b"")) as port:
        pass
    with pytest.raises(UnreachableError, match=rf"http://localhost:{port}/who cannot be reached: .*refused"):
        ask(port, pki)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no Unix sockets")
def test_a_unix_socket(pki: Path, tmp_path: Path) -> None:
    """A Unix socket is reached by its path; where there is none, that is said."""
    path = tmp_path / "app.sock"
    with answering(saying(response(200, TEXT)), path):
        answer = sender().send(Target.parse(f"unix:{path}"), client(pki), TRICKS["exact"], FORGED)
    assert answer.report == REPORT
    path.unlink()
    with pytest.raises(UnreachableError, match="No such file"):
        sender().send(Target.parse(f"unix:{path}"), client(pki), TRICKS["exact"], FORGED)


def over_tls(
    context: ssl.SSLContext, talk: Callable[[Any], None], seen: list[Any] | None = None
) -> Callable[[socket.socket], None]:
    """Return a server that shakes hands first; *seen* gets each client's certificate."""

    def shake(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                if seen is not None:
                    seen.append(secure.getpeercert())
                talk(secure)
        except OSError:
            pass

    return shake


def test_tls(pki: Path) -> None:
    """Over TLS the client presents its certificate, and one without a certificate none."""
    seen: list[Any] = []
    context = server_context(pki, ask=True)
    context.verify_mode = ssl.CERT_OPTIONAL
    with answering(over_tls(context, saying(response(200, TEXT)), seen)) as port:
        target = Target.parse(f"https://localhost:{port}")
        for name in (None, "client"):
            assert sender().send(target, client(pki, name), TRICKS["exact"], FORGED).report == REPORT
    assert not seen[0]
    assert seen[1]["subject"] == ((("commonName", "alice"),),)


def test_a_server_that_demands_a_certificate(pki: Path) -> None:
    """A client whose certificate is missing is refused, after a handshake that seemed to succeed."""
    with answering(over_tls(server_context(pki, ask=True), saying(response(200, TEXT)))) as port:
        answer = ask(port, pki, scheme="https")
    assert answer.refused
    assert "closed without an answer" in str(answer)


@pytest.mark.parametrize(("name", "ca"), [("server", "other.pem"), ("elsewhere", "ca.pem")])
def test_a_server_that_is_not_trusted(pki: Path, name: str, ca: str) -> None:
    """A server of an unknown CA, or of another name, is not sent the token."""
    (pki / "other.pem").write_bytes(CertificateAuthority("Other").pem)
    received: list[bytes] = []
    with answering(over_tls(server_context(pki, name=name), saying(response(200, TEXT), received))) as port:
        target = Target.parse(f"https://localhost:{port}")
        with pytest.raises(UnreachableError, match=r"the server's certificate is not trusted .*--ca"):
            sender().send(target, Client.of("nobody", ca=pki / ca), TRICKS["exact"], FORGED)
    assert received == []


def h2_server(
    received: list[Any], status: bytes = b"200", body: bytes = TEXT, *, reset: bool = False, away: bool = False
) -> Callable[[Any], None]:
    """Return an HTTP/2 server that takes whatever comes, and answers, resets the stream or says goodbye."""

    def talk(connection: ssl.SSLSocket) -> None:
        config = H2Configuration(client_side=False, validate_inbound_headers=False, normalize_inbound_headers=False)
        http2 = H2Connection(config=config)
        http2.initiate_connection()
        connection.sendall(http2.data_to_send())
        while data := connection.recv(65536):
            for event in http2.receive_data(data):
                if isinstance(event, RequestReceived | TrailersReceived):
                    received.append(event.headers)
                if isinstance(event, StreamEnded):
                    if reset:
                        http2.reset_stream(1, error_code=1)
                    elif away:
                        http2.close_connection(error_code=2)
                        connection.sendall(http2.data_to_send())
                        return
                    else:
                        http2.send_headers(1, [(b":status", status)])
                        http2.send_data(1, body, end_stream=True)
            connection.sendall(http2.data_to_send())

    return talk


def ask_http2(pki: Path, talk: Callable[[Any], None], trick: str = "HTTP/2: exact", protocol: str = "h2") -> Any:
    """Send one HTTP/2 trick to a server."""
    with answering(over_tls(server_context(pki, protocol), talk)) as port:
        target = Target.parse(f"https://localhost:{port}/who")
        return sender().send_http2(target, client(pki), HTTP2_TRICKS[trick], FORGED)


def test_http2(pki: Path) -> None:
    """An HTTP/2 request brings its forged fields as they are, and the report back."""
    received: list[Any] = []
    answer = ask_http2(pki, h2_server(received), "HTTP/2: line break in a value")
    assert answer == Answer(status=200, report=REPORT)
    fields: Sequence[tuple[bytes, bytes]] = [(bytes(name), bytes(value)) for name, value in received[0]]
    assert (b":path", b"/who") in fields
    assert (b"authorization", f"Bearer {TOKEN}".encode()) in fields
    assert (b"x-other", b"a\r\nx-ssl-client-cert: cert") in fields


def test_http2_trailers(pki: Path) -> None:
    """Trailers come after a body."""
    received: list[Any] = []
    assert ask_http2(pki, h2_server(received), "HTTP/2: trailers").report == REPORT
    assert [(bytes(name), bytes(value)) for name, value in received[1]] == [
        (name.encode(), value.encode()) for name, value in FORGED
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"status": b"403", "body": b""}, "HTTP 403"),
        ({"reset": True}, "stream reset (1)"),
        ({"away": True}, "stream reset (2)"),
    ],
)
def test_http2_refusals(pki: Path, options: dict[str, Any], text: str) -> None:
    """A status, a reset stream and a goodbye are refusals."""
    answer = ask_http2(pki, h2_server([], **options))
    assert answer.refused
    assert str(answer) == text


def test_http2_is_not_spoken(pki: Path) -> None:
    """A server that chose another protocol is sent nothing."""
    received: list[bytes] = []

    def talk(connection: Any) -> None:
        received.append(connection.recv(65536))

    assert ask_http2(pki, talk, protocol="http/1.1") is None
    assert b"".join(received) == b""


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "closed without an answer"),
        # Headers of a stream that a server may not begin.
        (b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x01\x01\x04\0\0\0\x02\x88", "closed without an answer (Header"),
    ],
    ids=["nothing", "wrong frames"],
)
def test_http2_servers_that_break_off(pki: Path, said: bytes, text: str) -> None:
    """A server that closes, or says what is no HTTP/2, has not answered."""

    def talk(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(said)

    answer = ask_http2(pki, talk)
    assert answer.refused
    assert str(answer).startswith(text)


def test_http2_without_an_answer(pki: Path) -> None:
    """A server that says nothing is not waited for."""

    def talk(connection: Any) -> None:
        while connection.recv(65536):
            pass

    assert str(ask_http2(pki, talk)) == "no answer in time"


def test_the_rate(pki: Path) -> None:
    """Requests keep their distance."""
    times: list[float] = []

    def talk(connection: socket.socket) -> None:
        times.append(time.monotonic())
        saying(response(200, TEXT))(connection)

    slow = sender(rate=20)
    with answering(talk) as port:
        target = Target.parse(f"http://localhost:{port}")
        for _ in range(4):
            slow.send(target, client(pki), TRICKS["exact"], FORGED)
    assert times[-1] - times[0] > 0.12


@pytest.mark.parametrize(
    ("url", "address", "host", "path"),
    [
        ("https://example.org", ("example.org", 443), "example.org", DEFAULT_PATH),
        ("https://example.org/", ("example.org", 443), "example.org", DEFAULT_PATH),
        ("http://example.org:8000", ("example.org", 8000), "example.org:8000", DEFAULT_PATH),
        ("https://example.org/app/who", ("example.org", 443), "example.org", "/app/who"),
        ("http://[::1]:8000", ("::1", 8000), "[::1]:8000", DEFAULT_PATH),
        ("unix:/run/app.sock", "/run/app.sock", "localhost", DEFAULT_PATH),
    ],
)
def test_targets(url: str, address: object, host: str, path: str) -> None:
    """A URL names an address, the Host field, and the endpoint's path where it has one."""
    target = Target.parse(url)
    assert (target.address, target.host, target.path) == (address, host, path)
    assert target.is_tls is url.startswith("https")


def test_the_path_of_the_other_target() -> None:
    """A target without a path has the one of the proxy."""
    assert Target.parse("unix:/run/app.sock", "/who").path == "/who"
    assert Target.parse("http://localhost", "/who").path == "/who"
    assert Target.parse("http://localhost/mine", "/who").path == "/mine"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "example.org",
            "ftp://example.org",
            "https://",
            "https:///path",
            "https://example.org?x",
            "unix:app.sock",
        ),
        *("https://example.org#x", "https://example.org:99999", "https://[::1", "https://exämple.org", "http://a b"),
        *("https://user:password@example.org", "https://example.org/\n"),
    ],
)
def test_wrong_targets(url: str) -> None:
    """Anything else is refused with what to write, and a password is not repeated."""
    with pytest.raises(ConfigurationError) as raised:
        Target.parse(url)
    assert "password" not in str(raised.value)


def test_wrong_files(pki: Path, tmp_path: Path) -> None:
    """Files that are missing, no certificates, or not for each other are refused by name."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for ca in (garbage, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match=r"--ca .*name a PEM file"):
            Client.of("nobody", ca=ca)
    for files in ((garbage, garbage), (pki / "client.pem", pki / "server.key"), (pki / "missing.pem", garbage)):
        with pytest.raises(ConfigurationError, match=r"--cert .*name a PEM certificate"):
            Client.of("own", ca=None, files=files)


def test_an_encrypted_key(pki: Path, tmp_path: Path) -> None:
    """A key with a passphrase is refused, and nobody is asked for it on a terminal."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((pki / "client.key").read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigurationError, match="without a passphrase"):
        Client.of("own", ca=None, files=(pki / "client.pem", encrypted))
