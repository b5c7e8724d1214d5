"""Whom the application believes to be there: server × mode × protocol × TLS version × connection × certificate."""

import json
import ssl
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Literal

import httpx
import pytest
from cryptography import x509

from mtls_auth.testing import SERVER_AUTH, CertificateAuthority
from tests.integration.client import Client, HandshakeRefused, tls_context
from tests.integration.lab import Lab
from tests.integration.servers import curl
from tests.integration.tls_answers import Holder, ask, read, told
from tests.integration.tls_servers import CLIENTS, MODES, SERVERS, Mode, Protocol, Running, TLSServer
from tests.pki import AWKWARD_NAMES, HOSTILE_NAMES

Connection = Literal["fresh", "resumed", "keep-alive"]
TABLE = json.loads((Path(__file__).parent / "tls_matrix.json").read_text())
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
EVERYWHERE = ("none", "EC", "revoked", "unknown")
ROWS = [
    pytest.param(server, mode, protocol, id=f"{server}-{mode}-{protocol}")
    for server, mode in product(SERVERS, MODES)
    for protocol in SERVERS[server].protocols
]
HTTP2 = [name for name, server in SERVERS.items() if "HTTP/2" in server.protocols]


@pytest.fixture(scope="module")
def holders(lab: Lab) -> dict[str, Holder]:
    """Every certificate of the table."""
    ca = lab.pki.ca
    now, hour = datetime.now(UTC), timedelta(hours=1)
    san = (x509.RFC822Name("san@example.com"), x509.UniformResourceIdentifier("spiffe://example.com/san"))
    impostor_ca = CertificateAuthority()
    impostor_ca.subject = ca.subject
    issued = {
        "EC": ca.issue("matrix"),
        "RSA": ca.issue("matrix-rsa", key_type="rsa"),
        "Ed25519": ca.issue("matrix-ed25519", key_type="ed25519"),
        "SAN through an intermediate": ca.intermediate().issue("matrix-san", san=san),
        "a shared common name": ca.issue("matrix"),
        "accents": ca.issue(AWKWARD_NAMES["accents"]),
        "looks like a DN": ca.issue(AWKWARD_NAMES["looks like a DN"]),
        "revoked": ca.issue("matrix"),
        "inactive user": ca.issue("matrix-inactive"),
    }
    strangers = {
        "expired": ca.issue("matrix", not_after=now - hour),
        "not yet valid": ca.issue("matrix", not_before=now + hour),
        "untrusted": CertificateAuthority("Elsewhere").issue("matrix"),
        "impostor": impostor_ca.issue("matrix"),
        "for servers only": ca.issue("matrix", eku=(SERVER_AUTH,)),
        "unknown": ca.issue("matrix"),
        "line feed in the name": ca.issue(HOSTILE_NAMES["line feed"]),
    }
    found = {"none": Holder(None, "")}
    for name, certificate in issued.items():
        found[name] = Holder(lab.enroll(f"matrix {name}", certificate), f"matrix {name}")
    for name, certificate in strangers.items():
        found[name] = Holder(lab.pki.write(f"matrix {name}", certificate), "")
    found["tutorial"] = Holder(lab.tutorial("alice"), "tutorial-alice")
    lab.registrar.revoke(found["revoked"].fingerprint)
    lab.registrar.set_active("matrix inactive user", False)
    return found


def expected_of(lab: Lab, server: str, mode: Mode, certificate: str) -> str:
    """Look the result up in the table."""
    if certificate == "tutorial" and lab.pki.tutorial_root.version is not x509.Version.v1:
        # OpenSSL 3.2 and later write v3 for the tutorial's commands, and read what is not there as "no CA".
        return "refused"
    for exception in TABLE["exceptions"]:
        applies = server in exception["servers"] and certificate == exception["certificate"]
        if applies and sys.version_info >= tuple(exception["since"]):
            return str(exception["expected"])
    return str(TABLE["certificates"][certificate][mode])


