"""`mtls-auth probe` against sites in this process: what it finds, what it says, and its exit status."""

import json
import re
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mtls_auth.probing
from mtls_auth import NGINX, Dialect, codecs
from mtls_auth.certificate_files import client_certificate_in
from mtls_auth.cli import main
from mtls_auth.cli.probe import TOKEN_VARIABLE
from mtls_auth.diagnostics import Diagnostics
from mtls_auth.dialects import BUILTIN
from mtls_auth.probing.tricks import TRICKS
from mtls_auth.testing import CertificateAuthority
from mtls_auth.testing.headers import headers_for
from tests.core.probed import LOCALHOST, TOKEN, answering, serving, site

TRUSTING = site(NGINX, LOCALHOST)
CAREFUL = site(NGINX, "10.0.0.1")
QUICKLY = ("--rate", "100000", "--timeout", "3")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, the server's and alice's certificates and keys."""
    directory = tmp_path_factory.mktemp("pki")
    ca = CertificateAuthority()
    (directory / "ca.pem").write_bytes(ca.pem)
    ca.issue_server("localhost").write(directory, "server")
    ca.issue("alice").write(directory, "alice")
    return directory


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no token."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def probe(url: str | int, *options: str, token: str | None = TOKEN, dialect: str | None = "nginx") -> int:
    """Run the command against a URL, or a port of this host."""
    address = url if isinstance(url, str) else f"http://{LOCALHOST}:{url}"
    chosen = ["--dialect", dialect] if dialect else []
    return main(["probe", address, *(["--token", token] if token else []), *chosen, *QUICKLY, *options])


def table(out: str) -> dict[str, list[str]]:
    """Return the cells of the report's lines by trick."""
    cells = [re.split(" {2,}", line.strip()) for line in out.splitlines() if line.startswith("    ")]
    return {name: outcomes for name, *outcomes in cells}


def test_nothing_gets_through(capsys: pytest.CaptureFixture[str]) -> None:
    """An application that does not believe whoever connects is not fooled: 0, and a line for every trick."""
    with serving(CAREFUL) as port:
        assert probe(port) == 0
    out = capsys.readouterr().out
    assert f"0 of {len(TRICKS)} tricks got through, 0 could not be judged ({len(TRICKS)} requests)" in out
    assert "GOT THROUGH" not in out
    assert "peer       127.0.0.1: not believed" in out
    assert "reads      nginx (x-ssl-client-cert, x-ssl-client-verify)" in out
    assert "client     without a certificate: anonymous, no_certificate" in out
    assert all(f"    {trick} " in out for trick in TRICKS)


def test_everything_gets_through(capsys: pytest.CaptureFixture[str]) -> None:
    """An application that believes whoever connects is fooled: 1, and what was believed, and what to do."""
    with serving(TRUSTING) as port:
        assert probe(port) == 1
    out = capsys.readouterr().out
    rows = table(out)
    assert rows["exact"] == ["GOT THROUGH, believed"]
    assert rows["underscores"] == ["GOT THROUGH, believed"]
    assert rows["twice"] == ["refused"]
    assert rows["certificate alone"] == ["GOT THROUGH in part"]
    assert rows["dots"] == ["blocked"]
    assert rows["verdict nominated, with underscores"] == ["refused"]
    finding = out.partition("GOT THROUGH: proxy, by copy\n")[2].partition("\n\n")[0]
    assert "  clients    without a certificate\n" in finding
    assert "  tricks     exact, lower case names," in finding
    assert "  dialects   nginx\n" in finding
    assert "  answer     authenticated, mtls-auth-probe-" in finding
    assert "  headers    HTTP_X_SSL_CLIENT_CERT, HTTP_X_SSL_CLIENT_VERIFY\n" in finding
    assert "In Nginx a location with one proxy_set_header of its own inherits none" in finding
    assert "tricks of other kinds: mend the above, and probe again." in out
    assert "GOT THROUGH: proxy, by spelling" not in out


class Front:
    """A proxy in front of an application: removes what Nginx sets, and answers some requests itself."""

    def __init__(self, application: Any = TRUSTING) -> None:
        self.application = application
        self.requests = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.requests += 1
        answer = self.answers(environ)
        if answer is not None:
            start_response(answer, [])
            return []
        if self.removes(environ):
            for key in ("HTTP_X_SSL_CLIENT_CERT", "HTTP_X_SSL_CLIENT_VERIFY"):
                environ.pop(key, None)
        return self.application(environ, start_response)

    def answers(self, environ: dict[str, Any]) -> str | None:
        """Return the status of its own answer, None to ask the application."""
        return None

    def removes(self, environ: dict[str, Any]) -> bool:
        """Whether it removes the headers of this request."""
        return True


