"""daphne with client certificates, driven without a network: bytes of a TLS client go in, scopes come out."""

import asyncio
import base64
import copy
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from daphne.http_protocol import HTTPFactory
from daphne.server import Server as PlainServer
from daphne.ws_protocol import WebSocketFactory
from h2.connection import H2Connection
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from mtls_auth import CertificateRejected, ConfigurationError, Reason
from mtls_auth.asgi import Receive, Scope, Send
from mtls_auth.peers import Peer
from mtls_auth.server_context import ServerTLS
from mtls_auth.server_tls import PEER_EXTENSION, ScopeFacts
from mtls_auth.servers.daphne import CommandLineInterface, Endpoint, Server
from mtls_auth.servers.pyopenssl_context import PyOpenSSLContext
from mtls_auth.testing import SERVER_AUTH, CertificateAuthority, IssuedCertificate
from tests.core.conftest import STRANGER, FakeSocket
from tests.pki import revocation_list

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
HTTP1 = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: http\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: 10.9.9.9\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
HTTP2_FIELDS = {":method": "GET", ":scheme": "http", ":authority": "localhost", ":path": "/"}
TAKEN = 22
PROXY_HEADERS = {
    "proxy_forwarded_address_header": "X-Forwarded-For",
    "proxy_forwarded_proto_header": "X-Forwarded-Proto",
}


def http2_request() -> bytes:
    """Return what an HTTP/2 client sends first."""
    http = H2Connection()
    http.initiate_connection()
    forged = {"x-forwarded-for": "10.9.9.9", "x-forwarded-proto": "http"}
    http.send_headers(1, list({**HTTP2_FIELDS, **forged}.items()), end_stream=True)
    return http.data_to_send()


REQUESTS = {"HTTP/1.1": ("http/1.1", HTTP1), "HTTP/2": ("h2", http2_request()), "WebSocket": ("http/1.1", UPGRADE)}


