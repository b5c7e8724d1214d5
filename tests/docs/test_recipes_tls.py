"""The recipes for TLS in the Python server: every command and every file, run on a Django project, and asked."""

import json
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mtls_auth import Reason, ServerTLS, handshakes
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.docs.recipes import environment, recipe, recipes, run_python, text_of
from tests.docs.site import MakeSite, Site
from tests.docs.snippets import ROOT
from tests.integration.client import tls_context
from tests.integration.servers import LOCALHOST, CurlError, Process, Response, free_port
from tests.pki import revocation_list

PAGE = (ROOT / "docs/howto/servers/tls-context.md").read_text()
# The file that a page says to write, and the command that reads it.
FILES = {"gunicorn-conf": "gunicorn.conf.py", "hypercorn-conf": "hypercorn.conf.py"}
CRL = "client-ca.crl.pem"


@pytest.fixture(scope="module")
def site(blank: Site) -> Iterator[Site]:
    """The project, with alice enrolled."""
    with ExitStack() as stack:
        made = MakeSite(blank, stack).with_users()
        made.shell(text_of("django-enrol"))
        yield made


@pytest.fixture
def write(site: Site) -> Iterator[Callable[[str, str], None]]:
    """Write a file of a page into the project for the length of a test: gunicorn reads its own by itself."""
    written: list[Path] = []

    def write(name: str, text: str) -> None:
        written.append(site.directory / name)
        written[-1].write_text(text)

    yield write
    for file in written:
        file.unlink()


def here(port: int) -> dict[str, str]:
    """Return what to replace in a recipe with a port of the test."""
    return {"0.0.0.0": LOCALHOST, "8443": str(port)}  # noqa: S104  # what the text says


def reason(response: Response) -> tuple[int, str]:
    """Return status and reason of a denial."""
    return response.status, json.loads(response.body)["reason"]


def check(site: Site, port: int) -> None:
    """Ask as everybody: alice is known, the others are told apart, and what nobody issued is refused by TLS."""
    assert json.loads(site.ask(port, "alice").body)["user"] == "alice"
    assert reason(site.ask(port, "mallory")) == (403, Reason.NOT_ENROLLED)
    assert reason(site.ask(port, None)) == (403, Reason.CERTIFICATE_REQUIRED)
    with pytest.raises(CurlError):
        site.ask(port, "expired")


@recipes(
    "cheroot-tls",
    "daphne-tls",
    "gunicorn-asgi",
    "gunicorn-gevent",
    "gunicorn-tls",
    "gunicorn-uvicorn-worker",
    "hypercorn-tls",
    "runserver-files",
    "uvicorn-tls",
    "werkzeug-tls",
    "wsgiref-tls",
)
def test_command(site: Site, recipe_id: str) -> None:
    port = free_port()
    with site.server(recipe_id, here(port), port, settings="settings_tls"):
        check(site, port)


def client_of(site: Site, port: int, *, http2: bool = False) -> httpx.Client:
    """Return a client with alice's certificate, which keeps its connection open."""
    alice = (site.directory / "alice.pem", site.directory / "alice.key")
    context = tls_context(site.directory / "client-ca.pem", alice)
    return httpx.Client(verify=context, http2=http2, base_url=f"https://localhost:{port}", trust_env=False)


@recipe("gunicorn-http2")
def test_http2(site: Site) -> None:
    port = free_port()
    with site.server("gunicorn-http2", here(port), port, settings="settings_tls"):
        check(site, port)
        with client_of(site, port, http2=True) as client:
            response = client.get("/reports")
        assert (response.http_version, response.json()["user"]) == ("HTTP/2", "alice")


@recipe("gunicorn-tornado", "uvicorn-http2")
@pytest.mark.parametrize(
    ("recipe_id", "application", "version", "anonymous"),
    [
        ("gunicorn-tornado", "wsgi-app", "HTTP/1.1", "hello, whoever you are\n"),
        ("uvicorn-http2", "readme-starlette", "HTTP/2", "certificate_required"),
    ],
)
def test_without_django(
    site: Site, write: Callable[[str, str], None], recipe_id: str, application: str, version: str, anonymous: str
) -> None:
    """Where Django does not run, another application of the documentation does."""
    write("service.py", text_of(application))
    port = free_port()
    with site.server(recipe_id, here(port), port), client_of(site, port, http2=True) as client:
        response = client.get("/reports")
        assert (response.status_code, response.http_version) == (200, version)
        assert "alice" in response.text
        assert site.ask(port, None).body == anonymous
        with pytest.raises(CurlError):
            site.ask(port, "expired")


