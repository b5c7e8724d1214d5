"""Forged headers through real terminators on their published recipes: who the application believes is there.

Terminator × Python server × trick × client. A new trick is a row of `TRICKS` or of `HTTP2_TRICKS`.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest
from cryptography import x509

from mtls_auth.dialect import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.known_headers import OTHER_HEADERS
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS, Http2Trick
from mtls_auth.probing.tricks import TRICKS, Headers, Kind, Trick
from mtls_auth.recipes import self_hosted
from mtls_auth.testing import IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.integration.client import Reply, raw_connection
from tests.integration.deployments import PATH, SECRET, Deployment, Deployments
from tests.integration.lab import Files, Lab
from tests.integration.programs import ASGI, Program
from tests.integration.proxies import LAYER4, TERMINATORS, check_speaks_http2
from tests.integration.wire import ask, ask_http2, converse, exchange

ALL: tuple[Program, ...] = (
    *("gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "uvicorn-httptools", "hypercorn", "waitress", "wsgiref"),
)
TWO: tuple[Program, ...] = ("gunicorn-gthread", "uvicorn-httptools")
# hypercorn switches to HTTP/2 when asked to, wsgiref joins names that differ in underscores only.
FOUR: tuple[Program, ...] = (*TWO, "hypercorn", "wsgiref")
SERVERS: Mapping[str, tuple[Program | None, ...]] = {
    # HAProxy forwards most of what clients send, Apache lets clients remove what it wrote.
    "haproxy": ALL,
    "apache": ALL,
    "nginx": FOUR,
    "envoy": FOUR,
    "traefik": FOUR,
    "caddy": FOUR,
    "caddy-2.6": FOUR,
    "lighttpd": FOUR,
    "rfc9440": ("hypercorn", "wsgiref"),
    "apache-escaped": ("hypercorn", "wsgiref"),
    # The other servers refuse its folded header.
    "nginx-folded": ("uvicorn-h11", "hypercorn", "wsgiref"),
    "mod_wsgi": (None,),
    "uwsgi": (None,),
    "nginx-uwsgi": (None,),
}
DEPLOYMENTS = [
    *(Deployment(recipe=recipe, server=server) for recipe, servers in SERVERS.items() for server in servers),
    *(Deployment(recipe="haproxy", server=server, django=True) for server in TWO),
]
FORWARDING = [deployment for deployment in DEPLOYMENTS if deployment.server is not None]
# The terminator refuses what is odd. Of the rest, httptools sees trailers, and wsgiref folds underscores.
WITH_HTTP2 = [
    deployment
    for deployment in DEPLOYMENTS
    if TERMINATORS[deployment.recipe].speaks_http2
    # Envoy takes a second for each refusal.
    and deployment.server in ({"uvicorn-httptools"} if deployment.recipe == "envoy" else {*TWO, "wsgiref", None})
]
CLIENTS = ("nobody", "bob")

# On Linux, the loopback interface has more addresses than one.
ADDRESSES = ("127.0.0.1", "127.0.0.9") if sys.platform == "linux" else ("127.0.0.1",)

# What only these terminators are asked; all others are in the package's tables.
EVERY_TRICK = {
    **TRICKS,
    "nominated by a second Connection": Trick(kind=Kind.NOMINATION, before=("Connection: {names}",)),
    "nominated by a second Connection, with underscores": Trick(
        kind=Kind.NOMINATION, before=("Connection: {names}",), lines=("{underscored}: {value}",)
    ),
    "nominated by Proxy-Connection": Trick(
        kind=Kind.NOMINATION, before=("Proxy-Connection: close, {names}",), lines=("{underscored}: {value}",)
    ),
    "secret nominated": Trick(kind=Kind.NOMINATION, connection="close, X-Proxy-Secret"),
    "folded secret": Trick(kind=Kind.FOLD, before=("X-Proxy-Secret: guessed\r\n too",)),
}
MORE_HTTP2_TRICKS = {
    "carriage return in a value": Http2Trick(kind=Kind.LINE_END, fields=(("x-other", "a\r{lower}: {value}"),)),
    "NUL in a value": Http2Trick(kind=Kind.LINE_END, fields=(("x-other", "a\0{lower}: {value}"),)),
    "blank before the name": Http2Trick(kind=Kind.BLANK, fields=((" {lower}", "{value}"),)),
    "pseudo-header": Http2Trick(kind=Kind.SPELLING, fields=((":{lower}", "{value}"),)),
    "underscores beside hyphens": Http2Trick(
        kind=Kind.SPELLING, fields=(("{lower}", "{value}"), ("{underscored}", "{value}"))
    ),
    "announced trailers": Http2Trick(
        kind=Kind.TRAILER,
        before=(("te", "trailers"), ("trailer", "{names}")),
        fields=(),
        trailers=(("{lower}", "{value}"),),
    ),
}
EVERY_HTTP2_TRICK = {**HTTP2_TRICKS, **MORE_HTTP2_TRICKS}
# Plain copies, which terminators replace; HTTP/2 forbids the others.
COPIES_OVER_HTTP2 = {"HTTP/2: exact", "HTTP/2: twice", "HTTP/2: empty and then full"}

KNOWN = {*OTHER_HEADERS, *(name for dialect in BUILTIN.values() for name in dialect.headers)}


@dataclass(frozen=True, slots=True)
class People:
    """alice, whose certificate everybody may know, and bob, who has one of his own."""

    alice: IssuedCertificate
    issuer: bytes
    bob: Files

    def files_of(self, client: str) -> Files | None:
        """Return what a client presents."""
        return self.bob if client == "bob" else None

    def forged(self, dialect: Dialect) -> Headers:
        """Return the headers in which a terminator of this dialect would say that alice is there."""
        return [(name.title(), value) for name, value in headers_for(dialect, self.alice.der, self.issuer)]


@pytest.fixture(scope="module")
def people(lab: Lab) -> People:
    """Both, with certificates of the same CA."""
    san = [x509.UniformResourceIdentifier("spiffe://example.com/alice"), x509.DNSName("alice.example.com")]
    alice = lab.pki.ca.issue("forged-alice", san=san)
    lab.enroll("forged-alice", alice)
    return People(alice, lab.pki.ca.der, lab.enroll("forged-bob"))


def check(reply: Reply, people: People, client: str, *, exactly: bool = False) -> None:
    """Check that an answer is for the client itself, for nobody, or a refusal; *exactly*: for the client itself."""
    assert "alice" not in reply.body
    assert people.alice.fingerprint_sha256 not in reply.body
    own = people.bob.fingerprint if client == "bob" else None
    if '"headers"' in reply.body:
        assert reply.json.get("fingerprint") in ({own} if exactly else {own, None})
        assert certificate_headers(reply.json["headers"]) == []
    else:
        assert not exactly, f"refused: {reply}"


def certificate_headers(names: Sequence[str]) -> list[str]:
    """Return the names that some terminator fills with certificate facts, whatever stands for their hyphens.

    In a WSGI environ, whose names are in upper case, only an underscore does: other variables are of other names.
    """
    punctuation = "[_-]" if all(name == name.upper() for name in names) else "[^a-z0-9]"
    return [name for name in names if re.sub(punctuation, "-", name.lower()) in KNOWN]


def test_every_recipe_is_run() -> None:
    """Each terminator that people run themselves is here, or among those that pass TLS on."""
    assert {recipe.name for recipe in self_hosted.RECIPES} == {*SERVERS, *LAYER4}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trick", EVERY_TRICK)
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_forged_headers(
    lab: Lab, deployments: Deployments, people: People, deployment: Deployment, trick: str, client: str
) -> None:
    """A client is who its own certificate says, or nobody, or refused; copies of headers change nothing at all."""
    port = deployments.reach(deployment).port
    parts = EVERY_TRICK[trick].request(people.forged(deployment.dialect), path=PATH, host="localhost")
    reply = ask(port, lab.pki.root, people.files_of(client), *parts)
    check(reply, people, client, exactly=EVERY_TRICK[trick].kind is Kind.COPY)
    if trick == "WebSocket upgrade" and deployment.server in ASGI and not deployment.django:
        assert reply.status == 101
        check(reply, people, client, exactly=True)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trick", EVERY_HTTP2_TRICK)
@pytest.mark.parametrize("deployment", WITH_HTTP2, ids=str)
def test_forged_headers_over_http2(
    lab: Lab, deployments: Deployments, people: People, deployment: Deployment, trick: str, client: str
) -> None:
    """The same over HTTP/2, whose fields can hold what ends a line of HTTP/1.1."""
    check_speaks_http2(deployment.recipe)
    port = deployments.reach(deployment).port
    fields, trailers = EVERY_HTTP2_TRICK[trick].request(people.forged(deployment.dialect), path=PATH, host="localhost")
    reply = ask_http2(port, lab.pki.root, people.files_of(client), fields, trailers)
    check(reply, people, client, exactly=trick in COPIES_OVER_HTTP2)


def together(people: People, own: Dialect) -> Iterator[Headers]:
    """Yield the headers of all dialects but *own*, as many at once as have different names and are short enough."""
    others = [dialect for dialect in BUILTIN.values() if set(dialect.headers).isdisjoint(own.headers)]
    remaining = [people.forged(dialect) for dialect in others]
    assert all(remaining), "alice has no name that some dialect forwards"
    while remaining:
        chosen: dict[str, str] = {}
        rest = []
        for headers in remaining:
            size = sum(map(len, [*chosen.values(), *dict(headers).values()]))
            if chosen.keys().isdisjoint(dict(headers)) and size <= 6000:
                chosen |= dict(headers)
            else:
                rest.append(headers)
        yield [*chosen.items()]
        remaining = rest


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trick", ["exact", "underscores"])
@pytest.mark.parametrize("deployment", [row for row in DEPLOYMENTS if row.server in {*TWO, None}], ids=str)
def test_the_headers_of_other_dialects(
    lab: Lab, deployments: Deployments, people: People, deployment: Deployment, trick: str, client: str
) -> None:
    """What other terminators would say of alice changes nothing, and the application does not see it."""
    port = deployments.reach(deployment).port
    for forged in together(people, deployment.dialect):
        parts = TRICKS[trick].request(forged, path=PATH, host="localhost")
        check(ask(port, lab.pki.root, people.files_of(client), *parts), people, client, exactly=True)


H2C = ("HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings")
UPGRADES = {
    "h2c": ("Upgrade: h2c", *H2C),
    "h2c beside WebSocket": ("Upgrade: websocket, h2c", *H2C),
    "h2c before WebSocket": ("Upgrade: h2c", "Upgrade: websocket", *H2C),
    "WebSocket of no version": ("Upgrade: websocket", "Sec-WebSocket-Version: 0", "Connection: Upgrade"),
}


def upgrade_request(upgrade: str) -> bytes:
    """Return a request to speak another protocol."""
    return "\r\n".join([f"GET {PATH} HTTP/1.1", "Host: localhost", *UPGRADES[upgrade], "", ""]).encode()


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("deployment", [row for row in FORWARDING if row.server == "hypercorn"], ids=str)
def test_no_way_around_the_terminator(
    lab: Lab, deployments: Deployments, people: People, deployment: Deployment, upgrade: str
) -> None:
    """No upgrade makes a terminator pass on, unread, what the client sends next."""
    port = deployments.reach(deployment).port
    (second,) = TRICKS["exact"].request(people.forged(deployment.dialect), path=PATH, host="localhost")
    received = converse(port, lab.pki.root, people.bob, upgrade_request(upgrade), second)
    assert b" 101 " not in received.partition(b"\r\n")[0]
    # What the application says of forged headers that did not pass the terminator.
    assert b"proxy_unproven" not in received
    assert b"alice" not in received


@pytest.mark.parametrize("deployment", [Deployment(recipe="nginx", server="hypercorn")], ids=str)
def test_the_server_would_switch(deployments: Deployments, deployment: Deployment) -> None:
    """Asked directly, hypercorn does speak HTTP/2 after that: so the test above tests something."""
    upstream = deployments.reach(deployment).upstream
    assert upstream is not None
    with closing(raw_connection(upstream)) as connection:
        connection.sendall(upgrade_request("h2c"))
        assert connection.recv(100).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("trick", ["exact", "underscores", "a forged secret"])
@pytest.mark.parametrize("deployment", FORWARDING, ids=str)
@pytest.mark.parametrize("source", ADDRESSES)
def test_past_the_terminator(
    deployments: Deployments, people: People, deployment: Deployment, trick: str, source: str
) -> None:
    """Whoever reaches the Python server itself, even from the terminator's address, is nobody without the secret."""
    forged = people.forged(deployment.dialect)
    parts = TRICKS[trick].request(forged, path=PATH, host="localhost")
    upstream = deployments.reach(deployment).upstream
    assert upstream is not None
    with closing(raw_connection(upstream, source=source)) as connection:
        check(exchange(connection, *parts), people, "nobody")


