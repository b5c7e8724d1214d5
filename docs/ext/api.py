"""The public names of `mtls_auth`, by the module that defines them."""

import ast
import inspect
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import mtls_auth
from django_mtls import models
from ext.generated import Generated
from mtls_auth import Dialect

_OTHER_VALUES = {
    "Decision": "`Anonymous | Authenticated | Denied`: match all three.",
    "__version__": "The version of this package.",
}


class PublicAPI(Generated):
    """Everything public that one module defines, by autodoc; without an argument, what the package itself does."""

    optional_arguments = 1

    def markdown(self) -> str:
        module = self.arguments[0] if self.arguments else ""
        names = names_by_module()[module]
        return "````{eval-rst}\n" + "\n".join(_directive(name) for name in names) + "\n````\n"


def names_by_module() -> dict[str, list[str]]:
    """Return the names of `mtls_auth.__all__` by the module that `mtls_auth` imports them from."""
    origin: dict[str, str] = {}
    for statement in ast.parse(Path(str(mtls_auth.__file__)).read_text()).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            origin |= {alias.name: statement.module for alias in statement.names}
    found: dict[str, list[str]] = {}
    for name in mtls_auth.__all__:
        found.setdefault(origin.get(name, ""), []).append(name)
    return found


def resolve_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Any) -> Any:
    """Link `mtls_auth.peers.TrustedProxies`, as annotations name it, to `mtls_auth.TrustedProxies`."""
    target: str = node.get("reftarget", "")
    name = target.rpartition(".")[2]
    packages = [
        package.__name__
        for package in (mtls_auth, models)
        if target.startswith(f"{package.__name__}.") and name in package.__all__
    ]
    public = f"{packages[0]}.{name}" if packages else target
    if node.get("refdomain") != "py" or target == public:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, contnode)


def _directive(name: str) -> str:
    value: Any = getattr(mtls_auth, name)
    if inspect.isclass(value):
        # Not what Enum, Exception and object bring along.
        return f".. autoclass:: mtls_auth.{name}\n   :members:\n"
    if inspect.isfunction(value):
        return f".. autofunction:: mtls_auth.{name}\n"
    if isinstance(value, Dialect):
        text = f"The dialect `{value.name}`: see the table of dialects."
    else:
        text = _OTHER_VALUES[name]
    return f".. py:data:: {name}\n   :module: mtls_auth\n\n   {text}\n"
