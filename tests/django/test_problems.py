"""What is found wrong with sources, secrets, the proxy's certificate, and mappings that no source can serve."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from django_mtls.problems import problems_of
from mtls_auth import CommonName, Fingerprint, Policy, Verdict
from mtls_auth.dialects import BUILTIN, NGINX
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.testing import CertificateAuthority
from tests.django.conftest import our_ids

SECRET = "h8dqZ5x1Lk3vB7nMq2Wt"
OTHER_SECRET = "zP4sGf9CyT6uJ0aRe1Xo"
THIRD_SECRET = "Vb2NmKq8Hs5LdYw7Ti3E"
PINNED = Fingerprint("0" * 64)
NGINX_ROW = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["10.0.0.0/8"]}
ALIBABA = {"SOURCE": "alibaba-alb", "PROXY_SECRET": SECRET}
LINKERD = {"SOURCE": "linkerd", "PROXY_SECRET": SECRET, "PROXY_VERIFIES": True}


@pytest.fixture(scope="module")
def anchors(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root in a PEM file."""
    file = tmp_path_factory.mktemp("anchors") / "ca.pem"
    file.write_bytes(ca.pem)
    return file


def nginx(**changes: Any) -> dict[str, Any]:
    return {**NGINX_ROW, **changes}


def by_secret(*secrets: Any, **changes: Any) -> dict[str, Any]:
    return {"SOURCE": "nginx", "PROXY_SECRET": secrets[0] if len(secrets) == 1 else secrets, **changes}


def several(*parts: object, **changes: Any) -> dict[str, Any]:
    return {"SOURCES": list(parts), **changes}


TLS = {"SOURCE": "tls"}

