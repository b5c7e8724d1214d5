"""One request's certificate facts, framework-neutral: header fields as received, and what the server knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from mtls_auth.errors import CertificateRejected, Reason
from mtls_auth.header_names import Header, HeaderNames
from mtls_auth.server_tls import EnvironFacts, ScopeFacts, ServerFacts, StatedFacts

_NO_NAMES: frozenset[str] = frozenset()
_NO_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


# Not frozen: one is built on every request, and freezing would triple its cost.
@dataclass(slots=True)
class Connection:
    """The fields of known dialects, and the server's facts. Holds no other header; believes nothing.

    `fields` maps canonical names to the values in order; `aliases` are canonical names that also came in
    another spelling (`ssl_client_cert`); `received` are the names or environ keys to remove from the request.
    `others` are the raw headers that remain, for ASGI: always a new list, since uvicorn with httptools appends the
    trailers of a request to the list that it handed out.
    """

    server: ServerFacts = field(default_factory=StatedFacts)
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: frozenset[str] = _NO_NAMES
    received: frozenset[str] = _NO_NAMES
    others: list[Header] = field(default_factory=list, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any], known: HeaderNames) -> Self:
        """Read a WSGI environ. A repeated field arrives joined by commas; other spellings cannot be seen."""
        keys = known.in_environ(environ)
        if not keys:
            return cls(EnvironFacts(environ), _NO_FIELDS, _NO_NAMES, _NO_NAMES, [])
        name_of = known.name_by_key
        return cls(EnvironFacts(environ), {name_of[key]: (environ[key],) for key in keys}, _NO_NAMES, keys)

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any], known: HeaderNames) -> Self:
        """Read an ASGI HTTP or WebSocket scope."""
        return cls.from_headers(scope["headers"], known, ScopeFacts(scope))

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[bytes, bytes]], known: HeaderNames, server: ServerFacts) -> Self:
        """Read raw header pairs, names in any case."""
        found, others = known.split(headers)
        if not found:
            return cls(server, _NO_FIELDS, _NO_NAMES, _NO_NAMES, others)
        fields: dict[str, list[str]] = {}  # a client may send a name a thousand times
        aliases = _NO_NAMES
        for (name, exact), (_raw_name, raw_value) in found:
            if not exact:
                aliases |= {name}
            elif name in fields:
                fields[name].append(raw_value.decode("latin-1"))
            else:
                fields[name] = [raw_value.decode("latin-1")]
        received = frozenset([header[0].decode("latin-1") for _spelling, header in found])
        return cls(server, {name: tuple(values) for name, values in fields.items()}, aliases, received, others)

    def joined(self, name: str) -> str | None:
        """Return a list field's lines as one, as servers join them, None if absent. RFC 9110 §5.3."""
        values = self.fields.get(name)
        return None if values is None else ",".join(values).strip(" \t")

    def one(self, name: str) -> str | None:
        """Return the only value of a field without blanks around it, None if absent; raise if it came twice."""
        values = self.fields.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise CertificateRejected(Reason.AMBIGUOUS_HEADER, f"{name} came {len(values)} times")
        return values[0].strip(" \t")
