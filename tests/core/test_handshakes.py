"""Failed handshakes in the log: who was refused and why, on sockets and in memory."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from mtls_auth import Reason
from mtls_auth.handshakes import Logged, log_failures_of, log_refusal
from mtls_auth.testing import IssuedCertificate
from mtls_auth.testing import authority as authority_module
from tests.core.tls_lab import LOCALHOST, TIMEOUT, VERSIONS, Memory, TLSLab, tcp_pair

Leaf = Callable[[TLSLab], IssuedCertificate | None]


CLIENTS: dict[str, tuple[Leaf, Reason]] = {
    "expired": (lambda lab: lab.pki.leaves.expired, Reason.EXPIRED),
    "not yet valid": (lambda lab: lab.pki.leaves.not_yet_valid, Reason.NOT_YET_VALID),
    "revoked": (lambda lab: lab.pki.leaves.without_eku, Reason.REVOKED),
    "of another CA": (lambda lab: lab.pki.stranger, Reason.UNTRUSTED),
    "signed by itself": (lambda lab: lab.pki.leaves.impostor, Reason.UNTRUSTED),
    "of an impostor": (lambda lab: lab.pki.leaves.from_impostor_ca, Reason.UNTRUSTED),
    "for servers": (lambda lab: lab.pki.leaves.server_only, Reason.WRONG_KEY_USAGE),
    "none": (lambda lab: None, Reason.CERTIFICATE_REQUIRED),
}


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log everything."""
    caplog.set_level(logging.DEBUG, "mtls_auth")


def server_context(lab: TLSLab) -> ssl.SSLContext:
    """Return a server's context that asks for a certificate and does not take a revoked one."""
    return lab.tls(required=True, crl=lab.revoke(lab.pki.leaves.without_eku)).context()


@contextmanager
def talking(client: ssl.SSLContext, raw: socket.socket) -> Iterator[None]:
    """Be a client that says something, and takes what comes."""

    def talk() -> None:
        with suppress(OSError), client.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(b"ping")
            tls.recv(1)

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(talk)
        yield
        pending.result(TIMEOUT)


