"""What `MTLS_AUTH` makes: sources and whom they believe; every built-in dialect and every server's variables."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from django_mtls.conf import get_authenticator, get_settings
from django_mtls.configured import source_of
from django_mtls.problems import problems_of
from mtls_auth import (
    AgreeingSources,
    Assurance,
    Fingerprint,
    Forwarded,
    PathVerifier,
    Policy,
    ProxyCertificate,
    ServerEnviron,
    TLSSocket,
    VouchedFor,
)
from mtls_auth.dialects import BUILTIN, CADDY, NGINX
from mtls_auth.header_names import environ_key
from mtls_auth.proxy_secret import DEFAULT_HEADER
from mtls_auth.server_environ import BUILTIN_VARIABLES, MOD_WSGI
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.django.conftest import (
    PROXY,
    STRANGER,
    Answer,
    Browser,
    Sent,
    by_dialect,
    enroll,
    person,
)

SECRET = "h8dqZ5x1Lk3vB7nMq2Wt"
OTHER_SECRET = "zP4sGf9CyT6uJ0aRe1Xo"
PINNED = Fingerprint("0" * 64)
SPIFFE_ID = "spiffe://example.org/ns/default/sa/alice"


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """A leaf that a mesh could have issued too."""
    return ca.issue("alice", san=(x509.UniformResourceIdentifier(SPIFFE_ID),))


@pytest.fixture(scope="module")
def anchors(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root in a PEM file."""
    file = tmp_path_factory.mktemp("anchors") / "ca.pem"
    file.write_bytes(ca.pem)
    return file


def usable(name: str, anchors: Path, **trust: Any) -> dict[str, Any]:
    """Return settings for a built-in dialect as its terminator needs them."""
    row = BUILTIN[name]
    raw: dict[str, Any] = {"SOURCE": name, **(trust or {"TRUSTED_PROXIES": [PROXY]})}
    if row.unverified:
        raw["TRUST_ANCHORS"] = [anchors]
    elif not row.has_verdict:
        raw["PROXY_VERIFIES"] = True
    if name == "linkerd":
        raw["MAPPING"] = "stated_name"
    return raw


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_dialect(name: str, settings: Any, anchors: Path) -> None:
    """Each can be used: there is no problem, and the authenticator reads its headers by its assurance."""
    settings.MTLS_AUTH = usable(name, anchors)
    assert problems_of(settings.MTLS_AUTH) == []
    authenticator = get_authenticator()
    source = authenticator.source
    assert isinstance(source, Forwarded)
    assert source.dialect == BUILTIN[name]
    assert source.headers <= authenticator.known_headers.names
    if BUILTIN[name].unverified:
        assert isinstance(authenticator.verifier, PathVerifier)
        assert source.vouched is None
    else:
        assert isinstance(authenticator.verifier, VouchedFor)
        verdict = BUILTIN[name].has_verdict
        assert source.vouched is (Assurance.PROXY_VERDICT if verdict else Assurance.PROXY_PRESENCE)


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_dialect_on_a_request(
    name: str, settings: Any, anchors: Path, leaf: IssuedCertificate, browser: Browser
) -> None:
    """What each terminator sends is its holder, from the proxy; from anybody else it is nothing, and is gone."""
    settings.MTLS_AUTH = raw = usable(name, anchors)
    holder = SPIFFE_ID if raw.get("MAPPING") == "stated_name" else "alice"
    enroll(leaf, person(holder))
    sent = by_dialect(name, leaf.der)
    assert browser.get("/async/quiet/", sent).request.certificate_decision.principal.user.username == holder
    answer = browser.get("/sync/open/", Sent(headers=sent.headers, peer=STRANGER))
    assert answer == Answer(200, "")
    assert not {environ_key(header) for header, _value in sent.headers} & set(answer.request.META)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_dialect_by_secret(name: str, settings: Any, anchors: Path) -> None:
    """A secret instead of an address will do for each."""
    settings.MTLS_AUTH = usable(name, anchors, PROXY_SECRET=SECRET)
    source = get_authenticator().source
    assert isinstance(source, Forwarded)
    assert source.proxies is None
    assert DEFAULT_HEADER in source.headers


@pytest.mark.parametrize("name", sorted(BUILTIN_VARIABLES))
def test_every_server(name: str, settings: Any) -> None:
    """The variables of each server can be the source."""
    settings.MTLS_AUTH = {"SOURCE": name, "MAPPING": "stated_name" if name == "pyvoy" else "fingerprint"}
    assert problems_of(settings.MTLS_AUTH) == []
    assert get_authenticator().source == ServerEnviron(BUILTIN_VARIABLES[name])