INVALID: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    # SOURCES
    "SOURCE beside SOURCES": (several(TLS, SOURCE="tls"), [("E003", "SOURCES and beside them SOURCE")]),
    "everything beside SOURCES": (
        several(NGINX_ROW, SOURCE="nginx", TRUSTED_PROXIES=["10.0.0.1"], PROXY_VERIFIES=False, HEADERS={}),
        [("E003", "beside them SOURCE, TRUSTED_PROXIES, HEADERS, PROXY_VERIFIES")],
    ),
    "a secret beside SOURCES": (several(NGINX_ROW, PROXY_SECRET=SECRET), [("E003", "beside them PROXY_SECRET")]),
    "no SOURCES": (several(), [("E003", "names no SOURCE")]),
    "SOURCES as a dict": ({"SOURCES": NGINX_ROW}, [("E002", r"\['SOURCES'\] is dict.*Give list or tuple")]),
    "SOURCES as text": ({"SOURCES": "nginx"}, [("E002", r"\['SOURCES'\] is str")]),
    "SOURCES as None": ({"SOURCES": None}, [("E002", "NoneType"), ("E003", "names no SOURCE")]),
    "one of SOURCES is text": (several("nginx", TLS), [("E002", r"\['SOURCES'\]\[0\] is str.*Give a dict")]),
    "one of SOURCES is None": (several(TLS, None), [("E002", r"\['SOURCES'\]\[1\] is NoneType")]),
    "one of SOURCES is empty": (several(TLS, {}), [("E003", r"\['SOURCES'\]\[1\] names no SOURCE")]),
    "one of SOURCES has a key of the whole": (
        several(TLS, nginx(SESSION="user")),
        [("E001", r"\['SOURCES'\]\[1\] has an unknown key 'SESSION'.*The keys are SOURCE, TRUSTED_PROXIES")],
    ),
    "one of SOURCES has a misspelt key": (
        several(nginx(TRUSTED_PROXY=[])),
        [("E001", r"\['SOURCES'\]\[0\] has an unknown key 'TRUSTED_PROXY'.*Did you mean 'TRUSTED_PROXIES'")],
    ),
    "SOURCES within one of SOURCES": (
        several(several(TLS)),
        [("E001", "'SOURCES'"), ("E003", r"\[0\] names no SOURCE")],
    ),
    "types in one of SOURCES": (
        several(TLS, {"SOURCE": None, "TRUSTED_PROXIES": "10.0.0.1", "PROXY_VERIFIES": 1}),
        [
            ("E002", r"\['SOURCES'\]\[1\]\['SOURCE'\] is NoneType"),
            ("E002", r"\[1\]\['TRUSTED_PROXIES'\] is str"),
            ("E002", r"\[1\]\['PROXY_VERIFIES'\] is int"),
        ],
    ),
    "two of SOURCES are wrong": (
        several("tls", {"SORCE": "nginx"}, nginx(HEADERS=[])),
        [("E001", "SORCE"), ("E002", r"\[0\]"), ("E002", r"\[2\]\['HEADERS'\]"), ("E003", r"\[1\]")],
    ),
    "one of SOURCES is unknown, another trusts nobody": (
        several({"SOURCE": "ngnix"}, {"SOURCE": "caddy", "PROXY_VERIFIES": True}),
        [("E003", "ngnix"), ("E005", "nobody is trusted")],
    ),
    "one of SOURCES is the socket, for a proxy": (several({**TLS, "PROXY_SECRET": SECRET}), [("E004", "TLS socket")]),
    "one of SOURCES verifies nothing": (
        several(NGINX_ROW, nginx(SOURCE="rfc9440")),
        [("E009", "headers of 'rfc9440' says.*PROXY_VERIFIES = True")],
    ),
    "two of SOURCES verify nothing, one never": (
        several(nginx(SOURCE="rfc9440"), nginx(SOURCE="kong"), TLS),
        [("E009", "'rfc9440', 'kong' says.*Give TRUST_ANCHORS.$")],
    ),
    # PROXY_SECRET
    "short secret": (by_secret("short"), [("E005", "fewer than 16 random characters.*openssl rand")]),
    "empty secret, as of a variable that is not set": (nginx(PROXY_SECRET=""), [("E005", "fewer than 16 random")]),
    "secret of one character": (by_secret("a" * 32), [("E005", "fewer than 16 random characters")]),
    "secret with a blank": (by_secret("h8dqZ5x1Lk3vB7nM q2Wt"), [("E005", "characters other than")]),
    "secret with a comma": (by_secret("h8dqZ5x1Lk3vB7nM,q2Wt"), [("E005", "characters other than")]),
    "secret with a newline": (by_secret(f"{SECRET}\n"), [("E005", "characters other than")]),
    "three secrets": (by_secret(SECRET, OTHER_SECRET, THIRD_SECRET), [("E005", "one proxy secret, or two")]),
    "a short secret beside a good one": (by_secret(SECRET, ""), [("E005", "fewer than 16")]),
    "a secret that is no text": (by_secret(SECRET, 7), [("E005", "a proxy secret is text")]),
    "two bad secrets": (by_secret("short", f"{SECRET}é"), [("E005", "fewer"), ("E005", "characters other than")]),
    "secret as a number": (by_secret(7), [("E002", r"\['PROXY_SECRET'\] is int.*Give str or list or tuple")]),
    "secret as bytes": (by_secret(SECRET.encode()), [("E002", "is bytes")]),
    "secret as None": (nginx(PROXY_SECRET=None), [("E002", r"\['PROXY_SECRET'\] is NoneType")]),
    "secret in a header with an underscore": (
        by_secret(SECRET, PROXY_SECRET_HEADER="X_Secret"),
        [("E005", "header name 'X_Secret'")],
    ),
    "secret in a header that is no text": (by_secret(SECRET, PROXY_SECRET_HEADER=None), [("E002", "SECRET_HEADER")]),
    "secret in the dialect's own header": (
        by_secret(SECRET, PROXY_SECRET_HEADER="X-SSL-Client-Cert"),
        [("E005", "would share the header x-ssl-client-cert")],
    ),
    "secret of tls": ({**TLS, "PROXY_SECRET": SECRET}, [("E004", "PROXY_SECRET, which are for proxies")]),
    # PROXY_CERTIFICATE
    "proxy's certificate as text": (nginx(PROXY_CERTIFICATE="0" * 64), [("E002", "Give Policy or None")]),
    "proxy's certificate of tls": ({**TLS, "PROXY_CERTIFICATE": PINNED}, [("E004", "PROXY_CERTIFICATE, which")]),
    "nobody": ({"SOURCE": "nginx"}, [("E005", "nobody is trusted: give TRUSTED_PROXIES, PROXY_SECRET or PROXY_CERT")]),
    "all three wrong": (
        nginx(TRUSTED_PROXIES=["0.0.0.0/0", "x"], PROXY_SECRET=["short"]),
        [("E005", "whole Internet"), ("E005", "'x'"), ("E005", "fewer than 16")],
    ),
    # Server variables
    "variables with proxies": ({"SOURCE": "mod_wsgi", "TRUSTED_PROXIES": ["10.0.0.1"]}, [("E004", "of the server")]),
    "variables with everything": (
        {"SOURCE": "uwsgi", "PROXY_SECRET": SECRET, "HEADERS": {"leaf": "x"}, "SERVER_ADDRESS_IS_PEER": True},
        [("E004", "PROXY_SECRET, HEADERS, SERVER_ADDRESS_IS_PEER, which")],
    ),
    # Dialects that verify nothing
    "unverified without anchors": (nginx(SOURCE="kong"), [("E009", r"'kong' says.*Give TRUST_ANCHORS\.$")]),
    # Mappings
    "stated names of certificates": (nginx(MAPPING="stated_name"), [("E013", "forwards certificates instead")]),
    "stated names of the socket": ({**TLS, "MAPPING": "stated_name"}, [("E013", "forwards certificates instead")]),
    "stated names of one of two": (
        several(LINKERD, TLS, MAPPING="stated_name"),
        [("E013", 'Map by "fingerprint" or "common_name"')],
    ),
    "common names of a fingerprint": (
        {**ALIBABA, "MAPPING": "common_name", "POLICY": PINNED},
        [("E013", "'alibaba-alb' forwards no certificate.*MAPPING to 'fingerprint'")],
    ),
    "common names of two": (
        several(ALIBABA, {"SOURCE": "pyvoy"}, TLS, MAPPING="common_name", POLICY=PINNED),
        [("E013", "'alibaba-alb' forwards no.*to 'fingerprint'"), ("E013", "'pyvoy' forwards no.*to 'stated_name'")],
    ),
    "every common name of a fingerprint": ({**ALIBABA, "MAPPING": "common_name"}, [("E010", "POLICY"), ("E013", "")]),
    "common names of pyvoy": (
        {"SOURCE": "pyvoy", "MAPPING": "common_name", "POLICY": PINNED},
        [("E013", "'pyvoy' forwards no certificate")],
    ),
}


