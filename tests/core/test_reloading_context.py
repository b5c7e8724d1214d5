"""Contexts whose files change: what new connections get, and what is held against the open ones."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mtls_auth import Reason, reloading, reloading_context, trust_files
from mtls_auth.reloading_context import objection_of
from mtls_auth.server_tls import EnvironFacts, ScopeFacts
from mtls_auth.servers.tls_extension import ConnectionApp
from tests.core.conftest import Clock, drive, reason_of
from tests.core.tls_lab import LOCALHOST, TIMEOUT, VERSIONS, Memory, TLSLab, certificate_of, connected, tcp_pair, touch
from tests.pki import revocation_list


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Yield a listening socket that was wrapped as a whole, as werkzeug does it."""
    with socket.create_server((LOCALHOST, 0)) as listener, context.wrap_socket(listener, server_side=True) as wrapped:
        wrapped.settimeout(TIMEOUT)
        yield wrapped


@contextmanager
def accepted(listener: ssl.SSLSocket, client: ssl.SSLContext) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Yield both ends of a connection to a listening socket, after a handshake that `accept()` did not make."""
    with ExitStack() as stack:
        raw = stack.enter_context(socket.create_connection(listener.getsockname(), TIMEOUT))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(TIMEOUT)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        pending = pool.submit(client.wrap_socket, raw, server_hostname="localhost")
        server.do_handshake()
        yield server, stack.enter_context(pending.result(TIMEOUT))


def test_connected_sockets(lab: TLSLab) -> None:
    """An accepted socket is wrapped by the newest context, which makes the handshake."""
    context = lab.tls().context()
    with connected(context, lab.client(lab.pki.alice)) as (server, client):
        assert server.getpeercert(True) == lab.pki.alice.der
        assert server.context is not context
        client.sendall(b"ping")
        assert server.recv(4) == b"ping"


def test_without_handshake(lab: TLSLab) -> None:
    """The options of `wrap_socket` are heeded."""
    with (
        tcp_pair() as (near, _far),
        lab.tls().context().wrap_socket(near, server_side=True, do_handshake_on_connect=False) as server,
    ):
        assert server.version() is None
        with pytest.raises(ValueError, match="handshake not done"):
            server.getpeercert(True)


def test_a_listening_socket(lab: TLSLab, clock: Clock) -> None:
    """A listening socket gives each connection the newest files, and a silent client does not hold up `accept()`."""
    client = lab.client(lab.pki.alice)
    with listening(lab.tls().context()) as listener:
        with (
            socket.create_connection(listener.getsockname(), TIMEOUT),
            listener.accept()[0] as silent,
            accepted(listener, client) as (server, _client),
        ):
            assert silent.version() is None
            assert server.getpeercert(True) == lab.pki.alice.der
            assert server.context is not listener.context
            assert objection_of(server) is not None
        lab.write("server.pem", lab.pki.renewed.chain_pem)
        lab.write("server.key", lab.pki.renewed.key_pem)
        clock.now += 1
        with accepted(listener, client) as (_server, end):
            assert end.getpeercert(True) == lab.pki.renewed.der


def test_a_client_that_is_gone(lab: TLSLab) -> None:
    """A client that sent plain text and is gone has no plain text read by the server."""
    with tcp_pair() as (near, far):
        far.sendall(b"GET / HTTP/1.1\r\n\r\n")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        context = lab.tls().context()
        with (
            pytest.raises(ssl.SSLError, match=r"before TLS handshake|data"),
            context.wrap_socket(near, server_side=True, do_handshake_on_connect=False),
        ):
            pass


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_until_the_files_change(lab: TLSLab, clock: Clock, version: str) -> None:
    """A session is resumed by the context that made it, and not after a change of the files."""
    context = lab.tls().context()
    client = lab.client(lab.pki.alice, VERSIONS[version])
    session = Memory(context, client).shake_hands().client.session
    resumed = Memory(context, client, session).shake_hands()
    assert resumed.server.session_reused
    assert resumed.server.getpeercert(True) == lab.pki.alice.der
    touch(lab.client_ca)
    clock.now += 1
    after = Memory(context, client, resumed.client.session).shake_hands()
    assert not after.server.session_reused
    assert after.server.getpeercert(True) == lab.pki.alice.der


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revoked_session_is_not_resumed(lab: TLSLab, clock: Clock, version: str) -> None:
    """Who was revoked does not get in by an old session."""
    context = lab.tls(crl=lab.revoke()).context()
    client = lab.client(lab.pki.alice, VERSIONS[version])
    session = Memory(context, client).shake_hands().client.session
    lab.revoke(lab.pki.alice)
    clock.now += 1
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        Memory(context, client, session).shake_hands()


def test_broken_files(lab: TLSLab, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Half a renewal changes nothing; the other half brings it into force."""
    context = lab.tls().context()
    lab.write("server.pem", lab.pki.renewed.chain_pem)
    clock.now += 1
    assert certificate_of(context) == lab.pki.server.der
    assert "key values mismatch" in caplog.text
    lab.write("server.key", lab.pki.renewed.key_pem)
    clock.now += 1
    assert certificate_of(context) == lab.pki.renewed.der


