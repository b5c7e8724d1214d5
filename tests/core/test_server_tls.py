"""What servers say of a connection: the true peer, the stated one, the certificate on the socket."""

import ssl
from typing import Any

import pytest

from mtls_auth.peers import Peer
from mtls_auth.server_tls import PEER_EXTENSION, EnvironFacts, ScopeFacts, StatedFacts
from tests.core.conftest import FakeSocket

DER = b"0\x03\x02\x01\x00"
PEM = ssl.DER_cert_to_PEM_cert(DER)


class Gone(FakeSocket):
    """A socket whose client is gone."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def getpeername(self) -> object:
        raise self.error

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        raise self.error


class PlainSocket:
    """A socket without TLS."""

    def getpeername(self) -> object:
        return ("10.0.0.1", 40000)

    def getsockname(self) -> object:
        return ("192.0.2.1", 80)


@pytest.mark.parametrize(
    ("socket", "peer", "chain"),
    [
        (FakeSocket("10.0.0.1", DER), "10.0.0.1", (DER,)),
        (FakeSocket("10.0.0.1"), "10.0.0.1", ()),
        (FakeSocket("10.0.0.1", b""), "10.0.0.1", ()),
        (FakeSocket("unix:/run/app.sock"), "unix:/run/app.sock", ()),
        (PlainSocket(), "10.0.0.1", ()),
        (Gone(OSError(107, "not connected")), None, ()),
        (Gone(ssl.SSLError("closed")), None, ()),
        (None, None, ()),
    ],
    ids=["certificate", "none", "empty", "Unix", "plain", "client gone", "TLS gone", "other server"],
)
def test_environ(socket: object, peer: str | None, chain: tuple[bytes, ...]) -> None:
    """gunicorn's socket tells the peer and the certificate; without it nothing is known."""
    facts = EnvironFacts({"gunicorn.socket": socket, "REMOTE_ADDR": "203.0.113.9"} if socket else {})
    assert facts.peer() == peer
    assert facts.client_chain() == chain


@pytest.mark.parametrize(
    ("environ", "peer", "chain"),
    [
        ({"werkzeug.socket": FakeSocket("10.0.0.1", DER)}, "10.0.0.1", (DER,)),
        ({"werkzeug.socket": PlainSocket()}, "10.0.0.1", ()),
        ({"werkzeug.socket": FakeSocket("10.0.0.1", DER), "gunicorn.socket": None}, "10.0.0.1", (DER,)),
        ({"werkzeug.socket": FakeSocket("10.0.0.1", DER), "gunicorn.socket": PlainSocket()}, "10.0.0.1", ()),
        ({"werkzeug.socket": None}, None, ()),
        ({"HTTP_WERKZEUG.SOCKET": "10.0.0.1", "werkzeug_socket": FakeSocket("10.0.0.1", DER)}, None, ()),
    ],
    ids=["certificate", "plain", "no other", "gunicorn's first", "none", "other names"],
)
def test_environ_of_werkzeug(environ: dict[str, Any], peer: str | None, chain: tuple[bytes, ...]) -> None:
    """werkzeug's socket tells the same as gunicorn's, and only where that is not there."""
    facts = EnvironFacts(environ)
    assert (facts.peer(), facts.client_chain()) == (peer, chain)


def test_environ_before_the_handshake() -> None:
    """A handshake that is not done has no certificate."""
    assert EnvironFacts({"gunicorn.socket": Gone(ValueError("handshake not done yet"))}).client_chain() == ()


@pytest.mark.parametrize("name", ["SSL_CLIENT_CERT", "HTTP_X_SSL_CLIENT_CERT", "wsgi.peercert", "REMOTE_USER"])
def test_environ_texts_are_not_asked(name: str) -> None:
    """No other key of an environ is taken for a certificate or a peer."""
    facts = EnvironFacts({name: PEM})
    assert (facts.client_chain(), facts.peer(), facts.stated_address()) == ((), None, None)


