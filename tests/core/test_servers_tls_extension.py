"""The ASGI TLS extension that is added for servers without one."""

import asyncio
import copy
import pickle
import ssl
from typing import Any, cast

import pytest
from cryptography import x509

from mtls_auth import AnyVerifiedCertificate, Authenticated, Authenticator, Connection, Reason, TLSSocket
from mtls_auth.asgi import Receive, Scope, Send
from mtls_auth.known_headers import known_headers
from mtls_auth.server_tls import PEER_EXTENSION, ScopeFacts
from mtls_auth.servers.tls_extension import ConnectionApp, tls_extension
from tests.core.conftest import FakeSocket, FakeTransport, Message, drive, reason_of
from tests.core.tls_lab import VERSIONS, Memory, TLSLab
from tests.pki import HOSTILE_NAMES, BrokenLeaves

LEAF, ISSUER = b"0\x03\x02\x01\x00", b"0\x03\x02\x01\x01"


class FakeTLS:
    """The TLS layer of a connection, as Python up to 3.12 shows it."""

    def __init__(self, leaf: bytes | None, version: str | None = "TLSv1.3", alpn: str | None = None) -> None:
        self.leaf = leaf
        self.alpn = alpn
        self._version = version

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        assert binary_form
        return self.leaf

    def version(self) -> str | None:
        return self._version

    def selected_alpn_protocol(self) -> str | None:
        return self.alpn

    def cipher(self) -> tuple[str, str, int] | None:
        return None if self._version is None else ("TLS_AES_128_GCM_SHA256", self._version, 128)


class LostSocket(FakeSocket):
    """A socket that cannot say who is at its other end."""

    def getpeername(self) -> object:
        raise OSError(107, "Transport endpoint is not connected")


PEM_ISSUER = ssl.DER_cert_to_PEM_cert(ISSUER)


def pem(*ders: bytes) -> tuple[str, ...]:
    """Return certificates as the extension carries them."""
    return tuple(ssl.DER_cert_to_PEM_cert(der) for der in ders)


def extensions_on(transport: FakeTransport) -> dict[str, Any]:
    """Return the extensions of a request on a connection."""
    (scope,) = scopes_through(transport, {"type": "http"})
    extensions: dict[str, Any] = scope["extensions"]
    return extensions


def scopes_through(transport: FakeTransport, *scopes: Scope) -> list[Scope]:
    """Return scopes as an application on this connection gets them."""
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    connection = ConnectionApp.on(application, transport)
    for scope in scopes:
        drive(cast(Any, connection), scope, {"type": "x"})
    return seen


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        ({"socket": FakeSocket("10.0.0.1")}, {PEER_EXTENSION: "10.0.0.1"}),
        ({"socket": FakeSocket("unix:/run/app.sock")}, {PEER_EXTENSION: "unix:/run/app.sock"}),
        ({"socket": FakeSocket("unix:")}, {}),
    ],
    ids=["nothing", "TCP", "Unix", "unnamed"],
)
def test_peer(extra: dict[str, object], expected: dict[str, object]) -> None:
    """The peer is a plain text in the extensions; where nobody knows it there is none."""
    extensions = extensions_on(FakeTransport(extra))
    assert extensions == expected
    assert [type(value) for value in extensions.values()] == [str] * len(expected)


@pytest.mark.parametrize(("peer", "expected"), [("unix:/run/app.sock", "unix:/run/app.sock"), ("10.0.0.1", None)])
def test_a_peer_that_cannot_be_asked(peer: str, expected: str | None) -> None:
    """Where the socket does not tell its peer, a Unix socket has still its path, and TLS its certificate."""
    extra = {"socket": LostSocket(peer), "ssl_object": FakeTLS(LEAF)}
    extensions = extensions_on(FakeTransport(extra))
    assert extensions.get(PEER_EXTENSION) == expected
    assert extensions["tls"]["client_cert_chain"] == pem(LEAF)


@pytest.mark.parametrize(
    ("version", "number"),
    [("TLSv1.3", 0x0304), ("TLSv1.2", 0x0303), ("TLSv1.1", 0x0302), ("TLSv1", 0x0301), ("TLSv9", None), (None, None)],
)
def test_versions(version: str | None, number: int | None) -> None:
    """Versions of TLS are the numbers of RFC 8446 §4.1.2; one that nobody knows is none."""
    extensions = extensions_on(FakeTransport({"ssl_object": FakeTLS(LEAF, version)}))
    assert extensions["tls"]["tls_version"] == number


