"""Base of the directives: Markdown that the code wrote, parsed in place."""

from collections.abc import Iterable, Sequence
from typing import Any

from sphinx.util.docutils import SphinxDirective


class Generated(SphinxDirective):
    """A directive whose content is the Markdown that `markdown` returns."""

    def markdown(self) -> str:
        """Return what to put in the directive's place."""
        raise NotImplementedError

    def run(self) -> list[Any]:
        # As lines: of a text docutils would turn each tab into blanks.
        lines: Any = type(self.content)(self.markdown().splitlines(), source="<generated text>")
        return self.parse_text_to_nodes(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown of one line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    """Return *text* as code; empty for nothing."""
    return f"`{text}`" if str(text) else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
