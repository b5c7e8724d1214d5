"""The dialects and the servers' variables, row by row, and the header names that never reach the application."""

import inspect
from collections.abc import Callable, Iterable

from ext.generated import Generated, code, table
from mtls_auth import Dialect, ServerVariables, Verdict, codecs
from mtls_auth.dialects import BUILTIN
from mtls_auth.known_headers import known_headers
from mtls_auth.server_environ import BUILTIN_VARIABLES, Path
from mtls_auth.xfcc import XFCC

_UNVERIFIED = "never: only [trust anchors](#verify-in-the-application) verify it"
_SILENT = "you say so (`PROXY_VERIFIES`), or [trust anchors](#verify-in-the-application) verify it"


class DialectTable(Generated):
    """What each dialect reads: one row a dialect."""

    def markdown(self) -> str:
        rows = [
            (code(row.name), row.title, f"{code(row.leaf)}: {encoding(row.decode)}", beside(row))
            for row in BUILTIN.values()
        ]
        return table(("Name", "Terminator", "Certificate", "Beside it"), rows)


class MeaningTable(Generated):
    """What each dialect makes of the values: one row a dialect."""

    def markdown(self) -> str:
        rows = [(code(row.name), verified_when(row), none_when(row), row.confidence.value) for row in BUILTIN.values()]
        return table(("Name", "Verified when", "No certificate when", "Facts"), rows)


class VariableTable(Generated):
    """One row a server's way to hand a certificate on beside the headers."""

    def markdown(self) -> str:
        head = ("Name", "Server", "Certificate", "Verified when", "Chain", "Assurance", "Facts")
        return table(head, [_variables(row) for row in BUILTIN_VARIABLES.values()])


class CodecTable(Generated):
    """Every function of `mtls_auth.codecs` that can be a row's decoder."""

    def markdown(self) -> str:
        return table(("Function", "What it decodes"), [(code(item.__name__), encoding(item)) for item in decoders()])


class KnownHeaders(Generated):
    """Every name that is removed from requests."""

    def markdown(self) -> str:
        names = sorted(known_headers().names)
        return f"<details><summary>All {len(names)} names</summary>\n\n{', '.join(map(code, names))}\n\n</details>\n"


def decoders() -> list[Callable[[str], object]]:
    """Return the public functions of `mtls_auth.codecs` that take one text."""
    functions = [item for name, item in vars(codecs).items() if inspect.isfunction(item) and name[0] != "_"]
    return [item for item in functions if item.__module__ == codecs.__name__ and list(_parameters(item)) == ["text"]]


def encoding(decode: Callable[[str], object]) -> str:
    """Return what a decoder reads, in words."""
    if isinstance(decode, XFCC):
        place = "the last element" if decode.hops == 1 else f"element {decode.hops} from the right"
        others = ", others may stand before it" if decode.appended else ", and no other"
        what = "SPIFFE ID and hash" if decode.take == "uri" else "Cert, Chain and Hash"
        return f"XFCC: {what} of {place}{others}"
    return (inspect.getdoc(decode) or "").partition("\n")[0].removeprefix("Decode ").removeprefix("Read ").rstrip(".")


def verified_when(dialect: Dialect) -> str:
    """Return what has to hold for a certificate to count as verified."""
    if dialect.unverified:
        return _UNVERIFIED
    said = "; ".join(f"{code(verdict.header)} is {_values(verdict.success)}" for verdict in _demanded(dialect))
    return said or _SILENT


def none_when(dialect: Dialect) -> str:
    """Return the forms of a request without a client certificate."""
    forms = ["missing", *_listed(dialect.absent)]
    if dialect.absent_prefix is not None:
        forms.append(f"begins with {code(dialect.absent_prefix)}")
    said = [f"{code(dialect.leaf)} is {' or '.join(forms)}"]
    said += [f"{code(verdict.header)} is missing or {_values(verdict.absent)}" for verdict in _demanded(dialect)]
    return "; ".join(said)


def beside(dialect: Dialect) -> str:
    """Return what is read beside the leaf and the verdict."""
    said = []
    if dialect.chain_headers:
        said.append(f"chain {', '.join(map(code, dialect.chain_headers))}")
    elif dialect.leaf_has_chain and not dialect.without_certificate:
        said.append("the chain, in the same header")
    if dialect.fingerprint is not None:
        said.append(f"{code(dialect.fingerprint)}, which must agree where it comes")
    said += [
        f"{code(verdict.header)}, {_values(verdict.success)} with a certificate where it comes"
        for verdict in dialect.verdicts
        if verdict.optional
    ]
    return "; ".join(said) or "nothing"


def variable_rows(row: ServerVariables) -> list[tuple[str, str]]:
    """Return what is read of a server's variables, as rows of two cells."""
    how = encoding(row.decode) if inspect.getdoc(row.decode) else "text as it is"
    return [
        ("`SOURCE`", code(row.name)),
        ("certificate", f"{' or '.join(map(_path, row.leaf))}: {how}"),
        (
            "verified when",
            f"{code(row.verdict.header)} is {_values(row.verdict.success)}" if row.verdict else "it is there",
        ),
        ("chain", ", ".join(map(_path, row.chain)) or "not read"),
        ("vouched for as", code(row.assurance.value)),
    ]


def _variables(row: ServerVariables) -> tuple[str, ...]:
    facts = dict(variable_rows(row))
    return (
        facts["`SOURCE`"],
        row.title,
        *(facts[name] for name in ("certificate", "verified when", "chain", "vouched for as")),
        row.confidence.value,
    )


def _demanded(dialect: Dialect) -> list[Verdict]:
    return [verdict for verdict in dialect.verdicts if not verdict.optional]


def _parameters(function: Callable[..., object]) -> Iterable[str]:
    return inspect.signature(function).parameters


def _path(path: Path) -> str:
    return code(".".join(path) if len(path) > 1 else path[0])


def _values(values: frozenset[str]) -> str:
    return " or ".join(_listed(values))


def _listed(values: frozenset[str]) -> list[str]:
    return [code(value) if value else "empty" for value in sorted(values, reverse=True)]