@pytest.mark.parametrize("deployment", FORWARDING, ids=str)
def test_with_the_secret(deployments: Deployments, people: People, deployment: Deployment) -> None:
    """Whoever knows the secret and has the terminator's address is believed: so the tests above test something."""
    forged = [("X-Proxy-Secret", SECRET), *people.forged(deployment.dialect)]
    parts = TRICKS["exact"].request(forged, path=PATH, host="localhost")
    upstream = deployments.reach(deployment).upstream
    assert upstream is not None
    with closing(raw_connection(upstream)) as connection:
        reply = exchange(connection, *parts)
    assert reply.json["fingerprint"] == people.alice.fingerprint_sha256
    assert not [name for name in reply.json["headers"] if "secret" in name.lower()]


@pytest.mark.parametrize("forwards", ["Max-Forwards: 0\r\n", "Max-Forwards: 1\r\n", ""], ids=["none", "one", "any"])
@pytest.mark.parametrize("deployment", FORWARDING, ids=str)
def test_the_secret_is_not_shown(lab: Lab, deployments: Deployments, deployment: Deployment, forwards: str) -> None:
    """No terminator answers TRACE with the request that it has made of the client's, the secret in it."""
    request = f"TRACE {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{forwards}\r\n"
    received = converse(deployments.reach(deployment).port, lab.pki.root, None, request.encode())
    assert SECRET.encode() not in received
