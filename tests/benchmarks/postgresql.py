"""A PostgreSQL of our own in a temporary directory, gone afterwards; or why there is none."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_USER = "benchmark"


class Unavailable(Exception):
    """PostgreSQL cannot be measured here, and why."""


@contextmanager
def throw_away_cluster() -> Iterator[str]:
    """Yield the URL of a new cluster with default settings, on TCP of the loopback; raise `Unavailable`."""
    if find_spec("psycopg") is None:
        raise Unavailable("psycopg is not installed")
    programs = _programs()
    owner = _owner()
    with tempfile.TemporaryDirectory(prefix="mtls-benchmark-") as name:
        directory = Path(name)
        password = secrets.token_hex(16)
        (directory / "password").write_text(password)
        if owner is not None:
            for path in (directory, directory / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)

        def run(program: str, *arguments: str) -> None:
            command = [f"{programs}/{program}", "-D", f"{directory}/data", *arguments]
            user = owner.pw_name if owner is not None else None
            # The server inherits the output: a pipe would stay open as long as it runs.
            with (directory / "output").open("w+") as output:
                done = subprocess.run(command, user=user, cwd=directory, stdout=output, stderr=output, check=False)
                output.seek(0)
                if done.returncode:
                    raise Unavailable(f"{program}: {output.read().strip()[-300:]}")

        run("initdb", "-U", _USER, "-A", "scram-sha-256", "--pwfile", f"{directory}/password", "-E", "UTF8")
        port = _free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory}"
        run("pg_ctl", "-w", "-l", f"{directory}/data/log", "-o", options, "start")
        try:
            yield f"postgresql://{_USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


def _programs() -> Path:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found or not (found[-1] / "initdb").exists():
        raise Unavailable("PostgreSQL is not installed (no initdb)")
    return found[-1]


def _owner() -> pwd.struct_passwd | None:
    """Return whom to run it as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
