"""The recipes that install: which extras there are, and, where the package index may be asked, the lines themselves."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.docs.recipes import environment, recipe, recipes, run_shell, text_of
from tests.docs.snippets import ROOT
from tests.integration.servers import Process, curl, free_port

IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "state", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".nox"
)


@recipes(
    "contributing-setup",
    "daphne-install",
    "django-install",
    "drf-install",
    "probe-install",
    "starlette-install",
    "wsgi-install",
)
def test_the_extras_exist(recipe_id: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = text_of(recipe_id)
    named = re.search(r"pip install (?:-e )?'?(\.|mtls-auth)(?:\[([a-z,]+)\])?'?$", text.strip())
    assert named is not None
    assert named[1] in {".", project["name"]}
    assert set((named[2] or "django").split(",")) <= set(project["optional-dependencies"])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree, as somebody has it who has just cloned it."""
    if os.environ.get("CI") != "true":
        pytest.skip("installs from the package index: set CI=true to run it")
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=IGNORED)
    return copy


@recipe("readme-demo")
def test_the_line_that_starts_the_example(checkout: Path) -> None:
    port = free_port()
    command = f"{text_of('readme-demo').strip()} --port {port}"
    own = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    with Process(
        ["bash", "-c", f"unset DJANGO_SETTINGS_MODULE; {command}"],
        ready=port,
        log=checkout / "log",
        cwd=checkout,
        env=own,
        timeout=600,
    ):
        pki = checkout / "example_project/state/pki"
        answer = curl(
            f"https://localhost:{port}/whoami", cacert=pki / "ca.pem", cert=pki / "alice.pem", key=pki / "alice.key"
        )
        assert '"user": "alice"' in answer.body


@recipe("readme-tests")
def test_the_line_that_runs_the_tests(checkout: Path) -> None:
    # All of them would run this test again: one file stands for them.
    output = run_shell(f"{text_of('readme-tests').strip()} -q tests/core/test_names.py", checkout, PYTHONPATH="")
    assert re.search(r"\d+ passed", output)
