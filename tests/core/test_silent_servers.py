"""Servers that hide the peer: which command lines are recognised, and what starts under them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtls_auth import asgi, wsgi
from mtls_auth.authenticator import Authenticator
from mtls_auth.dialects import NGINX, RFC9440
from mtls_auth.errors import ConfigurationError
from mtls_auth.forwarded import Forwarded
from mtls_auth.peers import TrustedProxies
from mtls_auth.policy import AnyVerifiedCertificate, Fingerprint
from mtls_auth.proxy_certificate import ProxyCertificate
from mtls_auth.proxy_secret import ProxySecret
from mtls_auth.server_environ import MOD_WSGI, ServerEnviron
from mtls_auth.silent_servers import (
    SERVERS,
    Silence,
    check_server_tells,
    hides_peer,
    keeps_certificate,
    needs_certificate,
    needs_peer,
    silence_of,
)
from mtls_auth.sources import AgreeingSources, Source, TLSSocket

SHIM = "mtls_auth.servers.uvicorn:HTTPProtocol"

# What sys.argv holds when these were really started.
HIDING: dict[str, tuple[list[str], str]] = {
    "hypercorn": (["/srv/venv/bin/hypercorn", "app:app", "-b", "127.0.0.1:8000"], "hypercorn"),
    "python -m hypercorn": (["/srv/venv/lib/python3.11/site-packages/hypercorn/__main__.py", "app:app"], "hypercorn"),
    "waitress": (["/srv/venv/bin/waitress-serve", "--listen=127.0.0.1:8000", "app:app"], "waitress"),
    "python -m waitress": (["/srv/lib/site-packages/waitress/__main__.py", "app:app"], "waitress"),
    "daphne": (["/srv/venv/bin/daphne", "-p", "8000", "app:app"], "daphne"),
    "granian": (["granian", "--interface", "asgi", "app:app"], "granian"),
    "cheroot": (["/srv/lib/site-packages/cheroot/__main__.py", "app:app"], "cheroot"),
    "fastapi": (["/srv/venv/bin/fastapi", "run", "app.py"], "the fastapi command"),
    "uwsgi": (["uwsgi"], "uWSGI"),
    "mod_wsgi": (["mod_wsgi"], "mod_wsgi"),
    "uvicorn": (["/srv/venv/bin/uvicorn", "app:app", "--port", "8000"], "uvicorn"),
    "python -m uvicorn": (["/srv/lib/site-packages/uvicorn/__main__.py", "app:app"], "uvicorn"),
    "uvicorn, its own protocol": (["uvicorn", "app:app", "--http", "h11"], "uvicorn --http h11"),
    "uvicorn, its own protocol after =": (["uvicorn", "--http=httptools", "app:app"], "uvicorn --http httptools"),
    "uvicorn, the last one counts": (["uvicorn", "--http", SHIM, "app:app", "--http", "auto"], "uvicorn --http auto"),
    "uvicorn, our protocol for something else": (["uvicorn", "app:app", "--env-file", SHIM], "uvicorn"),
    "gunicorn, asgi": (["/srv/venv/bin/gunicorn", "-k", "asgi", "app:app"], "gunicorn -k asgi"),
    "gunicorn, tornado": (["gunicorn", "-ktornado", "app:app"], "gunicorn -k tornado"),
    "robyn": (["/srv/venv/bin/robyn", "app.py"], "robyn"),
    "gunicorn, uvicorn": (
        ["gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "app:app"],
        "gunicorn -k uvicorn_worker.UvicornWorker",
    ),
    "gunicorn, uvicorn's own": (
        ["/srv/lib/gunicorn/__main__.py", "-k", "uvicorn.workers.UvicornH11Worker", "app:app"],
        "gunicorn -k uvicorn.workers.UvicornH11Worker",
    ),
    "on Windows": ([r"C:\venv\Scripts\Hypercorn.exe", "app:app"], "hypercorn"),
}


@pytest.mark.parametrize(("argv", "name"), HIDING.values(), ids=HIDING)
def test_hiding(argv: list[str], name: str) -> None:
    """A program that hides the peer is called by its name, with the option that makes it hide."""
    silence = silence_of(argv, {})
    assert silence is not None
    assert silence.server == name


SILENT: dict[str, list[str]] = {
    "no arguments": [],
    "interpreter": [""],
    "-c": ["-c"],
    "gunicorn": ["/srv/venv/bin/gunicorn", "app:app"],
    "gunicorn, sync": ["gunicorn", "-k", "sync", "app:app"],
    "gunicorn, gthread": ["gunicorn", "--worker-class=gthread", "app:app"],
    "gunicorn, gevent": ["gunicorn", "-k", "gevent", "app:app"],
    "gunicorn, gevent_pywsgi": ["gunicorn", "--worker-class=gevent_pywsgi", "app:app"],
    "gunicorn, our worker": ["gunicorn", "-k", "mtls_auth.servers.gunicorn.ASGIWorker", "app:app"],
    "daphne, ours": ["/srv/lib/site-packages/mtls_auth/servers/daphne.py", "app:app"],
    "cheroot, ours": ["/srv/lib/site-packages/mtls_auth/servers/cheroot.py", "app:app"],
    "gunicorn, a worker of the project": ["gunicorn", "-k", "project.workers.Worker", "app:app"],
    "gunicorn, the last one counts": ["gunicorn", "-k", "asgi", "-k", "gthread", "app:app"],
    "gunicorn, option without a value": ["gunicorn", "app:app", "-k"],
    "uvicorn with our protocol": ["uvicorn", "app:app", "--http", SHIM],
    "uvicorn with our protocol after =": ["/srv/lib/uvicorn/__main__.py", f"--http={SHIM}", "app:app"],
    "uvicorn with a protocol of the project": ["uvicorn", "app:app", "--http", "project.protocols:Protocol"],
    "a script of the project": ["/srv/app/serve.py", "hypercorn"],
    "a directory like a server": ["/srv/hypercorn/serve.py"],
    "__main__.py alone": ["__main__.py"],
    "a longer name": ["/usr/bin/hypercorn-wrapper"],
    "manage.py": ["manage.py", "runserver"],
    "pytest": ["/srv/venv/bin/pytest", "tests"],
}


@pytest.mark.parametrize("argv", SILENT.values(), ids=SILENT)
def test_silent(argv: list[str]) -> None:
    """What tells the peer, or is not known, is not guessed at."""
    assert silence_of(argv, {}) is None


@pytest.mark.parametrize(
    ("argv", "environ", "name"),
    [
        (["uvicorn", "app:app"], {"UVICORN_HTTP": SHIM}, None),
        (["uvicorn", "app:app"], {"UVICORN_HTTP": "h11"}, "uvicorn --http h11"),
        (["uvicorn", "app:app"], {"UVICORN_HTTP": ""}, "uvicorn"),
        (["uvicorn", "app:app", "--http", "auto"], {"UVICORN_HTTP": SHIM}, "uvicorn --http auto"),
        (["gunicorn", "app:app"], {"GUNICORN_CMD_ARGS": "--threads 4 -k 'asgi'"}, "gunicorn -k asgi"),
        (["gunicorn", "-k", "sync", "app:app"], {"GUNICORN_CMD_ARGS": "-k asgi"}, None),
        (["hypercorn", "app:app"], {"UVICORN_HTTP": SHIM, "": SHIM}, "hypercorn"),
    ],
    ids=str,
)
def test_variables(argv: list[str], environ: dict[str, str], name: str | None) -> None:
    """What a server takes from its environment counts, and less than what its command line says."""
    silence = silence_of(argv, environ)
    assert (silence and silence.server) == name


@pytest.fixture(autouse=True)
def _without_shims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that other tests have imported what makes hypercorn tell."""
    monkeypatch.delitem(sys.modules, "mtls_auth.servers.hypercorn", raising=False)