def test_stated_address_of_an_environ() -> None:
    """`REMOTE_ADDR` is stated, not the peer."""
    facts = EnvironFacts({"REMOTE_ADDR": "203.0.113.9"})
    assert facts.stated_address() == "203.0.113.9"
    assert facts.peer() is None


@pytest.mark.parametrize(
    ("extensions", "chain"),
    [
        (None, ()),
        ({}, ()),
        ({"tls": None}, ()),
        ({"tls": {}}, ()),
        ({"tls": {"client_cert_chain": None}}, ()),
        ({"tls": {"client_cert_chain": []}}, ()),
        ({"tls": {"client_cert_chain": [PEM, PEM]}}, (PEM, PEM)),
        ({"tls": {"client_cert": DER}}, (DER,)),
        ({"tls": {"client_cert": None, "client_cert_chain": (PEM,)}}, (PEM,)),
        ({"tls": {"client_cert": DER, "client_cert_chain": (PEM,)}}, (DER,)),
        ({"other": {"client_cert": DER}}, ()),
    ],
)
def test_scope(extensions: dict[str, Any] | None, chain: tuple[str | bytes, ...]) -> None:
    """The TLS extension tells the certificate, in PEM or in DER, and nothing else does."""
    scope: dict[str, Any] = {"scheme": "https", "client": ("203.0.113.9", 1)}
    if extensions is not None:
        scope["extensions"] = extensions
    assert ScopeFacts(scope).client_chain() == chain


@pytest.mark.parametrize(
    ("scheme", "known"), [("https", True), ("wss", True), ("http", False), ("ws", False), (None, False)]
)
def test_scope_without_tls(scheme: str | None, known: bool) -> None:
    """A request that did not come over TLS has no certificate, whatever the extension says."""
    scope: dict[str, Any] = {"extensions": {"tls": {"client_cert": DER}}}
    if scheme is not None:
        scope["scheme"] = scheme
    assert ScopeFacts(scope).client_chain() == ((DER,) if known else ())


@pytest.mark.parametrize(
    ("scope", "peer", "stated"),
    [
        ({}, None, None),
        ({"client": None, "extensions": None}, None, None),
        ({"client": ("203.0.113.9", 1)}, None, "203.0.113.9"),
        ({"client": ("203.0.113.9", 1), "extensions": {PEER_EXTENSION: "10.0.0.1"}}, "10.0.0.1", "203.0.113.9"),
        ({"extensions": {PEER_EXTENSION: "unix:/run/app.sock"}}, "unix:/run/app.sock", None),
        ({"extensions": {PEER_EXTENSION: ""}}, None, None),
    ],
)
def test_scope_peer(scope: dict[str, Any], peer: str | None, stated: str | None) -> None:
    """The peer comes from the extension alone; `client` is only stated."""
    assert ScopeFacts(scope).peer() == peer
    assert ScopeFacts(scope).stated_address() == stated


def test_stated_facts() -> None:
    """Facts given by hand are returned as they are; none are given by default."""
    facts = StatedFacts(transport_peer=Peer("10.0.0.1"), address="203.0.113.9", chain=(DER,))
    assert (facts.peer(), facts.stated_address(), facts.client_chain()) == ("10.0.0.1", "203.0.113.9", (DER,))
    empty = StatedFacts()
    assert (empty.peer(), empty.stated_address(), empty.client_chain()) == (None, None, ())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("a",), "1"),
        (("b", "c"), {"d": 2}),
        (("b", "c", "d"), 2),
        (("b", "c", "d", "e"), None),
        (("a", "b"), None),
        (("x",), None),
        (("x", "y"), None),
        (("l", "0"), None),
        (("n", "x"), None),
    ],
)
def test_variables(path: tuple[str, ...], value: object) -> None:
    """A variable is found along its path through nested mappings, or it is not there."""
    server: dict[str, Any] = {"a": "1", "b": {"c": {"d": 2}}, "l": ["0"], "n": None}
    for facts in (EnvironFacts(server), ScopeFacts(server), StatedFacts(variables=server)):
        assert facts.variable(path) == value
    assert StatedFacts().variable(path) is None