@dataclass(frozen=True)
class Pki:
    """A root whose clients are welcome, and the files of a server, which may be written again."""

    directory: Path
    ca: CertificateAuthority = field(default_factory=CertificateAuthority)

    def __post_init__(self) -> None:
        self.path("ca.pem").write_bytes(self.ca.pem)
        self.ca.issue_server("localhost").write(self.directory, "server")

    def path(self, name: str) -> Path:
        return self.directory / name

    def tls(self, **options: Any) -> ServerTLS:
        files = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
        return ServerTLS(**{**{name: self.path(file) for name, file in files.items()}, **options})

    def write_crl(self, *revoked: IssuedCertificate) -> Path:
        path = self.path("crl.pem")
        path.write_bytes(revocation_list(self.ca, *revoked))
        return path


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at for every connection."""
    monkeypatch.setattr("mtls_auth.reloading.LOOK_EVERY", 0.0)


class Wire(StringTransport):
    """The server's end of a connection."""

    def __init__(self, peer: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted is typed in part
        self.socket = FakeSocket(peer)

    def getHandle(self) -> FakeSocket:
        return self.socket

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Belong to the transports that HTTP/2 is spoken over."""


class Listening:
    """The part of a reactor that makes ports, and the host that daphne logs."""

    running = True

    def __init__(self) -> None:
        self.ports: list[tuple[int, str]] = []
        self.factory: Any = None

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        function()

    def stop(self) -> None:
        self.running = False

    def listenSSL(self, port: int, factory: Any, creator: Any, interface: str) -> None:
        self.ports.append((port, interface))
        if port == TAKEN:
            raise OSError("taken")
        self.factory = TLSMemoryBIOFactory(creator, False, factory)


class Client:
    """A TLS client and the server's end of its connection."""

    def __init__(self, listening: Listening, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.wire: Any = Wire(STRANGER)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        self._protocol = listening.factory.buildProtocol(None)
        self._protocol.makeConnection(self.wire)

    def shake_hands(self) -> None:
        """Raise `ssl.SSLError` if the server refuses, which TLS 1.3 says after the client's handshake."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                assert self.deliver(), "the server says nothing"
        self.deliver()
        with suppress(ssl.SSLWantReadError):
            self.tls.read(1)

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.deliver()

    def deliver(self) -> bool:
        """Exchange what was written; return whether the server wrote something."""
        if data := self._outgoing.read():
            self._protocol.dataReceived(data)
        answer = self.wire.value()
        self.wire.clear()
        self._incoming.write(answer)
        return bool(answer)


@dataclass(frozen=True)
class Daphne:
    """A server, and the scopes that its application has been called with."""

    pki: Pki
    server: Server
    listening: Listening
    scopes: list[Scope]

    def connect(
        self,
        issued: IssuedCertificate | None = None,
        *,
        version: str = "1.3",
        protocols: Sequence[str] = (),
    ) -> Client:
        """Return a connection whose handshake is done."""
        context = ssl.create_default_context(cafile=self.pki.path("ca.pem"))
        context.minimum_version = context.maximum_version = VERSIONS[version]
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if issued is not None:
            context.load_cert_chain(*issued.write(self.pki.directory, "client"))
        client = Client(self.listening, context)
        client.shake_hands()
        return client


Serve = Callable[..., Daphne]


@pytest.fixture
def serve(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return what runs a server on these endpoints, or with this `ServerTLS`, and daphne's own options."""

    def run(tls: ServerTLS | None = None, endpoints: Sequence[str | Endpoint] = (), **options: Any) -> Daphne:
        listening = Listening()
        scopes: list[Scope] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})

        server = Server(application, endpoints or [Endpoint(port=8443, tls=tls or pki.tls())], **options)
        # What daphne does before its reactor runs.
        server.connections = {}
        server.http_factory = HTTPFactory(server)
        server.ws_factory = WebSocketFactory(server, server="daphne")
        monkeypatch.setattr("mtls_auth.servers.daphne._reactor", listening)
        monkeypatch.setattr("daphne.server.reactor", listening)
        monkeypatch.setattr(PlainServer, "run", lambda self: None)
        server.run()
        return Daphne(pki, server, listening, scopes)

    return run


