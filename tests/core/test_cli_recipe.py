"""`mtls-auth recipe` prints one text for the terminator and one for the application, or the list of all."""

import pytest

from mtls_auth.cli import main
from mtls_auth.recipes import RECIPES, Format, Places
from mtls_auth.recipes.recipe import NO_FOLDER


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the subcommand prints when it does its work."""
    assert main(["recipe", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the subcommand says when there is no such recipe."""
    assert main(["recipe", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name there is one line for each recipe: name, title, and whether anybody has run it."""
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == sorted(RECIPES)
    for line in lines:
        recipe = RECIPES[line.split()[0]]
        assert recipe.title in line
        assert line.endswith(" (not run here)") != recipe.observed


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file stands under the path to save it to; the application's settings and the notes follow."""
    recipe = RECIPES[name]
    out = printed(capsys, name)
    for file, text in recipe.configuration(Places()).items():
        path = file if recipe.folder == NO_FOLDER else f"{recipe.folder}/{file}"
        assert f"==> {path} <==\n{text}\n" in out
    settings = recipe.settings(recipe.formats[0], Places())
    assert f"==> the application <==\n{settings}" in out
    words = " ".join(out.split())
    assert all(note in words for note in recipe.notes)
    assert recipe.observed or ("ot run: " in words)


@pytest.mark.parametrize("format", ["wsgi", "asgi", "django"])
def test_format(format: Format, capsys: pytest.CaptureFixture[str]) -> None:
    """--format chooses the kind of application."""
    out = printed(capsys, "nginx", "--format", format)
    assert out.endswith(f"==> the application <==\n{RECIPES['nginx'].settings(format, Places())}")


def test_hidden_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """--peer-hidden asks for the secret alone."""
    assert "TrustedProxies" in printed(capsys, "nginx")
    out = printed(capsys, "nginx", "--peer-hidden")
    assert out.endswith(RECIPES["nginx"].settings("wsgi", Places(), peer_hidden=True))
    assert "TrustedProxies" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ngnix"], "there is no recipe for 'ngnix': did you mean nginx?"),
        (["NGINX"], "there is no recipe for 'NGINX': did you mean nginx"),
        (["zzz"], "there is no recipe for 'zzz': run mtls-auth recipe for the list"),
        (["uwsgi", "--format", "asgi"], "uwsgi serves wsgi and django, not asgi"),
        (["linkerd", "--peer-hidden"], "linkerd sends no secret: use a server that tells who connected"),
        (["nginx", "--format", "flask"], "invalid choice: 'flask'"),
        (["nginx", "--set", "server"], "--set 'server': write NAME=VALUE once, with one of listen, server_name"),
        (["nginx", "--set", "port=1"], "--set 'port=1': write NAME=VALUE once"),
        (["nginx", "--set", "listen=1", "--set", "listen=2"], "--set 'listen=2': write NAME=VALUE once"),
        (["nginx", "--set", "server_name=a b"], "server_name 'a b': write a host name"),
    ],
)
def test_no_such_recipe(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name, format or combination is status 2, and close names are suggested."""
    assert message in refused(capsys, *arguments)


def test_own_values(capsys: pytest.CaptureFixture[str]) -> None:
    """--set puts the operator's values into both sides: then nothing is left to edit."""
    values = {"server_name": "www.example.org", "proxy_address": "192.0.2.7", "secret": "q3n4v8XkZp2mT7wLr9sYbE5u"}
    out = printed(capsys, "nginx", *(part for name in values for part in ("--set", f"{name}={values[name]}")))
    places = Places(**values)
    for text in (*RECIPES["nginx"].configuration(places).values(), RECIPES["nginx"].settings("wsgi", places)):
        assert text in out
    assert out.count(values["secret"]) == 2
    assert printed(capsys, "nginx", "--set", "folder=/opt/nginx").startswith("==> /opt/nginx/app.conf <==")
