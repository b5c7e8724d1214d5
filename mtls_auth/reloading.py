"""Values made from files, made again when the files change."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

logger = logging.getLogger("mtls_auth")

LOOK_EVERY = 0.5  # seconds

T = TypeVar("T")
_Stamp = tuple[tuple[int, ...] | None, ...]


class Reloading(Generic[T]):
    """What *load* makes of *files*: `current()` loads again after they changed, at most half a second late.

    It does so too when a value *ends*. Where the new files cannot be used, the old value stays, with an error in the
    log; once a change. Raises what *load* raises, for the first value only.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        load: Callable[[], T],
        *,
        ends: Callable[[T], datetime | None] = lambda value: None,
    ) -> None:
        self._files = tuple(files)
        self._load = load
        self._ends_at = ends
        self._lock = threading.Lock()
        self._stamp = self._look()  # before loading: what changes meanwhile is loaded again
        self._value = load()
        self._end = ends(self._value)
        self._next_look = time.monotonic() + LOOK_EVERY

    def current(self) -> T:
        """Return the value of the newest files that can be used."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look_again()
            finally:
                self._lock.release()
        return self._value

    def _look_again(self) -> None:
        stamp = self._look()
        if stamp != self._stamp or (self._end is not None and datetime.now(UTC) >= self._end):
            self._stamp, self._end = stamp, None
            try:
                self._value = self._load()
                self._end = self._ends_at(self._value)
            except Exception as error:  # of whatever kind: those who connect are not to blame for it
                logger.error("changed files are not used, the old ones stay in force: %s", error)
            else:
                logger.info("changed files are in force: %s", ", ".join(str(file) for file in self._files))
        self._next_look = time.monotonic() + LOOK_EVERY

    def _look(self) -> _Stamp:
        return tuple(map(_stamp_of, self._files))


def _stamp_of(file: str | os.PathLike[str]) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    # The last of them is for a file that may be read by now.
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns
