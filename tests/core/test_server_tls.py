"""What servers say of a connection: the true peer, the stated one, the certificate on the socket."""

import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import Reason
from mtls_auth.peers import Peer
from mtls_auth.server_tls import (
    PEER_EXTENSION,
    SOCKET_KEY,
    EnvironFacts,
    ScopeFacts,
    StatedFacts,
    verified_chain,
)
from tests.core.conftest import FakeSocket, reason_of
from tests.core.tls_lab import TLSLab, connected

DER, ISSUER = b"0\x03\x02\x01\x00", b"0\x03\x02\x01\x01"
PEM = ssl.DER_cert_to_PEM_cert(DER)
OVER_TLS = {"wsgi.url_scheme": "https"}


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
    facts = EnvironFacts({"gunicorn.socket": socket, "REMOTE_ADDR": "203.0.113.9", **OVER_TLS} if socket else OVER_TLS)
    assert facts.peer() == peer
    assert facts.client_chain() == chain


@pytest.mark.parametrize("key", ["gunicorn.socket", "gunicorn.sock", "werkzeug.socket", SOCKET_KEY])
@pytest.mark.parametrize(
    ("socket", "peer", "chain"),
    [
        (FakeSocket("10.0.0.1", DER), "10.0.0.1", (DER,)),
        (PlainSocket(), "10.0.0.1", ()),
        (None, None, ()),
    ],
    ids=["certificate", "plain", "none"],
)
def test_sockets_of_servers(key: str, socket: object, peer: str | None, chain: tuple[bytes, ...]) -> None:
    """Every server's socket tells the same, under the name that this server gives it."""
    facts = EnvironFacts({key: socket, **OVER_TLS})
    assert (facts.peer(), facts.client_chain()) == (peer, chain)


@pytest.mark.parametrize(
    ("environ", "peer", "chain"),
    [
        ({"werkzeug.socket": FakeSocket("10.0.0.1", DER), "gunicorn.socket": None}, "10.0.0.1", (DER,)),
        ({"werkzeug.socket": FakeSocket("10.0.0.1", DER), "gunicorn.socket": PlainSocket()}, "10.0.0.1", ()),
        ({SOCKET_KEY: FakeSocket("10.0.0.2", DER), "gunicorn.sock": FakeSocket("10.0.0.1")}, "10.0.0.1", ()),
        ({"HTTP_WERKZEUG.SOCKET": "10.0.0.1", "werkzeug_socket": FakeSocket("10.0.0.1", DER)}, None, ()),
    ],
    ids=["the only one", "a plain one first", "gunicorn's first", "other names"],
)
def test_several_sockets(environ: dict[str, Any], peer: str | None, chain: tuple[bytes, ...]) -> None:
    """The first socket that is there is asked, and no other: not for a certificate that it does not have either."""
    facts = EnvironFacts({**environ, **OVER_TLS})
    assert (facts.peer(), facts.client_chain()) == (peer, chain)


@pytest.mark.parametrize("scheme", [None, "", "http", "HTTPS", "wss", "https "])
def test_environ_without_tls(scheme: str | None) -> None:
    """A scheme other than https is no TLS, whatever the socket says; the peer is who it is."""
    environ: dict[str, Any] = {"gunicorn.socket": FakeSocket("10.0.0.1", DER)}
    if scheme is not None:
        environ["wsgi.url_scheme"] = scheme
    assert (EnvironFacts(environ).peer(), EnvironFacts(environ).client_chain()) == ("10.0.0.1", ())


def test_environ_before_the_handshake() -> None:
    """A handshake that is not done has no certificate."""
    assert EnvironFacts({"gunicorn.socket": Gone(ValueError("not done")), **OVER_TLS}).client_chain() == ()


@pytest.mark.parametrize("name", ["SSL_CLIENT_CERT", "HTTP_X_SSL_CLIENT_CERT", "wsgi.peercert", "REMOTE_USER"])
def test_environ_texts_are_not_asked(name: str) -> None:
    """No other key of an environ is taken for a certificate or a peer."""
    facts = EnvironFacts({name: PEM, **OVER_TLS})
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


