"""Servers whose TLS is missing or broken: nobody is believed to be anybody, and nothing is served in the clear."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from os import kill
from pathlib import Path
from typing import Any

import pytest

from tests.integration import client
from tests.integration.client import Client, HandshakeRefused, exchange, raw_connection, tls_context
from tests.integration.lab import Files, Lab
from tests.integration.programs import Terminating
from tests.integration.servers import ServerError, free_port
from tests.integration.tls_servers import SERVERS, Running, process_of

# Their default is to believe what comes from 127.0.0.1.
BELIEVES_A_SCHEME = [
    server
    for server in SERVERS
    if server.startswith(("gunicorn", "uvicorn")) and server not in {"gunicorn gevent_pywsgi", "gunicorn tornado"}
]

# One row of each program that also listens without TLS.
PLAIN = [
    "gunicorn sync",
    "gunicorn gthread",
    "gunicorn gevent",
    "gunicorn gevent_pywsgi",
    "gunicorn tornado",
    "gunicorn asgi",
    "gunicorn uvicorn",
    "uvicorn h11, websockets",
    "uvicorn httptools, websockets-sansio",
    "uvicorn zttp, wsproto",
    "uvicorn HTTP/2, websockets-sansio",
    "hypercorn asyncio",
    "hypercorn uvloop",
    "hypercorn trio",
    "daphne",
    "wsgiref",
]
# gunicorn's own workers make their context when somebody connects.
LATE = ["gunicorn sync", "gunicorn gthread", "gunicorn gevent", "gunicorn gevent_pywsgi"]
EARLY = [
    *(server for server in PLAIN if server not in {*LATE, "wsgiref"}),
    *(server for server in SERVERS if server.endswith(", ServerTLS")),
    "werkzeug",
    "cheroot",
    "wsgiref",
    "runserver",
]
OUR_WORKERS = ["gunicorn asgi", "gunicorn uvicorn", "gunicorn tornado"]
BROKEN = "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"
NEVER = "what no server writes"


@pytest.fixture(scope="module")
def carol(lab: Lab) -> Files:
    """A user's certificate."""
    return lab.enroll("carol")


def is_served_in_the_clear(port: int) -> bool:
    """Whether a request without TLS is answered by the application."""
    try:
        with raw_connection(port) as connection:
            reply = exchange(connection, b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    except OSError:
        return False
    return reply.status == 200 or '"reason"' in reply.body


def ask(port: int, lab: Lab, files: Files) -> dict[str, Any]:
    """Return whom the application believes the holder of *files* to be; raise HandshakeRefused for no answer."""
    with Client(port, tls_context(lab.pki.root, files)) as connection:
        return connection.get().json


@pytest.mark.parametrize("server", PLAIN)
def test_without_tls(lab: Lab, tmp_path: Path, carol: Files, server: str) -> None:
    """Whoever connects without TLS is nobody, whatever the request says about TLS and certificates."""
    forged = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Protocol": "ssl",
        "X-Forwarded-Ssl": "on",
        "X-SSL-Client-Cert": carol.certificate.read_text().replace("\n", "%0A"),
        "X-SSL-Client-Verify": "SUCCESS",
    }
    port = free_port()
    with process_of(lab, SERVERS[server], tmp_path, port, None), Client(port) as connection:
        reply = connection.get(headers=forged)
    assert (reply.status, reply.json["user"], reply.json["reason"]) == (200, None, "no_certificate")


@pytest.mark.parametrize("server", SERVERS)
def test_another_scheme(lab: Lab, tls_servers: Running, carol: Files, server: str) -> None:
    """Where a header makes the server say `http`, its TLS connection is nobody's."""
    context = tls_context(lab.pki.root, carol)
    with Client(tls_servers.port(server), context) as connection:
        reply = connection.get(headers={"X-Forwarded-Proto": "http"})
    expected = (None, "no_certificate") if server in BELIEVES_A_SCHEME else ("carol", None)
    assert (reply.status, reply.json["user"], reply.json["reason"]) == (200, *expected)


@pytest.fixture
def client_cas(tmp_path: Path) -> Path:
    """The file of the clients' CAs, to be broken."""
    return tmp_path / "client-cas.pem"


@pytest.fixture
def tls(lab: Lab, client_cas: Path) -> Terminating:
    """The laboratory's, but for that file."""
    client_cas.write_text(BROKEN)
    return lab.pki.terminating._replace(client_cas=client_cas)


@pytest.mark.parametrize("server", EARLY)
def test_a_broken_ca(lab: Lab, tmp_path: Path, tls: Terminating, server: str) -> None:
    """A server that cannot read the CAs of its clients ends, and has answered nobody."""
    port = free_port()
    process = process_of(lab, SERVERS[server], tmp_path, port, tls)
    process.ready = NEVER
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(process.__enter__)
        while not started.done():
            assert not is_served_in_the_clear(port)
            time.sleep(0.02)
    with pytest.raises(ServerError, match="ended with code"):
        started.result()


@pytest.mark.parametrize("server", LATE)
def test_a_broken_ca_when_somebody_connects(
    lab: Lab, tmp_path: Path, tls: Terminating, carol: Files, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn's own workers refuse every handshake, or are started for ever and answer none."""
    monkeypatch.setattr(client, "TIMEOUT", 2)
    port = free_port()
    with process_of(lab, SERVERS[server], tmp_path, port, tls):
        assert not is_served_in_the_clear(port)
        with pytest.raises(HandshakeRefused):
            ask(port, lab, carol)


@pytest.mark.parametrize("server", OUR_WORKERS)
def test_a_ca_that_breaks_before_a_reload(
    lab: Lab, tmp_path: Path, tls: Terminating, client_cas: Path, carol: Files, server: str
) -> None:
    """gunicorn that is told to load its configuration again ends where the CAs cannot be read any more."""
    client_cas.write_bytes(lab.pki.client_cas.read_bytes())
    port = free_port()
    with process_of(lab, SERVERS[server], tmp_path, port, tls) as process:
        assert ask(port, lab, carol)["user"] == "carol"
        client_cas.write_text(BROKEN)
        kill(process.pid, signal.SIGHUP)
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(process.wait, 20)
            while not ended.done():
                assert not is_served_in_the_clear(port)
                time.sleep(0.02)
        assert ended.result() != 0
