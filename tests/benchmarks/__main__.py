"""`python -m tests.benchmarks`: print a table for each group. Every group runs in a process of its own."""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

from tests.benchmarks import asgi, codec_growth, core, django_asgi, django_wsgi, footprint, throughput
from tests.benchmarks.django_site import Database, postgresql, sqlite
from tests.benchmarks.postgresql import Unavailable, throw_away_cluster
from tests.benchmarks.report import Table, machine
from tests.benchmarks.rounds import FULL, QUICK, Pace

PREPARED = {"server_side_binding": True, "prepare_threshold": 5}
POOL = {"pool": {"min_size": 1, "max_size": 4}}

CORE: dict[str, Callable[[Pace], list[Table]]] = {
    "core": core.tables,
    "asgi": asgi.tables,
    "codecs": codec_growth.tables,
    "footprint": footprint.tables,
    "servers": throughput.tables,
}
GROUPS = (*CORE, "sqlite", "postgresql")


def main() -> None:
    options = _options()
    tables = _tables(QUICK if options.quick else FULL, options.groups or GROUPS, options.postgresql)
    if options.json:
        print(json.dumps({"machine": machine(), "tables": [asdict(table) for table in tables]}, indent=1))
        return
    print(machine(), end="\n\n", flush=True)
    for table in tables:
        print(table, end="\n\n", flush=True)


def _tables(pace: Pace, groups: tuple[str, ...], url: str | None) -> Iterator[Table]:
    for name, group in CORE.items():
        if name in groups:
            yield from _in_a_fresh_process(partial(group, pace))
    if "sqlite" in groups:
        yield from _django(pace, sqlite(persistent=True), sqlite(persistent=False))
    if "postgresql" in groups:
        with ExitStack() as stack:
            try:
                url = url or stack.enter_context(throw_away_cluster())
            except Unavailable as reason:
                yield Table("Django, PostgreSQL", [], [f"Skipped: {reason}."])
                return
            plain = postgresql(url, "PostgreSQL (TCP, persistent connection)", persistent=True)
            prepared = postgresql(url, "PostgreSQL (the same, prepared statements)", persistent=True, **PREPARED)
            pooled = postgresql(url, "PostgreSQL (TCP, psycopg pool)", persistent=False, **POOL)
            yield from _django(pace, plain, pooled)
            yield from _in_a_fresh_process(partial(django_wsgi.tables, pace, prepared))


def _django(pace: Pace, wsgi: Database, asgi: Database) -> Iterator[Table]:
    yield from _in_a_fresh_process(partial(django_wsgi.tables, pace, wsgi))
    yield from _in_a_fresh_process(partial(django_asgi.tables, pace, asgi))


def _in_a_fresh_process(group: Callable[[], list[Table]]) -> list[Table]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(group).result()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds: its times mean nothing")
    parser.add_argument("--json", action="store_true", help="print the tables as JSON")
    parser.add_argument("--postgresql", metavar="URL", help="make a database in this cluster, not in a throw-away one")
    options = parser.parse_args()
    if unknown := [group for group in options.groups if group not in GROUPS]:
        parser.error(f"there is no group {', '.join(unknown)}: the groups are {', '.join(GROUPS)}")
    return options


if __name__ == "__main__":
    main()
