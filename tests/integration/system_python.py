"""A virtual environment for servers that the system built for its own Python, as a user of theirs would make one."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.servers import unavailable

# What the bare application imports, with the packages that these need.
_PACKAGES = ("mtls_auth", "cryptography", "cffi", "_cffi_backend", "pycparser")
_OF_THE_TESTS = ("__init__", "integration/__init__", "integration/site/__init__", "integration/site/answer")
_TESTS = Path(__file__).parents[1]


def library(name: str, patterns: Iterable[str]) -> Path:
    """Return the first file that one of *patterns* finds; skip the test, which needs *name*, where none does."""
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern)):
            return path
    unavailable(name)


def virtualenv(embedding: Path, directory: Path) -> Path:
    """Return one in *directory*, for the Python that the library *embedding* embeds, with a bare application in it.

    Skips the test where that is another Python than this one, whose compiled packages are copied.
    """
    found = re.search(rb"libpython(\d+\.\d+)", embedding.read_bytes())
    assert found is not None, f"{embedding} embeds no Python"
    version = found[1].decode()
    if version != f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"{embedding.name} was built for Python {version}, and these tests run on another")
    return _make(version, directory / "venv")


@cache
def _make(version: str, made: Path) -> Path:
    python = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    if python is None:
        unavailable(f"the system's Python {version}")
    subprocess.run([python, "-m", "venv", "--without-pip", made], check=True, capture_output=True)
    packages = made / "lib" / f"python{version}" / "site-packages"
    for name in _PACKAGES:
        _copy(name, packages)
    for name in (*_OF_THE_TESTS, "integration/site/bare"):
        target = packages / "tests" / f"{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_TESTS / f"{name}.py", target)
    return made


def _copy(name: str, packages: Path) -> None:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        shutil.copy(origin, packages)
    else:
        shutil.copytree(origin.parent, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
