"""The tutorial and the first lines of README.md, on the example project as it is."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.recipes import SNIPPETS, environment, recipe, run_shell, text_of
from tests.docs.snippets import ROOT
from tests.integration.servers import Process, free_port, requires

# Exactly these: people paste them.
START = "python3 -m venv .venv && .venv/bin/pip install -e '.[demo]' && .venv/bin/python -m example_project\n"
TESTS = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest\n"
STATE = "example_project/state"


class Example:
    """The example in a folder and on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()

    def here(self, text: str) -> str:
        """Return text of the documentation for this folder, this port and this Python."""
        return (
            text.replace(STATE, str(self.directory))
            .replace("cd ../../..", f"cd '{ROOT}'")
            .replace("localhost:8443", f"localhost:{self.port}")
            .replace(".venv/bin/python", sys.executable)
        )

    @contextmanager
    def started(self, recipe_id: str) -> Iterator[Process]:
        """Run what a block does after the installation, until it says what to do next."""
        command = self.here(text_of(recipe_id).split(" && ")[-1].strip())
        command += f" --port {self.port} --directory {self.directory}"
        log = self.directory.parent / "example.log"
        ready = "ask again who he is"
        with Process(
            ["bash", "-c", f"unset DJANGO_SETTINGS_MODULE; exec {command}"],
            ready=ready,
            log=log,
            cwd=ROOT,
            env=environment(),
        ) as process:
            yield process

    def shell(self, *recipe_ids: str, status: int = 0) -> str:
        """Run blocks one after the other in one shell and return what they print, without curl's meter."""
        text = "\n".join(self.here(text_of(recipe_id)) for recipe_id in recipe_ids)
        text = text.replace("curl ", "curl --disable --silent --show-error --write-out '\\n' ")
        return run_shell(text, ROOT, status=status, MTLS_EXAMPLE_DIRECTORY=str(self.directory))


@pytest.fixture
def example() -> Iterator[Example]:
    with tempfile.TemporaryDirectory(prefix="mtls-docs-") as name:
        yield Example(Path(name) / "state")


def test_the_lines_to_paste_are_these() -> None:
    assert SNIPPETS["readme-demo"] == SNIPPETS["tutorial-start"] == START
    assert SNIPPETS["readme-tests"] == TESTS


@recipe(
    "readme-whoami",
    "tutorial-start",
    "tutorial-folder",
    "tutorial-alice",
    "tutorial-nobody",
    "tutorial-reports",
    "tutorial-bob",
    "tutorial-explain",
    "tutorial-nginx",
    "tutorial-forge",
)
def test_tutorial(example: Example) -> None:
    requires("curl")
    requires("nginx")
    with example.started("tutorial-start") as process:
        assert f"Serving https://localhost:{example.port} with mutual TLS" in process.output
        known = json.loads(example.shell("tutorial-folder", "tutorial-alice"))
        assert (known["user"], known["reason"]) == ("alice", None)
        assert set(known["certificate"]) == set(_keys_of_the_answer())
        assert known["certificate"]["assurance"] == "tls_socket"
        assert json.loads(example.shell("readme-whoami")) == known
        nobody = {"user": None, "certificate": None, "reason": "no_certificate"}
        assert json.loads(example.shell("tutorial-folder", "tutorial-nobody")) == nobody
        alices, bobs = filter(None, example.shell("tutorial-folder", "tutorial-reports").splitlines())
        assert json.loads(alices) == {"reports": ["Q1", "Q2", "Q3"], "user": "alice"}
        assert json.loads(bobs)["reason"] == "not_allowed"
        assert "refused by OrganizationalUnit('Finance')" in process.output
        assert json.loads(example.shell("tutorial-folder", "tutorial-bob"))["user"] == "bob"
        # What step 5 does in a browser, which the tests of the admin do there.
        _manage(example, "mtls_revoke", "--file", f"{example.directory}/pki/bob.pem", "--reason", "keyCompromise")
        revoked = {"user": None, "certificate": None, "reason": "revoked"}
        assert json.loads(example.shell("tutorial-folder", "tutorial-bob")) == revoked
        assert "the certificate is revoked" in example.shell("tutorial-folder", "tutorial-explain", status=1)
    with example.started("tutorial-nginx"):
        behind = json.loads(example.shell("tutorial-folder", "tutorial-alice"))
        assert (behind["user"], behind["certificate"]["assurance"]) == ("alice", "proxy_verdict")
        assert json.loads(example.shell("tutorial-folder", "tutorial-forge")) == nobody


def _keys_of_the_answer() -> list[str]:
    page = (ROOT / "docs/tutorial.md").read_text()
    answer = page.partition("recipe: tutorial-alice")[2].partition("```text\n")[2].partition("```")[0]
    shown = json.loads(answer)
    return list(shown["certificate"])


def _manage(example: Example, *arguments: str) -> None:
    command = " ".join([sys.executable, "-m", "django", *arguments])
    run_shell(
        command,
        ROOT,
        DJANGO_SETTINGS_MODULE="example_project.settings",
        MTLS_EXAMPLE_DIRECTORY=str(example.directory),
    )
