"""Whose certificate is forged, and in which headers: those that the application reads first, then all the others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256
from secrets import token_hex
from typing import Any, Self

from cryptography import x509

from mtls_auth.dialect import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import ConfigurationError
from mtls_auth.evidence import Statement
from mtls_auth.testing.authority import CertificateAuthority
from mtls_auth.testing.headers import headers_for

Headers = tuple[tuple[str, str], ...]

# All dialects at once would make a request that servers refuse for its size alone.
MAX_CHARACTERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """The certificate that is pretended, and everything by which an application would name it."""

    der: bytes
    identifiers: frozenset[str]

    @classmethod
    def mint(cls) -> Self:
        """Return a certificate that nobody has seen before, with a name of every kind that a proxy forwards."""
        name = f"mtls-auth-probe-{token_hex(8)}"
        san = [x509.UniformResourceIdentifier(f"spiffe://{name}.invalid/probe"), x509.DNSName(f"{name}.invalid")]
        return cls.of(CertificateAuthority(f"CA of {name}").issue(name, san=san).der)

    @classmethod
    def of(cls, der: bytes) -> Self:
        """Take a certificate in DER."""
        found: set[str | None] = {sha256(der).hexdigest(), sha1(der, usedforsecurity=False).hexdigest()}
        for dialect in BUILTIN.values():
            for header, value in headers_for(dialect, der) if dialect.without_certificate else ():
                if header == dialect.leaf and isinstance(statement := dialect.decode(value), Statement):
                    found |= {statement.fingerprint, statement.name}
        return cls(der=der, identifiers=frozenset(text for text in found if text is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """Headers that one request forges, and the dialects that would write them."""

    dialects: tuple[str, ...]
    headers: Headers

    @property
    def leaf(self) -> str:
        """The header of the certificate."""
        return self.headers[0][0]

    @property
    def size(self) -> int:
        return sum(len(name) + len(value) for name, value in self.headers)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _value in self.headers)


def forgeries(chosen: Sequence[Dialect] | None, victim: Victim, reads: Sequence[Mapping[str, Any]]) -> list[Forgery]:
    """Return what to forge for an application that *reads* these: the `name` and `headers` of each dialect.

    None are *chosen*: every built-in one is forged, those that the application reads under the names that it reads.
    What writes a header in which the application expects a certificate comes alone, the others together, as many as
    a request holds. Raises `ConfigurationError` if nothing forges such a header.
    """
    rows = [(row.name, tuple(headers_for(row, victim.der))) for row in chosen or BUILTIN.values()]
    if chosen is None:
        rows = [*_as_read(victim, reads), *rows]
    found: dict[Headers, list[str]] = {}
    for name, headers in rows:
        if headers:
            found.setdefault(headers, []).append(name)
    made = [Forgery(dialects=tuple(dict.fromkeys(names)), headers=headers) for headers, names in found.items()]
    leaves = {str(row["headers"][0]) for row in reads}
    if missing := leaves - {forgery.leaf for forgery in made}:
        raise ConfigurationError(
            f"the application reads {', '.join(sorted(missing))}, which nothing here forges: name the dialect with "
            "--dialect and the header with --header leaf=NAME, or a --victim that has a name of the kind that it reads"
        )
    alone = [forgery for forgery in made if forgery.leaf in leaves]
    return [*alone, *_together(forgery for forgery in made if forgery.leaf not in leaves)]


def _as_read(victim: Victim, reads: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Headers]]:
    """Yield the built-in dialects that the application reads, under the header names that it gave them."""
    for row in reads:
        dialect = BUILTIN.get(row["name"])
        if dialect is None or len(dialect.headers) != len(row["headers"]):
            raise ConfigurationError(
                f"the application reads the dialect {row['name']!r}, which is none of the built-in ones: name the one "
                "that is written like it with --dialect, and its headers with --header"
            )
        names = dict(zip(dialect.headers, row["headers"], strict=True))
        yield dialect.name, tuple((names[name], value) for name, value in headers_for(dialect, victim.der))


def _together(forgeries: Iterable[Forgery]) -> list[Forgery]:
    """Put into one what shares no header name and is small enough."""
    made: list[Forgery] = []
    for forgery in forgeries:
        for index, other in enumerate(made):
            if other.size + forgery.size <= MAX_CHARACTERS and other.names.isdisjoint(forgery.names):
                made[index] = Forgery(
                    dialects=(*other.dialects, *forgery.dialects), headers=(*other.headers, *forgery.headers)
                )
                break
        else:
            made.append(forgery)
    return made
