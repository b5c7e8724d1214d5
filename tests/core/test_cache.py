"""The cache of verified certificates: bounded, first in first out, safe between threads."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from mtls_auth import Assurance, Evidence, Identity, VouchedFor
from mtls_auth.cache import MAX_ENTRIES, VerifiedCache
from tests.pki import BrokenLeaves


def evidence(*raw: str | bytes, source: str = "test", vouched: Assurance | None = Assurance.TLS_SOCKET) -> Evidence:
    """Return evidence that says this."""
    return Evidence(source, raw, vouched, lambda _raw: (b"",))


@pytest.fixture
def identity(leaves: BrokenLeaves) -> Identity:
    """Somebody."""
    proof = Evidence("test", (leaves.good.der,), Assurance.TLS_SOCKET, lambda raw: (leaves.good.der,))
    return Identity(VouchedFor().verify(proof, at=datetime.now(UTC)))


def test_what_is_put_is_found(identity: Identity) -> None:
    """Equal evidence finds the identity that was put in, other evidence none."""
    cache = VerifiedCache()
    assert cache.get(evidence("a")) is None
    cache.put(evidence("a"), identity)
    assert cache.get(evidence("a")) is identity
    assert len(cache) == 1


@pytest.mark.parametrize(
    "other",
    [
        evidence("a", source="other"),
        evidence("a", vouched=Assurance.PROXY_VERDICT),
        evidence("a", vouched=None),
        evidence(b"a"),
        evidence("a", "b"),
        evidence("a "),
        evidence("A"),
        evidence(""),
        evidence(),
    ],
    ids=["source", "assurance", "not vouched", "bytes", "chain", "blank", "case", "empty", "nothing"],
)
def test_other_evidence_is_not_equal(identity: Identity, other: Evidence) -> None:
    """Evidence of another source, assurance, type, chain or text is other evidence."""
    cache = VerifiedCache()
    cache.put(evidence("a"), identity)
    assert cache.get(other) is None


def test_the_parts_do_not_run_together(identity: Identity) -> None:
    """Where one value ends and the next begins makes a difference."""
    cache = VerifiedCache()
    cache.put(evidence("ab", "c"), identity)
    assert cache.get(evidence("a", "bc")) is None
    assert cache.get(evidence("abc")) is None


def test_bound(identity: Identity) -> None:
    """The cache never holds more than its bound: the oldest leaves first, and reading does not make young."""
    cache = VerifiedCache(3)
    for name in "abc":
        cache.put(evidence(name), identity)
    assert cache.get(evidence("a")) is identity
    cache.put(evidence("d"), identity)
    assert len(cache) == 3
    assert [name for name in "abcd" if cache.get(evidence(name)) is None] == ["a"]


def test_bound_of_one(identity: Identity) -> None:
    """A cache of one entry holds the last."""
    cache = VerifiedCache(1)
    cache.put(evidence("a"), identity)
    cache.put(evidence("b"), identity)
    assert (cache.get(evidence("a")), cache.get(evidence("b")), len(cache)) == (None, identity, 1)


def test_bound_of_none(identity: Identity) -> None:
    """A cache of no entries keeps nothing."""
    cache = VerifiedCache(0)
    cache.put(evidence("a"), identity)
    assert len(cache) == 0


def test_default_bound() -> None:
    """The default bound is the documented one."""
    assert VerifiedCache().max_entries == MAX_ENTRIES == 4096


def test_threads(identity: Identity) -> None:
    """Many threads that read and write see what belongs to their evidence or nothing, and keep the bound."""
    cache = VerifiedCache(16)
    names = [str(number) for number in range(64)]
    identities = {name: replace(identity, verified=replace(identity.verified, source=name)) for name in names}

    def work(seed: int) -> int:
        rng = random.Random(seed)  # noqa: S311
        wrong = 0
        for _ in range(2000):
            name = rng.choice(names)
            if rng.random() < 0.5:
                cache.put(evidence(name), identities[name])
            found = cache.get(evidence(name))
            wrong += found is not None and found is not identities[name]
            wrong += len(cache) > 16
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(partial(work), range(8))) == 0
    assert len(cache) == 16


def test_long_evidence_is_not_kept(identity: Identity) -> None:
    """What a client adds to its chain takes no memory: long evidence is verified each time."""
    cache = VerifiedCache()
    cache.put(evidence("a" * (16 * 1024 + 1)), identity)
    assert len(cache) == 0
    cache.put(evidence("a" * (16 * 1024)), identity)
    assert len(cache) == 1
