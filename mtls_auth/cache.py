"""The verified-certificate cache: equal evidence is decoded, parsed and verified once per process.

A pure function's memory, so never stale; validity, mapping and policy are asked on every request all the same.
Only what was verified is kept: nobody can fill it with certificates that nobody vouches for.
"""

from threading import Lock

from mtls_auth.evidence import Evidence
from mtls_auth.identity import Identity

# Evidence with a longer chain is verified each time: a client chooses what it adds to its chain.
MAX_ENTRY_SIZE = 16 * 1024
MAX_ENTRIES = 4096  # about 20 MB with headers of 1.2 kB


class VerifiedCache:
    """At most `max_entries` identities by evidence, the oldest leaves first. Reads take no lock."""

    __slots__ = ("_entries", "_lock", "max_entries")

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: dict[tuple[object, ...], Identity] = {}
        self._lock = Lock()
        self.max_entries = max_entries

    def get(self, evidence: Evidence) -> Identity | None:
        return self._entries.get((evidence.source, id(evidence.vouched), *evidence.raw))  # as `_key`, without the call

    def put(self, evidence: Evidence, identity: Identity) -> None:
        if self.max_entries <= 0 or sum(map(len, evidence.raw)) > MAX_ENTRY_SIZE:
            return
        key = _key(evidence)
        with self._lock:
            if key not in self._entries and len(self._entries) >= self.max_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = identity

    def __len__(self) -> int:
        return len(self._entries)


def _key(evidence: Evidence) -> tuple[object, ...]:
    # The members of an enumeration are single objects, and hash slowly.
    return evidence.source, id(evidence.vouched), *evidence.raw