def the_record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """Return the only record."""
    (record,) = caplog.records
    return record


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", CLIENTS)
def test_sockets(lab: TLSLab, kind: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """A warning says who was refused and for which reason; filters and tests find both in the record."""
    certificate, reason = CLIENTS[kind]
    client = lab.client(certificate(lab), VERSIONS[version])
    with tcp_pair() as (near, far), talking(client, far):
        with pytest.raises(ssl.SSLError):
            server_context(lab).wrap_socket(near, server_side=True)
        near.close()
    record = the_record(caplog)
    assert (record.name, record.levelno) == ("mtls_auth", logging.WARNING)
    assert (record.__dict__["reason"], record.__dict__["peer"]) == (reason.value, LOCALHOST)
    assert type(record.__dict__["reason"]) is str
    assert record.getMessage().startswith(f"TLS handshake with {LOCALHOST} failed: {reason.value} (")


@pytest.mark.parametrize("kind", CLIENTS)
def test_memory(lab: TLSLab, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """TLS over memory, as trio has it, says the same of whoever its owner named, and then calls for the alert."""
    certificate, reason = CLIENTS[kind]
    connection = Memory(server_context(lab), lab.client(certificate(lab)))
    alerts: list[int] = []
    server: Any = connection.server
    assert isinstance(server, Logged)
    server.peer = "192.0.2.7"
    server.send_alert = lambda: alerts.append(len(caplog.records))
    with pytest.raises(ssl.SSLError):
        connection.shake_hands()
    record = the_record(caplog)
    assert (record.__dict__["reason"], record.__dict__["peer"]) == (reason.value, "192.0.2.7")
    assert alerts == [1]


def test_memory_of_nobody(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody said whose connection it is, the reason is logged all the same."""
    with pytest.raises(ssl.SSLCertVerificationError):
        Memory(server_context(lab), lab.client(lab.pki.stranger)).shake_hands()
    record = the_record(caplog)
    assert record.__dict__["peer"] is None
    assert f"failed: {Reason.UNTRUSTED} (" in record.getMessage()


def test_a_weak_key(lab: TLSLab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A key that OpenSSL takes for too short is the reason."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    monkeypatch.setattr(authority_module, "generate_key", lambda _kind: weak)
    issued = lab.pki.ca.issue("weak", key_type="rsa")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.set_ciphers("DEFAULT@SECLEVEL=0")
    client.load_verify_locations(cadata=lab.pki.ca.der)
    client.load_cert_chain(*issued.write(lab.directory, "weak"))
    with pytest.raises(ssl.SSLCertVerificationError):
        Memory(server_context(lab), client).shake_hands()
    assert the_record(caplog).__dict__["reason"] == Reason.WEAK_KEY


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (9, Reason.NOT_YET_VALID),
        (10, Reason.EXPIRED),
        (23, Reason.REVOKED),
        (26, Reason.WRONG_KEY_USAGE),
        (66, Reason.WEAK_KEY),
        (67, Reason.WEAK_KEY),
        (68, Reason.WEAK_KEY),
        (2, Reason.UNTRUSTED),
        (3, Reason.UNTRUSTED),
        (12, Reason.UNTRUSTED),
        (18, Reason.UNTRUSTED),
        (20, Reason.UNTRUSTED),
        (0, Reason.UNTRUSTED),
        (9999, Reason.UNTRUSTED),
    ],
)
def test_codes(code: int, reason: Reason, caplog: pytest.LogCaptureFixture) -> None:
    """OpenSSL's codes are reasons; one that nobody knows is that of a path that leads nowhere."""
    log_refusal("192.0.2.7", verify_code=code, message="words")
    assert the_record(caplog).getMessage() == f"TLS handshake with 192.0.2.7 failed: {reason.value} (words)"
    assert the_record(caplog).levelno == logging.WARNING


def test_a_client_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody can be named, nobody is."""
    log_refusal(None, verify_code=None, message="UNEXPECTED_EOF")
    assert the_record(caplog).getMessage() == (
        "TLS handshake with a client that is gone failed: no client certificate was looked at (UNEXPECTED_EOF)"
    )
    assert (the_record(caplog).__dict__["reason"], the_record(caplog).__dict__["peer"]) == (None, None)


NO_TLS = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "garbage": b"\x00" * 64,
    "PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n",
}


@pytest.mark.parametrize("data", NO_TLS.values(), ids=NO_TLS)
def test_what_is_no_tls(lab: TLSLab, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever speaks no TLS is nothing to be warned of."""
    with tcp_pair() as (near, far):
        far.sendall(data)
        with pytest.raises(ssl.SSLError):
            server_context(lab).wrap_socket(near, server_side=True)
    record = the_record(caplog)
    assert (record.levelno, record.__dict__["reason"], record.__dict__["peer"]) == (logging.INFO, None, LOCALHOST)
    assert "no client certificate was looked at" in record.getMessage()
    assert data.decode().strip() not in record.getMessage()


def test_other_failures(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A client with which there is nothing in common is no matter of its certificate."""
    server = lab.tls(minimum_version=ssl.TLSVersion.TLSv1_3).context()
    with pytest.raises(ssl.SSLError):
        Memory(server, lab.client(lab.pki.alice, ssl.TLSVersion.TLSv1_2)).shake_hands()
    record = the_record(caplog)
    assert (record.levelno, record.__dict__["reason"]) == (logging.INFO, None)
    assert "(UNSUPPORTED_PROTOCOL)" in record.getMessage()


def test_a_client_that_ends_it(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A client that closes in the handshake is logged by the error that the handshake ends with, without a warning."""
    with tcp_pair() as (near, far):
        far.close()
        with pytest.raises(OSError, match=r"EOF|reset"):
            server_context(lab).wrap_socket(near, server_side=True)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_client_that_does_not_trust_the_server(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """The client's own alert is not taken for an objection to the client."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=lab.pki.elsewhere.der)
    with tcp_pair() as (near, far), talking(client, far):
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            server_context(lab).wrap_socket(near, server_side=True)
        near.close()
    assert (the_record(caplog).levelno, the_record(caplog).__dict__["reason"]) == (logging.INFO, None)


@pytest.mark.parametrize("kind", ["none", "of another CA"])
def test_a_lazy_handshake(lab: TLSLab, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that makes its handshake when it is first read logs it then."""
    certificate, reason = CLIENTS[kind]
    with (
        tcp_pair() as (near, far),
        server_context(lab).wrap_socket(near, server_side=True, do_handshake_on_connect=False) as server,
        talking(lab.client(certificate(lab)), far),
    ):
        with pytest.raises(ssl.SSLError):
            server.recv(1)
        server.close()
    assert (the_record(caplog).__dict__["reason"], the_record(caplog).__dict__["peer"]) == (reason.value, LOCALHOST)


def test_a_good_lazy_handshake(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A good one is read from as any socket."""
    with (
        tcp_pair() as (near, far),
        server_context(lab).wrap_socket(near, server_side=True, do_handshake_on_connect=False) as server,
        talking(lab.client(lab.pki.alice), far),
    ):
        assert server.recv(4) == b"ping"
        assert server.getpeercert(True) == lab.pki.alice.der
        server.sendall(b"x")
    assert caplog.records == []


def test_waiting_is_no_failure(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A handshake that waits for the client has not failed, nor a read."""
    connection = Memory(server_context(lab), lab.client(lab.pki.alice))
    for step in (connection.server.do_handshake, connection.server.read):
        with pytest.raises(ssl.SSLWantReadError):
            step()
    connection.shake_hands()
    with pytest.raises(ssl.SSLWantReadError):
        connection.server.read()
    assert caplog.records == []


@pytest.mark.parametrize("garbage", [True, False])
def test_after_the_handshake(lab: TLSLab, garbage: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong after a good handshake is no handshake that failed: garbage, or an end without a goodbye."""
    connection = Memory(server_context(lab), lab.client(lab.pki.alice)).shake_hands()
    if garbage:
        connection.up.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    else:
        connection.up.write_eof()
    with pytest.raises(ssl.SSLError):
        connection.server.read()
    assert caplog.records == []


def test_goodbye(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A client that ends the connection in good order has not failed."""
    connection = Memory(server_context(lab), lab.client(lab.pki.alice)).shake_hands()
    with suppress(ssl.SSLWantReadError):
        connection.client.unwrap()
    assert connection.server.read() == b""
    assert caplog.records == []


def test_nothing_secret(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """The log has neither the certificate nor a name from it, which a stranger wrote."""
    hostile = lab.pki.elsewhere.issue("evil\r\nTLS handshake with 10.0.0.1 failed", san=[x509.DNSName("evil.example")])
    with pytest.raises(ssl.SSLCertVerificationError):
        Memory(server_context(lab), lab.client(hostile)).shake_hands()
    record = the_record(caplog)
    assert "evil" not in record.getMessage()
    assert "\n" not in record.getMessage()
    assert "CERTIFICATE" not in record.getMessage()


def test_classes(lab: TLSLab) -> None:
    """The classes of a context are derived from those that it had, once each, and keep their names."""

    class Special(ssl.SSLSocket):
        """What gevent has of its own."""

    contexts = [lab.tls(log_failures=False).load().context for _ in range(2)]
    for context in contexts:
        context.sslsocket_class = Special
        log_failures_of(context)
    kind: type = contexts[0].sslsocket_class
    assert issubclass(kind, Special)
    assert issubclass(kind, Logged)
    assert kind.__name__ == "Special"
    assert contexts[1].sslsocket_class is kind
    assert issubclass(contexts[0].sslobject_class, ssl.SSLObject)
    assert ssl.SSLContext.sslsocket_class is ssl.SSLSocket
