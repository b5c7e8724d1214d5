"""Whose word is taken: a proxy that proves itself by a client certificate, and two that speak different dialects."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtls_auth.dialects import BUILTIN
from mtls_auth.probing.tricks import TRICKS, Headers
from mtls_auth.testing import IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.integration.client import Reply, raw_connection
from tests.integration.deployments import PATH, Deployments
from tests.integration.lab import Files, Lab
from tests.integration.programs import ASGI, HIDES_THE_PEER, Program
from tests.integration.servers import (
    LOCALHOST,
    Process,
    ServerError,
    free_port,
    nginx_command,
    requires,
    write_nginx_conf,
)
from tests.integration.wire import ask, exchange

SERVERS: tuple[Program, ...] = ("gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "uvicorn-httptools")

PROXY = """\
PROXY = ProxyCertificate(IssuedBy("CN=Test CA") & CommonName("proxy"))
NGINX = Forwarded(dialect=BUILTIN["nginx"], certificate=PROXY)
"""
SOURCES = {
    "proxy alone": "NGINX",
    "proxy and clients": "AgreeingSources((TLSSocket(proxies=PROXY), NGINX))",
}
TWO_PROXIES = """\
SOURCE = AgreeingSources((
    Forwarded(dialect=BUILTIN["nginx"], proxies=TrustedProxies.parse(["127.0.0.2"])),
    Forwarded(dialect=BUILTIN["haproxy"], proxies=TrustedProxies.parse(["127.0.0.3"])),
))
"""
_MIDDLEWARE = """\
from mtls_auth import *
from mtls_auth.dialects import BUILTIN
from mtls_auth.{interface} import ClientCertificateMiddleware

{source}
{name} = ClientCertificateMiddleware({name}, Authenticator(SOURCE, policy=AnyVerifiedCertificate()))
"""


def application(server: Program, source: str) -> str:
    """Return the text that wraps the bare application, with a SOURCE that *source* defines."""
    interface, name = ("asgi", "app") if server in ASGI else ("wsgi", "application")
    return _MIDDLEWARE.format(interface=interface, name=name, source=source)


def said_of(issued: IssuedCertificate, dialect: str) -> Headers:
    """Return what a terminator would say of a certificate."""
    return [(name.title(), value) for name, value in headers_for(BUILTIN[dialect], issued.der)]


def plain(forged: Headers = ()) -> bytes:
    """Return a request with these headers."""
    (request,) = TRICKS["exact"].request(forged or [("X-Nothing", "")], path=PATH, host="localhost")
    return request


@dataclass(frozen=True, slots=True)
class People:
    """alice, of whom others speak; bob, who has a certificate; the proxy, and somebody of the same CA who is not it."""

    alice: IssuedCertificate
    bob: Files
    proxy: Files
    stranger: Files


@pytest.fixture(scope="module")
def people(lab: Lab) -> People:
    """All of one CA."""
    ca = lab.pki.ca
    bob, proxy, stranger = (lab.pki.write(f"trust-{name}", ca.issue(name)) for name in ("bob", "proxy", "stranger"))
    return People(ca.issue("alice"), bob, proxy, stranger)


def is_for(reply: Reply, files: Files | None) -> bool:
    """Whether the application answered this client, or nobody, and saw no certificate header."""
    assert reply.status in {200, 101}, reply
    assert not [name for name in reply.json["headers"] if "ssl" in name.lower()]
    return reply.json.get("fingerprint") == (None if files is None else files.fingerprint)


@dataclass(frozen=True, slots=True)
class Ports:
    """nginx, and the server behind it, which speaks TLS."""

    nginx: int
    server: int


@pytest.fixture(scope="module")
def ports(lab: Lab, deployments: Deployments, people: People) -> Mapping[tuple[str, Program], Ports]:
    """An nginx with a client certificate of its own before each server, by source and server."""
    found = {}
    for source, text in SOURCES.items():
        for server in SERVERS:
            upstream = free_port()
            deployments.serve(server, upstream, application(server, f"{PROXY}SOURCE = {text}"), tls=lab.pki.terminating)
            location = f"""
                proxy_ssl_certificate "{people.proxy.certificate}";
                proxy_ssl_certificate_key "{people.proxy.key}";
                proxy_ssl_trusted_certificate "{lab.pki.root}";
                proxy_ssl_verify on;
                proxy_ssl_name localhost;
            """
            found[source, server] = Ports(start_nginx(lab, deployments, upstream, location, scheme="https"), upstream)
    return found


def start_nginx(lab: Lab, deployments: Deployments, upstream: int, location: str, *, scheme: str = "http") -> int:
    """Start nginx with *location* in its configuration, and return its port."""
    port, directory = free_port(), deployments.new_directory()
    configuration = write_nginx_conf(
        directory,
        listen_port=port,
        upstream=f"{LOCALHOST}:{upstream}",
        server_cert=lab.pki.server.certificate,
        server_key=lab.pki.server.key,
        client_ca=lab.pki.client_cas,
        scheme=scheme,
        location=location,
    )
    deployments.start(Process(nginx_command(configuration), ready=port, log=directory / "log"))
    return port


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("server", SERVERS)
def test_the_proxy_proves_itself(
    lab: Lab, people: People, ports: Mapping[tuple[str, Program], Ports], server: Program, source: str
) -> None:
    """nginx is believed for its certificate: through it a client is itself, or nobody, and never nginx."""
    port = ports[source, server].nginx
    assert is_for(ask(port, lab.pki.root, people.bob, plain()), people.bob)
    assert is_for(ask(port, lab.pki.root, None, plain()), None)
    for trick in TRICKS.values():
        for files in (None, people.bob):
            parts = trick.request(said_of(people.alice, "nginx"), path=PATH, host="localhost")
            reply = ask(port, lab.pki.root, files, *parts)
            assert people.alice.fingerprint_sha256 not in reply.body
            if '"headers"' in reply.body:
                assert is_for(reply, files) or is_for(reply, None)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("server", SERVERS)
def test_others_on_the_same_port(
    lab: Lab, people: People, ports: Mapping[tuple[str, Program], Ports], server: Program, source: str
) -> None:
    """Nobody else is believed, of the same CA or without a certificate; a client of the port is itself where named."""
    port = ports[source, server].server
    forged = plain(said_of(people.alice, "nginx"))
    assert is_for(ask(port, lab.pki.root, None, forged), None)
    own = people.stranger if source == "proxy and clients" else None
    assert is_for(ask(port, lab.pki.root, people.stranger, forged), own)
    # The proxy itself is nobody, and what it says counts: so the lines above test something.
    assert is_for(ask(port, lab.pki.root, people.proxy, plain()), None)
    believed = ask(port, lab.pki.root, people.proxy, forged).json
    assert believed["fingerprint"] == people.alice.fingerprint_sha256


_HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend app
    bind 127.0.0.1:{port} ssl crt "{both}" ca-file "{ca}" verify optional
    option http-restrict-req-hdr-names delete
    http-request set-header X-SSL-Client-Cert "%[ssl_c_der,base64]"
    http-request set-header X-SSL-Client-Chain "%[ssl_c_chain_der,base64]"
    http-request set-header X-SSL-Client-Verify "%[ssl_c_verify]"
    http-request set-header X-SSL-Client-Used "%[ssl_c_used]"
    default_backend app
backend app
    server app 127.0.0.1:{upstream} source 127.0.0.3
"""


