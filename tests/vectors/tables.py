"""The vectors of the dialects: one file each, read into requests and what they must come to.

| key | meaning |
| --- | --- |
| `dialect` | the built-in row |
| `proxy_verifies`, `anchors` | the operator's word, or PEM files of `captures/` by which the application verifies |
| `clock` | the time of every request that does not say another |
| `genuine` | the row in which the terminator forwards bob's certificate, or what it states of it |
| `other` | the same field for somebody else: a forgery that would be believed in bob's place |
| `none` | what the terminator writes there without a certificate |
| `success` | the verdicts that mean success, by header |
| `passed` | headers that are none of ours, and reach the application |
| `values` | long values: `${name}` stands for one in a header |
| `rows` | requests; `peer` is the proxy unless it is given, `wsgi` what a WSGI server's environ comes to |
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from mtls_auth import AnyVerifiedCertificate, Authenticator, Dialect, Forwarded, PathVerifier, Reason, TrustedProxies
from mtls_auth.dialects import BUILTIN
from mtls_auth.policy import Policy

VECTORS = Path(__file__).parent
CAPTURES = VECTORS / "captures"

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a request comes to; `fingerprint` and `name` are those of a statement, None for a certificate."""

    kind: str
    reason: Reason | None = None
    subject_cn: str | None = None
    fingerprint: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request."""

    id: str
    headers: Headers
    peer: str | None
    clock: datetime
    expected: Expected
    wsgi: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The vectors of one dialect."""

    dialect: Dialect
    proxy_verifies: bool
    anchors: tuple[Path, ...]
    clock: datetime
    genuine: Row
    other: str
    none: tuple[str, ...]
    success: dict[str, frozenset[str]]
    passed: frozenset[str]
    rows: tuple[Row, ...]

    def source(self, proxies: TrustedProxies, **changes: Any) -> Forwarded:
        """Return the source that reads this dialect's headers from these proxies."""
        keywords = {"dialect": self.dialect, "proxy_verifies": self.proxy_verifies, "proxies": proxies, **changes}
        return Forwarded(**keywords)

    def authenticator(
        self, source: Forwarded, policy: Policy | None = None, clock: datetime | None = None
    ) -> Authenticator:
        """Return the authenticator of this dialect at its own time, with its own trust anchors."""
        now = clock or self.clock
        return Authenticator(
            source,
            policy=AnyVerifiedCertificate() if policy is None else policy,
            verifier=PathVerifier.from_files(*self.anchors) if self.anchors else None,
            clock=lambda: now,
        )

    def without(self, *names: str) -> Headers:
        """Return the genuine headers without some."""
        return tuple(header for header in self.genuine.headers if header[0].lower() not in names)

    def with_value(self, name: str, value: str) -> Headers:
        """Return the genuine headers with another value in one of them."""
        assert name in {header[0].lower() for header in self.genuine.headers}
        return tuple((key, value if key.lower() == name else old) for key, old in self.genuine.headers)

    def alone(self, leaf: str) -> Headers:
        """Return the genuine headers with another leaf, and nothing that speaks of bob's certificate."""
        changed = self.with_value(self.dialect.leaf, leaf)
        beside = {*self.dialect.chain_headers, self.dialect.fingerprint}
        return tuple(header for header in changed if header[0].lower() not in beside)


def load_table(name: str) -> Table:
    """Read one dialect's file."""
    data = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    assert data["dialect"] == name
    values: dict[str, str] = data["values"]

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)

    rows = []
    for row in data["rows"]:
        headers = tuple((name, filled(value)) for name, value in row["headers"])
        rows.append(
            Row(
                id=row["id"],
                headers=headers,
                peer=row.get("peer", "10.0.0.1"),
                clock=datetime.fromisoformat(row.get("clock", data["clock"])),
                expected=_expected(row),
                wsgi=_expected(row.get("wsgi", row)),
            )
        )
    (genuine,) = (row for row in rows if row.id == data["genuine"])
    return Table(
        dialect=BUILTIN[name],
        proxy_verifies=data["proxy_verifies"],
        anchors=tuple(CAPTURES / file for file in data["anchors"]),
        clock=datetime.fromisoformat(data["clock"]),
        genuine=genuine,
        other=filled(data["other"]),
        none=tuple(data["none"]),
        success={header.lower(): frozenset(values) for header, values in data["success"].items()},
        passed=frozenset(data.get("passed", ())) | {"accept"},
        rows=tuple(rows),
    )


def _expected(row: dict[str, Any]) -> Expected:
    return Expected(
        kind=row["expect"],
        reason=Reason(row["reason"]) if "reason" in row else None,
        subject_cn=row.get("subject_cn"),
        fingerprint=row.get("fingerprint"),
        name=row.get("name"),
    )


TABLES = {name: load_table(name) for name in BUILTIN}