def test_a_gap_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A proxy that forgets one kind of request is found out by that alone."""

    class OldFashioned(Front):
        def removes(self, environ: dict[str, Any]) -> bool:
            return str(environ["SERVER_PROTOCOL"]) != "HTTP/1.0"

    with serving(OldFashioned()) as port:
        assert probe(port) == 1
    out = capsys.readouterr().out
    assert f"1 of {len(TRICKS)} tricks got through" in out
    assert "  tricks     HTTP/1.0\n" in out.partition("GOT THROUGH: proxy, by variant\n")[2]
    assert "Have the proxy set its headers on this kind of request too" in out
    assert "of other kinds" not in out


def test_what_cannot_be_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody else answers a trick, that is said, and the exit status is not that of a clean site."""

    class NoPosts(Front):
        def answers(self, environ: dict[str, Any]) -> str | None:
            return "204 No Content" if environ["REQUEST_METHOD"] == "POST" else None

    with serving(NoPosts()) as port:
        assert probe(port) == 2
    out = capsys.readouterr().out
    assert f"0 of {len(TRICKS)} tricks got through, 4 could not be judged" in out
    assert "not judged (HTTP 204)" in out
    finding = out.partition("NOT JUDGED: proxy\n")[2]
    assert "  tricks     trailers, trailers unannounced, late trailers, trailers with underscores\n" in finding
    assert "  answer     HTTP 204\n" in finding


def test_something_else_in_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A site that answers otherwise in the end than in the beginning has proven nothing."""

    class Tiring(Front):
        def answers(self, environ: dict[str, Any]) -> str | None:
            return "400 Bad Request" if self.requests > 10 else None

    with serving(Tiring()) as port:
        assert probe(port) == 2
    captured = capsys.readouterr()
    assert "an honest request (without a certificate) is answered otherwise than in the beginning" in captured.err
    assert captured.out == ""


REPORT: dict[str, Any] = {
    **{"decision": "anonymous", "reason": "no_certificate", "fingerprint_sha256": None, "subject_cn": None},
    **{"presented": [], "reads": [], "peer": None, "peer_believed": None, "removed": []},
}


def reporting(connection: Any, **values: object) -> None:
    """Read a request, and answer as the endpoint would."""
    connection.recv(65536)
    text = json.dumps(REPORT | values).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def test_a_site_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    """A site that does not answer any more has proven nothing, and is not waited for trick by trick."""
    served = 0

    def talk(connection: Any) -> None:
        nonlocal served
        served += 1
        if served < 4:
            return reporting(connection)
        while connection.recv(65536):
            pass

    start = time.monotonic()
    with answering(talk) as port:
        assert probe(port, "--timeout", "0.3") == 2
    assert time.monotonic() - start < 5
    assert "is answered otherwise than in the beginning (no answer in time)" in capsys.readouterr().err


def test_a_trick_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that waits for the rest of one strange request, and answers others, has not let it through."""

    def talk(connection: Any) -> None:
        if b"X-SSL-CLIENT-CERT" not in connection.recv(65536, socket.MSG_PEEK):
            return reporting(connection)
        while connection.recv(65536):
            pass

    with answering(talk) as port:
        assert probe(port, "--timeout", "0.3") == 0
    assert table(capsys.readouterr().out)["upper case names"] == ["refused"]


def test_a_site_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    """A site that cannot be reached any more has proven nothing."""
    served = 0

    def talk(connection: Any) -> None:
        nonlocal served
        served += 1
        reporting(connection)
        if served == 3:
            listener[0].close()

    listener: list[socket.socket] = []
    with answering(talk, listening=listener) as port:
        assert probe(port) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_directly(capsys: pytest.CaptureFixture[str]) -> None:
    """Past a good proxy the application itself may believe whoever connects: that is another finding."""
    with serving(Front()) as proxy, serving(TRUSTING) as direct:
        assert probe(proxy, "--direct", f"http://{LOCALHOST}:{direct}") == 1
    out = capsys.readouterr().out
    assert "GOT THROUGH: proxy" not in out
    finding = out.partition("GOT THROUGH: direct, by copy\n")[2]
    assert "The application believes whoever connects to it from 127.0.0.1." in finding
    assert f"of {2 * len(TRICKS)} tricks got through" in out
    assert "no HTTP/2 (proxy: HTTP/2 needs TLS; direct: HTTP/2 needs TLS)" in out


