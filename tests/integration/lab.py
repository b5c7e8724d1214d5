"""What the tests of this folder share: certificates on disk, the site's database, and its servers by name."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.integration.programs import Program, Terminating, server_command
from tests.integration.servers import LOCALHOST, Process, free_port, nginx_command, requires, write_nginx_conf
from tests.pki import TutorialPKI

ROOT = Path(__file__).parents[2]
SITE = "tests.integration.site"

App = Literal["wsgi", "asgi", "starlette_app", "plain_asgi"]
Transport = Literal["tls", "tcp", "unix"]


class Files(NamedTuple):
    """A certificate with its chain, and its key."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the leaf."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).fingerprint(SHA256()).hex()


class Pki:
    """One root, the server's certificate below it, and clients, each in files; and the PKI of a tutorial."""

    def __init__(self, directory: Path) -> None:
        """Write the root and the server's certificate into *directory*."""
        self.directory = directory
        self.ca = CertificateAuthority()
        self.root = directory / "ca.pem"
        self.root.write_bytes(self.ca.pem)
        requires("openssl")
        tutorial = directory / "tutorial"
        tutorial.mkdir()
        self.tutorial = TutorialPKI(tutorial)
        self.tutorial_root = x509.load_pem_x509_certificate(self.tutorial.ca.read_bytes())
        # The CAs whose clients are welcome.
        self.client_cas = directory / "client-cas.pem"
        self.client_cas.write_bytes(self.ca.pem + self.tutorial.ca.read_bytes())
        self.server = Files(*self.ca.issue_server("localhost", LOCALHOST).write(directory, "server"))
        self.terminating = Terminating(*self.server, self.client_cas)

    def write(self, name: str, issued: IssuedCertificate) -> Files:
        """Write a client's files as *name*."""
        return Files(*issued.write(self.directory, name))


class Registrar:
    """The process that changes the site's database while its servers run; see `site.registrar`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it; returns when the tables are there."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{SITE}.registrar"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        if self._answer() != "ready":
            raise RuntimeError("the registrar did not start")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)

    def enroll(self, certificate: Path, user: str) -> None:
        """Let *certificate* stand for *user*; returns when that is committed, as the others do."""
        self._order(do="enroll", pem=certificate.read_text(), user=user)

    def revoke(self, fingerprint: str) -> None:
        """Revoke an enrolled certificate."""
        self._order(do="revoke", fingerprint=fingerprint)

    def set_active(self, user: str, active: bool) -> None:
        """Make a user active or not, as the admin's user page does."""
        self._order(do="activate", user=user, active=active)

    def disconnect(self) -> None:
        """Close the connection to the database."""
        self._order(do="disconnect")

    def _order(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        error = json.loads(self._answer())["error"]
        if error is not None:
            raise RuntimeError(error)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A Python server of the site: where it listens, and whom it believes.

    `trusted` names what it accepts the headers of nginx from: `"peer"` for whoever connects, or entries of
    TRUSTED_PROXIES; ignored on the TLS socket.
    """

    program: Program
    app: App
    transport: Transport
    trusted: tuple[str, ...] = ("peer",)
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that runs: where to connect to, its log, and the process."""

    address: int | Path
    process: Process

    @property
    def port(self) -> int:
        """The TCP port."""
        assert isinstance(self.address, int)
        return self.address


class Lab:
    """One PKI, one database and the servers on it, each started when first asked for, all stopped at the end."""

    def __init__(
        self, directory: Path, *, database: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Use the database with this URL, SQLite in *directory* without one."""
        self.directory = directory
        self.pki = Pki(directory)
        self.environment = {
            "MTLS_SITE_DATABASE": database or f"sqlite://{directory}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": f"{SITE}.settings",
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        self._numbers = itertools.count()
        self._running: dict[object, Running] = {}
        self._tutorial: set[str] = set()
        self._stack = ExitStack()

    @cached_property
    def registrar(self) -> Registrar:
        """The process that makes the database's tables, and then changes it."""
        registrar = Registrar(self.environment)
        self._stack.callback(registrar.close)
        return registrar

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()

    def enroll(self, user: str, issued: IssuedCertificate | None = None) -> Files:
        """Issue a certificate (with *user* as the common name unless given), write and enrol it for *user*."""
        files = self.pki.write(user, issued or self.pki.ca.issue(user))
        self.registrar.enroll(files.certificate, user)
        return files

    def tutorial(self, name: str) -> Files:
        """Return a client of the tutorial's PKI, enrolled for the user `tutorial-NAME`: there is one of each."""
        client = self.pki.tutorial.clients[name]
        if name not in self._tutorial:
            self.registrar.enroll(client.certificate, f"tutorial-{name}")
            self._tutorial.add(name)
        return Files(client.certificate, client.key)

    def backend(self, backend: Backend) -> Running:
        """Return this server, running."""
        if backend not in self._running:
            self._running[backend] = self._start(backend)
        return self._running[backend]

    def behind_nginx(self, backend: Backend, *, location: str = "") -> Running:
        """Return nginx in front of this server, both running; *location* is text added to its configuration."""
        key = (backend, location)
        if key not in self._running:
            upstream = self.backend(backend).address
            directory = self._new_directory()
            port = free_port()
            configuration = write_nginx_conf(
                directory,
                listen_port=port,
                upstream=f"unix:{upstream}" if isinstance(upstream, Path) else f"{LOCALHOST}:{upstream}",
                server_cert=self.pki.server.certificate,
                server_key=self.pki.server.key,
                client_ca=self.pki.client_cas,
                location=location,
            )
            process = Process(nginx_command(configuration), ready=port, log=directory / "log")
            self._running[key] = Running(address=port, process=self._stack.enter_context(process))
        return self._running[key]

    def reach(self, backend: Backend) -> Running:
        """Return what a TLS client connects to: the server itself on its TLS socket, else nginx in front of it."""
        return self.backend(backend) if backend.transport == "tls" else self.behind_nginx(backend)

    def _start(self, backend: Backend) -> Running:
        _tables = self.registrar
        directory = self._new_directory()
        address: int | Path = directory / "app.sock" if backend.transport == "unix" else free_port()
        peer = f"unix:{address}" if isinstance(address, Path) else LOCALHOST
        trusted = [peer if entry == "peer" else entry for entry in backend.trusted]
        environment = {
            **self.environment,
            # gunicorn keeps its control socket below the home directory.
            "HOME": str(directory),
            **dict(backend.environment),
        }
        if backend.transport == "tls":
            environment["MTLS_SITE_SOURCE"] = "tls"
        else:
            environment.setdefault("MTLS_SITE_SOURCE", "nginx")
            environment["MTLS_SITE_TRUSTED_PROXIES"] = ",".join(trusted)
        tls = self.pki.terminating if backend.transport == "tls" else None
        target = f"{SITE}.{backend.app}:application"
        command = [*server_command(backend.program, target, address, tls), *backend.options]
        process = Process(command, ready=address, log=directory / "log", cwd=ROOT, env=environment)
        return Running(address=address, process=self._stack.enter_context(process))

    def _new_directory(self) -> Path:
        directory = self.directory / f"s{next(self._numbers)}"
        directory.mkdir()
        return directory
