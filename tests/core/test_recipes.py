"""Recipes: every template is complete, every settings text runs, and believes the terminator alone."""

import re
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from django_mtls.problems import problems_of
from mtls_auth import ConfigurationError, Reason, recipes
from mtls_auth.asgi import ClientCertificateMiddleware as ASGIMiddleware
from mtls_auth.dialects import BUILTIN, proxies
from mtls_auth.proxy_secret import DEFAULT_HEADER
from mtls_auth.recipes import RECIPES, Format, Places, Recipe
from mtls_auth.recipes.template import fill, placeholders_of
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.testing.headers import headers_for
from mtls_auth.wsgi import ClientCertificateMiddleware as WSGIMiddleware
from tests.core.conftest import Answer, FakeSocket, Request, through_asgi, through_authenticator, through_wsgi

TEMPLATES = Path(recipes.__file__).parent / "templates"
SECRET = "3JmYxVQ0o8n+ZyC/kJ2m5w1hT7sRq9uXb4LdPfGvNaE="
EVERY = [pytest.param(recipe, id=recipe.name) for recipe in RECIPES.values()]
FORWARDING = [pytest.param(recipe, id=recipe.name) for recipe in RECIPES.values() if recipe.dialect]
TEXTS = [
    pytest.param(recipe, format, id=f"{recipe.name}-{format}")
    for recipe in RECIPES.values()
    for format in recipe.formats
]
THROUGH = {"wsgi": through_wsgi, "asgi": through_asgi}


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """Return a certificate that also has the name of a workload."""
    return ca.issue("alice", san=[x509.UniformResourceIdentifier("spiffe://example.org/ns/prod/sa/alice")])


@pytest.fixture
def places(ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Return a deployment whose CA can be read and whose secret is one."""
    (tmp_path / "client-ca.pem").write_bytes(ca.pem)
    monkeypatch.setenv("PROXY_ADDRESS", "127.0.0.1")
    return Places(client_ca=str(tmp_path / "client-ca.pem"), secret=SECRET)


def run(text: str, **names: Any) -> dict[str, Any]:
    """Execute a settings text among names that exist already, and return them all."""
    exec(compile(text, "settings", "exec"), names)  # noqa: S102  # our own text
    return names


def headers_of(recipe: Recipe, der: bytes) -> list[tuple[str, str]]:
    """Return the headers that the terminator forwards."""
    assert recipe.dialect is not None
    return headers_for(BUILTIN[recipe.dialect], der)


def peer_of(recipe: Recipe) -> str:
    """Return the address from which the terminator connects."""
    return "127.0.0.6" if recipe.name == "istio" else "127.0.0.1"


def asked(recipe: Recipe, format: Format, places: Places, request: Request, *, peer_hidden: bool = False) -> Answer:
    """Ask the application with the recipe's settings about a request."""
    name = {"wsgi": "application", "asgi": "app"}[format]
    made = run(recipe.settings(format, places, peer_hidden=peer_hidden), **{name: "the application"})
    assert type(made[name]) is {"wsgi": WSGIMiddleware, "asgi": ASGIMiddleware}[format]
    assert (made[name].authenticator, getattr(made[name], name)) == (made["authenticator"], "the application")
    return THROUGH[format](made["authenticator"], request)


def test_names() -> None:
    """A recipe is found under its own name, and no two share one."""
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}
    modules = [value for value in vars(recipes).values() if isinstance(value, ModuleType) and hasattr(value, "RECIPES")]
    assert sorted(row.name for module in modules for row in module.RECIPES) == sorted(RECIPES)


def test_every_proxy_has_a_recipe() -> None:
    """Each dialect of a terminator that people run themselves has a recipe of its name."""
    rows = {value.name for value in vars(proxies).values() if isinstance(value, type(proxies.NGINX))}
    assert "nginx" in rows
    assert rows <= {recipe.dialect for recipe in RECIPES.values() if recipe.dialect == recipe.name}


