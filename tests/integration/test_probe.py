"""`mtls-auth probe` against real deployments: it finds the accidents, and nothing where there is nothing to find."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtls_auth.cli import main
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS
from mtls_auth.probing.tricks import TRICKS
from tests.integration.lab import ROOT, SITE, Files, Lab
from tests.integration.programs import ASGI, Program, server_command
from tests.integration.servers import LOCALHOST, Process, free_port, nginx_command, requires, write_nginx_conf

TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "q3n4v8XkZp2mT7wLr9sYbE5uHc0aJd1f"
# nginx is on this machine: no need to be gentle.
OPTIONS = ("--token", TOKEN, "--rate", "100000", "--dialect", "nginx")

WSGI_APPLICATION = """\
from mtls_auth.wsgi import ClientCertificateMiddleware


def application(environ, start_response):
    start_response("204 No Content", [])
    return []
"""
ASGI_APPLICATION = """\
from mtls_auth.asgi import ClientCertificateMiddleware


async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""
AROUND = """

from mtls_auth import NGINX, AnyVerifiedCertificate, Authenticator, Forwarded, ProxySecret, TrustedProxies
from mtls_auth.diagnostics import Diagnostics

application = ClientCertificateMiddleware(
    application,
    Authenticator(Forwarded(dialect=NGINX, {trust}), policy=AnyVerifiedCertificate()),
    diagnostics=Diagnostics(token={token!r}),
)
"""
DJANGO_SETTINGS = """\
from tests.integration.site.settings import *

MTLS_AUTH = {{
    "SOURCE": "nginx",
    "TRUSTED_PROXIES": [{peer!r}],
    "DIAGNOSTICS_TOKEN": {token!r},
}}
"""
BY_ADDRESS = "proxies=TrustedProxies.parse(['127.0.0.1'])"
BY_SECRET = f"secret=ProxySecret({SECRET!r})"


class Site:
    """A Python server with the endpoint, and nginx in front of it, for one test."""

    def __init__(self, lab: Lab, directory: Path, stack: ExitStack) -> None:
        """Use the certificates and the database of *lab*."""
        self.lab = lab
        self.directory = directory
        self.stack = stack

    def serve(
        self, program: Program, *, trust: str = BY_ADDRESS, django: bool = False, unix: bool = False
    ) -> int | Path:
        """Start a server on the bare application or on the Django site; return where it listens."""
        address = self.directory / "app.sock" if unix else free_port()
        environment = {
            **self.lab.environment,
            "HOME": str(self.directory),
            "PYTHONPATH": f"{self.directory}:{ROOT}",
        }
        if django:
            assert self.lab.registrar is not None  # it makes the tables
            text = DJANGO_SETTINGS.format(token=TOKEN, peer=f"unix:{address}" if unix else LOCALHOST)
            environment["DJANGO_SETTINGS_MODULE"] = "probed_site"
            target = f"{SITE}.{'asgi' if program in ASGI else 'wsgi'}:application"
        else:
            text = ASGI_APPLICATION if program in ASGI else WSGI_APPLICATION
            text += AROUND.format(trust=trust, token=TOKEN)
            target = "probed_site:application"
        (self.directory / "probed_site.py").write_text(text)
        command = server_command(program, target, address)
        log = self.directory / "server.log"
        self.stack.enter_context(Process(command, ready=address, log=log, cwd=ROOT, env=environment))
        return address

    def nginx(self, upstream: int | Path, change: Callable[[str], str] = str, **options: bool | str) -> str:
        """Start nginx in front of a server, on a configuration that *change* has gone over; return its URL."""
        requires("nginx")
        port = free_port()
        configuration = write_nginx_conf(
            self.directory,
            listen_port=port,
            upstream=f"unix:{upstream}" if isinstance(upstream, Path) else f"{LOCALHOST}:{upstream}",
            server_cert=self.lab.pki.server.certificate,
            server_key=self.lab.pki.server.key,
            client_ca=self.lab.pki.client_cas,
            **options,  # type: ignore[arg-type]
        )
        configuration.write_text(change(configuration.read_text()))
        log = self.directory / "nginx.log"
        self.stack.enter_context(Process(nginx_command(configuration), ready=port, log=log))
        return f"https://localhost:{port}"

    def probe(self, url: str, *options: str, files: Files | None = None) -> int:
        """Run the command."""
        own = ["--cert", str(files.certificate), "--key", str(files.key)] if files else []
        return main(["probe", url, *OPTIONS, "--ca", str(self.lab.pki.root), *own, *options])


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    """What one test starts."""
    with ExitStack() as stack:
        yield Site(lab, tmp_path, stack)


