"""Every odd certificate through every terminator on its published recipe: who the application believes is there."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_auth import Reason
from mtls_auth.testing import IssuedCertificate
from tests.integration.client import Client, HandshakeRefused, Reply, tls_context
from tests.integration.deployments import PATH, Deployment, Deployments
from tests.integration.lab import Files, Lab
from tests.integration.wire import ask
from tests.pki import AWKWARD_NAMES, HOSTILE_NAMES, BrokenLeaves

DEPLOYMENTS = [
    *(
        Deployment(recipe=recipe, server=server)
        for recipe in ("nginx", "apache", "haproxy", "caddy", "caddy-2.6", "rfc9440", "traefik", "envoy", "lighttpd")
        for server in ("gunicorn-gthread", "uvicorn-httptools")
    ),
    *(Deployment(recipe=recipe) for recipe in ("mod_wsgi", "uwsgi", "nginx-uwsgi")),
]

# Those that accept the session of a certificate that has expired since.
RESUMES = {"nginx", "apache", "haproxy", "envoy", "lighttpd", "mod_wsgi", "uwsgi", "nginx-uwsgi"}
ONE_EACH = [deployment for deployment in DEPLOYMENTS if deployment.server != "gunicorn-gthread"]

BELIEVED = "believed"
NOBODY = "nobody"
REFUSED = "refused before the application is asked"

EXPECTED: Mapping[str, str] = {
    "none": NOBODY,
    "good": BELIEVED,
    "tutorial": BELIEVED,
    "RSA": BELIEVED,
    "Ed25519": BELIEVED,
    "through an intermediate": BELIEVED,
    "without EKU": BELIEVED,
    "of 60 names": BELIEVED,
    "without its intermediate": REFUSED,
    "expired": REFUSED,
    "not yet valid": REFUSED,
    "for servers only": REFUSED,
    "impostor": REFUSED,
    "of an impostor CA": REFUSED,
    "without a name": Reason.UNUSABLE_NAME,
    "two common names": Reason.UNUSABLE_NAME,
    "two common names in one RDN": Reason.UNUSABLE_NAME,
    **{f"awkward {name}": BELIEVED for name in AWKWARD_NAMES},
    **{f"hostile {name}": Reason.UNUSABLE_NAME for name in HOSTILE_NAMES},
}
# What differs from one terminator to another.
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    # Envoy does not offer the algorithm: the client sends none.
    ("envoy", "Ed25519"): NOBODY,
    # It reads the first certificate of the file of CAs only.
    ("caddy-2.6", "tutorial"): REFUSED,
    # It lets pass what it could not verify, and says so.
    **{("lighttpd", name): Reason.PROXY_REJECTED for name, outcome in EXPECTED.items() if outcome == REFUSED},
}


@pytest.fixture(scope="module")
def certificates(lab: Lab) -> Mapping[str, Files | None]:
    """All of them, in files."""
    leaves = BrokenLeaves(lab.pki.ca)
    through = leaves.through_intermediate
    issued: dict[str, IssuedCertificate] = {
        "good": leaves.good,
        "RSA": leaves.of_key("rsa"),
        "Ed25519": leaves.of_key("ed25519"),
        "through an intermediate": through,
        "without its intermediate": IssuedCertificate(
            certificate=through.certificate, key=through.key, chain=(), root=through.root
        ),
        "without EKU": leaves.without_eku,
        "of 60 names": lab.pki.ca.issue("many", san=[x509.DNSName(f"name-{n}.clients.example.com") for n in range(60)]),
        "expired": leaves.expired,
        "not yet valid": leaves.not_yet_valid,
        "for servers only": leaves.server_only,
        "impostor": leaves.impostor,
        "of an impostor CA": leaves.from_impostor_ca,
        "without a name": leaves.without_name,
        "two common names": leaves.two_common_names,
        "two common names in one RDN": leaves.two_common_names_in_one_rdn,
        **{f"awkward {name}": leaves.named(text) for name, text in AWKWARD_NAMES.items()},
        **{f"hostile {name}": leaves.named(text) for name, text in HOSTILE_NAMES.items()},
    }
    tutorial = lab.pki.tutorial.clients["alice"]
    files = {name: lab.pki.write(f"matrix {name}", certificate) for name, certificate in issued.items()}
    return {"none": None, "tutorial": Files(tutorial.certificate, tutorial.key), **files}


@pytest.mark.parametrize("certificate", EXPECTED)
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_the_application_believes(
    lab: Lab,
    deployments: Deployments,
    certificates: Mapping[str, Files | None],
    deployment: Deployment,
    certificate: str,
) -> None:
    """A certificate is itself or refused, nobody else; what a terminator lets in is what was measured."""
    files = certificates[certificate]
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    reply = ask(deployments.reach(deployment).port, lab.pki.root, files, request)
    assert outcome(reply, files) == expected(lab, deployment.recipe, certificate)


def loaded(files: Files) -> x509.Certificate:
    """Return the leaf of a file."""
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


def outcome(reply: Reply, files: Files | None) -> str:
    """Return what became of a certificate; whoever is believed is its holder, by its own name."""
    if reply.status == 200 and reply.json["user"] is not None:
        assert files is not None
        assert reply.json["fingerprint"] == files.fingerprint
        subject = x509.load_pem_x509_certificate(files.certificate.read_bytes()).subject
        assert [reply.json["common_name"]] == [
            name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
        return BELIEVED
    if reply.status == 200:
        assert reply.json["reason"] == Reason.NO_CERTIFICATE
        return NOBODY
    reason: str = reply.json["reason"] if reply.body.startswith("{") else REFUSED
    return reason


def expected(lab: Lab, recipe: str, certificate: str) -> str:
    """Look up the outcome; the root of the tutorial, which does not say that it is a CA, is a special case."""
    if certificate == "tutorial" and lab.pki.tutorial_root.version is not x509.Version.v1:
        # OpenSSL 3.2 and later write v3 for the tutorial's commands; only Envoy takes such a root for a CA.
        return {"envoy": BELIEVED, "lighttpd": Reason.PROXY_REJECTED}.get(recipe, REFUSED)
    return EXCEPTIONS.get((recipe, certificate), EXPECTED[certificate])


@dataclass(frozen=True, slots=True)
class Outlived:
    """A connection that is kept, and a session that was made, while the certificate was in force."""

    context: ssl.SSLContext
    kept: Client
    session: ssl.SSLSession | None
    before: str


@pytest.fixture(scope="module")
def short_lived(lab: Lab, deployments: Deployments) -> Files:
    """A certificate of few seconds, when everything runs; below an intermediate: resumed sessions carry no chain."""
    for deployment in ONE_EACH:
        deployments.reach(deployment)
    ends = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    return lab.pki.write("short-lived", lab.pki.ca.intermediate().issue("short-lived", not_after=ends))


@pytest.fixture(scope="module")
def outlived(lab: Lab, deployments: Deployments, short_lived: Files) -> Iterator[Mapping[Deployment, Outlived]]:
    """Use it through every terminator, and return when it has expired."""
    context = tls_context(lab.pki.root, short_lived)
    found = {}
    with ExitStack() as stack:
        for deployment in ONE_EACH:
            client = stack.enter_context(Client(deployments.reach(deployment).port, context))
            before = outcome(client.get(PATH), short_lived)
            session = client.tls.session if client.is_open else None
            found[deployment] = Outlived(context, client, session, before)
        remaining = loaded(short_lived).not_valid_after_utc - datetime.now(UTC)
        time.sleep(max(0.0, remaining.total_seconds()) + 1.1)
        yield found


@pytest.mark.parametrize("connection", ["kept", "resumed", "new"])
@pytest.mark.parametrize("deployment", ONE_EACH, ids=str)
def test_expired_meanwhile(
    deployments: Deployments,
    short_lived: Files,
    outlived: Mapping[Deployment, Outlived],
    deployment: Deployment,
    connection: str,
) -> None:
    """Most terminators go on with a certificate that expired after the handshake: the application refuses it."""
    case = outlived[deployment]
    assert case.before == BELIEVED
    session = case.session if connection == "resumed" else None
    try:
        if connection == "kept":
            after = outcome(case.kept.get(PATH), short_lived)
        else:
            with Client(deployments.reach(deployment).port, case.context, session=session) as client:
                after = outcome(client.get(PATH), short_lived)
    except HandshakeRefused:
        after = REFUSED
    resumes = connection == "resumed" and deployment.recipe in RESUMES
    assert after in ({Reason.EXPIRED} if resumes else {REFUSED, Reason.EXPIRED, Reason.PROXY_REJECTED})
