"""The reason codes: their statuses come from the enum, and none may be left without a section."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from ext.generated import Generated, code, table
from mtls_auth import Reason

_ATTRIBUTE = "mtls_documented_reasons"
_logger = logging.getLogger(__name__)


class ReasonTable(Generated):
    """Every reason with its status, linked to its section."""

    def markdown(self) -> str:
        rows = [
            (f"[`{reason.value}`](#{target(reason)})", code(f"Reason.{reason.name}"), _status(reason))
            for reason in Reason
        ]
        return table(("Code", "In Python", "HTTP status"), rows)


class ReasonFacts(Generated):
    """The facts of one reason, under its heading."""

    required_arguments = 1

    def markdown(self) -> str:
        reason = Reason(self.arguments[0])
        _documented(self.env).setdefault(self.env.docname, set()).add(reason)
        return f"`Reason.{reason.name}` · {_status(reason)}"


def target(reason: Reason) -> str:
    """Return the name of the section's target: `reason-not-enrolled`."""
    return f"reason-{reason.value.replace('_', '-')}"


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every reason that no section explains."""
    documented: set[Reason] = set().union(*_documented(env).values())
    for reason in Reason:
        if reason not in documented:
            _logger.warning("reason %s has no section with {reason} %s", reason.name, reason.value)


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what a page that is read again said."""
    _documented(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    """Take what a parallel reader found."""
    _documented(env).update(_documented(other))


def _documented(env: BuildEnvironment) -> dict[str, set[Reason]]:
    holder: Any = env
    if not hasattr(holder, _ATTRIBUTE):
        setattr(holder, _ATTRIBUTE, {})
    found: dict[str, set[Reason]] = getattr(holder, _ATTRIBUTE)
    return found


def _status(reason: Reason) -> str:
    return "no denial" if reason is Reason.NO_CERTIFICATE else f"HTTP {reason.status}"
