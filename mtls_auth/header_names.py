"""The header names that carry certificate facts, in every spelling that some server folds into them."""

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Header: TypeAlias = tuple[bytes, bytes]

MAX_REMEMBERED = 1024
MAX_REMEMBERED_LENGTH = 64

HEADER_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""What every server keeps apart from other names: they fold an underscore into the hyphen, or drop it."""
# What carries certificate facts is removed from requests; these are needed for something else.
RESERVED = frozenset(
    """
    accept authorization connection content-length content-type cookie expect forwarded host origin referer te trailer
    transfer-encoding upgrade user-agent via x-forwarded-for x-forwarded-host x-forwarded-proto
    """.split()
)

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
        self._remembered: dict[bytes, Spelling | None] = {}

    def in_environ(self, environ: Iterable[str]) -> frozenset[str]:
        """Return the environ keys that are known. A WSGI server has folded the spellings already."""
        return self.environ_keys.intersection(environ)

    def split(self, headers: Iterable[Header]) -> tuple[list[tuple[Spelling, Header]], list[Header]]:
        """Return the known ones of raw header pairs with their spellings, and all the others, in order."""
        known: list[tuple[Spelling, Header]] = []
        others: list[Header] = []
        remembered = self._remembered
        for header in headers:
            name = header[0]
            spelling = remembered[name] if name in remembered else self._remember(name)
            if spelling is None:
                others.append(header)
            else:
                known.append((spelling, header))
        return known, others

    def _remember(self, name: bytes) -> Spelling | None:
        spelling = self.spelling(name)
        # Names are the client's choice: what is remembered of them is bounded, and made-up ones do not stay.
        if len(name) < MAX_REMEMBERED_LENGTH:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered = {}
            self._remembered[name] = spelling
        return spelling

    def spelling(self, name: bytes) -> Spelling | None:
        """Return how a received name spells a known one, None if it is none."""
        canonical = self._by_folded.get(_fold(name))
        return None if canonical is None else Spelling(canonical, name.lower() == canonical.encode())


def environ_key(name: str) -> str:
    """Return the CGI variable that a WSGI server makes of a header name. RFC 3875 §4.1.18."""
    return "HTTP_" + name.upper().replace("-", "_")


def _fold(name: bytes) -> bytes:
    if not name.isascii():  # Django makes "SS" of "ß"
        name = name.decode("latin-1").upper().encode("latin-1", "replace")
    return _SEPARATOR.sub(b"-", name.lower())
