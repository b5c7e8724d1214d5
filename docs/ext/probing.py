"""The probe: its tricks by kind, what it says of their outcomes, and what it does not prove."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise

from ext.generated import Generated, code, table
from mtls_auth import probing
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS
from mtls_auth.probing.judgement import Outcome
from mtls_auth.probing.tricks import TRICKS, Kind


class TrickTable(Generated):
    """One row a kind of trick."""

    def markdown(self) -> str:
        kinds = {name: trick.kind for name, trick in TRICKS.items()}
        kinds |= {name: trick.kind for name, trick in HTTP2_TRICKS.items()}
        rows = [(str(kind), ", ".join(name for name, its in kinds.items() if its is kind)) for kind in Kind]
        return table(("Kind", "Tricks"), rows)


class OutcomeTable(Generated):
    """One row an outcome, the worst last."""

    def markdown(self) -> str:
        return table(("The report says", "What became of the request"), outcomes())


class ProbeLimits(Generated):
    """What a clean report does not prove, as the package says."""

    def markdown(self) -> str:
        return (inspect.getdoc(probing) or "").rpartition("What a clean report does not prove:")[2]


def outcomes() -> Iterator[tuple[str, str]]:
    """Yield each outcome's text with its docstring; raise `ValueError` for one that has none."""
    tree = ast.parse(inspect.getsource(Outcome)).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    meanings = {
        statement.targets[0].id: follower.value.value
        for statement, follower in pairwise(body)
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(follower, ast.Expr)
        and isinstance(follower.value, ast.Constant)
    }
    for outcome in Outcome:
        if outcome.name not in meanings:
            raise ValueError(f"Outcome.{outcome.name} has no docstring")
        yield code(outcome.value), str(meanings[outcome.name])
