"""The keys of `MTLS_AUTH`: names, types, defaults and docstrings of `django_mtls.settings.Settings`."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields

from django_mtls.settings import Settings
from ext.generated import Generated, code, table


class SettingsTable(Generated):
    """One row a key."""

    def markdown(self) -> str:
        defaults = {
            field.name: field.default if field.default is not MISSING else field.default_factory
            for field in fields(Settings)
        }
        rows = [
            (code(name.upper()), code(kind), _default(defaults[name]), description)
            for name, kind, description in _documented_fields()
        ]
        return table(("Key", "Type", "Default", "Meaning"), rows)


def _default(value: object) -> str:
    if value is MISSING:
        return "*must be given*"
    return code(repr(value() if callable(value) else value))


def _documented_fields() -> Iterator[tuple[str, str, str]]:
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    if not isinstance(tree, ast.ClassDef):
        raise TypeError("Settings is not a class")
    for statement, follower in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        match follower:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield name, ast.unparse(statement.annotation), text
            case _:
                raise ValueError(f"Settings.{name} has no docstring")
