"""`python -m example_project --server NAME`: every server on one site, at the same time, telling the same truth."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from websockets.sync.client import connect

from example_project.servers import SERVERS
from tests.integration.client import tls_context
from tests.integration.example import Example, Surroundings, check_sentence, denial, revoke_by_command, run_example
from tests.integration.servers import free_port, requires

Run: TypeAlias = tuple[str, str]

WSGI = ("gunicorn-gthread", "gunicorn-sync", "gunicorn-gevent", "werkzeug", "cheroot", "runserver")
ASGI = ("uvicorn", "uvicorn-worker", "gunicorn-asgi", "hypercorn", "daphne")
RUNS: list[Run] = [
    *((server, "django") for server in WSGI),
    *((server, app) for server in ASGI for app in ("django-asgi", "starlette")),
]
# The others are behind it in the tests of the whole example.
BEHIND_NGINX = ("gunicorn-gevent", "uvicorn-worker", "gunicorn-asgi", "hypercorn", "daphne")
NEVER_BEHIND = ("werkzeug", "cheroot", "runserver")
ALONE = ("gunicorn-sync", "uvicorn")


def start(stack: ExitStack, surroundings: Surroundings, *options: str) -> Example:
    """Start the example until *stack* closes."""
    return stack.enter_context(Example(surroundings, *options))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Run, Example]]:
    """Every server with every application that it takes, in one folder: one PKI, one database."""
    surroundings = Surroundings(tmp_path_factory.mktemp("example"))
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        first, *others = RUNS
        examples = {first: start(stack, surroundings, *options(first))}  # makes the folder
        started = {run: pool.submit(start, stack, surroundings, *options(run)) for run in others}
        yield examples | {run: future.result() for run, future in started.items()}


def options(run: Run) -> tuple[str, ...]:
    """Return the options that start this server with this application."""
    server, app = run
    return ("--server", server, "--app", app)


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """A user's folders."""
    return Surroundings(tmp_path)


def truth(example: Example, user: str) -> dict[str, object]:
    """Return what `/whoami` has to answer to a user, from the certificate's file."""
    certificate = x509.load_pem_x509_certificate(example.files_of(user).certificate.read_bytes())
    facts = {
        "fingerprint_sha256": example.files_of(user).fingerprint,
        "subject_cn": user,
        "serial_number": f"{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "assurance": "tls_socket",
    }
    return {"user": user, "certificate": facts, "reason": None}


def test_every_server_is_here() -> None:
    """The servers of the tests are those of the example."""
    assert sorted(RUNS) == sorted((name, app) for name, server in SERVERS.items() for app in server.apps)
    assert {name for name, server in SERVERS.items() if server.program.socket is None} == set(NEVER_BEHIND)


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_whoami(running: dict[Run, Example], run: Run) -> None:
    """alice, bob and nobody are told the same on each server, to the letter."""
    example = running[run]
    for user in ("alice", "bob"):
        response = example.ask("/whoami", user)
        assert (response.status_code, response.json()) == (200, truth(example, user))
    response = example.ask("/whoami", None)
    assert (response.status_code, response.json()) == (200, denial("no_certificate"))


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_reports(running: dict[Run, Example], run: Run) -> None:
    """The policy of a view holds on each server."""
    assert [running[run].ask("/reports", user).status_code for user in ("alice", "bob", None)] == [200, 403, 403]


@pytest.mark.parametrize("server", ASGI)
def test_websocket(running: dict[Run, Example], server: str) -> None:
    """A WebSocket knows alice and nobody as a request does."""
    example = running[server, "starlette"]
    for user, expected in (("alice", truth(example, "alice")), (None, denial("no_certificate"))):
        context = tls_context(example.directory / "pki" / "ca.pem", example.files_of(user) if user else None)
        with connect(f"wss://localhost:{example.port}/ws", ssl=context, proxy=None) as socket:
            assert json.loads(socket.recv(timeout=20)) == expected


def test_revoked(running: dict[Run, Example]) -> None:
    """bob, revoked once by another process, is refused by each server on the next request of the same client."""
    some = running[RUNS[0]]
    try:
        with ExitStack() as stack:
            bobs = {run: stack.enter_context(example.client("bob")) for run, example in running.items()}
            before = {run: bob.get("/whoami").json()["user"] for run, bob in bobs.items()}
            assert before == dict.fromkeys(RUNS, "bob")
            revoke_by_command(some)
            after = {run: bob.get("/whoami") for run, bob in bobs.items()}
        answers = {run: (response.status_code, response.json()) for run, response in after.items()}
        assert answers == dict.fromkeys(RUNS, (403, denial("revoked")))
        assert {example.ask("/whoami", "alice").json()["user"] for example in running.values()} == {"alice"}
    finally:
        some.restore()


@pytest.mark.parametrize("server", BEHIND_NGINX)
def test_behind_nginx(surroundings: Surroundings, server: str) -> None:
    """Behind Nginx the server believes Nginx, on its Unix socket, and no header of a client."""
    requires("nginx")
    with Example(surroundings, "--server", server, "--behind", "nginx") as example:
        known = example.ask("/whoami", "alice").json()
        assert (known["user"], known["certificate"]["assurance"]) == ("alice", "proxy_verdict")
        with example.client(None) as nobody:
            forged = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": "x"}
            assert nobody.get("/whoami", headers=forged).json() == denial("no_certificate")


@pytest.mark.parametrize("server", NEVER_BEHIND)
def test_never_behind_nginx(surroundings: Surroundings, server: str) -> None:
    """A server that always ends TLS itself is refused with `--behind`, with those that can; nothing is written."""
    port = str(free_port())
    result = run_example(surroundings, "--port", port, "--directory", "state", "--server", server, "--behind", "nginx")
    check_sentence(result, server, "--behind nginx", "gunicorn-gthread")
    assert surroundings.files() == []


@pytest.mark.parametrize("server", ALONE)
def test_server_without_app(surroundings: Surroundings, server: str) -> None:
    """A server alone is enough: it gets an application that it takes."""
    with Example(surroundings, "--server", server) as example:
        assert example.ask("/whoami", "alice").json() == truth(example, "alice")


@pytest.mark.parametrize(
    ("server", "module", "extra"),
    [
        ("gunicorn-gevent", "gevent", ".[servers]"),
        ("hypercorn", "hypercorn", ".[servers]"),
        ("uvicorn", "uvicorn", ".[demo]"),
    ],
)
def test_not_installed(surroundings: Surroundings, server: str, module: str, extra: str) -> None:
    """A server that is not installed is named, with what installs it; nothing is written."""
    without = (
        f"import sys; sys.modules[{module!r}] = None; from example_project.__main__ import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    port = str(free_port())
    command = [sys.executable, "-c", without, "--port", port, "--directory", "state", "--server", server]
    result = subprocess.run(
        command,
        cwd=surroundings.work,
        env=surroundings.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    check_sentence(result, module, f"pip install '{extra}'")
    assert surroundings.files() == []
