"""`python -m example_project` as a user starts it: in a folder of theirs, with a home and a temporary folder."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.integration.client import tls_context
from tests.integration.lab import ROOT, Files
from tests.integration.servers import Process, free_port, requires


class Surroundings:
    """A user's folders, empty at first: `work` is where the command is typed."""

    def __init__(self, directory: Path) -> None:
        """Make them in *directory*."""
        self.home, self.temporary, self.work = (directory / name for name in ("home", "tmp", "work"))
        for folder in (self.home, self.temporary, self.work):
            folder.mkdir(parents=True)

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the user's environment: the tests' own, without what it says of Django and of the home."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "DJANGO_", "MTLS_", "COV_", "COVERAGE_"))
        }
        return {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(changes or {}),
        }

    def files(self) -> list[str]:
        """Return everything in the folders, relative to each."""
        folders = (self.home, self.temporary, self.work)
        return sorted(f"{folder.name}/{path.relative_to(folder)}" for folder in folders for path in folder.rglob("*"))


class Example:
    """The running example, for the length of a `with` block; ended by Ctrl-C, as its user would."""

    def __init__(
        self,
        surroundings: Surroundings,
        *options: str,
        directory: str = "state",
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Choose a port; *directory* is given as it is typed in the work folder."""
        self.surroundings = surroundings
        self.directory = surroundings.work / directory
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self._log = surroundings.home.parent / f"log-{self.port}"
        self.process = Process(
            [python, "-m", "example_project", "--port", str(self.port), "--directory", directory, *options],
            ready="The admin, in a browser",
            log=self._log,
            cwd=surroundings.work,
            timeout=40,
        )
        self.process.env = surroundings.environment(environment)

    def __enter__(self) -> Self:
        """Start it; returns when it says what to do next."""
        self.process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, and show the end of its log with a failure."""
        self.process.__exit__(kind, error, traceback)

    @property
    def printed_commands(self) -> list[str]:
        """The lines that the user is told to paste."""
        return [line.strip() for line in self.process.output.splitlines() if line.startswith("  curl ")]

    def paste(self, command: str) -> str:
        """Run a line in a shell in the work folder, and return what it prints."""
        result = subprocess.run(
            ["sh", "-c", command],
            cwd=self.surroundings.work,
            env=self.surroundings.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def files_of(self, user: str) -> Files:
        """Return certificate and key of alice or bob."""
        pki = self.directory / "pki"
        return Files(pki / f"{user}.pem", pki / f"{user}.key")

    def ask(self, path: str, user: str | None) -> httpx.Response:
        """Ask with the certificate of *user* on a new connection."""
        with self.client(user) as client:
            return client.get(path)

    def client(self, user: str | None) -> httpx.Client:
        """Return a client with the certificate of *user*; it says where it comes from, as browsers do."""
        context = tls_context(self.directory / "pki" / "ca.pem", self.files_of(user) if user else None)
        headers = {"Referer": f"{self.url}/admin/"}
        return httpx.Client(verify=context, base_url=self.url, trust_env=False, timeout=20, headers=headers)

    def restore(self) -> None:
        """Take every revocation back, which the site itself cannot."""
        with closing(sqlite3.connect(self.directory / "db.sqlite3", timeout=10)) as database, database:
            database.execute("DELETE FROM django_mtls_revocation")
            database.execute("UPDATE django_mtls_enrolledcertificate SET state = 'active'")

    def processes(self) -> set[int]:
        """Return the processes that it started: its descendants, and whoever carries its folder along."""
        return descendants(self.process.pid) | carrying(str(self.directory))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the one process that the user started."""
        os.kill(self.process.pid, number)

    def wait(self, timeout: float = 20) -> int:
        """Return its exit status."""
        return self.process.wait(timeout)


def run_example(
    surroundings: Surroundings,
    *options: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the example where it cannot start, and return what it says."""
    return subprocess.run(
        [python, "-m", "example_project", *options],
        cwd=surroundings.work,
        env=surroundings.environment(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check that a start was refused in one sentence on stderr, which has these parts."""
    assert result.returncode not in {0, -signal.SIGKILL}
    assert "Traceback" not in result.stderr + result.stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].endswith(".")
    for part in parts:
        assert part in lines[0]


def denial(reason: str) -> dict[str, object]:
    """Return what `/whoami` answers to somebody who is refused."""
    return {"user": None, "certificate": None, "reason": reason}


_REVOKE = """
import django
django.setup()
from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate
lifecycle.revoke(EnrolledCertificate.objects.filter(user__username="bob"), CRLReason.KEY_COMPROMISE)
"""


def revoke_by_command(example: Example) -> None:
    """Revoke bob's certificate in another process, as a management command does."""
    environment = example.surroundings.environment(
        {"DJANGO_SETTINGS_MODULE": "example_project.settings", "MTLS_EXAMPLE_DIRECTORY": str(example.directory)}
    )
    subprocess.run([sys.executable, "-c", _REVOKE], env=environment, check=True, timeout=30)


def _processes() -> dict[int, tuple[int, int]]:
    """Return parent and session of every process that is no zombie."""
    command = [requires("ps"), "-A", "-o", "pid=,ppid=,sess=,stat="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for pid, parent, session, state in map(str.split, lines):
        if not state.startswith("Z"):
            found[int(pid)] = (int(parent), int(session))
    return found


def descendants(pid: int) -> set[int]:
    """Return the children of a process, their children, and the sessions that these lead."""
    processes = _processes()
    found: set[int] = set()
    while True:
        more = {
            child
            for child, (parent, session) in processes.items()
            if child not in found and (parent in {pid, *found} or session in found)
        }
        if not more:
            return found
        found |= more


def carrying(text: str) -> set[int]:
    """Return the processes with *text* in their command line or environment, where the system has /proc."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in known and int(process.name) != os.getpid():
            found.add(int(process.name))
    return found & set(_processes())


def alive(pids: set[int]) -> set[int]:
    """Return which of these processes, or of the sessions that they led, still run."""
    return {pid for pid, (_parent, session) in _processes().items() if pid in pids or session in pids}


class _Forms(HTMLParser):
    """Collects the forms of a page: where each goes, and the values that it starts with."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, list[str]]]] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.forms.append((values.get("action") or "", {}))
        elif tag in {"input", "select", "textarea"} and self.forms and values.get("name"):
            self.forms[-1][1].setdefault(str(values["name"]), []).append(values.get("value") or "")


def form_with(page: httpx.Response, field: str) -> tuple[str, dict[str, list[str]]]:
    """Return the target and the values of the form on *page* that has this field."""
    parser = _Forms()
    parser.feed(page.text)
    for action, values in parser.forms:
        if field in values:
            return str(page.url.join(action)), values
    text = re.sub(r"<[^>]*>|\s+", " ", page.text)
    raise AssertionError(f"{page.url}: no form has the field {field}: {text}")


def revoke_in_admin(client: httpx.Client, user: str) -> httpx.Response:
    """Revoke the one certificate of *user* as an operator does: select it in the list, confirm, give a reason."""
    page = client.get("/admin/django_mtls/enrolledcertificate/", params={"q": f"user:{user}"}).raise_for_status()
    url, values = form_with(page, "_selected_action")
    (selected,) = values["_selected_action"]
    token = values["csrfmiddlewaretoken"][0]
    chosen = {"csrfmiddlewaretoken": token, "action": "revoke_selected", "_selected_action": selected}
    page = client.post(url, data=chosen).raise_for_status()
    url, values = form_with(page, "revocation_reason")
    confirmed = {
        "csrfmiddlewaretoken": values["csrfmiddlewaretoken"][0],
        "certificates": values["certificates"][0],
        "revocation_reason": "keyCompromise",
        "comment": "The laptop was stolen.",
    }
    return client.post(url, data=confirmed)
