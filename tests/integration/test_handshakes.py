"""Whom the application believes to be there: certificate × server × TLS version × kind of connection."""

import json
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from cryptography import x509

from mtls_auth import Assurance, Reason
from mtls_auth.testing import SERVER_AUTH, CertificateAuthority
from tests.integration.client import Client, HandshakeRefused, Reply, tls_context
from tests.integration.lab import Backend, Files, Lab
from tests.integration.servers import CurlError, curl
from tests.pki import AWKWARD_NAMES, HOSTILE_NAMES

SERVERS = {
    "gunicorn-sync": Backend(program="gunicorn-sync", app="wsgi", transport="tls"),
    "gunicorn-gthread": Backend(program="gunicorn-gthread", app="wsgi", transport="tls"),
    "uvicorn-h11-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="tls"),
    "uvicorn-httptools-starlette": Backend(program="uvicorn-httptools", app="starlette_app", transport="tls"),
    "uvicorn-h11-django": Backend(program="uvicorn-h11", app="asgi", transport="tls"),
    "uvicorn-httptools-django": Backend(program="uvicorn-httptools", app="asgi", transport="tls"),
    "nginx-tcp-gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="tcp"),
    "nginx-unix-gunicorn": Backend(program="gunicorn-gthread", app="wsgi", transport="unix"),
    "nginx-tcp-starlette": Backend(program="uvicorn-httptools", app="starlette_app", transport="tcp"),
    "nginx-unix-starlette": Backend(program="uvicorn-h11", app="starlette_app", transport="unix"),
    "nginx-tcp-django-asgi": Backend(program="uvicorn-h11", app="asgi", transport="tcp"),
    "nginx-unix-django-asgi": Backend(program="uvicorn-httptools", app="asgi", transport="unix"),
}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# gunicorn makes a new TLS context for each connection, so it never resumes; its sync worker keeps none open.
KEEP_ALIVE = [name for name in SERVERS if name != "gunicorn-sync"]
RESUMING = [name for name in SERVERS if not name.startswith("gunicorn")]

REFUSED = "refused before the application is asked"
Expected: TypeAlias = str | Reason


CERTIFICATES: dict[str, Expected] = {
    "none": Reason.NO_CERTIFICATE,
    "tutorial alice": "tutorial-alice",
    "tutorial bob": "tutorial-bob",
    "EC": "ec",
    "RSA": "rsa",
    "Ed25519": "ed25519",
    "SAN through an intermediate": "san",
    "a shared common name": "other-ec",
    "expired": REFUSED,
    "untrusted": REFUSED,
    "impostor": REFUSED,
    "for servers only": REFUSED,
    "revoked": Reason.REVOKED,
    "unknown": Reason.NOT_ENROLLED,
    "inactive user": Reason.INACTIVE_USER,
    "hostile bidi override": Reason.UNUSABLE_NAME,
    "hostile line feed": Reason.UNUSABLE_NAME,
    **{f"awkward {name}": f"awkward {name}" for name in AWKWARD_NAMES},
}


def expected_of(lab: Lab, server: str, certificate: str) -> Expected:
    """Look up the expected result; the root of the tutorial, which does not say that it is a CA, is a special case."""
    if certificate.startswith("tutorial"):
        # OpenSSL 3.2 and later write v3 for the tutorial's commands, and read what is not there as "no CA".
        if lab.pki.tutorial_root.version is not x509.Version.v1:
            return REFUSED
        # Python 3.13 made `ssl.create_default_context` strict, which gunicorn uses: a CA of v1 is none.
        if server.startswith("gunicorn") and sys.version_info >= (3, 13):
            return REFUSED
    return CERTIFICATES[certificate]


@pytest.fixture(scope="session")
def cases(lab: Lab) -> dict[str, Files | None]:
    """Every certificate of the matrix, written, and enrolled unless that is the point."""
    ca = lab.pki.ca
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    san = (x509.RFC822Name("san@example.com"), x509.UniformResourceIdentifier("spiffe://example.com/san"))
    impostor_ca = CertificateAuthority()
    impostor_ca.subject = ca.subject
    files: dict[str, Files | None] = {
        "none": None,
        "EC": lab.enroll("ec"),
        "RSA": lab.enroll("rsa", ca.issue("rsa", key_type="rsa")),
        "Ed25519": lab.enroll("ed25519", ca.issue("ed25519", key_type="ed25519")),
        "SAN through an intermediate": lab.enroll("san", ca.intermediate().issue("san", san=san)),
        "a shared common name": lab.enroll("other-ec", ca.issue("ec")),
        "expired": lab.pki.write("expired", ca.issue("ec", not_after=an_hour_ago)),
        "untrusted": lab.pki.write("untrusted", CertificateAuthority("Elsewhere").issue("ec")),
        "impostor": lab.pki.write("impostor", impostor_ca.issue("ec")),
        "for servers only": lab.pki.write("for-servers", ca.issue("ec", eku=(SERVER_AUTH,))),
        "revoked": lab.enroll("revoked"),
        "unknown": lab.pki.write("unknown", ca.issue("ec")),
        "inactive user": lab.enroll("inactive"),
    }
    for name in ("alice", "bob"):
        files[f"tutorial {name}"] = lab.tutorial(name)
    for name in ("bidi override", "line feed"):
        files[f"hostile {name}"] = lab.pki.write(f"hostile {name}", ca.issue(HOSTILE_NAMES[name]))
    for name, common_name in AWKWARD_NAMES.items():
        files[f"awkward {name}"] = lab.enroll(f"awkward {name}", ca.issue(common_name))
    revoked = files["revoked"]
    assert revoked is not None
    lab.registrar.revoke(revoked.fingerprint)
    lab.registrar.set_active("inactive", False)
    return files