def scope_of(daphne: Daphne, client: Client, request: bytes) -> Scope:
    """Send a request and return the scope that the application was called with."""

    async def exchange() -> None:
        client.send(request)
        await asyncio.sleep(0)

    before = len(daphne.scopes)
    asyncio.run(exchange())
    (scope,) = daphne.scopes[before:]
    return scope


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_scope(pki: Pki, serve: Serve, kind: str, version: str) -> None:
    """A scope has the leaf, its chain and the true peer, whatever the proxy headers of a stranger say."""
    daphne = serve(**PROXY_HEADERS)
    issued = pki.ca.intermediate().issue("alice")
    protocol, request = REQUESTS[kind]
    client = daphne.connect(issued, version=version, protocols=[protocol])
    scope = scope_of(daphne, client, request)
    assert scope["client"][0] == "10.9.9.9"
    assert scope["scheme"] == ("wss" if kind == "WebSocket" else "https")
    assert scope["extensions"][PEER_EXTENSION] == STRANGER
    extension = scope["extensions"]["tls"]
    assert "".join(extension["client_cert_chain"]).encode() == issued.chain_pem + pki.ca.pem
    assert (extension["client_cert_name"], extension["client_cert_error"]) == ("CN=alice", None)
    assert extension["tls_version"] == VERSIONS[version].value
    cipher = client.tls.cipher()
    assert cipher is not None
    suites = {"TLS_AES_256_GCM_SHA384": 0x1302, "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C}
    assert extension["cipher_suite"] == suites[cipher[0]]
    copy.deepcopy(scope["extensions"])


@pytest.mark.parametrize("kind", REQUESTS)
def test_scope_without_a_certificate(serve: Serve, kind: str) -> None:
    """Who has no certificate is let through, and the scope says so."""
    daphne = serve()
    protocol, request = REQUESTS[kind]
    scope = scope_of(daphne, daphne.connect(protocols=[protocol]), request)
    assert scope["extensions"][PEER_EXTENSION] == STRANGER
    assert scope["extensions"]["tls"]["client_cert_chain"] == ()
    assert ScopeFacts(scope).client_chain() == ()


def test_keep_alive(pki: Pki, serve: Serve) -> None:
    """Every request of a connection has the same facts, in dictionaries of its own."""
    daphne = serve()
    client = daphne.connect(pki.ca.issue("alice"), protocols=["h2"])
    http = H2Connection()
    http.initiate_connection()
    for stream in (1, 3):
        http.send_headers(stream, list(HTTP2_FIELDS.items()), end_stream=True)
        scope_of(daphne, client, http.data_to_send())
    first, second = daphne.scopes
    assert first["extensions"] == second["extensions"]
    first["extensions"]["tls"]["client_cert_chain"] = ()
    assert second["extensions"]["tls"]["client_cert_chain"]


@pytest.mark.parametrize("peer", [STRANGER, "unix:/run/app.sock"])
def test_plain_endpoints(serve: Serve, peer: str) -> None:
    """daphne's other endpoints tell the peer, also of a Unix socket, and nothing of TLS."""
    daphne = serve(**PROXY_HEADERS)
    protocol = daphne.server.http_factory.buildProtocol(None)
    protocol.makeConnection(Wire(peer))

    async def exchange() -> None:
        protocol.dataReceived(HTTP1.replace(b"Proto: http", b"Proto: https"))
        await asyncio.sleep(0)

    asyncio.run(exchange())
    (scope,) = daphne.scopes
    assert scope["extensions"] == {PEER_EXTENSION: peer}
    assert ScopeFacts(scope).client_chain() == ()


def test_a_client_that_is_gone(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who went away while the request was read is nobody's peer."""
    daphne = serve()
    client = daphne.connect()
    monkeypatch.setattr(Peer, "of", lambda socket: None)
    assert set(scope_of(daphne, client, HTTP1)["extensions"]) == {"tls"}


def test_foreign_tls(pki: Pki, serve: Serve) -> None:
    """A certificate that another endpoint's TLS accepted, however it did, is not in the scope."""
    daphne = serve()

    @implementer(IOpenSSLServerConnectionCreator)
    class Anybody:
        def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.use_certificate_chain_file(pki.path("server.pem"))
            context.use_privatekey_file(pki.path("server.key"))
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
            return SSL.Connection(context)

    daphne.listening.listenSSL(1, daphne.server.http_factory, Anybody(), "")
    scope = scope_of(daphne, daphne.connect(CertificateAuthority().issue("mallory")), HTTP1)
    assert scope["extensions"] == {PEER_EXTENSION: STRANGER}


def test_the_server_s_own_extensions(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else a scope says is left in it."""
    daphne = serve()
    create = daphne.server.create_application

    def create_application(protocol: object, scope: Scope) -> object:
        return create(protocol, {**scope, "extensions": {"other": {}}})

    monkeypatch.setattr(daphne.server, "create_application", create_application)
    scope = scope_of(daphne, daphne.connect(), HTTP1)
    assert set(scope["extensions"]) == {"other", "tls", PEER_EXTENSION}


REFUSALS: Mapping[str, Reason] = {
    "none": Reason.CERTIFICATE_REQUIRED,
    "expired": Reason.EXPIRED,
    "not yet valid": Reason.NOT_YET_VALID,
    "untrusted": Reason.UNTRUSTED,
    "an impostor's": Reason.UNTRUSTED,
    "for servers": Reason.WRONG_KEY_USAGE,
    "revoked": Reason.REVOKED,
}


def refused(pki: Pki, case: str) -> IssuedCertificate | None:
    now = datetime.now(UTC)
    match case:
        case "expired":
            return pki.ca.issue("eve", not_after=now - timedelta(hours=1))
        case "not yet valid":
            return pki.ca.issue("eve", not_before=now + timedelta(hours=1))
        case "untrusted":
            return CertificateAuthority("Elsewhere").issue("eve")
        case "an impostor's":
            return CertificateAuthority().issue("eve")
        case "for servers":
            return pki.ca.issue("eve", eku=(SERVER_AUTH,))
        case "revoked":
            return pki.ca.issue("eve")
        case _:
            return None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(pki: Pki, serve: Serve, caplog: pytest.LogCaptureFixture, case: str, version: str) -> None:
    """A handshake that is refused is logged once, with the reason and the peer; the client gets an alert."""
    issued = refused(pki, case)
    crl = pki.write_crl(*([issued] if issued is not None and case == "revoked" else []))
    daphne = serve(pki.tls(crl=crl, required=True))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        daphne.connect(issued, version=version)
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["reason"], record.__dict__["peer"]) == (
        logging.WARNING,
        REFUSALS[case].value,
        STRANGER,
    )
    daphne.connect(pki.ca.issue("alice"), version=version)
    assert len(caplog.records) == 1


def test_what_is_wrong_is_in_the_log(pki: Pki, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The line for people says what OpenSSL has against the certificate."""
    with pytest.raises(ssl.SSLError):
        serve().connect(refused(pki, "expired"))
    assert caplog.messages == [f"TLS handshake with {STRANGER} failed: expired (cert has expired)"]


def test_a_client_that_speaks_no_tls(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Plain HTTP is logged without alarm, with OpenSSL's reason."""
    caplog.set_level(logging.INFO, "mtls_auth")
    protocol = serve().listening.factory.buildProtocol(None)
    protocol.makeConnection(Wire(STRANGER))
    protocol.dataReceived(HTTP1)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "HTTP_REQUEST" in record.getMessage()


def test_log_failures(pki: Pki, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is not logged where nobody wants to know."""
    with pytest.raises(ssl.SSLError):
        serve(pki.tls(log_failures=False)).connect(refused(pki, "expired"))
    assert caplog.records == []


def test_an_authority_below_the_root(pki: Pki, serve: Serve) -> None:
    """Only the clients of the named CA are welcome, not those of the root above it."""
    below = pki.ca.intermediate()
    client_ca = pki.path("below.pem")
    client_ca.write_bytes(below.pem)
    daphne = serve(pki.tls(client_ca=client_ca))
    scope = scope_of(daphne, daphne.connect(below.issue("alice")), HTTP1)
    assert len(scope["extensions"]["tls"]["client_cert_chain"]) == 2
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        daphne.connect(pki.ca.issue("alice"))


def test_a_revocation_list_of_another_ca(pki: Pki, serve: Serve) -> None:
    """Where revocation is checked, a client of a CA without a list is refused."""
    daphne = serve(pki.tls(crl=pki.write_crl()))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        daphne.connect(pki.ca.intermediate().issue("alice"))


@pytest.mark.parametrize(
    ("theirs", "chosen"), [(["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["spdy/1"], None), ([], None)]
)
def test_alpn(serve: Serve, theirs: list[str], chosen: str | None) -> None:
    """The server prefers HTTP/2, and speaks HTTP/1.1 where nothing was agreed on."""
    assert serve().connect(protocols=theirs).tls.selected_alpn_protocol() == chosen


def test_minimum_version(pki: Pki, serve: Serve) -> None:
    """An older version than the minimum is refused."""
    daphne = serve(pki.tls(minimum_version=ssl.TLSVersion.TLSv1_3))
    daphne.connect()
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        daphne.connect(version="1.2")


def test_ciphers(pki: Pki, serve: Serve) -> None:
    """The ciphers of TLS 1.2 are those of the parameters, and Python's without."""
    ours = "ECDHE-ECDSA-AES128-GCM-SHA256"
    cipher = serve(pki.tls(ciphers=ours)).connect(version="1.2").tls.cipher()
    assert cipher is not None
    assert cipher[0] == ours


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_not_resumed(pki: Pki, serve: Serve, version: str) -> None:
    """The server hands out no session that it would take back."""
    daphne = serve()
    context = ssl.create_default_context(cafile=pki.path("ca.pem"))
    context.maximum_version = VERSIONS[version]
    context.load_cert_chain(*pki.ca.issue("alice").write(pki.directory, "client"))
    first = Client(daphne.listening, context)
    first.shake_hands()
    second = Client(daphne.listening, context, first.tls.session)
    second.shake_hands()
    assert second.tls.session_reused is False


@pytest.mark.parametrize("password", [None, "secret"])
def test_keys(pki: Pki, serve: Serve, password: str | None) -> None:
    """An encrypted key is read with its password; one that needs none is not harmed by it."""
    serve(pki.tls(key_password=password)).connect()
    key = pki.ca.issue_server("localhost")
    encrypted = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    pki.path("encrypted.key").write_bytes(encrypted)
    pki.path("encrypted.pem").write_bytes(key.pem)
    files = {"certificate": pki.path("encrypted.pem"), "key": pki.path("encrypted.key")}
    if password is None:
        with pytest.raises(ConfigurationError, match="encrypted"):
            pki.tls(**files)
    else:
        serve(pki.tls(**files, key_password=password)).connect()


@pytest.mark.usefixtures("impatient")
def test_changed_files(pki: Pki, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A new connection gets the new certificate; files that cannot be used change nothing, and are logged."""
    daphne = serve()
    old = daphne.connect().tls.getpeercert(True)
    pki.path("server.key").write_text("broken")
    assert daphne.connect().tls.getpeercert(True) == old
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    issued = pki.ca.issue_server("localhost")
    issued.write(pki.directory, "server")
    assert daphne.connect().tls.getpeercert(True) == issued.der


@pytest.mark.usefixtures("impatient")
def test_revoked_on_an_open_connection(pki: Pki, serve: Serve) -> None:
    """A client that the new revocation list names is refused on its open connection, another one is not."""
    daphne = serve(pki.tls(crl=pki.write_crl()))
    alice, bob = pki.ca.issue("alice"), pki.ca.issue("bob")
    clients = [daphne.connect(issued) for issued in (alice, bob)]
    for client in clients:
        assert ScopeFacts(scope_of(daphne, client, HTTP1)).client_chain()
    pki.write_crl(alice)
    errors = [scope_of(daphne, client, HTTP1)["extensions"]["tls"]["client_cert_error"] for client in clients]
    assert errors == ["revoked", None]
    with pytest.raises(CertificateRejected, match="revoked"):
        ScopeFacts(daphne.scopes[-2]).client_chain()
    with pytest.raises(ssl.SSLError, match="REVOKED"):
        daphne.connect(alice)


@pytest.mark.usefixtures("impatient")
def test_distrusted_on_an_open_connection(pki: Pki, serve: Serve) -> None:
    """A client whose CA is taken away is refused on its open connection; one without a certificate is not."""
    daphne = serve()
    clients = [daphne.connect(pki.ca.issue("alice")), daphne.connect()]
    pki.path("ca.pem").write_bytes(CertificateAuthority("New CA").pem)
    errors = [scope_of(daphne, client, HTTP1)["extensions"]["tls"]["client_cert_error"] for client in clients]
    assert errors == ["untrusted", None]


def test_endpoint(pki: Pki) -> None:
    """A description has the parameters of `ServerTLS`, each once, with colons escaped."""
    crl = pki.write_crl()
    text = (
        f"mtls:8443:certificate={pki.path('server.pem')}:key={pki.path('server.key')}:client_ca={pki.path('ca.pem')}"
        f":crl={crl}:required=1:minimum_version=1.3:ciphers=ECDHE+AESGCM\\:!aNULL:log_failures=0:interface=\\:\\:1"
    )
    files = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem", "crl": "crl.pem"}
    assert Endpoint.parse(text) == Endpoint(
        port=8443,
        interface="::1",
        tls=ServerTLS(
            **{name: str(pki.path(file)) for name, file in files.items()},
            required=True,
            minimum_version=ssl.TLSVersion.TLSv1_3,
            ciphers="ECDHE+AESGCM:!aNULL",
            log_failures=False,
        ),
    )


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("mtls:", ["begin with mtls:PORT", "certificate is missing", "key is missing", "client_ca is missing"]),
        ("mtls:65536:{files}", ["begin with mtls:PORT"]),
        ("mtls:-1:{files}", ["begin with mtls:PORT"]),
        ("mtls:8443:{files}:port=1", ["'port=1': write each parameter once, as name=value"]),
        ("mtls:8443:{files}:required", ["'required': write each parameter once, as name=value"]),
        ("mtls:8443:{files}:required=yes", ["required=yes: give 0 or 1"]),
        ("mtls:8443:{files}:minimum_version=1.1", ["minimum_version=1.1: give 1.2 or 1.3"]),
        ("mtls:8443:{files}:key_password=secret", ["unknown parameter 'key_password'"]),
        ("mtls:8443:{files}:verify=0:crl=nowhere", ["unknown parameter 'verify'", "CRL nowhere: No such file"]),
        ("mtls:8443:{files}:crl=", ["CRL"]),
        ("mtls:8443:{files}:crl=\\", ["CRL"]),
    ],
)
def test_endpoint_errors(pki: Pki, text: str, problems: list[str]) -> None:
    """Everything that is wrong with a description is said at once."""
    files = ":".join(
        f"{name}={pki.path(file)}"
        for name, file in (("certificate", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem"))
    )
    with pytest.raises(ConfigurationError) as raised:
        Endpoint.parse(text.format(files=files))
    found = raised.value.problems
    assert len(found) == len(problems)
    assert all(problem in line for problem, line in zip(problems, found, strict=True)), found


def test_endpoints(pki: Pki, serve: Serve) -> None:
    """The server listens on every endpoint of ours, and leaves the others to daphne."""
    files = f"certificate={pki.path('server.pem')}:key={pki.path('server.key')}:client_ca={pki.path('ca.pem')}"
    daphne = serve(endpoints=[f"MTLS:1:{files}:interface=127.0.0.1", "tcp:80", Endpoint(port=2, tls=pki.tls())])
    assert daphne.listening.ports == [(1, "127.0.0.1"), (2, "")]
    assert daphne.server.endpoints == ["tcp:80"]
    assert daphne.server.abort_start is False


def test_a_port_that_is_taken(pki: Pki, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Where daphne cannot listen, its command will end with an error."""
    daphne = serve(endpoints=[Endpoint(port=TAKEN, tls=pki.tls())])
    assert not daphne.listening.running
    assert daphne.server.abort_start is True
    assert "taken" in caplog.text


def test_command(pki: Pki) -> None:
    """The command says what is wrong with each endpoint, and ends with an error."""
    with pytest.raises(SystemExit) as raised:
        CommandLineInterface().server_class(application=None, endpoints=["mtls:1:key=x:client_ca=y", "tcp:1", "mtls:x"])
    lines = str(raised.value).splitlines()
    assert [line.partition("error: ")[2] for line in lines] == [
        "endpoint mtls:1: certificate is missing",
        "endpoint mtls:x: begin with mtls:PORT",
        "endpoint mtls:x: certificate is missing",
        "endpoint mtls:x: key is missing",
        "endpoint mtls:x: client_ca is missing",
    ]


def test_another_openssl(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyOpenSSL's own OpenSSL refuses is an error of the configuration too."""

    def use_certificate_chain_file(self: SSL.Context, file: object) -> None:
        raise SSL.Error([("SSL routines", "", "ee key too small")])

    monkeypatch.setattr(SSL.Context, "use_certificate_chain_file", use_certificate_chain_file)
    with pytest.raises(ConfigurationError, match="EE_KEY_TOO_SMALL"):
        PyOpenSSLContext(pki.tls(), [b"http/1.1"])
