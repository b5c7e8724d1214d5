"""Every odd certificate through every terminator on its published recipe: who the application believes is there."""

from collections.abc import Mapping

import pytest
from cryptography import x509

from mtls_auth import Reason
from mtls_auth.testing import IssuedCertificate
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
    if reply.status == 200 and reply.json["user"] is not None:
        assert files is not None
        assert reply.json["fingerprint"] == files.fingerprint
        found = BELIEVED
    elif reply.status == 200:
        assert reply.json["reason"] == Reason.NO_CERTIFICATE
        found = NOBODY
    else:
        found = reply.json["reason"] if reply.body.startswith("{") else REFUSED
    assert found == expected(lab, deployment.recipe, certificate)


def expected(lab: Lab, recipe: str, certificate: str) -> str:
    """Look up the outcome; the root of the tutorial, which does not say that it is a CA, is a special case."""
    if certificate == "tutorial" and lab.pki.tutorial_root.version is not x509.Version.v1:
        # OpenSSL 3.2 and later write v3 for the tutorial's commands; only Envoy takes such a root for a CA.
        return {"envoy": BELIEVED, "lighttpd": Reason.PROXY_REJECTED}.get(recipe, REFUSED)
    return EXCEPTIONS.get((recipe, certificate), EXPECTED[certificate])
