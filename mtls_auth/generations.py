"""The generations of a server's TLS files: what each makes, and what a later one has against whom it let in."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from mtls_auth.errors import Reason
from mtls_auth.reloading import Reloading
from mtls_auth.trust import Trust

C = TypeVar("C")
Objection: TypeAlias = Callable[[bytes], Reason | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation(Generic[C]):
    """What one generation of files makes: the context of some TLS library, and whom it trusts."""

    context: C
    trust: Trust


class Generations(Reloading[Generation[C]]):
    """A generation ends when its files change, or a CA or revocation list in them reaches its end."""

    def __init__(self, files: Sequence[str | os.PathLike[str]], load: Callable[[], Generation[C]]) -> None:
        super().__init__(files, load, ends=lambda generation: generation.trust.ends)

    def objection_under(self, accepted: Generation[C]) -> Objection:
        """Return what to ask, with the leaf, at each request of one connection that *accepted* has let in."""
        known: tuple[Trust, bytes | None, Reason | None] = (accepted.trust, None, None)

        def objection(leaf: bytes) -> Reason | None:
            nonlocal known  # replaced as a whole: HTTP/2 has several threads on a connection
            newest, found = self.current().trust, known
            if newest is accepted.trust:
                return None
            if newest is not found[0] or leaf is not found[1]:
                known = found = (newest, leaf, newest.objection_to(leaf, accepted_under=accepted.trust))
            return found[2]

        return objection
