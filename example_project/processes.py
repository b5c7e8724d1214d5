"""Child processes that live exactly as long as this one wants."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from example_project.site import CannotStart

_PATIENCE = 30.0

_asked_to_stop = threading.Event()


class Processes:
    """Starts commands, each in a process group of its own; the end of the `with` block stops them all."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, command: list[str], ready: int | Path) -> None:
        """Start *command* and wait until it speaks TLS on a loopback port, or accepts on a Unix socket."""
        _stop_if_asked()
        process = subprocess.Popen(command, env=self._environment, start_new_session=True)
        self._running.append(process)
        deadline = time.monotonic() + _PATIENCE
        while not _serves(ready):
            _stop_if_asked()
            if process.poll() is not None:
                raise CannotStart(f"{Path(command[0]).name} stopped with status {process.returncode}: see above.")
            if time.monotonic() > deadline:
                raise CannotStart(f"{' '.join(command[:3])} does not answer after {_PATIENCE:.0f} seconds: see above.")
            time.sleep(0.05)

    def wait(self) -> None:
        """Return when one of the processes has ended."""
        while all(process.poll() is None for process in self._running):
            _stop_if_asked()
            time.sleep(0.2)

    def stop(self) -> None:
        """Ask every process group to end, the last started first; end those that do not."""
        for number in (signal.SIGINT, signal.SIGTERM):  # an impatient second Ctrl-C must not leave one behind
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self._running):
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(timeout=2)  # uvicorn would wait for open connections
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    # macOS says PermissionError of a group whose last process has just ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _serves(place: int | Path) -> bool:
    if isinstance(place, Path):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(place)) == 0
    # A whole handshake: of half a one some servers log a traceback.
    try:
        with (
            socket.create_connection(("127.0.0.1", place), timeout=_PATIENCE) as connection,
            _any_server().wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


def _any_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_port(port: int) -> None:
    """Raise `CannotStart` if another program listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise CannotStart(f"Port {port} cannot be used ({error}): choose another with --port.") from error


def interrupt_on_terminate() -> None:
    """Make SIGTERM the KeyboardInterrupt of Ctrl-C: whoever stops this process stops its children too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Raised by whoever looks next: an exception out of here could arise in a destructor, which prints and drops it.
        _asked_to_stop.set()

    signal.signal(signal.SIGTERM, interrupt)


def _stop_if_asked() -> None:
    if _asked_to_stop.is_set():
        raise KeyboardInterrupt
