"""Listeners that pass TLS on to the Python server, by their recipes: the certificate is the one of the handshake."""

import pytest

from mtls_auth import Assurance
from mtls_auth.dialects import BUILTIN
from mtls_auth.probing.tricks import TRICKS, Headers
from mtls_auth.testing.headers import headers_for
from tests.integration.deployments import PATH, Deployment, Deployments
from tests.integration.lab import Files, Lab
from tests.integration.proxies import LAYER4
from tests.integration.wire import ask
from tests.pki import BrokenLeaves

DEPLOYMENTS = [
    Deployment(recipe=recipe, server=server)
    for recipe in LAYER4
    for server in ("gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "uvicorn-httptools")
]
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def bob(lab: Lab) -> Files:
    """A client's certificate."""
    return lab.pki.write("layer4-bob", lab.pki.ca.issue("layer4-bob"))


@pytest.fixture(scope="module")
def alice(lab: Lab) -> Headers:
    """What several terminators would say of somebody else."""
    der = lab.pki.ca.issue("layer4-alice").der
    dialects = [BUILTIN[name] for name in ("nginx", "rfc9440", "envoy", "traefik")]
    return [(name.title(), value) for dialect in dialects for name, value in headers_for(dialect, der)]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_the_client_of_the_handshake(lab: Lab, deployments: Deployments, bob: Files, deployment: Deployment) -> None:
    """A client is who its certificate says, by the word of the server's own TLS socket; nobody without one."""
    port = deployments.reach(deployment).port
    answer = ask(port, lab.pki.root, bob, REQUEST).json
    assert (answer["fingerprint"], answer["assurance"]) == (bob.fingerprint, Assurance.TLS_SOCKET)
    assert ask(port, lab.pki.root, None, REQUEST).json["reason"] == "no_certificate"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_refused_in_the_handshake(lab: Lab, deployments: Deployments, deployment: Deployment) -> None:
    """What the Python server's TLS layer does not verify gets no answer."""
    leaves = BrokenLeaves(lab.pki.ca)
    port = deployments.reach(deployment).port
    for name in ("expired", "not_yet_valid", "server_only", "impostor", "from_impostor_ca"):
        files = lab.pki.write(f"layer4-{name}", getattr(leaves, name))
        assert ask(port, lab.pki.root, files, REQUEST).status == 0, name


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_forged_headers(
    lab: Lab, deployments: Deployments, alice: Headers, bob: Files, deployment: Deployment, trick: str
) -> None:
    """No header is anybody's word here, and the application sees none."""
    parts = TRICKS[trick].request(alice, path=PATH, host="localhost")
    for files in (None, bob):
        reply = ask(deployments.reach(deployment).port, lab.pki.root, files, *parts)
        assert "alice" not in reply.body
        if '"headers"' in reply.body:
            assert reply.json.get("fingerprint") == (None if files is None else bob.fingerprint)
            shown = {name.lower().replace("_", "-") for name in reply.json["headers"]}
            assert shown.isdisjoint({name.lower() for name, _value in alice})
