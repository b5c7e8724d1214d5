"""The supported versions of Python and Django: `nox` runs the pairs whose Python is installed."""

import nox

nox.options.error_on_missing_interpreters = False

# Django 6 needs Python 3.12.
VERSIONS = [("3.11", "5.2"), ("3.12", "6.0"), ("3.13", "5.2"), ("3.13", "6.1"), ("3.14", "6.1")]
UNIT_TESTS = ["tests/core", "tests/django", "tests/test_architecture.py"]


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format and types."""
    session.install("-e", ".[test,docs]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
@nox.parametrize("python,django", VERSIONS)
def unit(session: nox.Session, django: str) -> None:
    """The unit tests on one pair of versions."""
    session.install("-e", ".[test]", f"Django~={django}.0")
    session.run("python", "-m", "pytest", "-q", *(session.posargs or UNIT_TESTS))
