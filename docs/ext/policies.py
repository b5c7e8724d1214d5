"""The predicates, and what each of them admits."""

import inspect

import mtls_auth
from ext.generated import Generated, table
from mtls_auth import Policy


class PolicyTable(Generated):
    """One row a policy class."""

    def markdown(self) -> str:
        return table(("Policy", "What it admits"), [_row(policy) for policy in policies()])


def policies() -> list[type[Policy]]:
    """Return the public policy classes, the base left out."""
    public = [getattr(mtls_auth, name) for name in mtls_auth.__all__]
    return [item for item in public if isinstance(item, type) and issubclass(item, Policy) and item is not Policy]


def _row(policy: type[Policy]) -> tuple[str, str]:
    parameters = ", ".join(str(item.replace(annotation=item.empty)) for item in _parameters(policy))
    return f"{{py:class}}`{policy.__name__}({parameters}) <mtls_auth.{policy.__name__}>`", policy.__doc__ or ""


def _parameters(policy: type[Policy]) -> list[inspect.Parameter]:
    return list(inspect.signature(policy).parameters.values())
