"""The recipes for real servers: a Django project made of the documentation's blocks, behind its Nginx and alone."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import Reason
from mtls_auth.testing import IssuedCertificate, escaped_pem
from tests.docs.recipes import PINNED, recipe, text_of
from tests.docs.site import MakeSite
from tests.integration.servers import LOCALHOST, Response, free_port, requires


def reason(response: Response) -> tuple[int, str]:
    """Return status and reason of a denial."""
    return response.status, json.loads(response.body)["reason"]


@recipe(
    "django-settings",
    "django-enrol",
    "nginx-gunicorn",
    "nginx-server",
    "nginx-uvicorn",
    "readme-django-settings",
    "readme-django-enrol",
)
@pytest.mark.parametrize(
    ("settings", "enrol", "view", "server"),
    [
        ("django-settings", "django-enrol", "django-view", "nginx-gunicorn"),
        ("django-settings", "django-enrol", "django-view", "nginx-uvicorn"),
        ("readme-django-settings", "readme-django-enrol", "readme-django-view", "nginx-gunicorn"),
    ],
)
def test_behind_nginx(make_site: MakeSite, settings: str, enrol: str, view: str, server: str) -> None:
    requires("nginx")
    site = make_site.with_users(settings, view)
    assert "Enrolled alice" in site.shell(text_of(enrol))
    site.shell("python manage.py mtls_enroll bob bob.pem")
    port = free_port()
    with site.server(server, site.here, site.socket), site.nginx(port):
        known = site.ask(port, "alice")
        assert (known.status, json.loads(known.body)["user"]) == (200, "alice")
        assert reason(site.ask(port, "bob")) == (403, Reason.NOT_ALLOWED)
        assert reason(site.ask(port, "mallory")) == (403, Reason.NOT_ENROLLED)
        assert reason(site.ask(port, None)) == (403, Reason.CERTIFICATE_REQUIRED)
        certificate = _escaped((site.directory / "alice.pem").read_bytes())
        forged = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": certificate}
        assert reason(site.ask(port, None, forged)) == (403, Reason.CERTIFICATE_REQUIRED)
        assert json.loads(site.ask(port, "alice", forged).body)["user"] == "alice"
        refused_by_nginx = site.ask(port, "expired")
        assert refused_by_nginx.status == 400
        assert "The SSL certificate error" in refused_by_nginx.body
        site.shell("python manage.py mtls_revoke --file alice.pem --reason keyCompromise")
        assert reason(site.ask(port, "alice")) == (403, Reason.REVOKED)


def _escaped(pem: bytes) -> str:
    return escaped_pem(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))


@recipe("proxy-certificate-nginx", "trusted-certificate")
def test_the_proxy_s_own_certificate(make_site: MakeSite, proxy: IssuedCertificate) -> None:
    """Nginx is believed for its certificate alone; a client with a certificate of its own is not."""
    requires("nginx")
    site = make_site.with_users()
    site.shell(text_of("django-enrol"))
    pinned = text_of("trusted-certificate", {PINNED: proxy.fingerprint_sha256})
    (site.directory / "mysite/settings_proxy.py").write_text(f"from mysite.settings import *\n{pinned}")
    application, port = free_port(), free_port()
    # One CA is enough for the test: it issued the server's certificate too.
    (site.directory / "application-ca.pem").write_bytes((site.directory / "client-ca.pem").read_bytes())
    replaced = {"0.0.0.0": LOCALHOST, "8443": str(application)}  # noqa: S104  # what the text says
    with (
        site.server("gunicorn-tls", replaced, application, settings="settings_proxy"),
        site.nginx(port, "proxy-certificate-nginx", {"10.0.0.9:8443": f"{LOCALHOST}:{application}"}),
    ):
        assert json.loads(site.ask(port, "alice").body)["user"] == "alice"
        assert reason(site.ask(port, "mallory")) == (403, Reason.NOT_ENROLLED)
        certificate = _escaped((site.directory / "alice.pem").read_bytes())
        forged = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": certificate}
        for client in (None, "mallory", "alice"):
            assert reason(site.ask(application, client, forged)) == (403, Reason.CERTIFICATE_REQUIRED)
        assert json.loads(site.ask(application, "proxy", forged).body)["user"] == "alice"


@recipe("django-check")
def test_check(make_site: MakeSite) -> None:
    site = make_site()
    # Django's own checks have much to say of a new project; from 6.1 on some of it is errors.
    output = site.shell(text_of("django-check"), status=None)
    assert "security.W" in output
    assert "django_mtls" not in output
    with (site.directory / "mysite/settings.py").open("a") as file:
        file.write('MTLS_AUTH = {"SOURCE": "nginx", "REQUIRE": True}\n')
    output = site.shell(text_of("django-check"), status=1)
    assert "django_mtls.E001" in output


@recipe("commands-enrol", "commands-revoke", "commands-explain")
def test_commands(make_site: MakeSite) -> None:
    site = make_site.with_users()
    (listed,) = (line for line in site.shell(text_of("commands-enrol")).splitlines() if "\t" in line)
    assert listed.split("\t")[3:] == ["alice", "CN=alice,OU=Finance", "laptop"]
    assert json.loads(site.shell("python manage.py mtls_list --json"))["user"] == "alice"
    assert "admitted" in site.shell(text_of("commands-explain"))
    site.shell(text_of("commands-revoke"))
    assert "revoked, HTTP 403" in site.shell(text_of("commands-explain"), status=1)
