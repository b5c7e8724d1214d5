"""Recipes of clouds: no cloud was asked, so each file is parsed, each settings text run, and what they say checked."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from django_mtls.problems import problems_of
from mtls_auth import Authenticator, ConfigurationError, Reason
from mtls_auth.dialect import Confidence
from mtls_auth.dialects import BUILTIN
from mtls_auth.proxy_secret import DEFAULT_HEADER
from mtls_auth.recipes import FORMATS, RECIPES, Format, Places, Recipe, clouds
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.core.conftest import Request, through_asgi, through_wsgi

SECRET = "3JmYxVQ0o8n+ZyC/kJ2m5w1hT7sRq9uXb4LdPfGvNaE="
EVERY = [pytest.param(recipe, id=recipe.name) for recipe in clouds.RECIPES]
TEXTS = [pytest.param(recipe, format, id=f"{recipe.name}-{format}") for recipe in clouds.RECIPES for format in FORMATS]
FILES = [pytest.param(recipe, name, id=f"{recipe.name}/{name}") for recipe in clouds.RECIPES for name in recipe.files]
UNVERIFIED = ["aws-alb-passthrough", "azure-app-service", "azure-container-apps", "iis-arr", "kong"]
WITHOUT_SECRET = ["alibaba-clb", "aws-alb", "aws-alb-passthrough", "azure-app-service", "azure-container-apps"]
WITHOUT_PRESET = ["alibaba-api-gateway", "tencent-clb", "tencent-edgeone"]
THROUGH = {"wsgi": through_wsgi, "asgi": through_asgi}


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """Return a certificate of the clients' CA."""
    return ca.issue("alice")


@pytest.fixture
def places(ca: CertificateAuthority, tmp_path: Path) -> Places:
    """Return a deployment whose CA can be read and whose secret is one."""
    (tmp_path / "client-ca.pem").write_bytes(ca.pem)
    return Places(client_ca=str(tmp_path / "client-ca.pem"), secret=SECRET)


def made(recipe: Recipe, format: Format, places: Places) -> Mapping[str, Any]:
    """Execute a settings text, and return what it made."""
    names: dict[str, Any] = {"application": "app", "app": "app", "INSTALLED_APPS": [], "MIDDLEWARE": []}
    exec(compile(recipe.settings(format, places), "settings", "exec"), names)  # noqa: S102  # our own text
    return names


def structured(recipe: Recipe, name: str, places: Places | None = None) -> Any:
    """Return a JSON file of a recipe."""
    return json.loads(recipe.configuration(places or Places())[name])


def texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def folded_spellings(name: str) -> set[str]:
    """Return the other names that a Python server reads as this one."""
    first, *words = name.split("-")
    return {
        first + "".join(mark + word for mark, word in zip(marks, words, strict=True))
        for marks in product("-_", repeat=len(words))
    } - {name}


def test_every_row_has_a_recipe() -> None:
    """Each dialect has a recipe; so has each server's variables, but for servers that are no terminator."""
    python_servers = {"cheroot", "werkzeug", "pyvoy"}
    assert set(BUILTIN) == {recipe.dialect for recipe in RECIPES.values() if recipe.dialect}
    read = {recipe.server_source for recipe in RECIPES.values() if recipe.server_source}
    assert set(BUILTIN_VARIABLES) - python_servers <= read <= set(BUILTIN_VARIABLES) | {"tls"}


@pytest.mark.parametrize("recipe", EVERY)
def test_what_it_rests_on(recipe: Recipe) -> None:
    """Nothing here was run, and both the notes and the files say so, in the word of the dialect's own confidence."""
    assert not recipe.observed
    row = BUILTIN.get(recipe.dialect or "")
    expected = row.confidence if row is not None and recipe.name in BUILTIN else Confidence.DOCUMENTED
    word = (Confidence.INFERRED if recipe.name == "iis-arr" else expected).value
    assert recipe.notes[0].startswith(f"{word.capitalize()}, not run: ")
    basis = " ".join(re.sub(r"\s*\n[# ]*", " ", next(iter(recipe.configuration(Places()).values()))).split())
    assert {"documented": "Not run here: written from its", "inferred": "Not run here: inferred from"}[word] in basis
    if recipe.dialect is not None:
        assert "`mtls-auth probe`" in recipe.notes[-1]