@pytest.fixture(scope="module")
def bob(lab: Lab) -> Files:
    """Somebody with a certificate, enrolled at the Django site."""
    return lab.enroll("probe-bob")


@dataclass(frozen=True, slots=True)
class Report:
    """What the command printed."""

    text: str

    @property
    def cells(self) -> dict[str, list[str]]:
        """The outcomes of each trick, a column a client; with several targets those of the last."""
        rows = [re.split(" {2,}", line.strip()) for line in self.text.splitlines() if line.startswith("    ")]
        return {name: outcomes for name, *outcomes in rows}

    def of(self, *outcomes: str) -> set[str]:
        """Return the tricks with one of these outcomes for any client."""
        return {name for name, found in self.cells.items() if set(found) & set(outcomes)}


Output = Callable[[], Report]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """Return what was printed so far."""
    return lambda: Report(capsys.readouterr().out)


DEPLOYMENTS = {
    "gunicorn": ("gunicorn-gthread", False, False),
    "gunicorn on a Unix socket, Django": ("gunicorn-sync", True, True),
    "h11": ("uvicorn-h11", False, False),
    "httptools, Django": ("uvicorn-httptools", True, False),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_good_deployment(site: Site, bob: Files, output: Output, name: str) -> None:
    """Behind nginx as the documentation has it nothing gets through, with a certificate and without, by HTTP/2 too."""
    program, django, unix = DEPLOYMENTS[name]
    url = site.nginx(site.serve(program, django=django, unix=unix), http2=True)  # type: ignore[arg-type]
    assert site.probe(url, files=bob) == 0
    report = output()
    number = len(TRICKS) + len(HTTP2_TRICKS)
    assert f"0 of {number} tricks got through, 0 could not be judged ({2 * number} requests)" in report.text
    assert set(report.cells) - {""} >= {*TRICKS, *HTTP2_TRICKS}
    assert "client     without a certificate: anonymous, no_certificate" in report.text
    assert f"client     with its certificate: authenticated, probe-bob, {bob.fingerprint}" in report.text
    assert {"exact", "underscores", "absolute target", "HTTP/2: exact"} <= report.of("blocked")
    # Django's ASGI handler takes no WebSockets.
    assert "WebSocket upgrade" in report.of("refused" if name == "httptools, Django" else "blocked")
    assert {"folded", "NUL after the value", "HTTP/2: line break in a value"} <= report.of("refused")


def lose_what_is_inherited(text: str) -> str:
    """Move the certificate headers to the server: a location with proxy_set_header of its own inherits none."""
    lines = re.findall(r".*proxy_set_header X-SSL-Client.*\n", text)
    for line in lines:
        text = text.replace(line, "")
    return text.replace("        location / {\n", f"{''.join(lines)}        location / {{\n")


@pytest.mark.parametrize("program", ["gunicorn-gthread", "uvicorn-httptools"])
def test_inherited_headers_are_lost(site: Site, bob: Files, output: Output, program: Program) -> None:
    """The classic accident is found and named: then nobody's word counts but the client's own."""
    url = site.nginx(site.serve(program), lose_what_is_inherited, http2=True)
    assert site.probe(url, files=bob) == 1
    report = output()
    assert {"exact", "HTTP/1.0", "HTTP/2: exact", "line feeds alone"} <= report.of("GOT THROUGH, believed")
    # nginx removes these by default.
    assert {"underscores", "dots", "CGI variables"} <= report.of("blocked")
    finding = report.text.partition("GOT THROUGH: proxy, by copy\n")[2].partition("\n\n")[0]
    assert "  clients    without a certificate, with its certificate\n" in finding
    assert "  tricks     exact, lower case names, " in finding
    assert "  answer     authenticated, mtls-auth-probe-" in finding
    assert "In Nginx a location with one proxy_set_header of its own inherits none: repeat them all there." in finding


def with_secret(text: str) -> str:
    """Have nginx write the proxy secret beside the certificate headers."""
    line = "            proxy_set_header X-SSL-Client-Cert"
    return text.replace(line, f"            proxy_set_header X-Proxy-Secret {SECRET};\n{line}")


def test_the_same_accident_with_a_secret(site: Site, output: Output) -> None:
    """Where the secret is lost together with the certificate headers nobody is believed at all."""
    url = site.nginx(site.serve("gunicorn-gthread", trust=BY_SECRET), lose_what_is_inherited)
    assert site.probe(url) == 0
    assert {"exact", "a forged secret"} <= output().of("refused")


def test_a_location_of_its_own(site: Site, output: Output) -> None:
    """A proxy that takes its headers away for one kind of request is found out by just that kind."""

    def change(text: str) -> str:
        for variable in ("$ssl_client_escaped_cert", "$ssl_client_verify"):
            name = "cert" if "cert" in variable else "verify"
            text = text.replace(variable, f"$forwarded_{name}").replace(
                "    upstream application {",
                f"    map $http_upgrade $forwarded_{name} {{ default $http_x_ssl_client_{name}; '' {variable}; }}\n\n"
                "    upstream application {",
                1,
            )
        return text

    url = site.nginx(site.serve("uvicorn-h11"), change)
    assert site.probe(url) == 1
    report = output()
    assert report.of("GOT THROUGH, believed") == {"WebSocket upgrade"}
    assert "GOT THROUGH: proxy, by variant\n" in report.text


def test_underscores_in_headers(site: Site, output: Output) -> None:
    """Where nginx lets underscores through and the Python server folds them, the two are told from each other."""

    def change(text: str) -> str:
        return text.replace(
            "    server {\n        listen", "    underscores_in_headers on;\n    server {\n        listen"
        )

    trust = f"{BY_ADDRESS}, server_address_is_peer=True"
    url = site.nginx(site.serve("wsgiref", trust=trust), change)
    assert site.probe(url) == 0  # nginx's own header comes first, and two of them are nobody's word
    assert {"underscores", "one underscore"} <= output().of("refused")


def targets(site: Site, program: Program, trust: str, *, unix: bool) -> Sequence[str]:
    """Return a good proxy's URL, and the arguments that name the application behind it."""
    address = site.serve(program, trust=trust, unix=unix)
    direct = f"unix:{address}" if isinstance(address, Path) else f"http://{LOCALHOST}:{address}"
    return [site.nginx(address), "--direct", direct]


@pytest.mark.parametrize("unix", [False, True], ids=["port", "Unix socket"])
@pytest.mark.parametrize("program", ["gunicorn-gthread", "uvicorn-h11"])
def test_an_application_that_believes_everybody_near(site: Site, output: Output, program: Program, unix: bool) -> None:
    """Past the proxy the application believes whoever is on the same machine: found, though the proxy is good."""
    trust = f"proxies=TrustedProxies.parse(['127.0.0.1', 'unix:{site.directory}/app.sock'])"
    assert site.probe(*targets(site, program, trust, unix=unix)) == 1
    report = output()
    proxy, direct = report.text.split("\ndirect: ", 1)
    assert "GOT THROUGH" not in proxy
    assert "GOT THROUGH: direct, by copy\n" in direct
    peer = f"unix:{site.directory}/app.sock" if unix else "127.0.0.1"
    assert f"The application believes whoever connects to it from {peer}." in direct


def test_an_application_that_demands_a_secret(site: Site, output: Output) -> None:
    """With a proxy secret nothing gets through past the proxy either."""
    port = site.serve("gunicorn-gthread", trust=BY_SECRET)
    url = site.nginx(port, with_secret)
    assert site.probe(url, "--direct", f"http://{LOCALHOST}:{port}") == 0
    assert {"exact", "a forged secret"} <= output().of("refused")


def test_an_enrolled_victim(site: Site, lab: Lab, bob: Files, output: Output) -> None:
    """With the certificate of somebody who is enrolled the accident is what it is: a login."""
    url = site.nginx(site.serve("gunicorn-gthread", django=True), lose_what_is_inherited)
    assert site.probe(url) == 1
    unknown = output()
    assert "exact" in unknown.of("GOT THROUGH, refused later")
    assert "  answer     denied, mtls-auth-probe-" in unknown.text
    assert "not_enrolled" in unknown.text
    victim = bob.certificate
    assert site.probe(url, "--victim", str(victim)) == 1
    assert f"  answer     authenticated, probe-bob, {bob.fingerprint}\n" in output().text


def test_a_certificate_is_demanded(site: Site, bob: Files, output: Output) -> None:
    """Where nginx demands a certificate the probe says so, and goes on with one."""
    url = site.nginx(site.serve("gunicorn-gthread"), verify="on")
    assert site.probe(url, files=bob) == 0
    assert "not tried: " in output().text
    assert site.probe(url) == 2


def test_all_dialects(site: Site, output: Output) -> None:
    """Unless told otherwise it forges every dialect; the accident is found by the one that the application reads."""
    url = site.nginx(site.serve("gunicorn-gthread"), lose_what_is_inherited)
    arguments = ["probe", url, "--token", TOKEN, "--rate", "100000", "--ca", str(site.lab.pki.root)]
    assert main(arguments) == 1
    finding = output().text.partition("GOT THROUGH: proxy, by copy\n")[2].partition("\n\n")[0]
    assert "  dialects   nginx, apache-escaped, lighttpd\n" in finding
