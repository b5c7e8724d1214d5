"""asyncio's servers that accept first and make the TLS handshake then: on asyncio and uvloop, with real sockets."""

import asyncio
import gc
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from mtls_auth import Reason
from mtls_auth.asyncio_accept import ConnectionContext, _send_alert, accept_first
from mtls_auth.reloading_context import ReloadingContext, objection_of
from mtls_auth.testing import IssuedCertificate
from tests.core.conftest import Clock, FakeSocket, FakeTransport
from tests.core.tls_lab import LOCALHOST, TIMEOUT, VERSIONS, Memory, TLSLab

NewLoop = Callable[[], asyncio.AbstractEventLoop]
Events = list[object]

ASYNCIO = asyncio.new_event_loop
UVLOOP = uvloop.new_event_loop


@pytest.fixture(params=[ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Return what makes a loop."""
    found: NewLoop = request.param
    return found


class Echo(asyncio.Protocol):
    """A server's protocol that sends back what it gets, and writes down what happens to it."""

    transport: Any

    def __init__(self, events: Events) -> None:
        self.events = events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        self.events.append(("made", None if tls is None else tls.getpeercert(True)))

    def data_received(self, data: bytes) -> None:
        self.events.append(data)
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")


class Site:
    """A loop with a server; what its protocols saw, and what the loop complained of."""

    def __init__(self, lab: TLSLab) -> None:
        self.lab = lab
        self.events: Events = []
        self.complaints: list[dict[str, Any]] = []
        self.address: tuple[str, int] = (LOCALHOST, 0)

    @asynccontextmanager
    async def serving(
        self, tls: ssl.SSLContext | None, protocol: Any = None, **options: Any
    ) -> AsyncIterator[asyncio.Server]:
        """Serve, and leave nothing open."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, complaint: self.complaints.append(complaint))
        factory = protocol or (lambda: Echo(self.events))
        server: Any = await loop.create_server(factory, LOCALHOST, 0, ssl=tls, **options)
        self.address = server.sockets[0].getsockname()
        try:
            yield server
        finally:
            server.close()
            await asyncio.wait_for(server.wait_closed(), TIMEOUT)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """Yield a client's socket."""
        with socket.create_connection(self.address, TIMEOUT) as raw:
            yield raw

    def ask(self, client: ssl.SSLContext, data: bytes = b"ping") -> bytes:
        """Send something and return what comes back."""
        with self.connection() as raw, client.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(data)
            return tls.recv(65536)

    def refusal(self, client: ssl.SSLContext) -> str:
        """Return the alert by which the server refuses a client."""
        try:
            self.ask(client)
        except ssl.SSLError as error:
            return str(error.reason)
        raise AssertionError("not refused")

    def run(self, new_loop: NewLoop, main: Coroutine[Any, Any, None], *complaints: type[Exception]) -> None:
        """Run on a new loop, which has these complaints and no others; whatever is left open is found."""
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main)
        gc.collect()
        assert [type(complaint.get("exception")) for complaint in self.complaints] == [*complaints]

    async def until(self, event: object) -> None:
        """Wait for an event."""
        async with asyncio.timeout(5):
            while event not in self.events:
                await asyncio.sleep(0.001)


@pytest.fixture
def site(lab: TLSLab) -> Site:
    """A new one."""
    return Site(lab)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_client(site: Site, new_loop: NewLoop, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The server's protocol gets the connection as from asyncio itself, with the certificate; nothing is logged."""
    alice = site.lab.pki.alice

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            answer = await asyncio.to_thread(site.ask, site.lab.client(alice, VERSIONS[version]))
            assert answer == b"ping"
            await site.until("lost")

    site.run(new_loop, main())
    assert site.events == [("made", alice.der), b"ping", "lost"]
    assert [record for record in caplog.records if record.name == "mtls_auth"] == []


def test_what_the_transport_tells(site: Site, new_loop: NewLoop) -> None:
    """The transport tells all that a TLS transport does, the true peer, and what is held against the connection."""
    told: dict[str, Any] = {}

    class Telling(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            for name in ("peername", "sockname", "sslcontext", "cipher", "peercert", "ssl_object"):
                told[name] = transport.get_extra_info(name)
            told["socket"] = transport.get_extra_info("socket").getpeername()

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), lambda: Telling(site.events)):
            await asyncio.to_thread(site.ask, site.lab.client(site.lab.pki.alice))
            await site.until("lost")

    site.run(new_loop, main())
    assert told["socket"] == told["peername"]
    assert told["sockname"] == site.address
    assert isinstance(told["sslcontext"], ssl.SSLContext)
    assert told["peercert"]["subject"] == ((("commonName", "alice"),),)
    assert objection_of(told["ssl_object"]) is not None
    assert told["cipher"]


BAD: dict[str, tuple[Callable[[TLSLab], IssuedCertificate | None], Reason, dict[str, str]]] = {
    "expired": (lambda lab: lab.pki.leaves.expired, Reason.EXPIRED, {"1.2": "SSLV3_ALERT_CERTIFICATE_EXPIRED"}),
    "unknown": (lambda lab: lab.pki.stranger, Reason.UNTRUSTED, {"1.2": "TLSV1_ALERT_UNKNOWN_CA"}),
    "revoked": (lambda lab: lab.pki.leaves.without_eku, Reason.REVOKED, {"1.2": "SSLV3_ALERT_CERTIFICATE_REVOKED"}),
    "none": (
        lambda lab: None,
        Reason.CERTIFICATE_REQUIRED,
        {"1.2": "SSLV3_ALERT_HANDSHAKE_FAILURE", "1.3": "TLSV13_ALERT_CERTIFICATE_REQUIRED"},
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_client(site: Site, new_loop: NewLoop, kind: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client is told why by a TLS alert, the log who and why; the protocol is not made."""
    certificate, reason, alerts = BAD[kind]
    client = site.lab.client(certificate(site.lab), VERSIONS[version])
    tls = site.lab.tls(required=True, crl=site.lab.revoke(site.lab.pki.leaves.without_eku))

    async def main() -> None:
        async with site.serving(tls.context()):
            assert await asyncio.to_thread(site.refusal, client) == alerts.get(version, alerts["1.2"])

    site.run(new_loop, main())
    assert site.events == []
    (record,) = (record for record in caplog.records if record.name == "mtls_auth")
    assert (record.__dict__["reason"], record.__dict__["peer"]) == (reason.value, LOCALHOST)
    assert record.levelno == logging.WARNING
    assert f"TLS handshake with {LOCALHOST} failed: {reason.value} (" in record.getMessage()


def test_plain_http(site: Site, new_loop: NewLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Plain text is no handshake: an alert, and a line without importance."""
    caplog.set_level(logging.INFO, "mtls_auth")

    def ask() -> bytes:
        with site.connection() as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with suppress(ConnectionResetError):
                return b"".join(iter(lambda: raw.recv(65536), b""))
        return b""

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            answer = await asyncio.to_thread(ask)
            assert answer[:1] in {b"\x15", b""}, "an alert"

    site.run(new_loop, main())
    assert site.events == []
    (record,) = (record for record in caplog.records if record.name == "mtls_auth")
    assert (record.levelno, record.__dict__["peer"]) == (logging.INFO, LOCALHOST)


def close_at_once(site: Site) -> None:
    """Connect, and leave without a byte."""
    with site.connection():
        pass


def reset_at_once(site: Site) -> None:
    """Connect, and leave with a reset."""
    with site.connection() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def client_hello(site: Site) -> bytes:
    """Return the first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = site.lab.client(site.lab.pki.alice).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def close_in_the_hello(site: Site) -> None:
    """Leave in the middle of the first flight."""
    with site.connection() as raw:
        raw.sendall(client_hello(site)[:100])


def close_after_the_hello(site: Site) -> None:
    """Leave with the server's flight unread, which resets the connection."""
    with site.connection() as raw:
        raw.sendall(client_hello(site))
        raw.recv(1)


def end_after_the_hello(site: Site) -> None:
    """Say that nothing more will come in the middle of the handshake."""
    with site.connection() as raw:
        raw.sendall(client_hello(site))
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65536):
            pass


@pytest.mark.parametrize(
    "leave", [close_at_once, reset_at_once, close_in_the_hello, close_after_the_hello, end_after_the_hello]
)
def test_a_client_that_leaves(
    site: Site, new_loop: NewLoop, leave: Callable[[Site], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A client that leaves in the handshake makes no protocol, no warning, and the next one is served."""

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            for _client in range(5):
                await asyncio.to_thread(leave, site)
            assert await asyncio.to_thread(site.ask, site.lab.client(site.lab.pki.alice)) == b"ping"
            await site.until("lost")

    site.run(new_loop, main())
    assert site.events == [("made", site.lab.pki.alice.der), b"ping", "lost"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


class Flights:
    """A client over a plain socket, whose every packet is sent when the test says so."""

    def __init__(self, raw: socket.socket, client: ssl.SSLContext) -> None:
        self.raw = raw
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def handshake(self) -> None:
        """Make the handshake, and keep the client's last flight where the client is the last to send."""
        while True:
            try:
                return self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                received = self.raw.recv(65536)
                assert received
                self.incoming.write(received)

    def flush(self) -> None:
        """Send all that is to be sent, in one packet."""
        self.raw.sendall(self.outgoing.read())

    def receive(self) -> bytes:
        """Return what the server sends until it ends the connection."""
        found = b""
        while received := self.raw.recv(65536):
            self.incoming.write(received)
            with suppress(ssl.SSLWantReadError):
                while part := self.tls.read():
                    found += part
                return found
        return found


@contextmanager
def in_flight(site: Site) -> Iterator[Flights]:
    """Yield a client of TLS 1.3 whose last flight of the handshake is not sent yet."""
    with site.connection() as raw:
        client = Flights(raw, site.lab.client(site.lab.pki.alice, ssl.TLSVersion.TLSv1_3))
        client.handshake()
        yield client


@pytest.mark.parametrize("size", [4, 60_000, 1_000_000])
def test_a_request_with_the_end_of_the_handshake(site: Site, new_loop: NewLoop, size: int) -> None:
    """What comes in one packet with the end of the handshake, before any protocol is there, is not lost."""
    request = bytes(range(250)) * (size // 250) or b"ping"

    def ask() -> None:
        with in_flight(site) as client:
            client.tls.write(request)
            client.flush()
            answer = b""
            while len(answer) < len(request):
                client.incoming.write(client.raw.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    while True:
                        answer += client.tls.read(65536)
            assert answer == request

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            for _client in range(10):
                await asyncio.to_thread(ask)
                await site.until("lost")
                made, *data, lost = site.events
                assert (made, lost) == (("made", site.lab.pki.alice.der), "lost")
                assert b"".join(part for part in data if isinstance(part, bytes)) == request
                site.events.clear()

    site.run(new_loop, main())


def test_a_buffered_protocol(site: Site, new_loop: NewLoop) -> None:
    """A protocol with a buffer of its own gets what came with the end of the handshake, as from asyncio itself."""
    request = b"a request of more bytes than the buffer has"

    class Buffered(asyncio.BufferedProtocol):
        transport: Any

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.buffer = bytearray(10)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            site.events.append(bytes(self.buffer[:nbytes]))
            if b"".join(part for part in site.events if isinstance(part, bytes)) == request:
                self.transport.close()

    def ask() -> None:
        with in_flight(site) as client:
            client.raw.settimeout(5)
            client.tls.write(request)
            client.flush()
            client.receive()

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), Buffered):
            await asyncio.to_thread(ask)

    site.run(new_loop, main())
    assert site.events[0] == b"a request "


@pytest.mark.parametrize("size", [1, 13, 400])
def test_packets_of_any_size(site: Site, new_loop: NewLoop, size: int) -> None:
    """Nothing depends on how the bytes of the client come."""

    def ask() -> None:
        with in_flight(site) as client:
            client.tls.write(b"ping")
            flight = client.outgoing.read()
            client.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(flight), size):
                client.raw.sendall(flight[start : start + size])
            client.raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                client.receive()

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            for _client in range(5):
                await asyncio.to_thread(ask)
                await site.until("lost")
                assert site.events == [("made", site.lab.pki.alice.der), b"ping", "lost"]
                site.events.clear()

    site.run(new_loop, main())


@pytest.mark.parametrize("ending", ["close", "notify", "half", "reset"])
def test_a_request_and_goodbye(site: Site, new_loop: NewLoop, ending: str) -> None:
    """A client that ends the connection with its request, which comes with the end of the handshake, is heard."""

    def ask() -> None:
        with in_flight(site) as client:
            client.tls.write(b"ping")
            if ending == "notify":
                with suppress(ssl.SSLWantReadError):
                    client.tls.unwrap()
            client.flush()
            if ending == "half":
                client.raw.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    while client.raw.recv(65536):
                        pass

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            for _client in range(20):
                await asyncio.to_thread(ask)
                await site.until("lost")
                assert site.events[:2] == [("made", site.lab.pki.alice.der), b"ping"]
                site.events.clear()

    site.run(new_loop, main())


def test_a_client_that_leaves_after_the_handshake(site: Site, new_loop: NewLoop) -> None:
    """A client that says nothing is made known and lost, or neither; never one without the other."""

    def leave() -> None:
        with in_flight(site) as client:
            client.flush()

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            for _client in range(50):
                await asyncio.to_thread(leave)
            await asyncio.to_thread(site.ask, site.lab.client())
            await site.until(("made", None))
            async with asyncio.timeout(TIMEOUT):
                while site.events.count("lost") != len([event for event in site.events if isinstance(event, tuple)]):
                    await asyncio.sleep(0.001)

    site.run(new_loop, main())


def test_goodbye_with_the_end_of_the_handshake(site: Site, new_loop: NewLoop) -> None:
    """A client that ends the connection with its handshake is made known, and lost."""

    def ask() -> None:
        with in_flight(site) as client:
            with suppress(ssl.SSLWantReadError):
                client.tls.unwrap()
            client.flush()
            with suppress(ConnectionResetError):
                while client.raw.recv(65536):
                    pass

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            await asyncio.to_thread(ask)
            await site.until("lost")

    site.run(new_loop, main())
    assert site.events == [("made", site.lab.pki.alice.der), "lost"]


def test_handshake_timeout(site: Site, new_loop: NewLoop) -> None:
    """The server's own limits of time are in force, and a silent client does not hold up the others."""

    def wait() -> float:
        with site.connection() as raw:
            assert site.ask(site.lab.client(site.lab.pki.alice)) == b"ping"
            with suppress(ConnectionResetError):
                assert raw.recv(1) == b""
        return 1

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), ssl_handshake_timeout=0.3, ssl_shutdown_timeout=2):
            assert await asyncio.to_thread(wait)

    site.run(new_loop, main())


def test_many_at_once(site: Site, new_loop: NewLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Two hundred clients at once, good and bad ones, do not mix."""
    lab = site.lab
    good = [lab.client(lab.pki.alice), lab.client(None), lab.client(lab.pki.leaves.without_eku)]
    bad = lab.client(lab.pki.stranger)

    async def one(number: int) -> None:
        client = bad if number % 4 == 3 else good[number % 4]
        reader, writer = await asyncio.open_connection(*site.address, ssl=client, server_hostname="localhost")
        data = str(number).encode()
        try:
            writer.write(data)
            answer = await reader.read(100)
            assert (answer == data) is (client is not bad)
        except OSError:
            assert client is bad
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def main() -> None:
        async with site.serving(lab.tls().context(), backlog=256):
            await asyncio.wait_for(asyncio.gather(*map(one, range(200))), 60)
            async with asyncio.timeout(TIMEOUT):
                while site.events.count("lost") < 150:
                    await asyncio.sleep(0.001)

    site.run(new_loop, main())
    lines = [record for record in caplog.records if record.name == "mtls_auth"]
    assert len(lines) == 50
    assert {record.__dict__["reason"] for record in lines} == {Reason.UNTRUSTED}
    made = [event[1] for event in site.events if isinstance(event, tuple)]
    assert made.count(None) == made.count(lab.pki.alice.der) == made.count(lab.pki.leaves.without_eku.der) == 50


def test_an_alert_waits_for_nothing(lab: TLSLab) -> None:
    """Where something is still to be sent, an alert would stand in the middle of it, and is left out."""
    outgoing = ssl.MemoryBIO()
    outgoing.write(b"alert")
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        for waiting, sent in ((1, None), (0, b"alert")):
            transport: Any = SimpleNamespace(
                get_write_buffer_size=lambda waiting=waiting: waiting, get_extra_info=lambda _name: near
            )
            _send_alert(transport, outgoing)
            found = None
            with suppress(BlockingIOError):
                found = far.recv(10)
            assert found == sent
    outgoing.write(b"to nobody")
    _send_alert(transport, outgoing)


def test_a_context_between_connections(lab: TLSLab) -> None:
    """A context that waits for its next connection names nobody; nor does one that logs nothing."""
    client = lab.client(lab.pki.stranger)
    for logged in (True, False):
        server = ConnectionContext(lab.tls(log_failures=logged).context())
        transport: Any = FakeTransport({"socket": FakeSocket("192.0.2.7")})
        for whose, named in ((transport, logged), (None, False)):
            connection = Memory(server.of(whose), client)
            assert getattr(connection.server, "peer", None) == ("192.0.2.7" if named else None)


def test_streams(site: Site, new_loop: NewLoop) -> None:
    """`asyncio.start_server` works as with any context."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.events.append(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def main() -> None:
        server: Any = await asyncio.start_server(handle, LOCALHOST, 0, ssl=site.lab.tls().context())
        async with server:
            site.address = server.sockets[0].getsockname()
            assert await asyncio.to_thread(site.ask, site.lab.client(site.lab.pki.alice)) == b"ping"

    site.run(new_loop, main())
    assert site.events == [site.lab.pki.alice.der]


def test_other_servers(site: Site, new_loop: NewLoop) -> None:
    """Servers of other contexts, and plain ones, are asyncio's own."""
    lab = site.lab

    async def main() -> None:
        lab.tls().context()
        async with site.serving(lab.tls().load().context):
            assert await asyncio.to_thread(site.ask, lab.client(lab.pki.alice)) == b"ping"
        async with site.serving(None):
            with site.connection() as raw:
                await asyncio.to_thread(raw.sendall, b"plain")
                assert await asyncio.to_thread(raw.recv, 5) == b"plain"

    site.run(new_loop, main())
    assert [event for event in site.events if isinstance(event, tuple)] == [("made", lab.pki.alice.der), ("made", None)]


def test_once_a_loop(site: Site, new_loop: NewLoop) -> None:
    """Any number of contexts on one loop change it once; where none runs there is nothing to change."""
    accept_first(ReloadingContext)
    tls = site.lab.tls()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.create_server
        site.lab.tls(log_failures=False).context()
        assert loop.create_server == before
        tls.context()
        changed: Any = loop.create_server
        assert changed != before
        tls.context()
        accept_first(ReloadingContext)
        assert loop.create_server is changed
        async with site.serving(tls.context()):
            assert await asyncio.to_thread(site.ask, site.lab.client(site.lab.pki.alice)) == b"ping"

    site.run(new_loop, main())


def test_two_servers_of_one_context(site: Site, new_loop: NewLoop) -> None:
    """A context may have several servers."""

    async def main() -> None:
        context = site.lab.tls().context()
        async with site.serving(context):
            first = site.address
            async with site.serving(context):
                assert site.address != first
                for site.address in (first, site.address):  # noqa: B020
                    assert await asyncio.to_thread(site.ask, site.lab.client()) == b"ping"

    site.run(new_loop, main())


def test_changed_files(site: Site, new_loop: NewLoop, clock: Clock) -> None:
    """Each connection gets the newest files."""

    def certificate() -> bytes | None:
        with site.connection() as raw, site.lab.client().wrap_socket(raw, server_hostname="localhost") as tls:
            return tls.getpeercert(True)

    async def main() -> None:
        async with site.serving(site.lab.tls().context()):
            assert await asyncio.to_thread(certificate) == site.lab.pki.server.der
            site.lab.write("server.pem", site.lab.pki.renewed.chain_pem)
            site.lab.write("server.key", site.lab.pki.renewed.key_pem)
            clock.now += 1
            assert await asyncio.to_thread(certificate) == site.lab.pki.renewed.der

    site.run(new_loop, main())


@pytest.mark.parametrize("step", ["connection_made", "data_received"])
def test_a_protocol_that_fails(site: Site, new_loop: NewLoop, step: str) -> None:
    """The connection of a protocol that fails ends, as asyncio itself ends it, and the loop is told why."""

    class Failing(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if step == "connection_made":
                raise ZeroDivisionError
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    def ask() -> None:
        with in_flight(site) as client:
            client.raw.settimeout(5)
            client.tls.write(b"ping")
            client.flush()
            with suppress(ConnectionResetError):
                client.receive()

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), lambda: Failing(site.events)):
            await asyncio.to_thread(ask)

    site.run(new_loop, main(), ZeroDivisionError)


def test_a_protocol_that_aborts(site: Site, new_loop: NewLoop) -> None:
    """A protocol that aborts its connection when it is made gets no data, and is told of the end."""

    class Aborting(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.abort()

    def ask() -> None:
        with in_flight(site) as client:
            client.tls.write(b"ping")
            client.flush()
            with suppress(ConnectionResetError):
                client.receive()

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), lambda: Aborting(site.events)):
            await asyncio.to_thread(ask)
            await site.until("lost")

    site.run(new_loop, main())
    assert site.events == [("made", site.lab.pki.alice.der), "lost"]


def test_a_protocol_that_hands_over(site: Site, new_loop: NewLoop) -> None:
    """A protocol that chooses another one when the connection is made, as by ALPN, gets nothing of what comes."""

    class Choosing(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            chosen = Echo(site.events)
            transport.set_protocol(chosen)
            chosen.connection_made(transport)

        def data_received(self, data: bytes) -> None:
            site.events.append("not chosen")

    def ask() -> None:
        with in_flight(site) as client:
            client.tls.write(b"ping")
            client.flush()
            client.raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                client.receive()

    async def main() -> None:
        async with site.serving(site.lab.tls().context(), Choosing):
            await asyncio.to_thread(ask)
            await site.until("lost")

    site.run(new_loop, main())
    assert site.events == [("made", site.lab.pki.alice.der), b"ping", "lost"]


def test_closed_in_a_handshake(site: Site, new_loop: NewLoop) -> None:
    """A server and a loop that end while clients are in their handshakes leave nothing behind."""
    clients: list[socket.socket] = []

    async def main() -> None:
        async with site.serving(site.lab.tls().context()) as server:
            for data in (b"", client_hello(site)[:50], client_hello(site)):
                clients.append(socket.create_connection(site.address, TIMEOUT))
                clients[-1].sendall(data)
            await asyncio.sleep(0.1)
            server.close()
            for client in clients:
                client.close()

    site.run(new_loop, main())
    assert site.events == []


def test_a_loop_that_ends_in_a_handshake(site: Site, new_loop: NewLoop) -> None:
    """Where nobody closes the connections, ending the loop does."""
    if new_loop is UVLOOP:
        pytest.skip("uvloop never ends with a handshake open, whoever makes it")

    async def main() -> socket.socket:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, complaint: site.complaints.append(complaint))
        server: Any = await loop.create_server(lambda: Echo(site.events), LOCALHOST, 0, ssl=site.lab.tls().context())
        raw = socket.create_connection(server.sockets[0].getsockname(), TIMEOUT)
        raw.sendall(client_hello(site))
        await asyncio.sleep(0.1)
        server.close()
        return raw

    with asyncio.Runner(loop_factory=new_loop) as runner, runner.run(main()) as raw:
        runner.close()
        gc.collect()
        with suppress(OSError):
            while raw.recv(65536):
                pass
