"""The header names that carry certificate facts, in every spelling that some server folds into them."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_SEPARATOR = re.compile(rb"[^a-z0-9]")


class Spelling(NamedTuple):
    """A received name of a known header: its canonical name, and whether it was spelled exactly so."""

    name: str
    exact: bool


class HeaderNames:
    """The known names: lower case with hyphens. Finds them in an environ or an ASGI header list."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.environ_keys = frozenset(environ_key(name) for name in self.names)
        self.name_by_key = {environ_key(name): name for name in self.names}
        self._by_folded = {_fold(name.encode()): name for name in self.names}
        # Names are the client's choice: the cache is bounded, and a miss costs one regular expression.
        self.spelling = lru_cache(maxsize=1024)(self._spelling)

    def in_environ(self, environ: Iterable[str]) -> frozenset[str]:
        """Return the environ keys that are known. A WSGI server has folded the spellings already."""
        return self.environ_keys.intersection(environ)

    def _spelling(self, name: bytes) -> Spelling | None:
        canonical = self._by_folded.get(_fold(name))
        return None if canonical is None else Spelling(canonical, name.lower() == canonical.encode())


def environ_key(name: str) -> str:
    """Return the CGI variable that a WSGI server makes of a header name. RFC 3875 §4.1.18."""
    return "HTTP_" + name.upper().replace("-", "_")


def _fold(name: bytes) -> bytes:
    return _SEPARATOR.sub(b"-", name.lower())