def test_every_template_is_used() -> None:
    """No template lies about that no recipe names, and none is missing."""
    used = {resource for recipe in RECIPES.values() for resource in recipe.files.values()}
    assert used == {path.name for path in TEMPLATES.iterdir()}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in TEMPLATES.iterdir()])
def test_placeholders(path: Path) -> None:
    """A template names known places only, and writes each of them as `@{name}`."""
    known = set(Places().values("/etc"))
    assert placeholders_of(path.name) <= known
    text = fill(path.name, Places().values("/etc"))
    assert "@{" not in text
    assert text.endswith("\n")


def test_every_place_has_a_use() -> None:
    """A field of `Places` is in a template, or in the settings."""
    used = {name for path in TEMPLATES.iterdir() for name in placeholders_of(path.name)}
    derived = {"listen", "upstream"}  # also by their parts
    assert {item.name for item in fields(Places)} <= used | derived | {"proxy_address"}


@pytest.mark.parametrize("recipe", EVERY)
def test_configuration(recipe: Recipe, places: Places) -> None:
    """The files bear names to save them under, and hold the secret exactly where the terminator sends it."""
    files = recipe.configuration(places)
    assert list(files) == list(recipe.files)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in files)
    sends = recipe.dialect is not None and recipe.secret
    assert any(SECRET in text for text in files.values()) == sends


@pytest.mark.parametrize("recipe", FORWARDING)
def test_configuration_deals_with_every_header(recipe: Recipe) -> None:
    """Each header that the application will read is spoken of; what nobody sets, the client does."""
    assert recipe.dialect is not None
    text = "\n".join(recipe.configuration(Places()).values()).lower().replace("_", "-")
    expected = (*BUILTIN[recipe.dialect].headers, *((DEFAULT_HEADER,) if recipe.secret else ()))
    assert [name for name in expected if name not in text] == []


@pytest.mark.parametrize(("recipe", "format"), TEXTS)
def test_settings_need_a_real_secret(recipe: Recipe, format: Format, places: Places) -> None:
    """Until somebody pastes a secret, an application that asks for one does not start."""
    text = recipe.settings(format, replace(places, secret=Places().secret))
    if recipe.dialect is None or not recipe.secret:
        assert "secret" not in text.lower()
    elif format == "django":
        made = run(text, INSTALLED_APPS=[], MIDDLEWARE=[])
        (problem,) = problems_of(made["MTLS_AUTH"])
        assert (problem.id, "take openssl rand -base64 32" in problem.message) == ("E005", True)
    else:
        with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
            run(text)


@pytest.mark.parametrize("format", ["wsgi", "asgi"])
@pytest.mark.parametrize("recipe", FORWARDING)
def test_the_terminator_is_believed(recipe: Recipe, format: Format, places: Places, leaf: IssuedCertificate) -> None:
    """What the terminator forwards with its secret, from its address, is who the client is."""
    proof = [(DEFAULT_HEADER, SECRET)] if recipe.secret else []
    request = Request(headers=[*headers_of(recipe, leaf.der), *proof], peer=peer_of(recipe))

    answer = asked(recipe, format, places, request)

    assert answer.kind == "authenticated"
    stated = {answer.subject_cn, answer.name, answer.fingerprint}
    sha1 = leaf.certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303
    assert stated & {"alice", "spiffe://example.org/ns/prod/sa/alice", sha1}


@pytest.mark.parametrize("format", ["wsgi", "asgi"])
@pytest.mark.parametrize("recipe", FORWARDING)
def test_nobody_else_is_believed(recipe: Recipe, format: Format, places: Places, leaf: IssuedCertificate) -> None:
    """From another address nothing is believed, secret or not; from the same one nothing without the secret."""
    headers = headers_of(recipe, leaf.der)
    elsewhere = Request(headers=[*headers, (DEFAULT_HEADER, SECRET)], peer="127.0.0.9")
    assert asked(recipe, format, places, elsewhere).kind == "anonymous"
    if recipe.secret:
        for proof in ([], [(DEFAULT_HEADER, SECRET[::-1])]):
            beside = Request(headers=[*headers, *proof], peer=peer_of(recipe))
            assert asked(recipe, format, places, beside).reason is Reason.PROXY_UNPROVEN


