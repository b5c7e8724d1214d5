"""A throw-away PostgreSQL cluster on a Unix socket, in a directory of its own."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.servers import requires, unavailable

# Settings that make it quick and small; what is committed survives `stop`, if not a crash of the machine.
OPTIONS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c shared_buffers=16MB"
DATABASE = "site"


def find_postgresql() -> Path:
    """Return the directory of PostgreSQL's programs; skip the test, or fail it in CI, without one."""
    on_path = shutil.which("pg_ctl")
    # Debian keeps them where nobody's PATH looks.
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), key=lambda path: float(path.split("/")[4]))
    found = on_path or (debian[-1] if debian else None)
    if found is None:
        unavailable("PostgreSQL")
    return Path(found).resolve().parent


class Cluster:
    """A cluster with the empty database `site` and the superuser `postgres`, for the length of a `with` block."""

    def __init__(self) -> None:
        """Find the programs and choose a directory; a short one, since it holds the socket."""
        self._programs = find_postgresql()
        self.directory = Path(tempfile.mkdtemp(prefix="mtls-pg-"))
        self._as_owner: list[str] = []
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            owner = _unprivileged_user()
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            self._as_owner = [requires("runuser"), "-u", owner.pw_name, "--"]

    @property
    def url(self) -> str:
        """The database as MTLS_SITE_DATABASE takes it."""
        return f"postgresql:///{DATABASE}?host={self.directory}"

    def __enter__(self) -> Self:
        """Make the cluster, start it, and create the database."""
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"
            )
            self.start()
            self._run("createdb", "-h", str(self.directory), "-U", "postgres", DATABASE)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it and delete everything."""
        self._remove()

    def start(self) -> None:
        """Start the server; returns when it accepts connections."""
        options = f"{OPTIONS} -k {self.directory}"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self.directory / "log"), "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop the server and cut every connection; returns when it is down."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _remove(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_owner, str(self._programs / program), *arguments]
        # To a file: a server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/", check=False
            )
            if result.returncode:
                output.seek(0)
                raise RuntimeError(f"{' '.join(command)}: {output.read().decode(errors='replace')}")


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    unavailable("an unprivileged user for PostgreSQL")