@pytest.mark.parametrize(("recipe", "format"), TEXTS)
def test_settings(recipe: Recipe, format: Format, places: Places) -> None:
    """Every settings text runs; Django's system checks find nothing wrong with it."""
    names = made(recipe, format, places)
    if format == "django":
        assert problems_of(names["MTLS_AUTH"]) == []
        assert ("TRUST_ANCHORS" in names["MTLS_AUTH"]) == (recipe.name in UNVERIFIED)
        assert ("PROXY_SECRET" in names["MTLS_AUTH"]) == (recipe.dialect is not None and recipe.secret)
    else:
        assert isinstance(names["authenticator"], Authenticator)


def test_what_they_cannot() -> None:
    """Which terminators verify nothing, send no secret, or have no preset is a list, not a slip of a row."""
    rows = {recipe.name: recipe for recipe in clouds.RECIPES}
    dialects = {name: BUILTIN[recipe.dialect] for name, recipe in rows.items() if recipe.dialect}
    assert sorted(name for name, row in dialects.items() if row.unverified) == UNVERIFIED
    assert sorted(name for name in dialects if not rows[name].secret) == WITHOUT_SECRET
    assert sorted(name for name, recipe in rows.items() if recipe.server_source == "tls") == WITHOUT_PRESET


@pytest.mark.parametrize("format", ["wsgi", "asgi"])
@pytest.mark.parametrize("name", UNVERIFIED)
def test_unverified_certificates(
    name: str, format: Format, places: Places, leaf: IssuedCertificate, ca: CertificateAuthority
) -> None:
    """Where the terminator verifies nothing, the application believes its own CA's certificates and no others."""
    recipe = RECIPES[name]
    assert recipe.dialect is not None
    authenticator = made(recipe, format, places)["authenticator"]
    for certificate, reason in ((leaf, None), (CertificateAuthority().issue("alice"), Reason.UNTRUSTED)):
        headers = [*headers_for(BUILTIN[recipe.dialect], certificate.der), (DEFAULT_HEADER, SECRET)]
        assert THROUGH[format](authenticator, Request(headers=headers, peer="127.0.0.1")).reason is reason


@pytest.mark.parametrize("name", WITHOUT_SECRET)
def test_without_a_secret(name: str, places: Places) -> None:
    """What cannot send a secret says so, and names whom the application believes instead."""
    recipe = RECIPES[name]
    text = " ".join(" ".join(recipe.configuration(places).values()).replace("#", " ").split())
    assert re.search("there is no secret|cannot send a secret", text)
    assert f"whoever connects from {places.proxy_address}" in text
    with pytest.raises(ConfigurationError, match="sends no secret"):
        recipe.settings("wsgi", places, peer_hidden=True)


@pytest.mark.parametrize("name", WITHOUT_PRESET)
@pytest.mark.parametrize("format", ["wsgi", "asgi"])
def test_without_preset(name: str, format: Format, places: Places, leaf: IssuedCertificate) -> None:
    """Where nothing can be read the recipe says so plainly, and the application reads its own TLS socket alone."""
    recipe = RECIPES[name]
    text = " ".join(recipe.configuration(places)[f"{name}.txt"].replace("#", " ").split())
    assert "no identity can be read behind it" in text
    assert "that arrives there was written by the client: never believe one" in text
    assert {"layer 4:", "TCP,"} <= set(re.findall(r"layer 4:|TCP,", text))
    authenticator = made(recipe, format, places)["authenticator"]
    for row in BUILTIN.values():
        forged = Request(headers=[*headers_for(row, leaf.der), (DEFAULT_HEADER, SECRET)], peer="127.0.0.1")
        assert THROUGH[format](authenticator, forged).kind == "anonymous"
    assert THROUGH[format](authenticator, Request(tls=leaf.der)).subject_cn == "alice"
    server: dict[str, Any] = {}
    exec(compile(recipe.configuration(places)["gunicorn.conf.py"], "gunicorn", "exec"), server)  # noqa: S102
    assert (server["ca_certs"], server["cert_reqs"]) == (places.client_ca, 1)