def test_directly_by_the_path_of_the_proxy() -> None:
    """The endpoint's path in the first URL is that of the second too."""
    application = site(NGINX, "10.0.0.1", diagnostics=Diagnostics(token=TOKEN, path="/who"))
    with serving(application) as port:
        assert probe(f"http://{LOCALHOST}:{port}/who", "--direct", f"http://{LOCALHOST}:{port}") == 0


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json there is one object for each request, and nothing else."""
    with serving(TRUSTING) as port:
        assert probe(port, "--json") == 1
        url = f"http://{LOCALHOST}:{port}"
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["trick"] for line in lines] == list(TRICKS)
    exact = lines[0]
    assert len(exact.pop("fingerprint_sha256")) == 64
    assert exact == {
        "role": "proxy",
        "url": url,
        "client": "without a certificate",
        "trick": "exact",
        "dialects": ["nginx"],
        "outcome": "believed",
        "got_through": True,
        "status": 200,
        "fault": None,
        "decision": "authenticated",
        "reason": None,
        "removed": ["HTTP_X_SSL_CLIENT_CERT", "HTTP_X_SSL_CLIENT_VERIFY"],
    }
    proxy_line = next(line for line in lines if line["trick"] == "a PROXY line")
    assert (proxy_line["outcome"], proxy_line["status"], proxy_line["decision"]) == ("refused", None, None)
    assert proxy_line["fault"].startswith("closed without an answer")
    assert captured.err == ""


def test_all_dialects(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --dialect all are forged, and the one that the application reads is believed."""
    with serving(site(BUILTIN["traefik"], LOCALHOST)) as port:
        assert probe(port, "--json", dialect=None) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {name for line in lines for name in line["dialects"]} == set(BUILTIN)
    believed = [line for line in lines if line["trick"] == "exact" and line["got_through"]]
    assert [line["dialects"] for line in believed] == [["traefik"]]


def test_names_of_the_operator_s(capsys: pytest.CaptureFixture[str]) -> None:
    """Header names that the operator gave are found out, or given with the only dialect."""
    with serving(site(NGINX.with_headers(leaf="x-cert", verdict="x-verify"), LOCALHOST)) as port:
        assert probe(port, dialect=None) == 1
        assert probe(port, "--header", "leaf=X-Cert", "--header", "verdict=X-Verify") == 1
        capsys.readouterr()
        assert probe(port) == 2
    assert "reads x-cert, which nothing here forges" in capsys.readouterr().err


def test_a_foreign_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    """A dialect of the application's own is forged as the built-in one that the operator names."""
    mine = Dialect(name="mine", leaf="x-client-cert", decode=codecs.escaped_pem)
    with serving(site(mine, LOCALHOST)) as port:
        assert probe(port, dialect=None) == 2
        assert "reads the dialect 'mine'" in capsys.readouterr().err
        assert probe(port, dialect="kong") == 1