def believed(lab: Lab, server: str, client: Client, files: Files | None) -> Expected:
    """Ask who the client is; check everything that an answer says besides, and return whom or why not."""
    reply = client.get()
    if reply.status == 400 and "nginx" in reply.body:
        return REFUSED
    answer = reply.json
    if answer["user"] is None:
        reason = Reason(answer["reason"])
        assert reply.status == (200 if reason is Reason.NO_CERTIFICATE else reason.status)
        return reason
    assert files is not None
    assert reply.status == 200
    assert answer["login"] == answer["user"]
    assert answer["fingerprint"] == files.fingerprint
    assert answer["assurance"] == (
        Assurance.TLS_SOCKET if SERVERS[server].transport == "tls" else Assurance.PROXY_VERDICT
    )
    user: str = answer["user"]
    return user


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("certificate", CERTIFICATES)
@pytest.mark.parametrize("server", SERVERS)
def test_the_application_believes(
    lab: Lab, cases: dict[str, Files | None], server: str, certificate: str, version: str
) -> None:
    """On a new connection the certificate's own user is there, or nobody for the expected reason."""
    files = cases[certificate]
    found: Expected
    try:
        with Client(lab.reach(SERVERS[server]).port, tls_context(lab.pki.root, files, VERSIONS[version])) as client:
            assert client.tls.version() == f"TLSv{version}"
            found = believed(lab, server, client, files)
    except HandshakeRefused:
        found = REFUSED
    assert found == expected_of(lab, server, certificate)


