"""What came back: the endpoint's report, or how the request ended without one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

MAX_BYTES = 64 * 1024
NO_ANSWER = "no answer in time"
"""The fault of a request that was waited for in vain."""

# What every report of the endpoint has; an application that echoes a request has not.
_FIELDS = frozenset({"decision", "reason", "fingerprint_sha256", "presented", "reads", "peer", "peer_believed"})
# What proxies and servers say of requests that they do not like. Nginx has 494; 431 may be ours too.
_REFUSALS = frozenset({400, 403, 405, 408, 411, 413, 414, 417, 421, 426, 431, 494, 500, 501, 502, 505})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The status, None where there was none; the endpoint's report, None where somebody else answered.

    `fault` says why there is no status: how the connection ended.
    """

    status: int | None = None
    report: Mapping[str, Any] | None = None
    fault: str = ""

    @classmethod
    def of(cls, status: int, body: bytes) -> Self:
        """Take a response; its body counts only if it is the endpoint's."""
        return cls(status=status, report=_report(body) if status in {200, 101} else None)

    @property
    def refused(self) -> bool:
        """Whether somebody before the application refused the request, as far as one can tell."""
        return self.report is None and (self.status is None or self.status in _REFUSALS)

    def __str__(self) -> str:
        return self.fault if self.status is None else f"HTTP {self.status}"


def _report(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.keys() >= _FIELDS else None