ADDRESS = TrustedProxies.parse(["10.0.0.1"])
SECRET = ProxySecret("h8dqZ5x1Lk3vB7nM")
CERTIFICATE = ProxyCertificate(Fingerprint("0" * 64))
BY_ADDRESS = Forwarded(dialect=NGINX, proxies=ADDRESS)
BY_SECRET = Forwarded(dialect=RFC9440, secret=SECRET, proxy_verifies=True)
BY_ELSEWHERE = Forwarded(dialect=RFC9440, proxies=TrustedProxies.parse(["192.0.2.1"]), proxy_verifies=True)

NEEDS: dict[str, tuple[Source, bool]] = {
    "address": (BY_ADDRESS, True),
    "address and secret": (Forwarded(dialect=NGINX, proxies=ADDRESS, secret=SECRET), True),
    "address, stated": (Forwarded(dialect=NGINX, proxies=ADDRESS, server_address_is_peer=True), False),
    "secret": (BY_SECRET, False),
    "certificate": (Forwarded(dialect=NGINX, certificate=CERTIFICATE), False),
    "tls": (TLSSocket(), False),
    "variables": (ServerEnviron(MOD_WSGI), False),
    "several": (AgreeingSources((BY_ELSEWHERE, BY_ADDRESS)), True),
    "several in several": (AgreeingSources((AgreeingSources((BY_ELSEWHERE, BY_ADDRESS)), TLSSocket())), True),
    "several without": (AgreeingSources((BY_SECRET, TLSSocket())), False),
}