@pytest.mark.parametrize("format", ["wsgi", "asgi"])
@pytest.mark.parametrize("recipe", FORWARDING)
def test_hidden_peer(recipe: Recipe, format: Format, places: Places, leaf: IssuedCertificate) -> None:
    """Where the server hides who connected, the secret alone is asked for; without one there is no recipe."""
    headers = headers_of(recipe, leaf.der)
    if not recipe.secret:
        with pytest.raises(ConfigurationError, match=f"{recipe.name} sends no secret"):
            recipe.settings(format, places, peer_hidden=True)
        return
    proven = Request(headers=[*headers, (DEFAULT_HEADER, SECRET)], peer=None)
    assert asked(recipe, format, places, proven, peer_hidden=True).kind == "authenticated"
    unproven = Request(headers=headers, peer=None)
    assert asked(recipe, format, places, unproven, peer_hidden=True).reason is Reason.PROXY_UNPROVEN


VARIABLES = {"nginx-uwsgi": "SSL_CLIENT_CERT", "mod_wsgi": "SSL_CLIENT_CERT", "uwsgi": "HTTPS_CC"}


@pytest.mark.parametrize("name", VARIABLES)
def test_server_variables(name: str, places: Places, leaf: IssuedCertificate) -> None:
    """Behind these the server's own variable is read, and the header of its name is not."""
    recipe, pem = RECIPES[name], leaf.pem.decode()
    verdict = {} if name == "uwsgi" else {"SSL_CLIENT_VERIFY": "SUCCESS"}
    own = Request(variables={VARIABLES[name]: pem, **verdict})
    assert asked(recipe, "wsgi", places, own).subject_cn == "alice"
    forged = Request(headers=[(VARIABLES[name].replace("_", "-"), pem), ("ssl-client-verify", "SUCCESS")])
    assert asked(recipe, "wsgi", places, forged).kind == "anonymous"
    with pytest.raises(ConfigurationError, match=f"{name} serves wsgi and django, not asgi"):
        recipe.settings("asgi", places)


@pytest.mark.parametrize("name", ["layer4-haproxy", "layer4-nginx"])
def test_passing_tls_on(name: str, places: Places, leaf: IssuedCertificate) -> None:
    """Behind these the server's own TLS socket is read, by WSGI and ASGI."""
    recipe = RECIPES[name]
    for format in recipe.formats:
        if format != "django":
            assert asked(recipe, format, places, Request(tls=leaf.der)).subject_cn == "alice"
            made = run(recipe.settings(format, places), application=None, app=None)
            forged = Request(headers=headers_for(BUILTIN["nginx"], leaf.der))
            assert through_authenticator(made["authenticator"], forged).kind == "anonymous"