@recipe("gunicorn-conf", "gunicorn-conf-run", "hypercorn-conf", "hypercorn-conf-run")
@pytest.mark.parametrize("recipe_id", FILES)
def test_configuration_file(site: Site, write: Callable[[str, str], None], recipe_id: str) -> None:
    write(FILES[recipe_id], text_of(recipe_id))
    port = free_port()
    with site.server(f"{recipe_id}-run", here(port), port, settings="settings_tls") as process:
        check(site, port)
        assert "TLS handshake with 127.0.0.1 failed: expired" in process.output


@recipes("cheroot-python", "daphne-python", "uvicorn-run", "werkzeug-python", "wsgiref-python")
def test_program(site: Site, write: Callable[[str, str], None], recipe_id: str) -> None:
    port = free_port()
    write("serve.py", text_of(recipe_id, here(port)))
    variables = environment(DJANGO_SETTINGS_MODULE="mysite.settings_tls")
    with Process(
        [sys.executable, "serve.py"], ready=port, log=site.directory / "log", cwd=site.directory, env=variables
    ) as process:
        check(site, port)
        assert "TLS handshake with 127.0.0.1 failed: expired" in process.output


@recipe("runserver")
def test_runserver_makes_its_files(site: Site) -> None:
    """Without files there are some, and the two commands that are printed do what they say."""
    port = free_port()
    with Process(
        ["bash", "-c", f"exec {text_of('runserver').strip()} {port}"],
        ready="mtls_enroll",
        log=site.directory / "log",
        cwd=site.directory,
        env=environment(DJANGO_SETTINGS_MODULE="mysite.settings_tls"),
    ) as process:
        curl, enroll = (line for line in process.output.splitlines() if line.startswith("  "))
        asked = curl.replace("curl", "curl --disable --silent --noproxy '*'") + "reports"
        assert json.loads(site.shell(asked))["reason"] == Reason.NOT_ENROLLED
        site.shell(enroll)
        assert json.loads(site.shell(asked))["reason"] == Reason.NOT_ALLOWED


def replace(file: Path, content: bytes) -> None:
    """Replace a file at once, and wait for as long as the page says."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, file)
    time.sleep(1)


@recipe("server-tls-gunicorn")
def test_files_that_change(
    site: Site,
    write: Callable[[str, str], None],
    ca: CertificateAuthority,
    alice: IssuedCertificate,
    bob: IssuedCertificate,
) -> None:
    """A new list is in force within a second, also on an open connection; a broken one changes nothing."""
    crl = site.directory / CRL
    write(CRL, revocation_list(ca, bob).decode())
    write("gunicorn.conf.py", text_of("server-tls-gunicorn"))
    port = free_port()
    with (
        site.server("gunicorn-conf-run", here(port), port, settings="settings_tls") as process,
        client_of(site, port) as open_connection,
    ):
        assert open_connection.get("/reports").json()["user"] == "alice"
        with pytest.raises(CurlError):
            site.ask(port, "bob")
        assert "failed: revoked (certificate revoked)" in process.output
        replace(crl, b"no list")
        assert json.loads(site.ask(port, "alice").body)["user"] == "alice"
        assert open_connection.get("/reports").json()["user"] == "alice"
        assert _said("changed files are not used, the old ones stay in force") in process.output
        replace(crl, revocation_list(ca, bob, alice))
        with pytest.raises(CurlError):
            site.ask(port, "alice")
        assert open_connection.get("/reports").json() == {"reason": Reason.REVOKED}


def _said(text: str) -> str:
    assert text in PAGE.replace("\n", " ")
    return text


@recipe("server-tls")
def test_parameters(
    site: Site, write: Callable[[str, str], None], ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block makes a context, and the table has every parameter."""
    write(CRL, revocation_list(ca).decode())
    monkeypatch.chdir(site.directory)
    tls = run_python("server-tls")["tls"]
    assert tls.context().verify_mode is ssl.CERT_OPTIONAL
    table = PAGE.partition("| parameter |")[2].partition("\n\n")[0]
    documented = [name for row in table.splitlines() for name in re.findall(r"^\| `(\w+)` \|", row)]
    assert documented == list(ServerTLS.__dataclass_fields__)


def test_every_reason_of_a_failed_handshake_is_there() -> None:
    """The table of reasons is the code's."""
    table = PAGE.partition("| reason | level |")[2].partition("\n\n")[0]
    reasons = {*handshakes._BY_VERIFY_CODE.values(), Reason.UNTRUSTED, Reason.CERTIFICATE_REQUIRED}
    assert set(re.findall(r"`(\w+)`", table)) - {"client_ca", "crl", "clientAuth", "required"} == set(reasons)
    assert "no client certificate was looked at" in table
