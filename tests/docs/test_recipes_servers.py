"""The recipes for real servers: a Django project made of the documentation's blocks, behind its Nginx and alone."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import Reason
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, escaped_pem
from tests.docs.recipes import SOCKET, environment, recipe, recipes, run_shell, text_of
from tests.integration.servers import LOCALHOST, Process, Response, curl, free_port, nginx_command, requires

URLS = """
from django.urls import path

from mysite import views

urlpatterns = [path("reports", views.reports)]
"""
# The documentation's server block goes into what a distribution's nginx.conf has around it.
HTTP = """\
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{server}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with a Django project, certificates and a database."""

    directory: Path

    @property
    def socket(self) -> Path:
        return self.directory / "app.sock"

    @property
    def here(self) -> dict[str, str]:
        """What to replace in a recipe with the socket."""
        return {SOCKET: str(self.socket)}

    def shell(self, text: str, status: int | None = 0) -> str:
        return run_shell(text, self.directory, status=status)

    def server(
        self, recipe_id: str, replaced: dict[str, str], ready: int | Path, settings: str = "settings"
    ) -> Process:
        """Return the process of a server's recipe."""
        self.socket.unlink(missing_ok=True)
        return Process(
            ["bash", "-c", f"exec {text_of(recipe_id, replaced)}"],
            ready=ready,
            log=self.directory / "server.log",
            cwd=self.directory,
            env={**environment(), "DJANGO_SETTINGS_MODULE": f"mysite.{settings}"},
        )

    def nginx(self, port: int) -> Process:
        """Return the process of Nginx with the documentation's configuration."""
        server = text_of(
            "nginx-server",
            {
                **self.here,
                "listen 443 ssl;": f"listen {LOCALHOST}:{port} ssl;",
                "/etc/nginx/tls/": f"{self.directory}/",
            },
        )
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        configuration = directory / "nginx.conf"
        # Started as root, the workers would be nobody, who may not enter this folder.
        user = "user root root;" if os.geteuid() == 0 else ""
        configuration.write_text(HTTP.format(user=user, directory=directory, server=server))
        return Process(nginx_command(configuration), ready=port, log=directory / "log")

    def ask(self, port: int, client: str | None, headers: dict[str, str] | None = None) -> Response:
        """Ask for the reports with the certificate of a client."""
        return curl(
            f"https://localhost:{port}/reports",
            cacert=self.directory / "client-ca.pem",
            cert=self.directory / f"{client}.pem" if client else None,
            key=self.directory / f"{client}.key" if client else None,
            headers=list((headers or {}).items()),
        )


@pytest.fixture(scope="module")
def blank(ca: CertificateAuthority, alice: IssuedCertificate, bob: IssuedCertificate) -> Iterator[Site]:
    """A new project without our settings; no test changes it."""
    with tempfile.TemporaryDirectory(prefix="mtls-docs-") as name:  # short: a socket's path has about 100 bytes
        site = Site(Path(name))
        site.shell("python -m django startproject mysite .")
        (site.directory / "mysite/urls.py").write_text(URLS)
        (site.directory / "client-ca.pem").write_bytes(ca.pem)
        ca.issue_server("localhost", "www.example.com").write(site.directory, "server")
        expired = ca.issue("alice", not_after=datetime.now(UTC) - timedelta(hours=1))
        mallory = ca.issue("mallory", organizational_unit="Finance")
        clients = {"alice": alice, "bob": bob, "expired": expired, "mallory": mallory}
        for client, issued in clients.items():
            issued.write(site.directory, client)
        yield site


@pytest.fixture
def make_site(blank: Site) -> Iterator["MakeSite"]:
    """Copies of the project with the settings and views of the documentation."""
    with ExitStack() as stack:
        yield MakeSite(blank, stack)


@dataclass(frozen=True, slots=True)
class MakeSite:
    """Makes sites that end with the test."""

    blank: Site
    stack: ExitStack

    def __call__(self, settings: str = "django-settings", view: str = "django-view") -> Site:
        name = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="mtls-docs-"))
        shutil.copytree(self.blank.directory, name, dirs_exist_ok=True)
        site = Site(Path(name))
        package = site.directory / "mysite"
        with (package / "settings.py").open("a") as file:
            file.write(text_of(settings, site.here))
        tls = text_of("django-settings-tls")
        (package / "settings_tls.py").write_text(
            f"from mysite.settings import *\n{tls}\nSECURE_PROXY_SSL_HEADER = None\n"
        )
        (package / "views.py").write_text(text_of(view))
        return site

    def with_users(self, settings: str = "django-settings", view: str = "django-view") -> Site:
        site = self(settings, view)
        site.shell("python manage.py migrate --verbosity 0")
        for user in ("alice", "bob"):
            site.shell(f"python manage.py createsuperuser --noinput --username {user} --email {user}@example.com")
        return site


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


@recipes("gunicorn-tls", "uvicorn-tls")
def test_tls_in_the_python_server(make_site: MakeSite, recipe_id: str) -> None:
    site = make_site.with_users()
    site.shell(text_of("django-enrol"))
    port = free_port()
    replaced = {"0.0.0.0": LOCALHOST, "8443": str(port)}  # noqa: S104  # what the text says
    with site.server(recipe_id, replaced, port, settings="settings_tls"):
        assert json.loads(site.ask(port, "alice").body)["user"] == "alice"
        assert reason(site.ask(port, "mallory")) == (403, Reason.NOT_ENROLLED)
        assert reason(site.ask(port, None)) == (403, Reason.CERTIFICATE_REQUIRED)


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


@recipe("readme-cli", "explain")
def test_command_line(make_site: MakeSite) -> None:
    site = make_site.with_users()
    site.shell(text_of("django-enrol"))
    certificate = _escaped((site.directory / "alice.pem").read_bytes())
    (site.directory / "request.http").write_text(
        f"GET / HTTP/1.1\nHost: localhost\nX-SSL-Client-Cert: {certificate}\nX-SSL-Client-Verify: SUCCESS\n\n"
    )
    inspected, explained, site_says, revoked = (site.shell(line) for line in text_of("readme-cli").splitlines())
    assert "accepted as a client certificate" in inspected
    assert "authenticated" in explained
    assert "The certificate is admitted" in site_says
    assert "keyCompromise" in revoked
    assert "authenticated" in site.shell(text_of("explain"))
