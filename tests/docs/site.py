"""A Django project made of the documentation's blocks, with certificates and a database."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.docs.recipes import SOCKET, environment, run_shell, text_of
from tests.integration.servers import LOCALHOST, Process, Response, curl, nginx_command

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

    def nginx(self, port: int, recipe_id: str = "nginx-server", replaced: dict[str, str] | None = None) -> Process:
        """Return the process of Nginx with the documentation's configuration."""
        server = text_of(
            recipe_id,
            {
                **(self.here if replaced is None else replaced),
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