def believed(
    port: int, row: TLSServer, protocol: Protocol, connection: Connection, context: ssl.SSLContext, holder: Holder
) -> set[str]:
    """Return whom one certificate is believed to be, by every answer on one kind of connection."""
    connect = CLIENTS[protocol]
    answers = []
    session = None
    try:
        if connection == "resumed":
            with connect(port, context) as client:
                answers.append(ask(client, holder))
                session = client.session
            assert session is not None, "a session to resume"
        with connect(port, context, session=session) as client:
            assert client.tls.session_reused == (session is not None and row.resumes)
            if connection == "keep-alive":
                answers.append(read(client.get(), holder))  # a WebSocket's connection may begin with a request, too
                assert client.is_open
            answers.append(ask(client, holder))
            assert row.keeps or not client.is_open
    except HandshakeRefused:
        answers.append("refused")
    return {told(answer, protocol) for answer in answers}


@pytest.mark.parametrize("connection", ["fresh", "resumed", "keep-alive"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("server", "mode", "protocol"), ROWS)
def test_the_application_believes(
    lab: Lab,
    tls_servers: Running,
    holders: Mapping[str, Holder],
    server: str,
    mode: Mode,
    protocol: Protocol,
    version: str,
    connection: Connection,
) -> None:
    """Each certificate is its own user, or nobody, as the table says."""
    row = SERVERS[server]
    if connection == "keep-alive" and not row.keeps:
        return  # every other test of this row asserts that it does not
    port = tls_servers.port(server, mode)
    found = {}
    for certificate in holders if connection == "fresh" else EVERYWHERE:
        holder = holders[certificate]
        context = tls_context(lab.pki.root, holder.files, VERSIONS[version])
        found[certificate] = believed(port, row, protocol, connection, context, holder)
    assert found == {name: {told(expected_of(lab, server, mode, name), protocol)} for name in found}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", SERVERS)
def test_curl(lab: Lab, tls_servers: Running, holders: Mapping[str, Holder], server: str, version: str) -> None:
    """curl, by HTTP/2 where the server speaks it, is believed to be the certificate's user."""
    files = holders["RSA"].files
    assert files is not None
    is_http2 = "HTTP/2" in SERVERS[server].protocols
    response = curl(
        f"https://localhost:{tls_servers.port(server)}/whoami",
        cacert=lab.pki.root,
        cert=files.certificate,
        key=files.key,
        options=["--include", "--tls-max", version, "--http2" if is_http2 else "--http1.1"],
    )
    head, _, body = response.body.partition("\r\n\r\n")
    assert response.status == 200
    assert head.startswith("HTTP/2 " if is_http2 else "HTTP/1.")
    assert json.loads(body)["user"] == holders["RSA"].user


@pytest.mark.parametrize("server", HTTP2)
def test_httpx(lab: Lab, tls_servers: Running, holders: Mapping[str, Holder], server: str) -> None:
    """httpx by HTTP/2 is believed to be the certificate's user, for each request of a connection."""
    context = tls_context(lab.pki.root, holders["EC"].files)
    with httpx.Client(http2=True, verify=context, trust_env=False) as client:
        url = f"https://localhost:{tls_servers.port(server)}/whoami"
        answers = [client.get(url) for _ in range(2)]
    assert [answer.http_version for answer in answers] == ["HTTP/2", "HTTP/2"]
    assert [answer.json()["user"] for answer in answers] == [holders["EC"].user] * 2


def test_every_server_is_a_process_of_its_own(lab: Lab, tls_servers: Running, holders: Mapping[str, Holder]) -> None:
    """No result comes from another row's process."""
    context = tls_context(lab.pki.root, holders["EC"].files)
    processes = set()
    for server, mode in product(SERVERS, MODES):
        with Client(tls_servers.port(server, mode), context) as client:
            processes.add(client.get().json["pid"])
    assert len(processes) == len(SERVERS) * len(MODES)
