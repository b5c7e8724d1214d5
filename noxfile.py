"""The supported versions of Python and Django: `nox` runs the pairs whose Python is installed."""

import nox

nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Django 6 needs Python 3.12.
VERSIONS = [("3.11", "5.2"), ("3.12", "6.0"), ("3.13", "5.2"), ("3.13", "6.1"), ("3.14", "6.1")]


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format and types."""
    session.install("-e", ".[test,docs]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS)
def core(session: nox.Session) -> None:
    """The core's unit tests on one Python."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-q", *(session.posargs or ["tests/core", "tests/test_architecture.py"]))


@nox.session
@nox.parametrize("python,django", VERSIONS)
def django(session: nox.Session, django: str) -> None:
    """The Django app's unit tests on one pair of versions."""
    session.install("-e", ".[test]", f"Django~={django}.0")
    session.run("python", "-m", "pytest", "-q", *(session.posargs or ["tests/django"]))