def test_files_that_nobody_can_read(lab: TLSLab, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes in place of a file, the old one stays in force."""
    tls = lab.tls(crl=lab.revoke())
    context = tls.context()
    broken = [b"", b"\x00\xff", b"-----BEGIN X509 CRL-----\n", lab.pki.server.der, lab.pki.server.key_pem]
    for name in ("server.pem", "client-ca.pem", "crl.pem"):
        good = (lab.directory / name).read_bytes()
        for data in broken:
            lab.write(name, data)
            clock.now += 1
            assert certificate_of(context) == lab.pki.server.der
        lab.write(name, good)
        clock.now += 1
        assert certificate_of(context) == lab.pki.server.der
    errors = [record for record in caplog.records if "are not used" in record.getMessage()]
    assert len(errors) == 3 * len(broken)


def test_a_file_of_no_known_version(lab: TLSLab, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate of a version that there is not is a broken file like others."""
    context = lab.tls().context()
    three, six = bytes.fromhex("a003020102"), bytes.fromhex("a003020105")
    lab.write("client-ca.pem", ssl.DER_cert_to_PEM_cert(lab.pki.ca.der.replace(three, six, 1)).encode())
    clock.now += 1
    assert certificate_of(context) == lab.pki.server.der
    assert "5 is not a valid X509 version" in caplog.text


Change = Callable[[TLSLab], object]


def remove_the_ca(lab: TLSLab) -> None:
    """Trust another CA alone."""
    lab.write("client-ca.pem", lab.pki.elsewhere.pem)


def revoke_alice(lab: TLSLab) -> None:
    """Put the client on the CRL."""
    lab.revoke(lab.pki.alice)


def revoke_another(lab: TLSLab) -> None:
    """Put another client on the CRL."""
    lab.revoke(lab.pki.leaves.server_only)


def renew_the_server(lab: TLSLab) -> None:
    """Give the server another certificate."""
    lab.write("server.pem", lab.pki.renewed.chain_pem)
    lab.write("server.key", lab.pki.renewed.key_pem)


def add_a_ca(lab: TLSLab) -> None:
    """Trust another CA too."""
    lab.write("client-ca.pem", lab.pki.ca.pem + lab.pki.elsewhere.pem)


def break_the_ca(lab: TLSLab) -> None:
    """Write a CA file that cannot be used."""
    lab.write("client-ca.pem", b"")


CHANGES: list[tuple[Change, Reason | None]] = [
    (remove_the_ca, Reason.UNTRUSTED),
    (revoke_alice, Reason.REVOKED),
    (revoke_another, None),
    (renew_the_server, None),
    (add_a_ca, None),
    (break_the_ca, None),
    (lambda lab: touch(lab.client_ca), None),
]
after_each_change = pytest.mark.parametrize(
    ("change", "reason"), CHANGES, ids=[*(change.__name__ for change, _ in CHANGES[:-1]), "touch"]
)


def in_environ(tls: Any, scheme: str = "https") -> EnvironFacts:
    """Return the facts of a request as WSGI has them."""
    return EnvironFacts({"gunicorn.socket": tls, "wsgi.url_scheme": scheme})


@after_each_change
def test_an_open_socket(lab: TLSLab, clock: Clock, change: Change, reason: Reason | None) -> None:
    """A request on an open connection is held against the newest files, half a second later."""
    context = lab.tls(crl=lab.revoke()).context()
    with connected(context, lab.client(lab.pki.alice)) as (server, _client):
        objection = objection_of(server)
        assert objection is not None
        assert objection(lab.pki.alice.der) is None
        assert in_environ(server).client_chain()[0] == lab.pki.alice.der
        change(lab)
        assert objection(lab.pki.alice.der) is None
        clock.now += 1
        for _request in range(2):
            assert objection(lab.pki.alice.der) == reason
            assert reason_of(in_environ(server).client_chain) == reason


@after_each_change
def test_open_memory(lab: TLSLab, clock: Clock, change: Change, reason: Reason | None) -> None:
    """The same in ASGI: the scope tells the objection, and the certificate is refused for its reason."""
    context = lab.tls(crl=lab.revoke()).context()
    connection = Memory(context, lab.client(lab.pki.alice)).shake_hands()
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    app: Any = ConnectionApp.over(application, None, connection.server)
    for kind, scheme in (("http", "https"), ("websocket", "wss")):
        drive(app, {"type": kind, "scheme": scheme})
    change(lab)
    clock.now += 1
    for kind, scheme in (("http", "https"), ("websocket", "wss")):
        drive(app, {"type": kind, "scheme": scheme})
    errors = [scope["extensions"]["tls"]["client_cert_error"] for scope in scopes]
    assert errors == [None, None, reason, reason]
    assert all(error is None or type(error) is str for error in errors)
    assert [reason_of(ScopeFacts(scope).client_chain) for scope in scopes] == [None, None, reason, reason]


def test_back_again(lab: TLSLab, clock: Clock) -> None:
    """What is held against a connection is what the newest files say, not what others said between."""
    with connected(lab.tls().context(), lab.client(lab.pki.alice)) as (server, _client):
        remove_the_ca(lab)
        clock.now += 1
        assert reason_of(in_environ(server).client_chain) is Reason.UNTRUSTED
        lab.write("client-ca.pem", lab.pki.ca.pem)
        clock.now += 1
        assert reason_of(in_environ(server).client_chain) is None


def test_each_connection_by_its_own_files(lab: TLSLab, clock: Clock) -> None:
    """A connection is held against the newest files by what it was accepted under, not by what another was."""
    both = lab.write("client-ca.pem", lab.pki.ca.pem + lab.pki.elsewhere.pem)
    context = lab.tls(client_ca=both).context()
    below = lab.client(lab.pki.leaves.through_intermediate)  # by which CA is not known
    with connected(context, below) as (old, _client), connected(context, lab.client(lab.pki.alice)) as (alice, _other):
        lab.write("client-ca.pem", lab.pki.ca.pem)
        clock.now += 1
        with connected(context, below) as (new, _client):
            for _request in range(2):
                assert reason_of(in_environ(old).client_chain) is Reason.UNTRUSTED
                assert reason_of(in_environ(new).client_chain) is None
                assert reason_of(in_environ(alice).client_chain) is None


def test_an_end_without_new_files(
    lab: TLSLab, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the CRL ends and there is no newer one, its CA's clients are refused on open connections, as on new ones."""
    later = datetime.now(UTC) + timedelta(days=8)
    context = lab.tls(crl=lab.revoke(ends=timedelta(days=7))).context()
    with connected(context, lab.client(lab.pki.alice)) as (server, _client):
        for module in (reloading, trust_files):
            monkeypatch.setattr(module, "datetime", SimpleNamespace(now=lambda _zone: later))
        clock.now += 1
        assert reason_of(in_environ(server).client_chain) is Reason.UNTRUSTED
    assert "the CRL of CN=Test CA has expired at" in caplog.text


def test_a_thread_waits_for_a_client(lab: TLSLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake for which a thread would wait for ever has a limit; the socket's own limit is what it was."""
    monkeypatch.setattr(reloading_context, "HANDSHAKE_TIMEOUT", 0.1)
    context = lab.tls().context()
    for patience in (None, 0.05):
        with tcp_pair() as (near, _far):
            near.settimeout(patience)
            with pytest.raises(TimeoutError):
                context.wrap_socket(near, server_side=True)
    with connected(context, lab.client()) as (server, _client):
        assert server.gettimeout() == TIMEOUT
    for patience in (None, 0.0, 5.0):
        with tcp_pair() as (near, _far):
            near.settimeout(patience)
            with context.wrap_socket(near, server_side=True, do_handshake_on_connect=False) as server:
                assert server.gettimeout() == patience


def test_without_certificate(lab: TLSLab, clock: Clock) -> None:
    """Nothing is held against a client without a certificate."""
    context = lab.tls().context()
    connection = Memory(context, lab.client()).shake_hands()
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    remove_the_ca(lab)
    clock.now += 1
    app: Any = ConnectionApp.over(application, None, connection.server)
    drive(app, {"type": "http", "scheme": "https"})
    assert scopes[0]["extensions"]["tls"]["client_cert_error"] is None
    assert ScopeFacts(scopes[0]).client_chain() == ()
    with connected(context, lab.client()) as (server, _client):
        touch(lab.client_ca)
        clock.now += 1
        assert in_environ(server).client_chain() == ()


def test_other_contexts(lab: TLSLab) -> None:
    """A connection of any other context has nothing to ask."""
    context = lab.tls().load().context
    with connected(context, lab.client(lab.pki.alice)) as (server, _client):
        assert objection_of(server) is None
        assert in_environ(server).client_chain()[0] == lab.pki.alice.der
    for other in (None, object(), socket):
        assert objection_of(other) is None


def test_a_handshake_across_a_change(lab: TLSLab, clock: Clock) -> None:
    """A handshake that began before a change is held against the new files at its first request."""
    context = lab.tls(crl=lab.revoke()).context()
    connection = Memory(context, lab.client(lab.pki.alice))
    with suppress(ssl.SSLWantReadError):
        connection.client.do_handshake()
    lab.revoke(lab.pki.alice)
    clock.now += 1
    connection.shake_hands()
    objection = objection_of(connection.server)
    assert objection is not None
    assert objection(lab.pki.alice.der) is Reason.REVOKED


def test_a_crl_whose_issuer_is_encoded_otherwise(lab: TLSLab, clock: Clock) -> None:
    """A handshake heeds a CRL however the issuer's name is encoded in it. RFC 5280 §7.1."""
    printable = [x509.NameAttribute(NameOID.COMMON_NAME, "Test CA", _type=_ASN1Type.PrintableString)]
    context = lab.tls(crl=lab.revoke()).context()
    lab.write("crl.pem", revocation_list(lab.pki.ca, lab.pki.alice, issuer=x509.Name(printable)))
    clock.now += 1
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        Memory(context, lab.client(lab.pki.alice)).shake_hands()


def test_asyncio_takes_it(lab: TLSLab) -> None:
    """It is an `ssl.SSLContext` to asyncio, without more."""
    context = lab.tls(log_failures=False).context()

    async def serve() -> bytes | None:
        found: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("ssl_object").getpeercert(True))
            writer.close()

        server = await asyncio.start_server(handle, LOCALHOST, 0, ssl=context)
        async with server:
            host, port = server.sockets[0].getsockname()
            client = lab.client(lab.pki.alice)
            _reader, writer = await asyncio.open_connection(host, port, ssl=client, server_hostname="localhost")
            chain = await asyncio.wait_for(found, TIMEOUT)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return chain

    assert asyncio.run(serve()) == lab.pki.alice.der
