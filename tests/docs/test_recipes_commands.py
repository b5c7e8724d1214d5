"""The recipes for the command line."""

from pathlib import Path

from mtls_auth.dialects import HAPROXY
from mtls_auth.recipes import RECIPES, Places
from mtls_auth.testing import IssuedCertificate, escaped_pem
from mtls_auth.testing.headers import headers_for
from tests.docs.recipes import recipe, run_shell, text_of
from tests.docs.site import MakeSite


def write_request(directory: Path, *headers: tuple[str, str]) -> None:
    """Write the request that the recipes explain."""
    lines = "".join(f"{name}: {value}\n" for name, value in headers)
    (directory / "request.http").write_text(f"GET / HTTP/1.1\nHost: localhost\n{lines}\n")


@recipe("readme-cli", "explain")
def test_command_line(make_site: MakeSite, alice: IssuedCertificate) -> None:
    """Each line does what the page says of it."""
    site = make_site.with_users()
    site.shell(text_of("django-enrol"))
    certificate = ("X-SSL-Client-Cert", escaped_pem(alice.der))
    write_request(site.directory, certificate, ("X-SSL-Client-Verify", "SUCCESS"))
    lines = text_of("readme-cli").splitlines()
    inspected, explained, printed, site_says, revoked = (site.shell(line) for line in lines)
    assert "accepted as a client certificate" in inspected
    assert "authenticated" in explained
    assert RECIPES["haproxy"].settings("django", Places()) in printed
    assert "The certificate is admitted" in site_says
    assert "keyCompromise" in revoked
    assert "authenticated" in site.shell(text_of("explain"))


@recipe("explain-several")
def test_explain_several(tmp_path: Path, alice: IssuedCertificate) -> None:
    """The request belongs to the first of the two proxies, and to nobody without its secret."""
    headers = headers_for(HAPROXY, alice.der)
    write_request(tmp_path, *headers, ("X-Proxy-Secret", "Vt1yVq0P3hBfT7nJ4s9XwLk2ZrEo8mGd"))
    assert "authenticated" in run_shell(text_of("explain-several"), tmp_path)
    write_request(tmp_path, *headers)
    assert "proxy_unproven" in run_shell(text_of("explain-several"), tmp_path)


@recipe("recipe-list", "recipe-print", "recipe-set")
def test_recipes(tmp_path: Path) -> None:
    """The list has every recipe, and a recipe is printed as the pages show it."""
    listed = run_shell(text_of("recipe-list"), tmp_path)
    assert {line.split()[0] for line in listed.splitlines()} == set(RECIPES)
    printed = run_shell(text_of("recipe-print"), tmp_path)
    haproxy = RECIPES["haproxy"]
    for text in (*haproxy.configuration(Places()).values(), haproxy.settings("django", Places())):
        assert text in printed
    own = run_shell(text_of("recipe-set"), tmp_path)
    assert "server_name www.example.org;" in own
    assert 'TrustedProxies.parse(["10.0.0.7"])' in own
    assert "openssl rand" not in own