@pytest.mark.parametrize("peer_hidden", [False, True])
@pytest.mark.parametrize("recipe", EVERY)
def test_django_settings(recipe: Recipe, places: Places, peer_hidden: bool) -> None:
    """Django's text extends the settings above it, and the system checks find nothing wrong with it."""
    if peer_hidden and recipe.dialect and not recipe.secret:
        with pytest.raises(ConfigurationError, match="use a server that tells who connected"):
            recipe.settings("django", places, peer_hidden=True)
        return
    text = recipe.settings("django", places, peer_hidden=peer_hidden)
    made = run(text, INSTALLED_APPS=["first"], MIDDLEWARE=["first"])
    assert problems_of(made["MTLS_AUTH"]) == []
    assert made["INSTALLED_APPS"] == ["first", "django_mtls"]
    assert [path.rpartition(".")[2] for path in made["MIDDLEWARE"]] == [
        "first",
        "ClientCertificateMiddleware",
        "CertificateLoginMiddleware",
    ]
    assert made["MTLS_AUTH"]["SOURCE"] == (recipe.dialect or recipe.server_source)
    assert ("TRUSTED_PROXIES" in made["MTLS_AUTH"]) == (recipe.dialect is not None and not peer_hidden)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("443", (":443", "*:443", "0.0.0.0", "0.0.0.0", "443")),  # noqa: S104
        ("127.0.0.1:8443", ("127.0.0.1:8443", "127.0.0.1:8443", "127.0.0.1", "127.0.0.1", "8443")),
        ("[::1]:8443", ("[::1]:8443", "[::1]:8443", "[::1]", "::1", "8443")),
    ],
)
def test_listen(listen: str, expected: tuple[str, ...]) -> None:
    """A port, an address and a port, and IPv6 come in the spellings of each terminator's language."""
    places = Places(listen=listen, upstream="[::1]:8000")
    values = places.values("/etc/here")
    names = ("listen_bind", "listen_vhost", "listen_literal", "listen_host", "listen_port")
    assert tuple(values[name] for name in names) == expected
    assert (places.listen_port, places.upstream_port) == (expected[-1], "8000")
    assert (values["upstream_host"], values["upstream_port"], values["folder"]) == ("::1", "8000", "/etc/here")
    assert Places(folder="/srv/x").values("/etc/here")["folder"] == "/srv/x"


@pytest.mark.parametrize("character", ['"', "'", "\n", "\r", "\0", "\\", ";", "{", "}", "$", "%", "#", "`", " ", ","])
@pytest.mark.parametrize("name", [item.name for item in fields(Places)])
def test_values_that_could_break_out(name: str, character: str) -> None:
    """A value with a character that some terminator's language gives a meaning is refused, and named."""
    default = getattr(Places(), name)
    good = {"secret": SECRET, "folder": "/etc/app"}.get(name, default)
    assert Places(**{name: good})
    for value in (good + character, character + good, good[:1] + character + good[1:]):
        with pytest.raises(ConfigurationError, match=f"^{name}"):
            Places(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", ""),
        ("listen", "https"),
        ("listen", "1:2:443"),
        ("upstream", "8000"),
        ("server_name", "-x"),
        ("client_ca", "client-ca.pem"),
        ("client_ca", ""),
        ("secret", "short"),
        ("secret", ""),
        ("proxy_address", "0.0.0.0/0"),
        ("proxy_address", "10.0.0.1/8"),
        ("proxy_address", 'unix:/run/"app'),
        ("proxy_address", ""),
    ],
)
def test_values_that_mean_nothing(name: str, value: str) -> None:
    """What is no address, name, path or secret is refused; the default stays the example."""
    with pytest.raises(ConfigurationError, match=f"^{name}"):
        Places(**{name: value})


def test_all_wrong_values_at_once() -> None:
    """Every value that is wrong is in the error."""
    with pytest.raises(ConfigurationError) as refused:
        Places(listen="x", client_ca="y", proxy_address="z")
    assert [problem.split()[0].strip(":") for problem in refused.value.problems] == [
        "listen",
        "client_ca",
        "proxy_address",
    ]


def test_unix_socket_of_the_terminator(leaf: IssuedCertificate) -> None:
    """A terminator on a Unix socket is trusted by the socket's path."""
    places = Places(proxy_address="unix:/run/app.sock", secret=SECRET)
    request = Request(
        headers=[*headers_for(BUILTIN["nginx"], leaf.der), (DEFAULT_HEADER, SECRET)], peer="unix:/run/app.sock"
    )
    assert FakeSocket(request.peer or "").getsockname() == "/run/app.sock"
    assert asked(RECIPES["nginx"], "wsgi", places, request).kind == "authenticated"
