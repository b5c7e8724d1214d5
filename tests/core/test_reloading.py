"""Values made from files: the newest that can be used, looked at twice a second."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from mtls_auth import ConfigurationError, reloading
from mtls_auth.reloading import LOOK_EVERY, Reloading
from tests.core.conftest import Clock
from tests.core.tls_lab import TIMEOUT, texts, touch


class Number:
    """A file that holds a number, and the value that is made of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loads = 0
        path.write_text("1")
        self.reloading = Reloading([path], self.load)

    def load(self) -> int:
        self.loads += 1
        try:
            return int(self.path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.path.name}: {error}") from None


@pytest.fixture
def number(tmp_path: Path, clock: Clock) -> Number:
    """A new one, whose time stands still."""
    return Number(tmp_path / "number")


def test_looked_at_twice_a_second(number: Number, clock: Clock) -> None:
    """A changed file is in force half a second later at the latest, and not looked at before."""
    assert number.reloading.current() == 1
    number.path.write_text("22")
    clock.now += LOOK_EVERY - 0.01
    assert number.reloading.current() == 1
    clock.now += 0.01
    assert number.reloading.current() == 22
    number.path.write_text("333")
    assert number.reloading.current() == 22
    clock.now += LOOK_EVERY
    assert number.reloading.current() == 333


