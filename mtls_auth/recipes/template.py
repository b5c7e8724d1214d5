"""Templates of configuration files: `@{name}`, which none of the proxies' own languages uses."""

import string
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


class _Template(string.Template):
    # Braces are required and there is no escape, so a lone @ (Caddy's matchers) is only itself.
    pattern = r"@(?:\{(?P<braced>[a-z_]+)\}|(?P<escaped>(?!))|(?P<named>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]


@cache
def _read(resource: str) -> _Template:
    return _Template((files(__package__) / "templates" / resource).read_text(encoding="utf-8"))


def placeholders_of(resource: str) -> frozenset[str]:
    """Return the names of the values that a template wants."""
    return frozenset(_read(resource).get_identifiers())


def fill(resource: str, values: Mapping[str, str]) -> str:
    """Return the text of a template with every placeholder replaced. Does not quote: see `Places`."""
    return _read(resource).substitute(values)
