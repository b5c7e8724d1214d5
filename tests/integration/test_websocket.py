"""WebSockets: the certificate of the handshake is who is there; who is refused is refused before that."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.integration.client import tls_context
from tests.integration.lab import Backend, Files, Lab

SERVERS = {
    "uvicorn-h11": Backend(program="uvicorn-h11", app="starlette_app", transport="tls"),
    "uvicorn-httptools": Backend(program="uvicorn-httptools", app="starlette_app", transport="tls"),
    "uvicorn-wsproto": Backend(
        program="uvicorn-h11", app="starlette_app", transport="tls", options=("--ws", "wsproto")
    ),
    "uvicorn-websockets-sansio": Backend(
        program="uvicorn-httptools", app="starlette_app", transport="tls", options=("--ws", "websockets-sansio")
    ),
    "nginx-tcp": Backend(program="uvicorn-httptools", app="starlette_app", transport="tcp"),
    "nginx-unix": Backend(program="uvicorn-h11", app="starlette_app", transport="unix"),
}


@pytest.fixture(scope="module")
def wanda(lab: Lab) -> Files:
    """A user's certificate."""
    return lab.enroll("wanda")


def open_socket(lab: Lab, server: str, path: str, files: Files | None, **options: Any) -> connect:
    """Return the client's connection, to be entered."""
    url = f"wss://localhost:{lab.reach(SERVERS[server]).port}{path}"
    return connect(url, ssl=tls_context(lab.pki.root, files), proxy=None, open_timeout=20, **options)


async def greeting(socket: ClientConnection) -> dict[str, Any]:
    """Return what the application says first."""
    found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def status_of(lab: Lab, server: str, path: str, files: Files | None) -> int:
    """Return the HTTP status of the answer to the opening handshake."""
    try:
        async with open_socket(lab, server, path, files):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("path", ["/ws", "/private-ws"])
@pytest.mark.parametrize("server", SERVERS)
def test_the_certificates_user(lab: Lab, wanda: Files, server: str, path: str) -> None:
    """A WebSocket with a certificate is its user's, and carries messages."""

    async def talk() -> None:
        async with open_socket(lab, server, path, wanda) as socket:
            answer = await greeting(socket)
            assert (answer["user"], answer["fingerprint"]) == ("wanda", wanda.fingerprint)
            await socket.send("hello")
            assert await socket.recv() == "hello"

    asyncio.run(talk())


@pytest.mark.parametrize("server", SERVERS)
def test_nobody(lab: Lab, server: str) -> None:
    """Without a certificate an open endpoint greets nobody, and a protected one refuses the handshake with 403."""

    async def talk() -> None:
        async with open_socket(lab, server, "/ws", None) as socket:
            answer = await greeting(socket)
            assert (answer["user"], answer["reason"]) == (None, "no_certificate")

    asyncio.run(talk())
    assert asyncio.run(status_of(lab, server, "/private-ws", None)) == 403


@pytest.mark.parametrize("server", SERVERS)
def test_denied(lab: Lab, server: str) -> None:
    """A revoked certificate and an unknown one are refused with 403 before the socket is accepted, on any endpoint."""
    revoked = lab.enroll(f"revoked-socket-{server}")
    assert asyncio.run(status_of(lab, server, "/ws", revoked)) == 101
    lab.registrar.revoke(revoked.fingerprint)
    unknown = lab.pki.write("unknown-socket", lab.pki.ca.issue("wanda"))
    for files in (revoked, unknown):
        assert [asyncio.run(status_of(lab, server, path, files)) for path in ("/ws", "/private-ws")] == [403, 403]


@pytest.mark.parametrize("server", SERVERS)
def test_forged_headers(lab: Lab, wanda: Files, server: str) -> None:
    """Certificate headers of the client are not believed on a WebSocket, and do not reach the endpoint."""
    other = lab.pki.ca.issue("mallory")
    forged = {"X-SSL-Client-Cert": other.pem.decode().replace("\n", "%0A"), "X-SSL-Client-Verify": "SUCCESS"}

    async def talk(files: Files | None) -> dict[str, Any]:
        async with open_socket(lab, server, "/ws", files, additional_headers=forged) as socket:
            return await greeting(socket)

    answers = [asyncio.run(talk(files)) for files in (None, wanda)]
    assert [answer["user"] for answer in answers] == [None, "wanda"]
    assert not [name for answer in answers for name in answer["headers"] if "ssl-client" in name]