@pytest.mark.parametrize("certificate", ["none", "EC", "revoked"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_protected_view(lab: Lab, cases: dict[str, Files | None], server: str, certificate: str) -> None:
    """A view that requires a certificate answers its user alone, and everybody else with 403 and the reason."""
    with Client(lab.reach(SERVERS[server]).port, tls_context(lab.pki.root, cases[certificate])) as client:
        reply = client.get("/private")
    expected = {
        "none": (403, None, "certificate_required"),
        "EC": (200, "ec", None),
        "revoked": (403, None, "revoked"),
    }
    assert (reply.status, reply.json["user"], reply.json["reason"]) == expected[certificate]


@pytest.mark.parametrize("maximum", ["1.2", "1.3"])
@pytest.mark.parametrize("server", SERVERS)
def test_curl_up_to_a_version(lab: Lab, cases: dict[str, Files | None], server: str, maximum: str) -> None:
    """curl with `--tls-max` is believed to be the certificate's user."""
    files = cases["RSA"]
    assert files is not None
    response = curl(
        f"https://localhost:{lab.reach(SERVERS[server]).port}/whoami",
        cacert=lab.pki.root,
        cert=files.certificate,
        key=files.key,
        options=["--tls-max", maximum],
    )
    assert (response.status, json.loads(response.body)["user"]) == (200, "rsa")


@pytest.mark.parametrize("server", SERVERS)
def test_curl_with_an_expired_certificate(lab: Lab, cases: dict[str, Files | None], server: str) -> None:
    """curl with an expired certificate gets no answer from a Python server, and 400 from nginx."""
    files = cases["expired"]
    assert files is not None
    url = f"https://localhost:{lab.reach(SERVERS[server]).port}/whoami"
    try:
        response = curl(url, cacert=lab.pki.root, cert=files.certificate, key=files.key)
    except CurlError:
        assert SERVERS[server].transport == "tls"
    else:
        assert (SERVERS[server].transport == "tls", response.status) == (False, 400)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", KEEP_ALIVE)
def test_revoked_between_two_requests(lab: Lab, server: str, version: str) -> None:
    """A certificate that is revoked between two requests of one connection is refused on the second."""
    files = lab.enroll(f"kept-{server}-{version}")
    context = tls_context(lab.pki.root, files, VERSIONS[version])
    with Client(lab.reach(SERVERS[server]).port, context) as client:
        assert believed(lab, server, client, files) == f"kept-{server}-{version}"
        before = client.tls.getsockname()
        lab.registrar.revoke(files.fingerprint)
        assert client.tls.getsockname() == before
        assert believed(lab, server, client, files) is Reason.REVOKED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", RESUMING)
def test_a_resumed_session(lab: Lab, server: str, version: str) -> None:
    """A resumed TLS session, which carries no chain, is the same user; after a revocation it is nobody."""
    user = f"resumed-{server}-{version}"
    files = lab.enroll(user, lab.pki.ca.intermediate().issue(user))
    context = tls_context(lab.pki.root, files, VERSIONS[version])
    port = lab.reach(SERVERS[server]).port
    with Client(port, context) as client:
        assert believed(lab, server, client, files) == user
        session = client.tls.session
    for expected in (user, Reason.REVOKED):
        with Client(port, context, session=session) as client:
            assert believed(lab, server, client, files) == expected
            assert client.tls.session_reused
            session = client.tls.session
        if expected == user:
            lab.registrar.revoke(files.fingerprint)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", ["gunicorn-sync", "gunicorn-gthread"])
def test_gunicorn_does_not_resume(lab: Lab, cases: dict[str, Files | None], server: str, version: str) -> None:
    """gunicorn answers an offered session with a full handshake, and believes the same user."""
    files = cases["EC"]
    context = tls_context(lab.pki.root, files, VERSIONS[version])
    port = lab.reach(SERVERS[server]).port
    with Client(port, context) as client:
        client.get()
        session = client.tls.session if client.is_open else None
    with Client(port, context, session=session) as client:
        assert not client.tls.session_reused
        assert believed(lab, server, client, files) == "ec"


@dataclass(frozen=True, slots=True)
class Outlived:
    """A connection that was used, and a session that was made, while the certificate was in force."""

    files: Files
    context: ssl.SSLContext
    kept: Client
    session: ssl.SSLSession | None
    before: Expected


@pytest.fixture(scope="module")
def outlived(lab: Lab) -> Iterator[dict[tuple[str, str], Outlived]]:
    """Use a certificate of few seconds on every server, and return when it has expired."""
    ports = {server: lab.reach(SERVERS[server]).port for server in SERVERS}
    ends = (datetime.now(UTC) + timedelta(seconds=6)).replace(microsecond=0)
    files = lab.enroll("short-lived", lab.pki.ca.issue("short-lived", not_after=ends))
    found: dict[tuple[str, str], Outlived] = {}
    with ExitStack() as stack:
        for server in KEEP_ALIVE:
            for version, number in VERSIONS.items():
                context = tls_context(lab.pki.root, files, number)
                client = stack.enter_context(Client(ports[server], context))
                before = believed(lab, server, client, files)
                found[server, version] = Outlived(files, context, client, client.tls.session, before)
        in_time = datetime.now(UTC) < ends
        assert in_time, "this machine is too slow for a certificate of six seconds"
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 1.1)
        yield found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", KEEP_ALIVE)
def test_expired_on_a_kept_connection(
    lab: Lab, outlived: dict[tuple[str, str], Outlived], server: str, version: str
) -> None:
    """A certificate that expires while its connection stays open was believed, and is refused, without a restart."""
    case = outlived[server, version]
    assert case.before == "short-lived"
    assert believed(lab, server, case.kept, case.files) is Reason.EXPIRED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", RESUMING)
def test_expired_on_a_resumed_session(
    lab: Lab, outlived: dict[tuple[str, str], Outlived], server: str, version: str
) -> None:
    """TLS layers resume the session of an expired certificate; the application refuses it."""
    case = outlived[server, version]
    with Client(lab.reach(SERVERS[server]).port, case.context, session=case.session) as client:
        assert client.tls.session_reused
        assert believed(lab, server, client, case.files) is Reason.EXPIRED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", KEEP_ALIVE)
def test_expired_on_a_new_connection(
    lab: Lab, outlived: dict[tuple[str, str], Outlived], server: str, version: str
) -> None:
    """A full handshake with a certificate that has expired meanwhile does not reach the application."""
    case = outlived[server, version]
    found: Expected
    try:
        with Client(lab.reach(SERVERS[server]).port, case.context) as client:
            found = believed(lab, server, client, case.files)
    except HandshakeRefused:
        found = REFUSED
    assert found == REFUSED


def test_the_replies_name_one_process_each(lab: Lab, cases: dict[str, Files | None]) -> None:
    """Every server of the matrix is a process of its own: no result above came from another server's cache."""
    replies: list[Reply] = []
    for backend in SERVERS.values():
        with Client(lab.reach(backend).port, tls_context(lab.pki.root, cases["EC"])) as client:
            replies.append(client.get())
    assert len({reply.json["pid"] for reply in replies}) == len(SERVERS)
