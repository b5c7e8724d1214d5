"""Connections: which fields of a request are kept, under which name, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Connection, Reason
from mtls_auth.header_names import HeaderNames
from mtls_auth.server_tls import EnvironFacts, ScopeFacts, StatedFacts
from tests.core.conftest import Request, environ_of, reason_of, scope_of

KNOWN = HeaderNames({"client-cert", "client-cert-chain", "x-ssl-client-verify"})


def from_headers(*headers: tuple[bytes, bytes]) -> Connection:
    """Read header pairs."""
    return Connection.from_headers(headers, KNOWN, StatedFacts())


def test_known_fields_are_kept() -> None:
    """Fields of known names are kept in order, in any case; others are not even held."""
    connection = from_headers(
        (b"Accept", b"*/*"),
        (b"Client-Cert", b"a"),
        (b"cookie", b"secret"),
        (b"CLIENT-CERT", b"b"),
        (b"client-cert", b""),
    )
    assert connection.fields == {"client-cert": ("a", "b", "")}
    assert connection.aliases == frozenset()
    assert connection.received == {"Client-Cert", "CLIENT-CERT", "client-cert"}
    assert "secret" not in repr(connection)


@pytest.mark.parametrize("name", [b"client_cert", b"Client_Cert", b"CLIENT.CERT", b"client cert", b"client\xffcert"])
def test_other_spellings_are_aliases(name: bytes) -> None:
    """A field in another spelling is remembered by name, its value never read."""
    connection = from_headers((name, b"a"))
    assert connection.fields == {}
    assert connection.aliases == {"client-cert"}
    assert connection.received == {name.decode("latin-1")}


def test_values_are_latin_1() -> None:
    """Every byte of a value is one character, as WSGI has it."""
    assert from_headers((b"client-cert", bytes(range(256)))).fields["client-cert"] == ("".join(map(chr, range(256))),)


@pytest.mark.parametrize(
    ("values", "one"),
    [((), None), ((b"",), ""), ((b"a",), "a"), ((b" \ta b\t ",), "a b"), ((b"\x0ba\xa0",), "\x0ba\xa0")],
    ids=["absent", "empty", "one", "blanks around", "other white space"],
)
def test_one(values: tuple[bytes, ...], one: str | None) -> None:
    """The only value of a field comes without the spaces and tabs around it; nothing else is taken off."""
    assert from_headers(*((b"client-cert", value) for value in values)).one("client-cert") == one


@pytest.mark.parametrize("values", [(b"a", b"a"), (b"", b""), (b"", b"a"), (b"a", b"b", b"c")])
def test_one_of_several(values: tuple[bytes, ...]) -> None:
    """A field that came several times is ambiguous, even if it says the same."""
    connection = from_headers(*((b"client-cert", value) for value in values))
    with pytest.raises(CertificateRejected, match=f"client-cert came {len(values)} times") as refused:
        connection.one("client-cert")
    assert refused.value.reason is Reason.AMBIGUOUS_HEADER


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ((), None),
        ((b"",), ""),
        ((b"a",), "a"),
        ((b" a\t", b" b "), "a\t, b"),
        ((b"a", b"a"), "a,a"),
        ((b"", b"a", b""), ",a,"),
    ],
    ids=["absent", "empty", "one", "two", "twice", "with empty ones"],
)
def test_joined(values: tuple[bytes, ...], joined: str | None) -> None:
    """The lines of a list are joined by commas, as a WSGI server would have; nothing is dropped. RFC 9110 §5.3."""
    assert from_headers(*((b"client-cert", value) for value in values)).joined("client-cert") == joined


def test_from_environ() -> None:
    """An environ's known keys become fields; the keys are what is to be removed."""
    environ = environ_of(Request(headers=[("Client-Cert", "a"), ("Client-Cert", "b"), ("Accept", "*/*")]))
    connection = Connection.from_environ(environ, KNOWN)
    assert connection.fields == {"client-cert": ("a,b",)}
    assert connection.received == {"HTTP_CLIENT_CERT"}
    assert isinstance(connection.server, EnvironFacts)


@pytest.mark.parametrize(
    "key", ["CLIENT_CERT", "http_client_cert", "HTTP_Client_Cert", "HTTP_CLIENT-CERT", "SSL_CLIENT_CERT"]
)
def test_other_environ_keys(key: str) -> None:
    """A key that no server makes of a header is no field."""
    assert Connection.from_environ({key: "a"}, KNOWN).fields == {}


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_from_scope(kind: str) -> None:
    """A scope of either type is read alike."""
    connection = Connection.from_scope(scope_of(Request(headers=[("Client-Cert", "a"), ("x", "y")]), kind), KNOWN)
    assert connection.fields == {"client-cert": ("a",)}
    assert isinstance(connection.server, ScopeFacts)


def test_nothing_known() -> None:
    """A connection without certificate fields holds nothing."""
    for connection in (from_headers((b"accept", b"*/*")), Connection.from_environ({}, KNOWN), Connection()):
        assert (connection.fields, connection.aliases, connection.received) == ({}, frozenset(), frozenset())
        assert connection.one("client-cert") is None
        assert connection.server.peer() is None


NAMES = st.sampled_from([b"client-cert", b"Client_Cert", b"client.cert", b"accept"]) | st.binary()


@given(st.lists(st.tuples(NAMES, st.binary()), max_size=6))
def test_no_exception(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever the header pairs, they are sorted into fields, aliases and the rest; none is lost."""
    connection = from_headers(*headers)
    exact = [value for name, value in headers if name.lower() == b"client-cert"]
    assert [value.encode("latin-1") for value in connection.fields.get("client-cert", ())] == exact
    received = {name.decode("latin-1") for name, _value in headers if KNOWN.spelling(name)}
    assert connection.received == received
    assert reason_of(connection.one, "client-cert") is (Reason.AMBIGUOUS_HEADER if len(exact) > 1 else None)


def test_scope_values_stay() -> None:
    """Reading changes nothing of the scope."""
    scope = scope_of(Request(headers=[("Client-Cert", "a")]))
    before = dict(scope)
    Connection.from_scope(scope, KNOWN)
    assert scope == before
