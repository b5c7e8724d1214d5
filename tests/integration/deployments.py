"""Whole deployments: a terminator by its recipe, in front of a Python server on the settings of the same recipe."""

import itertools
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mtls_auth.dialect import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.recipes import RECIPES, Format, Places
from tests.integration.lab import ROOT, SITE, Lab
from tests.integration.programs import ASGI, HIDES_THE_PEER, Program, Terminating, server_command
from tests.integration.proxies import LAYER4, TERMINATORS, check_installed, start_terminator
from tests.integration.servers import LOCALHOST, TAIL, Process, ServerError, free_port
from tests.integration.system_python import library, virtualenv
from tests.integration.wire import ask

SECRET = "q3n4v8XkZp2mT7wLr9sYbE5uHc0aJd1f"
PATIENCE = 10
PATH = "/headers"

_APPLICATION = {"wsgi": f"from {SITE}.bare import wsgi as application", "asgi": f"from {SITE}.bare import asgi as app"}
_DJANGO = f"from {SITE}.unprotected_settings import *"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What stands behind which terminator; `django` for the Django application instead of a bare one."""

    recipe: str
    server: Program | None = None
    """None where the terminator runs the application itself."""
    django: bool = False
    mistake: tuple[str, str] | None = None
    """What an operator has changed in the recipe, and into what."""

    @property
    def format(self) -> Format:
        """The kind of settings."""
        return "django" if self.django else "asgi" if self.server in ASGI else "wsgi"

    @property
    def dialect(self) -> Dialect:
        """What the terminator speaks, or would if it forwarded headers."""
        return BUILTIN[RECIPES[self.recipe].dialect or "apache-escaped"]

    def __str__(self) -> str:
        return "-".join(filter(None, (self.recipe, self.server, "django" if self.django else None)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """Where a deployment that runs is reached: over TLS, and the Python server itself, if there is one."""

    port: int
    upstream: int | None = None


class Deployments:
    """Deployments and their parts, each started when first asked for, all stopped at the end."""

    def __init__(self, lab: Lab) -> None:
        """Use the certificates and the database of *lab*."""
        self.lab = lab
        self._directory = lab.directory / "deployments"
        self._directory.mkdir()
        self._numbers = itertools.count()
        self._stack = ExitStack()
        self._processes: list[Process] = []
        self._running: dict[Deployment, Deployed] = {}
        self._failed: dict[Deployment, ServerError] = {}
        # Apache, started as root, runs applications as somebody who may not enter the tests' directories.
        self._public = Path(self._stack.enter_context(TemporaryDirectory(prefix="mtls-auth-")))
        self._public.chmod(0o755)
        self._both = self._directory / "server-both.pem"
        self._both.write_bytes(b"".join(path.read_bytes() for path in lab.pki.server))

    def close(self) -> None:
        """Stop everything, at the same time."""
        for process in self._processes:
            process.terminate()
        self._stack.close()

    def reach(self, deployment: Deployment) -> Deployed:
        """Return where this deployment is, running and answering; one that does not start is not tried again."""
        if deployment in self._failed:
            raise self._failed[deployment]
        if deployment not in self._running:
            check_installed(deployment.recipe)
            try:
                self._running[deployment] = self._deploy(deployment)
            except ServerError as error:
                self._failed[deployment] = error
                raise
        return self._running[deployment]

    def places(self, upstream: int = 8000, *, proxy_address: str = LOCALHOST) -> Places:
        """Return the places of a new deployment in a folder of its own."""
        pki = self.lab.pki
        return Places(
            listen=f"{LOCALHOST}:{free_port()}",
            server_name="localhost",
            server_certificate=str(pki.server.certificate),
            server_key=str(pki.server.key),
            server_both=str(self._both),
            client_ca=str(pki.client_cas),
            upstream=f"{LOCALHOST}:{upstream}",
            proxy_address=proxy_address,
            secret=SECRET,
            folder=str(self.new_directory()),
        )

    def serve(
        self, program: Program, port: int, text: str, *, django: bool = False, tls: Terminating | None = None
    ) -> Process:
        """Start a Python server on *text*: settings around a bare application, or for the Django one."""
        directory = self.new_directory()
        interface = "asgi" if program in ASGI else "wsgi"
        (directory / "written.py").write_text(f"{_DJANGO if django else _APPLICATION[interface]}\n\n{text}")
        environment = {**self.lab.environment, "HOME": str(directory), "PYTHONPATH": f"{directory}:{ROOT}"}
        if django:
            environment["DJANGO_SETTINGS_MODULE"] = "written"
        name = "app" if interface == "asgi" else "application"
        target = f"{SITE}.{interface}:application" if django else f"written:{name}"
        command = server_command(program, target, port, tls)
        return self.start(Process(command, ready=port, log=directory / "log", cwd=ROOT, env=environment))

    def start(self, process: Process) -> Process:
        """Start a process that ends with the others."""
        self._processes.append(self._stack.enter_context(process))
        return process

    def new_directory(self) -> Path:
        """Return an empty directory."""
        directory = self._directory / f"d{next(self._numbers)}"
        directory.mkdir()
        return directory

    def await_answer(self, port: int, *processes: Process) -> None:
        """Return when nobody is answered as nobody: some terminators listen before they know where to."""
        deadline = time.monotonic() + PATIENCE
        request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        while (reply := ask(port, self.lab.pki.root, None, request)).status != 200:
            if time.monotonic() > deadline:
                logs = [process.output[-TAIL:] for process in processes]
                raise ServerError("\n---\n".join([str(reply), *logs]))
            time.sleep(0.1)
        assert reply.json["reason"] == "no_certificate"

    def _deploy(self, deployment: Deployment) -> Deployed:
        recipe, server = RECIPES[deployment.recipe], deployment.server
        if server is None:
            upstream, processes, places = None, [], self._in_process(deployment.recipe)
            Path(places.script).write_text(f"{_APPLICATION['wsgi']}\n\n{recipe.settings('wsgi', places)}")
        else:
            upstream = free_port()
            places = self.places(upstream)
            settings = recipe.settings(deployment.format, places, peer_hidden=server in HIDES_THE_PEER)
            tls = self.lab.pki.terminating if deployment.recipe in LAYER4 else None
            processes = [self.serve(server, upstream, settings, django=deployment.django, tls=tls)]
        processes.append(start_terminator(deployment.recipe, places, self.start, mistake=deployment.mistake))
        self.await_answer(int(places.listen_port), *processes)
        return Deployed(port=int(places.listen_port), upstream=upstream)

    def _in_process(self, recipe: str) -> Places:
        """Return places where a server finds an application to load, whoever it runs as."""
        pattern = TERMINATORS[recipe].embeds
        assert pattern is not None, f"{recipe} needs a Python server"
        environment = virtualenv(library(recipe, [pattern]), self._public)
        places, script = self.places(), environment.parent / f"{recipe}.py"
        return replace(places, virtualenv=str(environment), script=str(script), socket=f"{places.folder}/app.sock")
