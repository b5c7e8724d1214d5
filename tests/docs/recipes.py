"""How the blocks of the documentation are run, and which tests run them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.docs.snippets import ROOT, snippets_by_id

SNIPPETS = snippets_by_id()
TESTED: set[str] = set()
# What the recipes say, and every test replaces by a place of its own.
SOCKET = "/run/mysite/app.sock"
PINNED = "88bbe6b522c0c2bc8550f8af349ace7b417bb8eada8434a3a1bcd573925bec61"

Test = TypeVar("Test", bound=Callable[..., Any])


def recipe(*ids: str) -> Callable[[Test], Test]:
    """Say which blocks a test runs."""
    TESTED.update(ids)
    return lambda test: test


def recipes(*ids: str) -> Callable[[Test], Test]:
    """Run the test, which takes `recipe_id`, once for each of the blocks."""
    TESTED.update(ids)
    mark: Callable[[Test], Test] = pytest.mark.parametrize("recipe_id", ids)
    return mark


def text_of(recipe_id: str, replaced: Mapping[str, str] | None = None) -> str:
    """Return a block's text with each key, which must occur in it, replaced."""
    text = SNIPPETS[recipe_id]
    for old, new in (replaced or {}).items():
        assert old in text, f"{recipe_id} does not say {old!r}"
        text = text.replace(old, new)
    return text


def run_python(recipe_id: str, replaced: Mapping[str, str] | None = None, **names: Any) -> dict[str, Any]:
    """Execute a Python block in which *names* are defined, and return its names."""
    namespace = {"__name__": f"docs_{recipe_id.replace('-', '_')}", **names}
    exec(compile(text_of(recipe_id, replaced), recipe_id, "exec"), namespace)  # noqa: S102  # our own text
    return namespace


def run_shell(text: str, cwd: Path, *, status: int | None = 0, **variables: str) -> str:
    """Run shell text and return what it printed, errors included; None stands for any status."""
    result = subprocess.run(
        ["bash", "-euc", text],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert status in {None, result.returncode}, result.stdout
    return result.stdout


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which `python` is this one and finds the packages; curl uses no proxy."""
    kept = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    search = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return {**kept, "PATH": search, "PYTHONPATH": str(ROOT), "NO_PROXY": "*", "no_proxy": "*", **variables}