@pytest.mark.parametrize(("raw", "expected"), INVALID.values(), ids=INVALID)
def test_invalid(raw: dict[str, Any], expected: list[tuple[str, str]], settings: Any) -> None:
    """What cannot work is found, all of it at once, under its id, and says what to do."""
    found = sorted(problems_of(raw), key=lambda problem: problem.id)
    assert [problem.id for problem in found] == [id for id, _pattern in expected]
    for problem, (_id, pattern) in zip(found, expected, strict=True):
        assert re.search(pattern, f"{problem.message} {problem.hint}"), problem
    settings.MTLS_AUTH = raw
    assert our_ids() == [id for id, _pattern in expected]


@pytest.mark.parametrize("raw", [raw for raw, _expected in INVALID.values()], ids=INVALID)
def test_no_secret_is_told(raw: dict[str, Any]) -> None:
    """Whatever is wrong, no text holds a secret."""
    text = "".join(f"{problem.message}{problem.hint}" for problem in problems_of(raw))
    assert not [secret for secret in (SECRET, OTHER_SECRET, THIRD_SECRET) if secret in text]


UNVERIFIED = sorted(name for name, row in BUILTIN.items() if row.unverified)
SILENT = sorted(name for name, row in BUILTIN.items() if not row.unverified and not row.has_verdict)