def start_haproxy(lab: Lab, deployments: Deployments, upstream: int) -> int:
    """Start HAProxy, which connects from 127.0.0.3, and return its port."""
    port, directory = free_port(), deployments.new_directory()
    both = Path(deployments.places().server_both)
    text = _HAPROXY.format(port=port, both=both, ca=lab.pki.client_cas, upstream=upstream)
    (directory / "haproxy.cfg").write_text(text)
    command = [requires("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")]
    deployments.start(Process(command, ready=port, log=directory / "log"))
    return port


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of Linux's loopback interface only")
@pytest.mark.parametrize("server", SERVERS)
def test_two_proxies_with_different_dialects(
    lab: Lab, deployments: Deployments, people: People, server: Program
) -> None:
    """Each proxy speaks its own dialect, in headers of the same names; neither is believed in the other's."""
    upstream = free_port()
    deployments.serve(server, upstream, application(server, TWO_PROXIES))
    nginx = start_nginx(lab, deployments, upstream, "proxy_bind 127.0.0.2;")
    haproxy = start_haproxy(lab, deployments, upstream)
    for port, dialect in ((nginx, "nginx"), (haproxy, "haproxy")):
        for files in (None, people.bob):
            assert is_for(ask(port, lab.pki.root, files, plain()), files)
            for forged in ("nginx", "haproxy"):
                assert is_for(ask(port, lab.pki.root, files, plain(said_of(people.alice, forged))), files), dialect
    alice = people.alice.fingerprint_sha256
    for source, dialect, believed in (
        *(("127.0.0.2", "nginx", True), ("127.0.0.3", "haproxy", True)),
        *(("127.0.0.2", "haproxy", False), ("127.0.0.3", "nginx", False)),
        *(("127.0.0.1", "nginx", False), ("127.0.0.4", "haproxy", False)),
    ):
        with raw_connection(upstream, source=source) as connection:
            reply = exchange(connection, plain(said_of(people.alice, dialect)))
        assert (alice in reply.body) == believed, (source, dialect)


ADDRESS_ALONE = 'SOURCE = Forwarded(dialect=BUILTIN["nginx"], proxies=TrustedProxies.parse(["127.0.0.1"]))'


@pytest.mark.parametrize("server", sorted(HIDES_THE_PEER - {"wsgiref"}, key=str))
def test_a_hidden_peer(deployments: Deployments, server: Program) -> None:
    """A server that is known to hide who connects does not start where the address alone is trusted."""
    with pytest.raises(ServerError, match="does not tell who connected"):
        deployments.serve(server, free_port(), application(server, ADDRESS_ALONE))


def test_a_hidden_peer_of_an_unknown_server(deployments: Deployments, people: People) -> None:
    """Behind one that is not known, nobody is believed."""
    port = free_port()
    deployments.serve("wsgiref", port, application("wsgiref", ADDRESS_ALONE))
    with raw_connection(port) as connection:
        assert is_for(exchange(connection, plain(said_of(people.alice, "nginx"))), None)