@pytest.mark.parametrize(
    ("cipher", "number"),
    [
        ("TLS_AES_128_GCM_SHA256", 0x1301),
        ("TLS_AES_256_GCM_SHA384", 0x1302),
        ("ECDHE-RSA-AES128-GCM-SHA256", 0xC02F),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCA9),
        ("NO-SUCH-CIPHER", None),
        ("", None),
        (None, None),
    ],
)
def test_cipher_suites(cipher: str | None, number: int | None) -> None:
    """Cipher suites are the numbers of IANA's registry; one that nobody knows is none."""
    assert tls_extension((), version=None, cipher=cipher)["cipher_suite"] == number


def test_shape(leaves: BrokenLeaves) -> None:
    """The extension has the keys and types of ASGI's TLS extension 0.2, leaf first."""
    chain = (leaves.good.der, leaves.ca.der)
    extension = tls_extension(chain, version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256")
    assert extension == {
        "server_cert": None,
        "client_cert_chain": (leaves.good.pem.decode(), leaves.ca.pem.decode()),
        "client_cert_name": "CN=alice",
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }
    assert {type(value) for value in extension.values()} == {type(None), tuple, str, int}
    assert tls_extension((), version="TLSv1.2", cipher=None) == {
        "server_cert": None,
        "client_cert_chain": (),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0303,
        "cipher_suite": None,
    }


def test_names(leaves: BrokenLeaves) -> None:
    """The name is the subject in the form of RFC 4514, which escapes; one that is empty is an empty text."""
    names = {
        "alice,CN=admin": "CN=alice\\,CN=admin",
        "#admin": "CN=\\#admin",
        'a "b" <c>;d+e\\': 'CN=a \\"b\\" \\<c\\>\\;d\\+e\\\\',
    }
    for common_name, expected in names.items():
        leaf = leaves.named(common_name).der
        assert tls_extension((leaf,), version=None, cipher=None)["client_cert_name"] in {
            expected,
            expected.replace("\\=", "="),
        }
    assert tls_extension((leaves.without_name.der,), version=None, cipher=None)["client_cert_name"] == ""


@pytest.mark.parametrize("common_name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_names(leaves: BrokenLeaves, common_name: str) -> None:
    """A name that nobody should have does no harm: the certificate is told as it is, for others to refuse."""
    leaf = leaves.named(common_name).der
    extension = tls_extension((leaf,), version=None, cipher=None)
    assert extension["client_cert_chain"] == pem(leaf)
    assert type(extension["client_cert_name"]) is str


def broken_in_the_name(leaves: BrokenLeaves) -> bytes:
    """Return a certificate whose subject is no UTF-8."""
    return leaves.named("alice").der.replace(b"\x0c\x05alice", b"\x0c\x05\xff\xfe\xfd\xfc\xfb")


def test_certificates_that_cannot_be_read(leaves: BrokenLeaves) -> None:
    """Where the certificate or its name cannot be read there is no name, and the certificate is told all the same."""
    broken = broken_in_the_name(leaves)
    with pytest.raises(ValueError, match=r"."):
        x509.load_der_x509_certificate(broken).subject.rfc4514_string()
    for leaf in (broken, LEAF, b"", b"\x00" * 100):
        extension = tls_extension((leaf,), version=None, cipher=None)
        assert extension["client_cert_name"] is None
        assert extension["client_cert_chain"] == pem(leaf)


def test_copies(leaves: BrokenLeaves) -> None:
    """A scope can be copied and sent to other processes, whatever holds its connection."""
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(leaves.good.der)})
    (scope,) = scopes_through(transport, {"type": "http", "scheme": "https"})
    assert copy.deepcopy(scope) == scope
    assert pickle.loads(pickle.dumps(scope)) == scope  # noqa: S301


