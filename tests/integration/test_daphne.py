"""daphne with client certificates, as its command runs it: every protocol, files that change, strangers' headers."""

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx
import pytest
from cryptography import x509
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from mtls_auth.dialects import NGINX
from mtls_auth.testing import SERVER_AUTH, CertificateAuthority
from mtls_auth.testing.headers import headers_for
from tests.integration.client import Client, HandshakeRefused, tls_context
from tests.integration.lab import ROOT, SITE, Files, Lab
from tests.integration.servers import LOCALHOST, Process, ServerError, free_port
from tests.pki import revocation_list

COMMAND = (sys.executable, "-m", "mtls_auth.servers.daphne")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
REFUSED = "refused before the application is asked"

Mode: TypeAlias = Literal["optional", "required"]
Ask: TypeAlias = Callable[[int, ssl.SSLContext], dict[str, Any]]


def ask_http(port: int, context: ssl.SSLContext, *, http2: bool) -> dict[str, Any]:
    """Return the answer to a request."""
    with httpx.Client(verify=context, http1=not http2, http2=http2, trust_env=False, timeout=20) as client:
        response = client.get(f"https://localhost:{port}/whoami")
        assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        found: dict[str, Any] = response.json()
        return found


def ask_websocket(port: int, context: ssl.SSLContext) -> dict[str, Any]:
    """Return what the WebSocket says first, and see that it repeats what it hears."""

    async def talk() -> dict[str, Any]:
        try:
            async with connect(f"wss://localhost:{port}/ws", ssl=context, proxy=None, open_timeout=20) as socket:
                found: dict[str, Any] = json.loads(await socket.recv())
                await socket.send("hello")
                assert await socket.recv() == "hello"
                return found
        except InvalidStatus as denied:  # which says no reason
            return {"user": None, "reason": str(denied.response.status_code)}

    return asyncio.run(talk())


ASK: Mapping[str, Ask] = {
    "HTTP/1.1": lambda port, context: ask_http(port, context, http2=False),
    "HTTP/2": lambda port, context: ask_http(port, context, http2=True),
    "WebSocket": ask_websocket,
}
CERTIFICATES: Mapping[str, Mapping[Mode, str]] = {
    "none": {"optional": "no_certificate", "required": REFUSED},
    "enrolled": dict.fromkeys(("optional", "required"), "daphne-user"),
    "through an intermediate": dict.fromkeys(("optional", "required"), "daphne-below"),
    "revoked in the database": dict.fromkeys(("optional", "required"), "revoked"),
    "revoked in the CRL": dict.fromkeys(("optional", "required"), REFUSED),
    "expired": dict.fromkeys(("optional", "required"), REFUSED),
    "untrusted": dict.fromkeys(("optional", "required"), REFUSED),
    "for servers": dict.fromkeys(("optional", "required"), REFUSED),
}


class Daphne:
    """What one server's files are, and how it is started."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        """Write the files into *directory*."""
        self.lab = lab
        self.directory = directory
        self.below = lab.pki.ca.intermediate()
        self.revoked = lab.pki.ca.issue("crl-revoked")
        self.client_ca = directory / "client-ca.pem"
        self.client_ca.write_bytes(lab.pki.ca.pem)
        self.crl = directory / "crl.pem"
        self.crl.write_bytes(revocation_list(lab.pki.ca, self.revoked) + revocation_list(self.below))
        self.server = Files(*lab.pki.ca.issue_server("localhost").write(directory, "server"))

    def endpoint(self, port: int, *more: str) -> str:
        """Describe the endpoint for daphne's command."""
        files = (f"certificate={self.server.certificate}", f"key={self.server.key}", f"client_ca={self.client_ca}")
        return ":".join(("mtls", str(port), *files, f"interface={LOCALHOST}", *more))

    def process(self, *arguments: str, ready: int | Path | str, source: str = "tls", proxies: str = "") -> Process:
        """Return the server, not yet started, with the application's settings in its environment."""
        _tables = self.lab.registrar
        environment = {"MTLS_SITE_SOURCE": source, "MTLS_SITE_TRUSTED_PROXIES": proxies}
        return Process(
            [*COMMAND, *arguments, f"{SITE}.starlette_app:application"],
            ready=ready,
            log=self.directory / "log",
            cwd=ROOT,
            env={**self.lab.environment, **environment},
        )


@contextlib.contextmanager
def serving(daphne: Daphne, *more: str) -> Iterator[tuple[int, Process]]:
    """Run a server with one endpoint; return its port with the process."""
    port = free_port()
    with daphne.process("-e", daphne.endpoint(port, *more), ready=port) as process:
        yield port, process


