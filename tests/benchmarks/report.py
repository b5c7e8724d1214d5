"""Tables, and a line on the machine: what is printed and what `--json` holds."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.benchmarks.rounds import Case, Measured

Cell = str | int | float | None

_PACKAGES = "cryptography Django starlette psycopg django-ssl-auth django-tls-certificate-auth x509middleware".split()


@dataclass(frozen=True, slots=True)
class Table:
    """One group: a title, rows of equal columns, and remarks below them."""

    title: str
    rows: Sequence[Mapping[str, Cell]]
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        columns = list(self.rows[0]) if self.rows else []
        lines = [columns, *([_text(row.get(column)) for column in columns] for row in self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        ruler = [("-" * width if at == 0 else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
        printed = [_line(cells, widths) for cells in (lines[0], ruler, *lines[1:])] if columns else []
        return "\n".join([f"## {self.title}", "", *printed, *([""] if printed else []), *self.remarks])


def row(case: Case, measured: Measured, **more: Cell) -> dict[str, Cell]:
    """Return the columns that every comparison has, and *more*."""
    baseline, target = case.baseline, case.target
    return {
        "case": case.name,
        "µs": measured.total,
        "µs over": measured.over if baseline else None,
        "p90": measured.over_p90 if baseline else None,
        "× baseline": measured.ratio if baseline else None,
        "baseline": baseline.name if baseline else None,
        "target": target,
        "× target": measured.over / target if target else None,
        **more,
    }


def absent(name: str, why: str) -> dict[str, Cell]:
    """Return the row of a case that cannot run here."""
    return {"case": name, "baseline": why}


def machine() -> str:
    """Say where and with what this was measured."""
    system = f"{platform.machine()} {_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    return f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {system}; {python}, {packages}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}" if abs(cell) < 100 else f"{cell:,.0f}"
    return str(cell)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"
