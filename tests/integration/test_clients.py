"""The HTTP clients that people have: each presents its certificate and is believed."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.integration.client import tls_context
from tests.integration.lab import Backend, Files, Lab
from tests.integration.servers import curl, requires

SERVERS = {
    "gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tls"),
    "uvicorn": Backend(program="uvicorn-httptools", app="starlette_app", transport="tls"),
    "nginx": Backend(program="gunicorn-gthread", app="wsgi", transport="unix"),
}
PASSWORD = "changeit"


class Holder(NamedTuple):
    """Somebody with a certificate in files, and in a PKCS#12 file with PASSWORD."""

    files: Files
    p12: Path


@pytest.fixture(scope="module")
def holder(lab: Lab) -> Holder:
    """The user `holder`, whose certificate an intermediate signed."""
    issued = lab.pki.ca.intermediate().issue("holder", key_type="rsa")
    p12 = lab.pki.directory / "holder.p12"
    p12.write_bytes(issued.p12(PASSWORD, "holder"))
    return Holder(lab.enroll("holder", issued), p12)


def url_of(lab: Lab, server: str) -> str:
    """Return where the server says who is there."""
    return f"https://localhost:{lab.reach(SERVERS[server]).port}/whoami"


@pytest.mark.parametrize("server", SERVERS)
def test_curl(lab: Lab, holder: Holder, server: str) -> None:
    """`curl --cert --key` is the certificate's user, and without them nobody."""
    url = url_of(lab, server)
    known = curl(url, cacert=lab.pki.root, cert=holder.files.certificate, key=holder.files.key)
    nobody = curl(url, cacert=lab.pki.root)
    assert [json.loads(response.body)["user"] for response in (known, nobody)] == ["holder", None]


@pytest.mark.parametrize("server", SERVERS)
def test_curl_with_pkcs12(lab: Lab, holder: Holder, server: str) -> None:
    """`curl --cert-type P12` is the certificate's user."""
    options = ["--cert-type", "P12", "--cert", f"{holder.p12}:{PASSWORD}"]
    response = curl(url_of(lab, server), cacert=lab.pki.root, options=options)
    assert json.loads(response.body)["user"] == "holder"


@pytest.mark.parametrize("server", SERVERS)
def test_httpx(lab: Lab, holder: Holder, server: str) -> None:
    """httpx with an SSL context is the certificate's user, on every request of a client."""
    with httpx.Client(verify=tls_context(lab.pki.root, holder.files), trust_env=False) as client:
        users = [client.get(url_of(lab, server)).raise_for_status().json()["user"] for _ in range(3)]
    assert users == ["holder"] * 3


@pytest.mark.parametrize("server", SERVERS)
def test_httpx_in_parallel(lab: Lab, holder: Holder, server: str) -> None:
    """Answers to two users and nobody, asked for at once over many connections, are not mixed up."""
    other = lab.enroll(f"other-holder-{server}")
    contexts = {
        "holder": tls_context(lab.pki.root, holder.files),
        f"other-holder-{server}": tls_context(lab.pki.root, other),
        None: tls_context(lab.pki.root),
    }
    url = url_of(lab, server)

    async def ask(context_of: str | None) -> list[str | None]:
        async with httpx.AsyncClient(verify=contexts[context_of], trust_env=False, timeout=20) as client:
            replies = await asyncio.gather(*(client.get(url) for _ in range(15)))
            return [reply.json()["user"] for reply in replies]

    async def ask_all() -> list[list[str | None]]:
        return await asyncio.gather(*(ask(user) for user in contexts))

    assert asyncio.run(ask_all()) == [[user] * 15 for user in contexts]


def test_java(lab: Lab, holder: Holder) -> None:
    """Both HTTP clients of Java, given the PKCS#12 file, are the certificate's user on every server."""
    program = Path(__file__).with_name("Whoami.java")
    urls = [url_of(lab, server) for server in SERVERS]
    command = [requires("java"), str(program), str(lab.pki.root), str(holder.p12), PASSWORD, *urls]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    users = [json.loads(line)["user"] for line in result.stdout.splitlines()]
    assert users == ["holder"] * 2 * len(SERVERS)