def test_the_table_has_both() -> None:
    """There are built-in dialects of either kind."""
    assert "aws-alb-passthrough" in UNVERIFIED
    assert "rfc9440" in SILENT


@pytest.mark.parametrize("name", UNVERIFIED)
def test_never_verified(name: str, anchors: Path) -> None:
    """A terminator that verifies nothing needs trust anchors, and nothing else will do."""
    raw = nginx(SOURCE=name)
    (problem,) = problems_of(raw)
    assert (problem.id, problem.hint) == ("E009", "Give TRUST_ANCHORS.")
    (problem,) = problems_of({**raw, "PROXY_VERIFIES": True})
    assert problem.id == "E005"
    assert "never verifies what it forwards: give trust anchors" in problem.message
    assert problems_of({**raw, "TRUST_ANCHORS": [anchors]}) == []


@pytest.mark.parametrize("name", SILENT)
def test_without_a_verdict(name: str, anchors: Path) -> None:
    """A terminator that says nothing needs the operator's word, or trust anchors if it forwards certificates."""
    states = BUILTIN[name].states
    raw = nginx(SOURCE=name, MAPPING="stated_name" if "name" in states else "fingerprint")
    (problem,) = problems_of(raw)
    assert problem.id == "E009"
    assert "PROXY_VERIFIES = True" in problem.hint
    assert problems_of({**raw, "PROXY_VERIFIES": True}) == []
    expected = ["E013"] if BUILTIN[name].without_certificate else []
    assert [problem.id for problem in problems_of({**raw, "TRUST_ANCHORS": [anchors]})] == expected


@pytest.mark.parametrize("raw", [ALIBABA, LINKERD, {"SOURCE": "pyvoy"}], ids=lambda raw: str(raw["SOURCE"]))
def test_anchors_need_a_certificate(raw: dict[str, Any], anchors: Path) -> None:
    """Trust anchors of the application have nothing to verify where no certificate arrives."""
    mapping = "fingerprint" if raw is ALIBABA else "stated_name"
    (problem,) = problems_of({**raw, "TRUST_ANCHORS": anchors, "MAPPING": mapping})
    assert problem.id == "E013"
    assert "Leave out TRUST_ANCHORS" in problem.hint


def test_names_in_the_hint() -> None:
    """An unknown source is answered with every name there is."""
    (problem,) = problems_of(nginx(SOURCE="ngnix"))
    assert all(repr(name) in problem.hint for name in ("tls", *BUILTIN, *BUILTIN_VARIABLES))


def test_a_variable_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that the process has itself is no evidence: some servers copy it into every request."""
    monkeypatch.setenv("SSL_CLIENT_CERT", "x")
    assert [problem.id for problem in problems_of({"SOURCE": "gateway-params"})] == ["E003"]
    (problem,) = problems_of({"SOURCE": "mod_wsgi"})
    assert "SSL_CLIENT_CERT is set in the environment of this process" in problem.message


def test_a_dialect_that_shares_the_secret_s_header() -> None:
    """A project's own dialect may not read the secret as a verdict."""
    verdict = Verdict(header="x-proxy-secret", success=frozenset({SECRET}), absent=frozenset({""}))
    (problem,) = problems_of(by_secret(SECRET, SOURCE=replace(NGINX, verdicts=(verdict,))))
    assert "share the header x-proxy-secret" in problem.message


@pytest.mark.parametrize("policy", [PINNED, CommonName("proxy") & PINNED], ids=repr)
def test_proxy_certificate_is_any_policy(policy: Policy) -> None:
    """The proxy's certificate is pinned by any policy."""
    assert problems_of({"SOURCE": "nginx", "PROXY_CERTIFICATE": policy}) == []