def test_a_given_victim(pki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A victim that is named is who was believed."""
    with serving(TRUSTING) as port:
        assert probe(port, "--victim", str(pki / "alice.pem")) == 1
    assert "answer     authenticated, alice, " in capsys.readouterr().out


def server_context(pki: Path, mode: ssl.VerifyMode) -> ssl.SSLContext:
    """Return a context that asks for certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = mode
    return context


def over_tls(pki: Path, port: int, *, own: bool = True) -> list[str]:
    """Return the URL and the options of a probe over TLS."""
    certificate = ["--cert", str(pki / "alice.pem"), "--key", str(pki / "alice.key")] if own else []
    return [f"https://localhost:{port}", "--ca", str(pki / "ca.pem"), *certificate]


def test_with_a_certificate(pki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over TLS every trick is tried without a certificate and with it."""
    with serving(TRUSTING, server_context(pki, ssl.CERT_OPTIONAL)) as port:
        assert probe(*over_tls(pki, port)) == 1
    out = capsys.readouterr().out
    assert table(out)["exact"] == ["GOT THROUGH, believed"] * 2
    assert "  clients    without a certificate, with its certificate\n" in out
    assert f"({2 * len(TRICKS)} requests); no HTTP/2 (proxy: the server does not speak HTTP/2)" in out


def test_key_in_the_same_file(pki: Path, tmp_path: Path) -> None:
    """The key may be in the file of the certificate."""
    both = tmp_path / "both.pem"
    both.write_bytes((pki / "alice.pem").read_bytes() + (pki / "alice.key").read_bytes())
    with serving(CAREFUL, server_context(pki, ssl.CERT_OPTIONAL)) as port:
        assert probe(*over_tls(pki, port, own=False), "--cert", str(both)) == 0


def test_a_proxy_that_demands_a_certificate(pki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that does not get as far as the endpoint is left out, and that is said; nobody else is an error."""
    with serving(CAREFUL, server_context(pki, ssl.CERT_REQUIRED)) as port:
        assert probe(*over_tls(pki, port)) == 0
        assert f"not tried: https://localhost:{port}, without a certificate: " in capsys.readouterr().out
        assert probe(*over_tls(pki, port, own=False)) == 2
    assert "Does the proxy demand a certificate (--cert, --key)?" in capsys.readouterr().err


def test_without_h2(pki: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where h2 is not installed HTTP/2 is left out, and that is said."""
    monkeypatch.delattr(mtls_auth.probing, "http2", raising=False)
    monkeypatch.delitem(sys.modules, "mtls_auth.probing.http2", raising=False)
    monkeypatch.setitem(sys.modules, "h2.config", None)
    with serving(CAREFUL, server_context(pki, ssl.CERT_OPTIONAL)) as port:
        assert probe(*over_tls(pki, port, own=False)) == 0
    assert (
        "no HTTP/2 (proxy: the package h2 is not installed: pip install 'mtls-auth[probe]')" in capsys.readouterr().out
    )


def test_one_s_own_certificate_as_the_victim(pki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pretends to be who it is anyway would prove nothing."""
    victim = client_certificate_in((pki / "alice.pem").read_bytes()).der

    class Vouching(Front):
        def removes(self, environ: dict[str, Any]) -> bool:
            for name, value in headers_for(NGINX, victim):
                environ["HTTP_" + name.upper().replace("-", "_")] = value
            return False

    with serving(Vouching()) as port:
        assert probe(port, "--victim", str(pki / "alice.pem")) == 2
    assert "--victim is the client's own certificate" in capsys.readouterr().err


def test_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may come from the environment, where other users' process lists do not show it."""
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with serving(CAREFUL) as port:
        assert probe(port, token=None) == 0


def test_a_wrong_token(capsys: pytest.CaptureFixture[str]) -> None:
    """With a wrong token, or where the endpoint is off, the application answers: 2, and what to look at."""
    with serving(CAREFUL) as port:
        assert probe(port, token=TOKEN[::-1]) == 2
    err = capsys.readouterr().err
    assert "without a certificate: HTTP 204, and not from the diagnostic endpoint. Is it enabled" in err
    assert TOKEN[::-1] not in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--dialect", "ngnix"], "--dialect 'ngnix' is not known: name one of nginx"),
        (["--dialect", "nginx", "--header", "leaf"], "--header 'leaf': write FIELD=NAME once"),
        (
            ["--dialect", "nginx", "--header", "leaf=a", "--header", "leaf=b"],
            "--header 'leaf=b': write FIELD=NAME once",
        ),
        (["--dialect", "nginx", "--header", "chain=a"], "dialect nginx has no field 'chain'"),
        (["--header", "leaf=a"], "--header renames headers of one dialect"),
        (["--dialect", "nginx", "--dialect", "caddy", "--header", "leaf=a"], "--header renames headers of one dialect"),
        (["--key", "key.pem"], "--key is given without --cert"),
        (["--cert", "missing.pem"], "--cert missing.pem"),
        (["--ca", "missing.pem"], "--ca missing.pem"),
        (["--victim", "missing.pem"], "--victim missing.pem: there is no such file"),
        (["--direct", "localhost:8000"], "'localhost:8000': write https://"),
        (["--rate", "0"], "argument --rate"),
        (["--timeout", "soon"], "argument --timeout"),
        (["--timeout", "nan"], "argument --timeout"),
    ],
)
def test_wrong_arguments(options: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that cannot work are refused before anything is sent: 2, and what is wrong."""
    assert main(["probe", "https://localhost", "--token", TOKEN, *options]) == 2
    captured = capsys.readouterr()
    assert problem in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(("token", "problem"), [(None, "there is no token"), ("short", "fewer than 32 random")])
def test_wrong_tokens(token: str | None, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A token is needed, and one that an endpoint can have."""
    assert probe("https://localhost", token=token) == 2
    assert problem in capsys.readouterr().err


def test_a_victim_with_its_key(pki: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A private key is not needed, and not taken."""
    both = tmp_path / "both.pem"
    both.write_bytes((pki / "alice.pem").read_bytes() + (pki / "alice.key").read_bytes())
    assert probe("https://localhost", "--victim", str(both)) == 2
    assert "private key" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody listens: 2."""
    with serving(CAREFUL) as port:
        pass
    assert probe(port) == 2
    assert f"http://{LOCALHOST}:{port} cannot be reached" in capsys.readouterr().err


def test_strange_names_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the endpoint says is shown without control characters."""

    def talk(connection: Any) -> None:
        names = {"fingerprint_sha256": "\x1b[31m", "subject_cn": "a\u202eb", "peer": "\x07"}
        reporting(connection, decision="authenticated", reason=None, **names)

    with answering(talk) as port:
        assert probe(port) == 0
    out = capsys.readouterr().out
    assert not set("\x1b\u202e\x07") & set(out)
    assert "a\\u202eb, \\x1b[31m" in out


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal one line tells how far it is, and is gone at the end."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with serving(CAREFUL) as port:
        assert probe(port) == 0
    err = capsys.readouterr().err
    assert f"\r\x1b[K1/{len(TRICKS)} exact\r\x1b[K2/{len(TRICKS)} lower case names" in err
    assert err.endswith("\r\x1b[K")
