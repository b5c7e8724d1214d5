"""The code blocks of README.md and of the documentation, by the ids that stand above them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
# What a reader may paste, and what only shows an answer.
RUNNABLE = frozenset({"python", "shell", "nginx"})
ANSWERS = frozenset({"text", "json"})

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>.*)")
_ID = re.compile(r" *<!-- recipe: (?P<id>[a-z0-9-]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One block; `id` is empty where none stands above it."""

    id: str
    language: str
    text: str
    place: str


def pages() -> list[Path]:
    """Return every Markdown file that readers see."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]


def all_snippets() -> list[Snippet]:
    """Return the blocks of all pages in order."""
    return [snippet for page in pages() for snippet in _read(page)]


def snippets_by_id() -> dict[str, str]:
    """Return the text of each block that has an id."""
    return {snippet.id: snippet.text for snippet in all_snippets() if snippet.id}


def _read(page: Path) -> Iterator[Snippet]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    above = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            above = line if line.strip() else above
            continue
        body: list[str] = []
        for _number, inner in lines:
            if inner.strip() == fence["ticks"]:
                break
            body.append(inner)
        else:
            raise ValueError(f"{page}:{number}: the block does not end")
        found = _ID.fullmatch(above)
        above = ""
        yield Snippet(
            id=found["id"] if found else "",
            language=fence["language"].strip(),
            text=dedent("\n".join(body) + "\n"),
            place=f"{page.relative_to(ROOT)}:{number}",
        )
