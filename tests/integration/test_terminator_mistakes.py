"""Terminators whose operator has changed a line of the recipe for the worse: what the application refuses then."""

import pytest

from mtls_auth.dialects import NGINX
from mtls_auth.probing.tricks import TRICKS
from mtls_auth.testing import IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.integration.deployments import PATH, Deployment, Deployments
from tests.integration.lab import Files, Lab
from tests.integration.wire import ask
from tests.pki import BrokenLeaves

NGINX_TRUSTS_ANYBODY = ("ssl_verify_client optional;", "ssl_verify_client optional_no_ca;")
APACHE_TRUSTS_ANYBODY = ("SSLVerifyClient       optional", "SSLVerifyClient       optional_no_ca")
TRUSTS_ANYBODY = [
    Deployment(recipe="nginx", server="gunicorn-gthread", mistake=NGINX_TRUSTS_ANYBODY),
    Deployment(recipe="nginx-uwsgi", mistake=NGINX_TRUSTS_ANYBODY),
    Deployment(recipe="apache", server="gunicorn-gthread", mistake=APACHE_TRUSTS_ANYBODY),
    Deployment(recipe="mod_wsgi", mistake=APACHE_TRUSTS_ANYBODY),
    Deployment(
        recipe="haproxy",
        server="uvicorn-httptools",
        mistake=("verify optional", "verify optional ca-ignore-err all crt-ignore-err all"),
    ),
]


@pytest.fixture(scope="module")
def bob(lab: Lab) -> Files:
    """A client's certificate."""
    return lab.pki.write("mistaken-bob", lab.pki.ca.issue("mistaken-bob"))


def claiming(issued: IssuedCertificate | None) -> bytes:
    """Return a request with the headers in which nginx would say whose it is."""
    headers = [("X-Nothing", "")] if issued is None else headers_for(NGINX, issued.der)
    (request,) = TRICKS["exact"].request(headers, path=PATH, host="localhost")
    return request


@pytest.mark.parametrize("deployment", TRUSTS_ANYBODY, ids=str)
def test_a_terminator_that_lets_anybody_pass(
    lab: Lab, deployments: Deployments, bob: Files, deployment: Deployment
) -> None:
    """An operator who switched verification off lets certificates of anybody pass: the verdict refuses them."""
    port = deployments.reach(deployment).port
    leaves = BrokenLeaves(lab.pki.ca)
    for name in ("impostor", "from_impostor_ca"):
        files = lab.pki.write(f"anybody-{name}", getattr(leaves, name))
        reply = ask(port, lab.pki.root, files, claiming(leaves.good))
        assert (reply.status, reply.json["reason"]) == (403, "proxy_rejected")
    assert ask(port, lab.pki.root, bob, claiming(None)).json["fingerprint"] == bob.fingerprint


LOST_ITS_HEADERS = Deployment(
    recipe="nginx", server="uvicorn-httptools", mistake=('include "', 'proxy_set_header X-Other 1; # include "')
)


def test_a_location_that_lost_its_headers(lab: Lab, deployments: Deployments, bob: Files) -> None:
    """A location of nginx that inherits no proxy_set_header passes what clients write, without the secret: refused."""
    alice, port = lab.pki.ca.issue("mistaken-alice"), deployments.reach(LOST_ITS_HEADERS).port
    for files in (None, bob):
        reply = ask(port, lab.pki.root, files, claiming(alice))
        assert (reply.status, reply.json) == (403, {"reason": "proxy_unproven"})
        assert ask(port, lab.pki.root, files, claiming(None)).json["reason"] == "no_certificate"
