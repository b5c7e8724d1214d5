"""Interleaved rounds: every case once a round in random order, each compared with its baseline of the same round.

A slow moment of the machine then hits a case and its baseline alike, and the median drops the rest.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter

Batch = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure. A sample is one batch of one case."""

    rounds: int
    sample_seconds: float


FULL = Pace(rounds=41, sample_seconds=0.015)
QUICK = Pace(rounds=3, sample_seconds=0.001)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """`batch(n)` makes n requests inside `around()`. `limit` bounds n where every request needs something unused.

    `target` is what the project allows itself, in µs over the baseline.
    """

    name: str
    batch: Batch
    baseline: "Case | None" = None
    target: float | None = None
    limit: int = 1_000_000
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Measured:
    """Microseconds a request. `over` and `over_p90` are the median and 90th percentile of same-round differences."""

    total: float
    over: float
    over_p90: float
    ratio: float


def repeated(call: Callable[[], object]) -> Batch:
    """Return the batch that makes *call* n times."""

    def batch(count: int) -> None:
        for _ in repeat(None, count):
            call()

    return batch


def measure(cases: Sequence[Case], pace: Pace) -> dict[Case, Measured]:
    """Measure all cases together; a case without a baseline is compared with itself, which gives 0 and 1."""
    sizes = {case: _batch_size(case, pace.sample_seconds) for case in cases}
    samples: dict[Case, list[float]] = {case: [] for case in cases}
    order = list(cases)
    for _ in range(pace.rounds):
        random.shuffle(order)
        for case in order:
            samples[case].append(_sample(case, sizes[case]) / sizes[case] * 1e6)
    return {case: _compare(samples[case], samples[case.baseline or case]) for case in cases}


def _compare(times: list[float], baseline: list[float]) -> Measured:
    over = [time - base for time, base in zip(times, baseline, strict=True)]
    return Measured(
        total=statistics.median(times),
        over=statistics.median(over),
        over_p90=statistics.quantiles(over, n=10, method="inclusive")[8],
        ratio=statistics.median(time / base for time, base in zip(times, baseline, strict=True)),
    )


def _batch_size(case: Case, seconds: float) -> int:
    size = 1
    while size < case.limit and _sample(case, size) < seconds / 2:
        size *= 2
    return min(size, case.limit)


def _sample(case: Case, size: int) -> float:
    with case.around():
        case.batch(1)  # what only the first request pays is not measured
        start = perf_counter()
        case.batch(size)
        return perf_counter() - start
