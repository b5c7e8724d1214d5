"""The benchmarks run, and what they count is exact. No time is asserted: machines differ, and are busy."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tables() -> dict[str, Rows]:
    """The rows of a smoke run by their names, by table title."""
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {
        table["title"]: {next(iter(row.values())): row for row in table["rows"]}
        for table in json.loads(done.stdout)["tables"]
    }


def django_tables(tables: dict[str, Rows], kind: str) -> list[Rows]:
    """The tables of all databases that are installed."""
    found = [rows for title, rows in tables.items() if title.startswith(f"Django, {kind},")]
    assert found
    return found


def test_every_group_is_reported(tables: dict[str, Rows]) -> None:
    """A smoke run measures every group; PostgreSQL is measured or skipped with a reason."""
    titles = " | ".join(tables)
    for group in (
        "Core, WSGI",
        "Core, ASGI",
        "Codecs",
        "Memory",
        "Import",
        "Servers over loopback TLS",
        "SQLite",
        "PostgreSQL",
    ):
        assert group in titles


@pytest.mark.parametrize("stack", ["certificate", "certificate and request.user"])
@pytest.mark.parametrize(("mode", "queries"), [("immediate", 1), ("MAX_STALENESS=1", 0), ("MAX_STALENESS=0", 1)])
def test_queries_with_a_certificate(tables: dict[str, Rows], stack: str, mode: str, queries: int) -> None:
    """A request with a certificate costs exactly one query; within MAX_STALENESS it costs none."""
    for rows in django_tables(tables, "WSGI"):
        assert rows[f"{stack}: {mode}"]["queries"] == queries


def test_queries_without_a_certificate(tables: dict[str, Rows]) -> None:
    """A request without a certificate costs no query."""
    for rows in django_tables(tables, "WSGI"):
        assert rows["certificate: none came"]["queries"] == 0


@pytest.mark.parametrize("stack", ["certificate", "certificate and request.user"])
def test_django_stays_on_the_event_loop(tables: dict[str, Rows], stack: str) -> None:
    """Under ASGI only what must ask the database leaves the event loop, and it does so once."""
    for rows in django_tables(tables, "ASGI"):
        assert rows[f"{stack}: MAX_STALENESS=60"]["hops over"] == 0
        assert rows[f"{stack}: immediate"]["hops over"] == 1


def test_the_core_stays_on_the_event_loop(tables: dict[str, Rows]) -> None:
    """The ASGI middleware never leaves the event loop for a mapper without a database, hot or cold."""
    rows = tables["Core, ASGI"]
    assert {row["thread hops"] for name, row in rows.items() if name.startswith(("hot:", "cold:"))} == {0}


def test_the_package_imports_no_framework(tables: dict[str, Rows]) -> None:
    """`import mtls_auth` loads neither Django nor Starlette."""
    (row,) = tables["Import"].values()
    assert row["frameworks loaded"] == "none"