@pytest.fixture(scope="module")
def daphne(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Daphne:
    """The files of the servers that are asked, and not changed."""
    return Daphne(lab, tmp_path_factory.mktemp("daphne"))


@pytest.fixture(scope="module")
def ports(daphne: Daphne) -> Iterator[Mapping[Mode, int]]:
    """One process with an endpoint for each mode."""
    found: dict[Mode, int] = {"optional": free_port(), "required": free_port()}
    arguments: list[str] = []
    for mode, port in found.items():
        arguments += ["-e", daphne.endpoint(port, f"crl={daphne.crl}", f"required={int(mode == 'required')}")]
    with daphne.process(*arguments, ready=found["required"]):
        yield found


@pytest.fixture(scope="module")
def cases(lab: Lab, daphne: Daphne) -> Mapping[str, Files | None]:
    """Every certificate of the table."""
    ca = lab.pki.ca
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    revoked = lab.enroll("daphne-revoked")
    lab.registrar.revoke(revoked.fingerprint)
    return {
        "none": None,
        "enrolled": lab.enroll("daphne-user"),
        "through an intermediate": lab.enroll("daphne-below", daphne.below.issue("daphne-below")),
        "revoked in the database": revoked,
        "revoked in the CRL": lab.enroll("crl-revoked", daphne.revoked),
        "expired": lab.pki.write("daphne-expired", ca.issue("daphne-user", not_after=an_hour_ago)),
        "untrusted": lab.pki.write("daphne-untrusted", CertificateAuthority("Elsewhere").issue("daphne-user")),
        "for servers": lab.pki.write("daphne-servers", ca.issue("daphne-user", eku=(SERVER_AUTH,))),
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", ASK)
@pytest.mark.parametrize("mode", ["optional", "required"])
@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_the_application_believes(
    lab: Lab,
    cases: Mapping[str, Files | None],
    ports: Mapping[Mode, int],
    certificate: str,
    mode: Mode,
    protocol: str,
    version: str,
) -> None:
    """The certificate's own user is there, or nobody for the expected reason, in every protocol and version."""
    files = cases[certificate]
    expected = CERTIFICATES[certificate][mode]
    if protocol == "WebSocket" and expected == "revoked":
        expected = "403"
    try:
        answer = ASK[protocol](ports[mode], tls_context(lab.pki.root, files, VERSIONS[version]))
    except (httpx.TransportError, InvalidMessage, OSError):
        found = REFUSED
    else:
        found = answer["user"] or answer["reason"]
        assert answer.get("fingerprint") == (files.fingerprint if answer["user"] and files else None)
    assert found == expected


@pytest.mark.parametrize("http2", [False, True])
def test_revoked_between_two_requests(lab: Lab, ports: Mapping[Mode, int], http2: bool) -> None:
    """A certificate that is revoked between two requests of one connection is refused on the second."""
    files = lab.enroll(f"daphne-kept-{http2}")
    context = tls_context(lab.pki.root, files)
    found = []
    with httpx.Client(verify=context, http2=http2, trust_env=False) as client:
        for _ in range(2):
            response = client.get(f"https://localhost:{ports['required']}/whoami")
            socket = response.extensions["network_stream"].get_extra_info("socket")
            found.append((socket.getsockname(), response.status_code, response.json()["reason"]))
            lab.registrar.revoke(files.fingerprint)
    assert found == [(found[0][0], 200, None), (found[0][0], 403, "revoked")]


def test_expired_between_two_requests(lab: Lab, ports: Mapping[Mode, int]) -> None:
    """A certificate that expires while its connection stays open was believed, and is refused."""
    ends = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    files = lab.enroll("daphne-short", lab.pki.ca.issue("daphne-short", not_after=ends))
    with Client(ports["optional"], tls_context(lab.pki.root, files)) as client:
        before = client.get()
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 1.1)
        assert [before.json["user"], client.get().json["reason"]] == ["daphne-short", "expired"]


def nginx_headers(leaf: bytes) -> dict[str, str]:
    """Return what nginx sends for a certificate."""
    return dict(headers_for(NGINX, leaf))


def test_strangers_headers_over_tls(lab: Lab, cases: Mapping[str, Files | None], ports: Mapping[Mode, int]) -> None:
    """Headers of a client neither make a certificate nor take one away."""
    leaf = lab.pki.ca.issue("daphne-user").der
    forged = {**nginx_headers(leaf), "X-Forwarded-Proto": "http", "X-Forwarded-For": "10.9.9.9"}
    answers = []
    for files in (None, cases["enrolled"]):
        with Client(ports["optional"], tls_context(lab.pki.root, files)) as client:
            answers.append(client.get(headers=forged).json["user"])
    assert answers == [None, "daphne-user"]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_whose_headers_are_believed(lab: Lab, tmp_path: Path, transport: str, trusted: bool) -> None:
    """daphne's own endpoints tell the true peer, whom nobody turns into the proxy by `--proxy-headers`."""
    issued = lab.pki.ca.issue(f"daphne-{transport}-{trusted}")
    lab.enroll(f"daphne-{transport}-{trusted}", issued)
    address: int | Path = free_port() if transport == "tcp" else tmp_path / "app.sock"
    listen = ["-p", str(address)] if transport == "tcp" else ["-u", str(address)]
    peer = LOCALHOST if transport == "tcp" else f"unix:{address}"
    daphne = Daphne(lab, tmp_path)
    proxies = peer if trusted else "10.9.9.9"
    with (
        daphne.process("--proxy-headers", *listen, ready=address, source="nginx", proxies=proxies),
        Client(address) as client,
    ):
        forged = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.9.9.9"}
        answer = client.get(headers={**nginx_headers(issued.der), **forged})
    assert answer.json["user"] == (f"daphne-{transport}-{trusted}" if trusted else None)


def test_refusals_are_logged(lab: Lab, tmp_path: Path) -> None:
    """A failed handshake is one line with the reason and the peer."""
    ca = lab.pki.ca
    daphne = Daphne(lab, tmp_path)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    refused = {
        "certificate_required": None,
        "expired": lab.pki.write("daphne-late", ca.issue("late", not_after=an_hour_ago)),
        "untrusted": lab.pki.write("daphne-other", CertificateAuthority("Elsewhere").issue("other")),
        "revoked": lab.pki.write("daphne-crl", daphne.revoked),
    }
    with serving(daphne, f"crl={daphne.crl}", "required=1") as (port, process):
        for files in refused.values():
            with pytest.raises(HandshakeRefused), Client(port, tls_context(lab.pki.root, files)) as client:
                client.get()
        lines = [line for line in process.output.splitlines() if "TLS handshake" in line]
    assert len(lines) == len(refused)
    for reason, line in zip(refused, lines, strict=True):
        assert f"WARNING  TLS handshake with {LOCALHOST} failed: {reason} (" in line


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds; fail after the second that new files may take."""
    deadline = time.monotonic() + 1
    while not condition():
        assert time.monotonic() < deadline, "not within a second"
        time.sleep(0.05)


def test_files_that_change(lab: Lab, tmp_path: Path) -> None:
    """New connections get new files within a second; broken ones change nothing; open connections are held to them."""
    daphne = Daphne(lab, tmp_path)
    elsewhere = CertificateAuthority("Elsewhere")
    alice = lab.enroll("daphne-alice")
    bob = lab.enroll("daphne-bob", elsewhere.issue("daphne-bob"))
    with serving(daphne, f"crl={daphne.crl}") as (port, process):

        def user(files: Files) -> str:
            try:
                with Client(port, tls_context(lab.pki.root, files)) as client:
                    return str(client.get().json["user"])
            except HandshakeRefused:
                return REFUSED

        def server_certificate() -> bytes | None:
            with Client(port, tls_context(lab.pki.root)) as client:
                return client.tls.getpeercert(True)

        assert [user(alice), user(bob)] == ["daphne-alice", REFUSED]

        daphne.client_ca.write_bytes(lab.pki.ca.pem + elsewhere.pem)
        daphne.crl.write_bytes(daphne.crl.read_bytes() + revocation_list(elsewhere))
        eventually(lambda: user(bob) == "daphne-bob")

        issued = lab.pki.ca.issue_server("localhost")
        issued.write(tmp_path, "server")
        eventually(lambda: server_certificate() == issued.der)

        daphne.server.key.write_text("broken")
        eventually(lambda: server_certificate() == issued.der and "the old ones stay in force" in process.output)
        daphne.server.key.write_bytes(issued.key_pem)

        with Client(port, tls_context(lab.pki.root, alice)) as kept:
            assert kept.get().json["user"] == "daphne-alice"
            leaf = x509.load_pem_x509_certificate(alice.certificate.read_bytes())
            daphne.crl.write_bytes(revocation_list(lab.pki.ca, leaf) + revocation_list(elsewhere))
            eventually(lambda: user(alice) == REFUSED)
            assert kept.get().json["reason"] == "revoked"
        assert user(bob) == "daphne-bob"


def test_what_is_wrong_is_said_at_once(lab: Lab, tmp_path: Path) -> None:
    """The command ends with an error, and one line for each mistake."""
    arguments = ["-v", "0", "-e", "mtls:8443:certificate=nowhere.pem:key=nowhere.key:verify=1", "-e", "mtls:"]
    _tables = lab.registrar
    result = subprocess.run(
        [*COMMAND, *arguments, f"{SITE}.starlette_app:application"],
        cwd=ROOT,
        env={**os.environ, **lab.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert [line.partition("error: endpoint ")[2] for line in result.stderr.splitlines()] == [
        "mtls:: begin with mtls:PORT",  # daphne sorts them
        "mtls:: certificate is missing",
        "mtls:: key is missing",
        "mtls:: client_ca is missing",
        "mtls:8443: unknown parameter 'verify': an mtls endpoint has port, interface, certificate, key, client_ca, "
        "crl, ciphers, required, log_failures, minimum_version",
        "mtls:8443: client_ca is missing",
    ]


def test_a_port_that_is_taken(lab: Lab, daphne: Daphne, ports: Mapping[Mode, int]) -> None:
    """The command ends with an error where it cannot listen."""
    port = ports["optional"]
    process = daphne.process("-e", daphne.endpoint(port), ready="never")
    with pytest.raises(ServerError, match=r"(?s)ended with code 1.*Address already in use"), process:
        pass