@pytest.mark.parametrize("shape", [{"client_cert": DER}, {"client_cert_chain": (PEM,)}, {}], ids=["DER", "PEM", "none"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("expired", Reason.EXPIRED),
        ("revoked", Reason.REVOKED),
        (Reason.UNTRUSTED, Reason.UNTRUSTED),
        ("X509_V_ERR_CERT_HAS_EXPIRED", Reason.UNTRUSTED),
        ("certificate has expired", Reason.UNTRUSTED),
        (True, Reason.UNTRUSTED),
        (10, Reason.UNTRUSTED),
    ],
)
def test_an_objection_of_the_server(shape: dict[str, object], error: object, reason: Reason) -> None:
    """A certificate that the server's TLS has something against is refused, for its reason if that is one of ours."""
    facts = ScopeFacts({"scheme": "https", "extensions": {"tls": {**shape, "client_cert_error": error}}})
    assert reason_of(facts.client_chain) is reason


@pytest.mark.parametrize("error", [None, ""])
def test_no_objection_of_the_server(error: str | None) -> None:
    """An error that is none leaves the certificate as it is."""
    tls = {"client_cert": DER, "client_cert_error": error}
    assert ScopeFacts({"scheme": "https", "extensions": {"tls": tls}}).client_chain() == (DER,)
    assert ScopeFacts({"scheme": "http", "extensions": {"tls": {**tls, "client_cert_error": "x"}}}).client_chain() == ()


class Chained:
    """TLS as Python shows it since 3.13, and how often it was asked."""

    def __init__(self, leaf: bytes | None, *chain: bytes) -> None:
        self.leaf = leaf
        self.chain = list(chain)
        self.asked = 0

    def getpeercert(self, binary_form: bool) -> bytes | None:
        assert binary_form
        return self.leaf

    def get_verified_chain(self) -> list[bytes]:
        self.asked += 1
        return self.chain


@pytest.mark.parametrize(
    ("tls", "chain"),
    [
        (FakeSocket(der=None), ()),
        (FakeSocket(der=b""), ()),
        (FakeSocket(der=DER), (DER,)),
        (Chained(DER, DER, ISSUER), (DER, ISSUER)),
        (Chained(DER, DER), (DER,)),
        (Chained(DER), (DER,)),
        (Chained(DER, ISSUER), (DER,)),
        (Chained(DER, ISSUER, DER), (DER,)),
        (Chained(None, DER, ISSUER), ()),
    ],
    ids=[
        "none",
        "empty",
        "leaf",
        "chain",
        "chain of one",
        "resumed: empty chain",
        "chain of another leaf",
        "chain in another order",
        "chain without a leaf",
    ],
)
def test_verified_chain(tls: object, chain: tuple[bytes, ...]) -> None:
    """The leaf is the peer's certificate and nothing else; the chain is added where it belongs to it."""
    for _request in range(2):
        assert verified_chain(tls) == chain


def test_a_chain_is_asked_for_once() -> None:
    """The chain of a connection is remembered with its leaf, and asked for again where the leaf is another."""
    tls = Chained(DER, DER, ISSUER)
    assert [verified_chain(tls) for _request in range(3)] == [(DER, ISSUER)] * 3
    assert tls.asked == 1
    tls.leaf, tls.chain = ISSUER, [ISSUER]
    assert verified_chain(tls) == (ISSUER,)
    tls.leaf = None
    assert verified_chain(tls) == ()
    assert tls.asked == 2


def test_a_real_chain(lab: TLSLab) -> None:
    """A real connection tells the leaf, and the issuers where Python does."""
    issued = lab.pki.leaves.through_intermediate
    with connected(lab.tls().context(), lab.client(issued)) as (server, _client):
        chain = EnvironFacts({SOCKET_KEY: server, **OVER_TLS}).client_chain()
        assert chain[0] == issued.der
        expected = [issued.der, *(der_of(each) for each in (*issued.chain, issued.root))]
        assert list(chain) in ([issued.der], expected)
        assert (len(chain) > 1) is hasattr(server, "get_verified_chain")


def test_a_closed_socket(lab: TLSLab) -> None:
    """A connection that was closed meanwhile, by whichever thread, has no certificate."""
    with connected(lab.tls().context(), lab.client(lab.pki.alice)) as (server, _client):
        facts = EnvironFacts({SOCKET_KEY: server, **OVER_TLS})
        assert facts.client_chain()[0] == lab.pki.alice.der
    assert facts.client_chain() == ()


def der_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate in DER."""
    return certificate.public_bytes(Encoding.DER)


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