TRANSPORT = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(LEAF)})


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("before", [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {"x": {}}}])
def test_scope(kind: str, before: dict[str, Any]) -> None:
    """HTTP and WebSocket scopes get the extensions, beside those that the server has."""
    (seen,) = scopes_through(TRANSPORT, {"type": kind, **before})
    assert seen["extensions"][PEER_EXTENSION] == "10.0.0.1"
    assert seen["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    assert set(seen["extensions"]) == {PEER_EXTENSION, "tls", *(before.get("extensions") or {})}


@pytest.mark.parametrize(
    "own",
    [
        {"client_cert": ISSUER},
        {"client_cert_chain": [PEM_ISSUER]},
        {"client_cert_chain": (PEM_ISSUER,), "client_cert_name": "CN=bob", "client_cert_error": None},
        {"client_cert_error": "expired"},
        {"client_cert": ISSUER, "client_cert_chain": [], "client_cert_error": "x"},
    ],
    ids=["DER leaf", "PEM chain", "all of 0.2", "an error", "both"],
)
def test_the_server_s_own_extension(own: dict[str, Any]) -> None:
    """An extension of the server's own that tells of the certificate is left as it is; the peer is ours."""
    theirs = {"tls": own, PEER_EXTENSION: "192.0.2.66", "x": {}}
    (seen,) = scopes_through(TRANSPORT, {"type": "http", "extensions": theirs})
    assert seen["extensions"]["tls"] is own
    assert seen["extensions"][PEER_EXTENSION] == "10.0.0.1"
    assert seen["extensions"]["x"] == {}


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"client_cert": None},
        {"client_cert": b"", "client_cert_chain": ()},
        {"server_cert": "PEM", "client_cert_chain": [], "client_cert_name": None, "client_cert_error": None},
        {"client_cert_name": "CN=bob"},
    ],
)
def test_an_empty_extension_of_the_server(own: dict[str, Any]) -> None:
    """One that tells of no certificate gives way to ours: the server may not know of it."""
    (seen,) = scopes_through(TRANSPORT, {"type": "http", "extensions": {"tls": own}})
    assert seen["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    plain = FakeTransport({"socket": FakeSocket("10.0.0.1")})
    (seen,) = scopes_through(plain, {"type": "http", "extensions": {"tls": own}})
    assert seen["extensions"]["tls"] is own


def test_a_server_that_sets_it_to_none() -> None:
    """An extension that is None, where a server says so that it is not there, gives way to ours."""
    (seen,) = scopes_through(TRANSPORT, {"type": "http", "extensions": {"tls": None}})
    assert seen["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)


@pytest.mark.parametrize(
    ("error", "reason"),
    [("expired", Reason.EXPIRED), ("revoked", Reason.REVOKED), ("X509_V_ERR_UNSPECIFIED", Reason.UNTRUSTED)],
)
@pytest.mark.parametrize("shape", [{"client_cert": ISSUER}, {"client_cert_chain": [PEM_ISSUER]}, {}])
def test_an_error_of_the_server(shape: dict[str, Any], error: str, reason: Reason) -> None:
    """What the server has against the certificate refuses it, also where ours would tell of it without an error."""
    own = {**shape, "client_cert_error": error}
    (seen,) = scopes_through(TRANSPORT, {"type": "http", "scheme": "https", "extensions": {"tls": own}})
    assert reason_of(ScopeFacts(seen).client_chain) is reason


def test_objections(leaves: BrokenLeaves) -> None:
    """What is held against the connection is asked at each request, and said beside the certificate, whosever."""
    answers = iter([None, Reason.REVOKED, None, Reason.UNTRUSTED])
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    extension = tls_extension((leaves.good.der,), version="TLSv1.3", cipher=None)
    connection = ConnectionApp(application, {"tls": extension}, lambda: next(answers))
    own = {"client_cert": ISSUER, "x": 1}
    for extensions in ({}, {}, {"tls": own}, {"tls": own}):
        drive(cast(Any, connection), {"type": "websocket", "scheme": "wss", "extensions": extensions})
    drive(cast(Any, connection), {"type": "lifespan"}, {"type": "x"})
    found = [scope["extensions"]["tls"] for scope in seen[:4]]
    assert [each.get("client_cert_error") for each in found] == [None, "revoked", None, "untrusted"]
    assert {type(each.get("client_cert_error")) for each in found} == {type(None), str}
    assert [reason_of(ScopeFacts(scope).client_chain) for scope in seen[:4]] == [
        None,
        Reason.REVOKED,
        None,
        Reason.UNTRUSTED,
    ]
    assert extension["client_cert_error"] is None
    assert own == {"client_cert": ISSUER, "x": 1}
    assert found[3]["x"] == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_connection(lab: TLSLab, version: str) -> None:
    """A real connection tells the leaf, its issuers where Python does, version, cipher; resumed the leaf alone."""
    issued = lab.pki.leaves.through_intermediate
    context, client = lab.tls().context(), lab.client(issued, VERSIONS[version])
    first = Memory(context, client).shake_hands()
    resumed = Memory(context, client, first.client.session).shake_hands()
    assert resumed.server.session_reused
    for connection, most in ((first, 3), (resumed, 1)):
        transport = FakeTransport({"ssl_object": connection.server})
        extension = extensions_on(transport)["tls"]
        cipher = connection.server.cipher()
        assert cipher is not None
        assert extension["client_cert_chain"][0] == ssl.DER_cert_to_PEM_cert(issued.der)
        assert len(extension["client_cert_chain"]) == (most if hasattr(connection.server, "get_verified_chain") else 1)
        assert extension["client_cert_name"] == issued.certificate.subject.rfc4514_string()
        assert extension["tls_version"] == {"1.2": 0x0303, "1.3": 0x0304}[version]
        assert extension["cipher_suite"] in {found["id"] & 0xFFFF for found in client.get_ciphers()}


def test_other_scopes() -> None:
    """A scope of another type is left alone."""
    (seen,) = scopes_through(TRANSPORT, {"type": "lifespan"})
    assert seen == {"type": "lifespan"}


def test_requests_of_one_connection_share_nothing() -> None:
    """What one request does to its extensions the next one does not see."""
    first, second = scopes_through(TRANSPORT, {"type": "http"}, {"type": "http"})
    first["extensions"]["tls"] = None
    first["extensions"][PEER_EXTENSION] = "192.0.2.1"
    assert second["extensions"]["tls"]["client_cert_chain"] == pem(LEAF)
    (third,) = scopes_through(TRANSPORT, {"type": "http"})
    assert third["extensions"][PEER_EXTENSION] == "10.0.0.1"


def test_the_connection_is_asked_once() -> None:
    """The transport is asked when the connection is made: it forgets both facts when it closes."""
    extra: dict[str, object] = {"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(LEAF)}
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    connection = ConnectionApp.on(application, FakeTransport(extra))
    extra.clear()
    drive(cast(Any, connection), {"type": "http"})
    assert set(seen[0]["extensions"]) == {PEER_EXTENSION, "tls"}


def test_it_is_what_the_core_reads(leaves: BrokenLeaves) -> None:
    """The certificate and the peer arrive at the authenticator."""
    transport = FakeTransport({"socket": FakeSocket("10.0.0.1"), "ssl_object": FakeTLS(leaves.good.der)})
    (scope,) = scopes_through(transport, {"type": "http", "scheme": "https", "headers": []})
    assert ScopeFacts(scope).peer() == "10.0.0.1"
    decision = Authenticator(TLSSocket(), policy=AnyVerifiedCertificate()).authenticate(
        Connection.from_scope(scope, known_headers())
    )
    assert isinstance(decision, Authenticated)
    assert decision.identity.fingerprint_sha256 == leaves.good.fingerprint_sha256


def test_more_arguments() -> None:
    """What a server passes beside ASGI's own arguments comes through, as hypercorn's two functions do."""
    seen: list[tuple[Any, ...]] = []

    async def application(scope: Scope, *rest: Any) -> None:
        seen.append(rest)

    asyncio.run(cast(Any, ConnectionApp.on(application, TRANSPORT)({"type": "http"}, 1, 2, 3, 4)))
    assert seen == [(1, 2, 3, 4)]


def test_the_application_s_answer_is_awaited() -> None:
    """What the application raises comes out of the call."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("from the application")

    async def nothing() -> Message:
        return {}

    async def send(message: Message) -> None: ...

    with pytest.raises(LookupError, match="from the application"):
        asyncio.run(cast(Any, ConnectionApp.on(application, TRANSPORT))({"type": "http"}, nothing, send))