@pytest.mark.parametrize("source", [MOD_WSGI, "mtls_auth.server_environ.MOD_WSGI"], ids=["row", "dotted path"])
def test_variables_by_row(source: object) -> None:
    """A row, or its dotted path, is a source as a name is."""
    assert problems_of({"SOURCE": source}) == []
    assert source_of({"SOURCE": source}) == ServerEnviron(MOD_WSGI)


TRUST: dict[str, Any] = {
    "TRUSTED_PROXIES": ["10.0.0.0/8"],
    "PROXY_SECRET": SECRET,
    "PROXY_CERTIFICATE": PINNED,
}


@pytest.mark.parametrize("given", range(1, 8), ids=lambda given: f"{given:03b}")
def test_trust_alone_and_together(given: int, settings: Any) -> None:
    """Address, secret and certificate: each alone and with others, and what is not given is not asked for."""
    keys = [key for number, key in enumerate(TRUST) if given & 1 << number]
    settings.MTLS_AUTH = {"SOURCE": "nginx", **{key: TRUST[key] for key in keys}}
    assert problems_of(settings.MTLS_AUTH) == []
    source = get_authenticator().source
    assert isinstance(source, Forwarded)
    found = {"TRUSTED_PROXIES": source.proxies, "PROXY_SECRET": source.secret, "PROXY_CERTIFICATE": source.certificate}
    assert [key for key, value in found.items() if value is not None] == keys
    assert get_settings().proxy_certificate == (PINNED if "PROXY_CERTIFICATE" in keys else None)


@pytest.mark.parametrize("secrets", [SECRET, [SECRET], (SECRET, OTHER_SECRET)], ids=["text", "one", "two"])
def test_secrets(secrets: Any) -> None:
    """One secret, or two while it changes; in a header of one's own, in any case."""
    source = source_of({"SOURCE": "nginx", "PROXY_SECRET": secrets, "PROXY_SECRET_HEADER": "X-My-Secret"})
    assert isinstance(source, Forwarded)
    assert source.secret is not None
    assert source.secret.header == "x-my-secret"
    assert f"<{1 if isinstance(secrets, str) else len(secrets)} values>" in repr(source.secret)
    assert SECRET not in repr(source)


def test_several(settings: Any) -> None:
    """Each of SOURCES is what it would be alone."""
    parts: list[dict[str, Any]] = [
        {"SOURCE": "nginx", "PROXY_SECRET": SECRET[::-1], "HEADERS": {"leaf": "X-Other"}},
        {"SOURCE": CADDY, "PROXY_SECRET": SECRET, "PROXY_VERIFIES": True},
        {"SOURCE": "mod_wsgi"},
        {"SOURCE": "tls"},
    ]
    settings.MTLS_AUTH = {"SOURCES": parts}
    assert get_settings().sources == tuple(parts)
    assert get_settings().source is None
    authenticator = get_authenticator()
    source = authenticator.source
    assert isinstance(source, AgreeingSources)
    nginx, caddy, variables, tls = source.sources
    assert isinstance(nginx, Forwarded)
    assert isinstance(caddy, Forwarded)
    assert (nginx.dialect, caddy.dialect) == (NGINX.with_headers(leaf="x-other"), CADDY)
    assert (nginx.proxies, caddy.proxies, caddy.proxy_verifies) == (None, None, True)
    assert variables == ServerEnviron(MOD_WSGI)
    assert tls == TLSSocket()
    assert {"x-other", DEFAULT_HEADER} <= authenticator.known_headers.names


def test_one_of_several() -> None:
    """A list of one is that one."""
    assert source_of({"SOURCES": [{"SOURCE": "tls"}]}) == TLSSocket()


def test_default_of_several(settings: Any) -> None:
    """SOURCES at its default beside a SOURCE is none."""
    settings.MTLS_AUTH = {"SOURCE": "tls"}
    assert get_settings().sources == ()


PROXIES: dict[str, tuple[list[Policy], str]] = {
    "one": ([PINNED], repr(PINNED)),
    "two": ([PINNED, Fingerprint("1" * 64)], repr(PINNED)),
}


@pytest.mark.parametrize(("policies", "named"), PROXIES.values(), ids=PROXIES)
def test_proxies_beside_the_socket(policies: list[Policy], named: str) -> None:
    """Where proxies and clients share the port, no proxy's own certificate is a client's."""
    parts = [{"SOURCE": "nginx", "PROXY_CERTIFICATE": policy} for policy in policies]
    source = source_of({"SOURCES": [{"SOURCE": "tls"}, *parts]})
    assert isinstance(source, AgreeingSources)
    tls = source.sources[0]
    assert isinstance(tls, TLSSocket)
    assert isinstance(tls.proxies, ProxyCertificate)
    assert named in repr(tls.proxies)
    assert all(repr(policy) in repr(tls.proxies) for policy in policies)