def test_loaded_only_when_changed(number: Number, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Files that stay as they are are loaded once; a change is logged by the names of the files."""
    caplog.set_level(logging.INFO, "mtls_auth")
    for _look in range(3):
        clock.now += LOOK_EVERY
        assert number.reloading.current() == 1
    assert (number.loads, caplog.records) == (1, [])
    touch(number.path)
    for _look in range(3):
        clock.now += LOOK_EVERY
        assert number.reloading.current() == 1
    assert number.loads == 2
    (line,) = texts(caplog.records)
    assert line.endswith(f": {number.path}")


def test_broken_files(number: Number, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A new file that cannot be used changes nothing, with one error for each change; the next good one is in force."""
    for broken in ("broken", "broken again"):
        number.path.write_text(broken)
        for _look in range(3):
            clock.now += LOOK_EVERY
            assert number.reloading.current() == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "number: invalid literal for int() with base 10: 'broken again'" in texts(caplog.records)[1]
    number.path.write_text("2")
    clock.now += LOOK_EVERY
    assert number.reloading.current() == 2


def test_a_file_that_is_gone(number: Number, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The value outlives its file; what comes in its place is in force."""
    number.path.unlink()
    for _look in range(3):
        clock.now += LOOK_EVERY
        assert number.reloading.current() == 1
    assert len(caplog.records) == 1
    number.path.write_text("2")
    clock.now += LOOK_EVERY
    assert number.reloading.current() == 2


def test_another_file_of_the_same_size_and_time(number: Number, clock: Clock) -> None:
    """A file that took the place of another is a change, whatever its size and time are."""
    before = number.path.stat()
    other = number.path.with_name("other")
    other.write_text("2")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(number.path)
    after = number.path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    clock.now += LOOK_EVERY
    assert number.reloading.current() == 2


@pytest.mark.parametrize("changed", [0, 1])
def test_any_of_several_files(tmp_path: Path, clock: Clock, changed: int) -> None:
    """A change of one file loads all."""
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_text("a")
    found = Reloading(files, lambda: "".join(file.read_text() for file in files))
    assert found.current() == "aa"
    files[changed].write_text("bb")
    clock.now += LOOK_EVERY
    assert found.current() == ("bba" if changed == 0 else "abb")


def test_a_link_that_is_turned(tmp_path: Path, clock: Clock) -> None:
    """A directory that is exchanged as a whole, as Kubernetes does with its secrets, is a change of the files in it."""
    for generation in "ab":
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "file").write_text(generation)
    link = tmp_path / "data"
    link.symlink_to("a")
    found = Reloading([link / "file"], (link / "file").read_text)
    assert found.current() == "a"
    turned = tmp_path / "turned"
    turned.symlink_to("b")
    turned.replace(link)
    clock.now += LOOK_EVERY
    assert found.current() == "b"


def test_changed_while_loading(tmp_path: Path, clock: Clock) -> None:
    """What changes while the files are loaded is loaded again."""
    file = tmp_path / "file"
    file.write_text("1")
    following = iter(["22", "333"])

    def load() -> str:
        found = file.read_text()
        file.write_text(next(following, found))
        return found

    found = Reloading([file], load)
    assert found.current() == "1"
    for expected in ("22", "333"):
        clock.now += LOOK_EVERY
        assert found.current() == expected


def test_the_first_value_has_to_load(tmp_path: Path) -> None:
    """There is no old value to keep at the start."""

    def load() -> int:
        raise ConfigurationError("broken")

    with pytest.raises(ConfigurationError, match="broken"):
        Reloading([tmp_path / "none"], load)


def test_any_error(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever loading fails with, those who ask have the old value; only the first one comes out."""
    file = tmp_path / "file"
    file.write_text("1")

    def fail() -> str:
        raise ZeroDivisionError("of whatever kind")

    loads: Iterator[Callable[[], str]] = iter([file.read_text, fail, lambda: "2"])
    found = Reloading([file], lambda: next(loads)())
    for expected in ("1", "2"):
        touch(file)
        clock.now += LOOK_EVERY
        assert found.current() == expected
    assert "of whatever kind" in texts(caplog.records)[0]
    with pytest.raises(ZeroDivisionError):
        Reloading([file], fail)


def test_a_value_that_ends(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that ends is loaded again then, once for each end, though the files are the same."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    ends: list[datetime | None] = [now + timedelta(hours=1), now + timedelta(hours=2), None]
    monkeypatch.setattr(reloading, "datetime", SimpleNamespace(now=lambda _zone: now))
    numbers = iter(range(3))
    found = Reloading([tmp_path], lambda: next(numbers), ends=ends.__getitem__)
    for minutes, expected in [(0, 0), (59, 0), (60, 1), (61, 1), (119, 1), (121, 2), (9999, 2)]:
        now = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
        clock.now += LOOK_EVERY
        assert found.current() == expected


def test_an_end_that_cannot_be_renewed(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Where loading fails at the end of a value, it is tried again when the files change, not at each look."""
    file = tmp_path / "file"
    file.write_text("1")

    def fail() -> str:
        raise ConfigurationError("broken")

    loads = iter([file.read_text, fail, file.read_text])
    found = Reloading([file], lambda: next(loads)(), ends=lambda _value: datetime.now(UTC))
    for _look in range(3):
        clock.now += LOOK_EVERY
        assert found.current() == "1"
    assert len(caplog.records) == 1
    file.write_text("22")
    clock.now += LOOK_EVERY
    assert found.current() == "22"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two threads."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_one_thread_loads(tmp_path: Path, clock: Clock, pool: ThreadPoolExecutor) -> None:
    """While one thread loads, the others have the old value and do not wait; then all have the new one."""
    file = tmp_path / "file"
    file.write_text("1")
    loading, may_end = Event(), Event()
    may_end.set()

    def load() -> str:
        loading.set()
        assert may_end.wait(TIMEOUT)
        return file.read_text()

    found = Reloading([file], load)
    may_end.clear()
    loading.clear()
    file.write_text("22")
    clock.now += LOOK_EVERY
    first = pool.submit(found.current)
    assert loading.wait(TIMEOUT)
    assert pool.submit(found.current).result(TIMEOUT) == "1"
    assert found.current() == "1"
    may_end.set()
    assert first.result(TIMEOUT) == "22"
    assert found.current() == "22"


def test_two_threads_of_many_changes(tmp_path: Path, clock: Clock, pool: ThreadPoolExecutor) -> None:
    """Each thread sees the values in their order, and the last one in the end."""
    file = tmp_path / "file"
    file.write_text("0")
    found = Reloading([file], lambda: len(file.read_text()))
    stop = Event()

    def watch() -> list[int]:
        seen = [found.current()]
        while not stop.is_set():
            seen.append(found.current())
            time.sleep(0)
        return seen

    watching = [pool.submit(watch) for _thread in range(2)]
    for length in range(2, 20):
        new = tmp_path / "new"
        new.write_text("0" * length)
        new.replace(file)
        clock.now += LOOK_EVERY
        while found.current() != length:
            time.sleep(0)
    stop.set()
    for watched in watching:
        seen = watched.result(TIMEOUT)
        assert seen == sorted(seen)
    assert found.current() == 19