@pytest.mark.parametrize(("source", "needs"), NEEDS.values(), ids=NEEDS)
def test_who_needs_the_peer(source: Source, needs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust by address needs it, whatever else is asked for; nothing else does."""
    assert needs_peer(source) is needs
    assert silent_under(monkeypatch, hides_peer, source) == (["hypercorn", "granian"] if needs else [])


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        (TLSSocket(), True),
        (BY_ADDRESS, False),
        (BY_SECRET, False),
        (Forwarded(dialect=NGINX, certificate=CERTIFICATE), True),
        (ServerEnviron(MOD_WSGI), False),
        (AgreeingSources((BY_SECRET, TLSSocket())), True),
        (AgreeingSources((BY_ELSEWHERE, BY_ADDRESS)), False),
    ],
    ids=["tls", "address", "secret", "the proxy's own", "variables", "several", "several without"],
)
def test_who_needs_the_certificate(source: Source, needs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TLS socket does, and a proxy that is known by its own certificate."""
    assert needs_certificate(source) is needs
    assert silent_under(monkeypatch, keeps_certificate, source) == (["hypercorn", "granian"] if needs else [])


def silent_under(monkeypatch: pytest.MonkeyPatch, ask: Callable[[Source], Silence | None], source: Source) -> list[str]:
    """Return the servers that keep from *source* what it needs, of two that keep all and one that tells it."""
    found: list[str] = []
    for program in ("hypercorn", "granian", "gunicorn"):
        monkeypatch.setattr(sys, "argv", [program, "app:app"])
        if (silence := ask(source)) is not None:
            found.append(silence.server)
    return found


def test_hypercorn_tells_once_its_module_is_there() -> None:
    """Only the import of the module makes hypercorn tell: its configuration may do that in many ways."""
    assert silence_of(["hypercorn", "app:app"], {}, {"mtls_auth.servers"}) is not None
    assert silence_of(["hypercorn", "app:app"], {}, {"mtls_auth.servers.hypercorn"}) is None
    assert silence_of(["granian", "app:app"], {}, {"", "mtls_auth.servers.hypercorn"}) is not None


WITHOUT_A_WAY = ["granian", "robyn", "waitress"]


@pytest.mark.parametrize("program", SERVERS)
def test_the_way_round(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server is named with what makes it tell, or with a proxy where nothing does; both problems come at once."""
    monkeypatch.setattr(sys, "argv", [program, *(["-k", "asgi"] if program == "gunicorn" else [])])
    with pytest.raises(ConfigurationError) as caught:
        check_server_tells(AgreeingSources((BY_ADDRESS, TLSSocket())))
    certificate, peer = caught.value.problems
    assert "keeps client certificates to itself" in certificate
    assert "does not tell who connected" in peer
    for problem in caught.value.problems:
        assert SERVERS[program].instead in problem
    is_hopeless = program.removesuffix("-serve") in WITHOUT_A_WAY
    assert ("a proxy in front" in certificate) is is_hopeless


def _build_wsgi(authenticator: Authenticator) -> object:
    return wsgi.ClientCertificateMiddleware(lambda environ, start_response: [], authenticator)


def _build_asgi(authenticator: Authenticator) -> object:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    return asgi.ClientCertificateMiddleware(app, authenticator)


@pytest.mark.parametrize("build", [_build_wsgi, _build_asgi], ids=["wsgi", "asgi"])
def test_middlewares(build: Callable[[Authenticator], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are not built where nobody would ever be believed, and say what to do; elsewhere they are."""
    by_address, by_secret = (Authenticator(s, policy=AnyVerifiedCertificate()) for s in (BY_ADDRESS, BY_SECRET))
    assert build(by_address)
    monkeypatch.setattr(sys, "argv", ["hypercorn", "app:app"])
    assert build(by_secret)
    with pytest.raises(ConfigurationError) as caught:
        build(by_address)
    (problem,) = caught.value.problems
    assert problem.startswith("hypercorn does not tell who connected")
    shim = "-c python:mtls_auth.servers.hypercorn"
    for way_out in (shim, "ProxySecret", "server_address_is_peer=True", "every client can be the proxy"):
        assert way_out in problem


def test_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own arguments and variables are looked at."""
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app"])
    monkeypatch.delenv("UVICORN_HTTP", raising=False)
    with pytest.raises(ConfigurationError, match=r"^uvicorn does not"):
        check_server_tells(BY_ADDRESS)
    monkeypatch.setenv("UVICORN_HTTP", SHIM)
    check_server_tells(BY_ADDRESS)


def test_the_table() -> None:
    """Every row that hides for some values only names the option, and what it reads besides."""
    for program, server in SERVERS.items():
        assert program == program.lower()
        assert bool(server.options) == bool(server.variable) == (program in {"gunicorn", "uvicorn"})


APPLICATION = """\
from mtls_auth import AnyVerifiedCertificate, Authenticator, Forwarded, TrustedProxies
from mtls_auth.dialects import NGINX
from mtls_auth.{kind} import ClientCertificateMiddleware

source = Forwarded(dialect=NGINX, proxies=TrustedProxies.parse(["127.0.0.1"]))
application = ClientCertificateMiddleware(print, Authenticator(source, policy=AnyVerifiedCertificate()))
"""

COMMANDS: dict[str, tuple[str, list[str], bool]] = {
    "uvicorn": ("asgi", ["uvicorn", "served:application", "--port", "0"], False),
    "gunicorn": ("wsgi", ["gunicorn", "--check-config", "served:application"], True),
    "gunicorn, asgi": ("asgi", ["gunicorn", "--check-config", "-k", "asgi", "served:application"], False),
}


@pytest.mark.parametrize(("kind", "command", "starts"), COMMANDS.values(), ids=COMMANDS)
def test_real_servers(kind: str, command: list[str], starts: bool, tmp_path: Path) -> None:
    """A real server that hides the peer ends with what to do; one that tells it loads the application."""
    (tmp_path / "served.py").write_text(APPLICATION.format(kind=kind))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode == 0) is starts, done.stderr
    assert ("does not tell who connected" in done.stderr) is not starts
