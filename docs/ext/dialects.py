"""The dialects, row by row, and the header names that never reach the application."""

from ext.generated import Generated, code, table
from mtls_auth import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.known_headers import known_headers


class DialectTable(Generated):
    """One row a dialect."""

    def markdown(self) -> str:
        head = ("Name", "Certificate", "Encoding", "Chain", "Verdict", "Verified when", "No certificate when")
        return table(head, [_row(dialect) for dialect in BUILTIN.values()])


class KnownHeaders(Generated):
    """Every name that is removed from requests."""

    def markdown(self) -> str:
        names = sorted(known_headers().names)
        return f"<details><summary>All {len(names)} names</summary>\n\n{', '.join(map(code, names))}\n\n</details>\n"


def _row(dialect: Dialect) -> tuple[str, ...]:
    verdict = dialect.verdict
    encoding = (dialect.decode.__doc__ or "").partition("\n")[0].removeprefix("Decode ").rstrip(".")
    return (
        code(dialect.name),
        code(dialect.leaf),
        encoding,
        code(dialect.chain) if dialect.chain else "not read",
        code(verdict.header) if verdict else "none",
        _values(verdict.success) if verdict else "the operator says so, or trust anchors verify it",
        _values(verdict.absent) + ", or the header is missing" if verdict else "the header is missing",
    )


def _values(values: frozenset[str]) -> str:
    return ", ".join(code(value) if value else "empty" for value in sorted(values, reverse=True))
