"""The tricks that HTTP/2 has of its own: header names and values need no separators there, so they can hold them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mtls_auth.probing.tricks import LOCALHOST, Headers, Kind, Part, spellings

Field: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Trick:
    """One way to write forged headers into a request's fields: templates of names and values, as in `tricks`."""

    kind: Kind
    fields: tuple[tuple[str, str], ...] = (("{lower}", "{value}"),)
    only: Part = Part.ALL
    before: tuple[tuple[str, str], ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def forges(self) -> bool:
        """Whether forged values are sent at all."""
        return bool(self.fields or self.trailers)

    def request(
        self, forged: Headers, *, path: str, host: str, extra: Headers = (), address: str = LOCALHOST
    ) -> tuple[list[Field], list[Field]]:
        """Return the fields of the request and those of its trailers, which are empty without any. RFC 9113 §8.3."""
        once = {"address": address, "names": ", ".join(name.lower() for name, _value in forged)}
        chosen = [spellings(name.lower(), value) for name, value in self.only.of(forged)]
        honest = [
            (":method", "POST" if self.trailers else "GET"),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
            *((name.lower(), value) for name, value in extra),
        ]
        fields = [*honest, *_filled(self.before, [once]), *_filled(self.fields, chosen)]
        return _encoded(fields), _encoded(_filled(self.trailers, chosen))


def _filled(templates: Iterable[tuple[str, str]], chosen: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    templates = tuple(templates)
    return [(name.format_map(texts), value.format_map(texts)) for texts in chosen for name, value in templates]


def _encoded(fields: Iterable[tuple[str, str]]) -> list[Field]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


_EXACT = ("{lower}", "{value}")
_UNDERSCORED = ("{underscored}", "{value}")
_ADDRESSES = (("x-forwarded-for", "{address}"), ("x-real-ip", "{address}"), ("forwarded", "for={address}"))

HTTP2_TRICKS: Mapping[str, Http2Trick] = {
    "HTTP/2: exact": Http2Trick(kind=Kind.COPY),
    "HTTP/2: upper case names": Http2Trick(kind=Kind.COPY, fields=(("{upper}", "{value}"),)),
    "HTTP/2: twice": Http2Trick(kind=Kind.COPY, fields=(_EXACT, _EXACT)),
    "HTTP/2: empty and then full": Http2Trick(kind=Kind.COPY, fields=(("{lower}", ""), _EXACT)),
    "HTTP/2: underscores": Http2Trick(kind=Kind.SPELLING, fields=(_UNDERSCORED,)),
    "HTTP/2: one underscore": Http2Trick(kind=Kind.SPELLING, fields=(("{one_underscore}", "{value}"),)),
    "HTTP/2: underscores beside hyphens": Http2Trick(kind=Kind.SPELLING, fields=(_EXACT, _UNDERSCORED)),
    "HTTP/2: dots": Http2Trick(kind=Kind.SPELLING, fields=(("{dotted}", "{value}"),)),
    "HTTP/2: blank after the name": Http2Trick(kind=Kind.BLANK, fields=(("{lower} ", "{value}"),)),
    "HTTP/2: blank before the name": Http2Trick(kind=Kind.BLANK, fields=((" {lower}", "{value}"),)),
    "HTTP/2: pseudo-header": Http2Trick(kind=Kind.BLANK, fields=((":{lower}", "{value}"),)),
    "HTTP/2: colon in the name": Http2Trick(kind=Kind.BLANK, fields=(("{lower}:", "{value}"),)),
    "HTTP/2: NUL after the value": Http2Trick(kind=Kind.BLANK, fields=(("{lower}", "{value}\0"),)),
    "HTTP/2: line break in a value": Http2Trick(kind=Kind.LINE_END, fields=(("x-other", "a\r\n{lower}: {value}"),)),
    "HTTP/2: line feed in a value": Http2Trick(kind=Kind.LINE_END, fields=(("x-other", "a\n{lower}: {value}"),)),
    "HTTP/2: carriage return in a value": Http2Trick(kind=Kind.LINE_END, fields=(("x-other", "a\r{lower}: {value}"),)),
    "HTTP/2: line break in a name": Http2Trick(kind=Kind.LINE_END, fields=(("x-other: a\r\n{lower}", "{value}"),)),
    "HTTP/2: folded": Http2Trick(kind=Kind.FOLD, fields=(("{lower}", "{head}\r\n {tail}"),)),
    "HTTP/2: nominated by Connection": Http2Trick(kind=Kind.NOMINATION, before=(("connection", "close, {names}"),)),
    "HTTP/2: nomination and underscores": Http2Trick(
        kind=Kind.NOMINATION, before=(("connection", "close, {names}"),), fields=(_UNDERSCORED,)
    ),
    "HTTP/2: trailers": Http2Trick(kind=Kind.TRAILER, fields=(), trailers=(_EXACT,)),
    "HTTP/2: trailers with underscores": Http2Trick(kind=Kind.TRAILER, fields=(), trailers=(_UNDERSCORED,)),
    "HTTP/2: a forged address": Http2Trick(kind=Kind.ADDRESS, before=_ADDRESSES),
}