@pytest.mark.parametrize("format", ["wsgi", "asgi"])
def test_lambda(format: Format, places: Places, leaf: IssuedCertificate) -> None:
    """The certificate of the event is read, whichever API it came by; headers are not."""
    recipe = RECIPES["aws-api-gateway"]
    authenticator = made(recipe, format, places)["authenticator"]
    for where in ("identity", "authentication"):
        event = {"requestContext": {where: {"clientCert": {"clientCertPem": leaf.pem.decode()}}}}
        assert THROUGH[format](authenticator, Request(variables={"aws.event": event})).subject_cn == "alice"
    forged = Request(headers=headers_for(BUILTIN["aws-alb"], leaf.der))
    assert THROUGH[format](authenticator, forged).kind == "anonymous"
    compile(recipe.configuration(places)["handler.py"], "handler", "exec")


@pytest.mark.parametrize(("recipe", "name"), FILES)
def test_syntax(recipe: Recipe, name: str, places: Places) -> None:
    """Each file is what its name says, with the examples that the command line prints."""
    text = recipe.configuration(Places())[name]
    assert "\t" not in text
    kind = name.rpartition(".")[2]
    if kind == "json":
        assert isinstance(json.loads(text), dict)
    elif kind == "sh":
        assert subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0
        assert text.count("set -eu\n") == 1
    elif kind in {"yaml", "yml"}:
        assert isinstance(yaml.safe_load(text), dict)
    elif kind == "config":  # XML, which the secret to paste is not
        assert ElementTree.fromstring(recipe.configuration(places)[name]).tag == "configuration"  # noqa: S314
    else:
        assert kind in {"txt", "py", "vcl", "tcl"}


def test_cloudflare_removes_before_it_writes() -> None:
    """The first rule holds for every request, removes the certificate, and replaces verdict and secret."""
    rules = structured(RECIPES["cloudflare-rfc9440"], "transform-rules.json")["rules"]
    first = rules[0]["action_parameters"]["headers"]
    assert rules[0]["expression"] == "true"
    assert {name.lower() for name in first} == {*BUILTIN["cloudflare-rfc9440"].headers, DEFAULT_HEADER}
    removed = {name for name, change in first.items() if change == {"operation": "remove"}}
    written = {name for rule in rules[1:] for name in rule["action_parameters"]["headers"]}
    assert removed == written == {"Client-Cert", "Client-Cert-Chain"}


def test_cloudflare_refuses_what_it_cannot_remove() -> None:
    """Forged headers of the managed kind are blocked by name."""
    (forged, bad) = structured(RECIPES["cloudflare"], "firewall-rules.json")["rules"]
    assert set(re.findall(r'"([\w-]+)"', forged["expression"])) == set(BUILTIN["cloudflare"].headers)
    assert (forged["action"], bad["action"]) == ("block", "block")
    assert "cert_verified or cf.tls_client_auth.cert_revoked" in bad["expression"]


def test_google_replaces_every_header() -> None:
    """Each header that is read, and the secret, is set instead of added."""
    text = RECIPES["google-cloud"].configuration(Places(secret=SECRET))["header-action.yaml"]
    triples = re.findall(r'- headerName: (\S+)\n +headerValue: "(\S+)"\n +replace: (\w+)\n', text)
    assert {name.lower() for name, _, _ in triples} == {*BUILTIN["google-cloud"].headers, DEFAULT_HEADER}
    assert {replaced for _, _, replaced in triples} == {"true"}
    assert len(triples) == text.count("headerName")


@pytest.mark.parametrize(
    ("name", "headers", "pattern"),
    [
        ("kong", ("X-Client-Cert", "X-Proxy-Secret"), r"- ({})\n"),
        ("fastly", ("X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-Proxy-Secret"), r"unset req\.http\.({});\n"),
    ],
)
def test_other_spellings_are_removed(name: str, headers: tuple[str, ...], pattern: str) -> None:
    """Every mixture of hyphens and underscores that a Python server folds into a header goes."""
    (text,) = RECIPES[name].configuration(Places()).values()
    for header in headers:
        expected = folded_spellings(header)
        assert set(re.findall(pattern.format("[A-Za-z_-]+"), text)) >= expected, header
        assert len(expected) == 2 ** header.count("-") - 1


@pytest.mark.parametrize("name", ["alibaba-alb", "alibaba-clb"])
def test_alibaba_aliases(name: str) -> None:
    """The aliases are the names that are read, with hyphens."""
    values = set(texts(structured(RECIPES[name], "listener.json")))
    assert set(BUILTIN[name].headers) <= values
