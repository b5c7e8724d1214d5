"""`MTLS_AUTH`: what it may hold, every problem at once, and when it takes effect."""

import ast
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from django_mtls import checks, problems
from django_mtls.conf import get_authenticator, get_settings
from django_mtls.middleware import CertificateLoginMiddleware, ClientCertificateMiddleware
from django_mtls.problems import Problem, problems_of
from django_mtls.settings import Settings
from mtls_auth import (
    NGINX,
    RFC9440,
    AnyVerifiedCertificate,
    Authenticator,
    Forwarded,
    Identity,
    IssuedBy,
    PathVerifier,
    Policy,
    TLSSocket,
    VouchedFor,
)
from mtls_auth.cache import MAX_ENTRIES
from mtls_auth.testing import CertificateAuthority
from tests.django.conftest import (
    NGINX_SETTINGS,
    Answer,
    Configure,
    Issue,
    SyncBrowser,
    by_nginx,
    enroll,
    our_ids,
    person,
    texts,
)
from tests.django.urls import denied_view

NGINX_ROW = replace(NGINX, name="mine")
TLS = {"SOURCE": "tls"}
POLICY = IssuedBy("CN=Test CA")


def problem_ids(raw: object) -> list[str]:
    return sorted(problem.id for problem in problems_of(raw))


def nginx(**changes: Any) -> dict[str, Any]:
    return {**NGINX_SETTINGS, **changes}


@pytest.fixture(scope="module")
def files(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `ca.pem`, and with files that hold no anchor."""
    directory = tmp_path_factory.mktemp("anchors")
    (directory / "ca.pem").write_bytes(ca.pem)
    (directory / "empty.pem").write_bytes(b"")
    (directory / "ca.der").write_bytes(ca.der)
    return directory


VALID: dict[str, dict[str, Any]] = {
    "tls": TLS,
    "nginx": nginx(),
    "unix socket": nginx(TRUSTED_PROXIES=("unix:/run/app.sock",)),
    "own headers": nginx(HEADERS={"leaf": "Ssl-Client-Cert", "verdict": "ssl-client-verify"}),
    "rfc9440 that verifies": nginx(SOURCE="rfc9440", PROXY_VERIFIES=True),
    "rfc9440 with anchors": nginx(SOURCE="rfc9440", TRUST_ANCHORS=["ca.pem"]),
    "one anchor as text": {**TLS, "TRUST_ANCHORS": "ca.pem"},
    "one anchor as path": {**TLS, "TRUST_ANCHORS": Path("ca.pem")},
    "Dialect": nginx(SOURCE=NGINX_ROW),
    "dotted path of a Dialect": nginx(SOURCE="tests.django.test_conf.NGINX_ROW"),
    "address is peer": nginx(SERVER_ADDRESS_IS_PEER=True),
    "common names": {**TLS, "MAPPING": "common_name", "POLICY": POLICY},
    "any common name, written out": {**TLS, "MAPPING": "common_name", "POLICY": AnyVerifiedCertificate()},
    "required": {**TLS, "REQUIRED": True},
    "session of the certificate": {**TLS, "SESSION": "certificate"},
    "session of the user": {**TLS, "SESSION": "user"},
    "staleness": {**TLS, "MAX_STALENESS": 2.5},
    "no staleness": {**TLS, "MAX_STALENESS": 0},
    "denied view": {**TLS, "DENIED_VIEW": "tests.django.urls.denied_view"},
    "denied view itself": {**TLS, "DENIED_VIEW": denied_view},
    "small cache": {**TLS, "CACHE_ENTRIES": 1},
    "everything at its default": {
        **TLS,
        "TRUSTED_PROXIES": (),
        "PROXY_SECRET": (),
        "PROXY_CERTIFICATE": None,
        "HEADERS": {},
        "PROXY_VERIFIES": False,
        "SERVER_ADDRESS_IS_PEER": False,
        "TRUST_ANCHORS": (),
        "MAPPING": "fingerprint",
        "POLICY": None,
        "REQUIRED": False,
        "SESSION": None,
        "MAX_STALENESS": None,
        "DENIED_VIEW": None,
        "CACHE_ENTRIES": MAX_ENTRIES,
    },
}


@pytest.mark.parametrize("raw", VALID.values(), ids=VALID)
def test_valid(raw: dict[str, Any], settings: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the documentation offers has no problem, and makes settings and an authenticator."""
    monkeypatch.chdir(files)
    assert problems_of(raw) == []
    settings.MTLS_AUTH = raw
    assert isinstance(get_settings(), Settings)
    assert isinstance(get_authenticator(), Authenticator)


INVALID: dict[str, tuple[object, list[str]]] = {
    "missing": (None, ["E001"]),
    "not a dict": ([("SOURCE", "tls")], ["E001"]),
    "empty": ({}, ["E003"]),
    "unknown key": ({**TLS, "SESION": None}, ["E001"]),
    "key that is no text": ({"SOURCE": "tls", 7: None}, ["E001"]),
    "lower case": ({"source": "tls"}, ["E001", "E003"]),
    "unknown source": (nginx(SOURCE="ngnix"), ["E003"]),
    "dotted path of nothing": (nginx(SOURCE="tests.django.test_conf.NOTHING"), ["E003"]),
    "dotted path of no module": (nginx(SOURCE="no.such.module"), ["E003"]),
    "dotted path of something else": (nginx(SOURCE="tests.django.test_conf.POLICY"), ["E003"]),
    "source of another type": ({"SOURCE": 1}, ["E002"]),
    "no source": ({"SOURCE": None}, ["E002"]),
    "header that the dialect has not": (nginx(HEADERS={"chain": "x-chain"}), ["E003"]),
    "header with an underscore": (nginx(HEADERS={"leaf": "x_cert"}), ["E003"]),
    "header that is no text": (nginx(HEADERS={"leaf": 1}), ["E003"]),
    "headers as a list": (nginx(HEADERS=["x-cert"]), ["E002"]),
    "proxies of tls": ({**TLS, "TRUSTED_PROXIES": ["10.0.0.1"]}, ["E004"]),
    "headers of tls": ({**TLS, "HEADERS": {"leaf": "x-cert"}}, ["E004"]),
    "tls that the proxy verifies": ({**TLS, "PROXY_VERIFIES": True}, ["E004"]),
    "no proxies": ({"SOURCE": "nginx"}, ["E005"]),
    "empty proxies": (nginx(TRUSTED_PROXIES=[]), ["E005"]),
    "proxies as one text": (nginx(TRUSTED_PROXIES="10.0.0.1"), ["E002"]),
    "the whole Internet": (nginx(TRUSTED_PROXIES=["0.0.0.0/0"]), ["E005"]),
    "the whole Internet, IPv6": (nginx(TRUSTED_PROXIES=["::/0"]), ["E005"]),
    "host name": (nginx(TRUSTED_PROXIES=["proxy.example.com"]), ["E005"]),
    "network with host bits": (nginx(TRUSTED_PROXIES=["10.0.0.1/8"]), ["E005"]),
    "relative socket": (nginx(TRUSTED_PROXIES=["unix:app.sock"]), ["E005"]),
    "proxy that is no text": (nginx(TRUSTED_PROXIES=[10]), ["E005"]),
    "two bad proxies": (nginx(TRUSTED_PROXIES=["x", "10.0.0.1", "y"]), ["E005", "E005"]),
    "anchor that is not there": ({**TLS, "TRUST_ANCHORS": ["nothing.pem"]}, ["E006"]),
    "anchor without a certificate": ({**TLS, "TRUST_ANCHORS": ["empty.pem"]}, ["E006"]),
    "anchor in DER": ({**TLS, "TRUST_ANCHORS": ["ca.der"]}, ["E006"]),
    "three bad anchors": ({**TLS, "TRUST_ANCHORS": ["1.pem", "ca.pem", "2.pem", "empty.pem"]}, ["E006"] * 3),
    "bad proxy and bad anchor": (nginx(TRUSTED_PROXIES=["x"], TRUST_ANCHORS=["1.pem"]), ["E005", "E006"]),
    "bad source, anchor and mapping": (
        nginx(SOURCE="ngnix", TRUST_ANCHORS=["1.pem"], MAPPING="common_name"),
        ["E003", "E006", "E010"],
    ),
    "async view": ({**TLS, "DENIED_VIEW": "tests.django.urls.aquiet"}, ["E002"]),
    "nobody verified": (nginx(SOURCE="rfc9440"), ["E009"]),
    "every common name": ({**TLS, "MAPPING": "common_name"}, ["E010"]),
    "nobody verified any common name": (nginx(SOURCE="rfc9440", MAPPING="common_name"), ["E009", "E010"]),
    "PROXY_VERIFIES of another type": (nginx(PROXY_VERIFIES="yes"), ["E002"]),
    "SERVER_ADDRESS_IS_PEER of another type": (nginx(SERVER_ADDRESS_IS_PEER=1), ["E002"]),
    "unknown mapping": ({**TLS, "MAPPING": "email"}, ["E002"]),
    "mapping of another type": ({**TLS, "MAPPING": None}, ["E002"]),
    "policy as text": ({**TLS, "POLICY": "any"}, ["E002"]),
    "policy as a class": ({**TLS, "POLICY": AnyVerifiedCertificate}, ["E002"]),
    "required of another type": ({**TLS, "REQUIRED": 1}, ["E002"]),
    "unknown session": ({**TLS, "SESSION": "always"}, ["E002"]),
    "session of another type": ({**TLS, "SESSION": True}, ["E002"]),
    "staleness as text": ({**TLS, "MAX_STALENESS": "1"}, ["E002"]),
    "staleness as truth": ({**TLS, "MAX_STALENESS": True}, ["E002"]),
    "negative staleness": ({**TLS, "MAX_STALENESS": -0.5}, ["E002"]),
    "negative cache": ({**TLS, "CACHE_ENTRIES": -1}, ["E002"]),
    "cache in halves": ({**TLS, "CACHE_ENTRIES": 1.5}, ["E002"]),
    "view that is not there": ({**TLS, "DENIED_VIEW": "tests.django.urls.nothing"}, ["E002"]),
    "view of no module": ({**TLS, "DENIED_VIEW": "nothing"}, ["E002"]),
    "view that cannot be called": ({**TLS, "DENIED_VIEW": "tests.django.urls.POLICIES"}, ["E002"]),
    "proxies as a number": (nginx(TRUSTED_PROXIES=10), ["E002"]),
    "proxies as None": (nginx(TRUSTED_PROXIES=None), ["E002"]),
    "anchors as a number": ({**TLS, "TRUST_ANCHORS": 10}, ["E002"]),
    "anchor that is no path": ({**TLS, "TRUST_ANCHORS": [10]}, ["E006"]),
    "staleness that is no number": ({**TLS, "MAX_STALENESS": float("nan")}, ["E002"]),
    "four at once": (
        {"SORCE": "nginx", "SESSION": "x", "MAX_STALENESS": -1, "DENIED_VIEW": 1},
        ["E001", "E002", "E002", "E002", "E003"],
    ),
}


@pytest.mark.parametrize(("raw", "expected"), INVALID.values(), ids=INVALID)
def test_invalid(raw: object, expected: list[str], settings: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot work is found, all of it, by the function and by `manage.py check` alike."""
    monkeypatch.chdir(files)
    assert problem_ids(raw) == expected
    settings.MTLS_AUTH = raw
    assert our_ids() == expected


def test_missing_setting(settings: Any) -> None:
    """A project without `MTLS_AUTH` is told what to write."""
    del settings.MTLS_AUTH
    assert our_ids() == ["E001"]
    with pytest.raises(ImproperlyConfigured, match="Set MTLS_AUTH"):
        get_settings()


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("SESION", "Did you mean 'SESSION'?"),
        ("session", "Did you mean 'SESSION'?"),
        ("TRUSTED_PROXY", "Did you mean 'TRUSTED_PROXIES'?"),
        ("MAXSTALENESS", "Did you mean 'MAX_STALENESS'?"),
        ("TRUST_ANCHOR", "Did you mean 'TRUST_ANCHORS'?"),
    ],
)
def test_unknown_key_suggests_the_closest(key: str, suggestion: str) -> None:
    """A misspelt key is answered with the key that was meant."""
    (problem,) = problems_of({**TLS, key: None})
    assert repr(key) in problem.message
    assert problem.hint == suggestion


def test_unknown_key_like_none() -> None:
    """A key like none of ours is answered with the list of them, complete."""
    (problem,) = problems_of({**TLS, "XYZ": None})
    assert problem.hint.startswith("The keys are ")
    assert problem.hint == f"The keys are {', '.join(name.upper() for name in Settings.__dataclass_fields__)}."


MESSAGES: dict[str, tuple[object, str]] = {
    "unknown dialect": (nginx(SOURCE="ngnix"), r"ngnix.*nginx.*rfc9440"),
    "nothing verifies": (nginx(SOURCE="rfc9440"), r"rfc9440.*TRUST_ANCHORS.*PROXY_VERIFIES"),
    "common names": ({**TLS, "MAPPING": "common_name"}, r"POLICY.*IssuedBy.*AnyVerifiedCertificate"),
    "bad proxy": (nginx(TRUSTED_PROXIES=["example.com"]), r"'example.com'.*TRUSTED_PROXIES"),
    "bad anchor": ({**TLS, "TRUST_ANCHORS": ["nothing.pem"]}, r"TRUST_ANCHORS.*nothing.pem.*No such file"),
    "bad type": ({**TLS, "REQUIRED": "yes"}, r"MTLS_AUTH\['REQUIRED'\] is str.*Give bool"),
    "bad choice": ({**TLS, "SESSION": "x"}, r"MTLS_AUTH\['SESSION'\] is 'x'.*None, 'certificate', 'user'"),
    "tls with proxies": ({**TLS, "TRUSTED_PROXIES": ["10.0.0.1"]}, r"TRUSTED_PROXIES.*for proxies"),
}


@pytest.mark.parametrize(("raw", "pattern"), MESSAGES.values(), ids=MESSAGES)
def test_messages_say_what_and_what_to_do(raw: object, pattern: str) -> None:
    """A problem names the key and the value, and its hint the way out."""
    (problem,) = problems_of(raw)
    assert re.search(pattern, f"{problem.message} {problem.hint}")


def test_all_problems_in_one_exception(settings: Any) -> None:
    """`ImproperlyConfigured` holds every problem and hint, a line each."""
    settings.MTLS_AUTH, expected = INVALID["four at once"]
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    assert all(any(word in line for line in lines) for word in ("SORCE", "SESSION", "MAX_STALENESS", "DENIED_VIEW"))


@pytest.mark.parametrize("middleware", [ClientCertificateMiddleware, CertificateLoginMiddleware])
@pytest.mark.parametrize("name", ["four at once", "nobody verified", "no proxies", "missing"])
def test_middleware_is_not_built(middleware: Callable[..., object], name: str, settings: Any) -> None:
    """A configuration that cannot work stops the server, not the first request."""
    settings.MTLS_AUTH = INVALID[name][0]
    with pytest.raises(ImproperlyConfigured):
        middleware(lambda request: None)


def test_server_does_not_start(settings: Any) -> None:
    """Django's own handler raises it while it loads the middleware."""
    settings.MTLS_AUTH = {}
    with pytest.raises(ImproperlyConfigured, match="names no SOURCE"):
        Client().handler.load_middleware()


def test_defaults(settings: Any) -> None:
    """What is not said is the safe choice."""
    settings.MTLS_AUTH = {"SOURCE": "tls"}
    assert get_settings() == Settings(source="tls")
    assert get_settings().required is False
    assert get_settings().session is None
    assert get_settings().max_staleness is None
    assert get_settings().mapping == "fingerprint"
    authenticator = get_authenticator()
    assert isinstance(authenticator.source, TLSSocket)
    assert isinstance(authenticator.verifier, VouchedFor)
    assert authenticator.policy == AnyVerifiedCertificate()
    assert authenticator.required is False


def test_values(settings: Any, files: Path) -> None:
    """Every key arrives where it is used."""
    settings.MTLS_AUTH = nginx(
        SOURCE="rfc9440",
        HEADERS={"leaf": "X-My-Cert"},
        TRUSTED_PROXIES=["10.0.0.0/8", "unix:/run/app.sock"],
        SERVER_ADDRESS_IS_PEER=True,
        PROXY_VERIFIES=True,
        TRUST_ANCHORS=str(files / "ca.pem"),
        POLICY=POLICY,
        REQUIRED=True,
        SESSION="user",
        MAX_STALENESS=3,
        DENIED_VIEW="tests.django.urls.denied_view",
        CACHE_ENTRIES=7,
    )
    found = get_settings()
    assert found.trusted_proxies == ("10.0.0.0/8", "unix:/run/app.sock")
    assert found.trust_anchors == (str(files / "ca.pem"),)
    assert found.denied_view is denied_view
    assert (found.session, found.max_staleness, found.cache_entries) == ("user", 3, 7)
    authenticator = get_authenticator()
    source = authenticator.source
    assert isinstance(source, Forwarded)
    assert source.dialect == RFC9440.with_headers(leaf="x-my-cert")
    assert (source.proxy_verifies, source.server_address_is_peer) == (True, True)
    assert source.proxies is not None
    assert all(peer in source.proxies for peer in ("10.1.2.3", "unix:/run/app.sock"))
    assert isinstance(authenticator.verifier, PathVerifier)
    assert authenticator.policy is POLICY
    assert authenticator.required is True
    assert authenticator._cache.max_entries == 7
    assert "x-my-cert" in authenticator.known_headers.names


class NobodyYet(Policy):
    """A policy of a project's own that is false as long as it names nobody."""

    def __len__(self) -> int:
        return 0

    def allows(self, identity: Identity) -> bool:
        return False


def test_a_policy_that_is_false(configure: Configure) -> None:
    """A policy that Python takes for false is the policy all the same."""
    policy = NobodyYet()
    configure(POLICY=policy)
    assert get_authenticator().policy is policy


def test_one_authenticator(configure: Configure) -> None:
    """Everybody decides by the same one."""
    assert get_authenticator() is get_authenticator()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("MTLS_AUTH", TLS), ("DATABASE_ROUTERS", []), ("AUTH_USER_MODEL", "auth.User")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_override_settings_takes_effect(configure: Configure, setting: str, value: Any) -> None:
    """A changed setting is seen at once, and so is its end."""
    before, settings_before = get_authenticator(), get_settings()
    with override_settings(**{setting: value}):
        within = get_authenticator()
        assert within is not before
        assert get_settings() is not settings_before
    assert get_authenticator() is not within
    assert get_settings() == settings_before


def test_other_settings_forget_nothing(configure: Configure) -> None:
    """A change of an unrelated setting costs nothing."""
    before = get_authenticator()
    with override_settings(DEBUG=True):
        assert get_authenticator() is before


@pytest.mark.django_db
def test_override_settings_reaches_running_middleware(configure: Configure, issue: Issue) -> None:
    """A client whose middleware is built already meets the changed settings."""
    enroll(issue("alice"), person("alice"))
    browser = SyncBrowser()
    assert browser.get("/sync/open/", by_nginx(issue("alice").der)) == Answer(200, "alice")
    configure(POLICY=IssuedBy("CN=Other"))
    assert browser.get("/sync/open/", by_nginx(issue("alice").der)) == Answer(403, None, "not_allowed")
    assert browser.get("/sync/open/") == Answer(200, "")
    configure(REQUIRED=True)
    assert browser.get("/sync/open/") == Answer(403, None, "certificate_required")


@pytest.mark.django_db
@pytest.mark.parametrize("entries", [0, 1, 2])
def test_cache_entries(configure: Configure, issue: Issue, entries: int) -> None:
    """A small cache is slower and no less right; zero remembers nothing."""
    configure(CACHE_ENTRIES=entries)
    names = ("alice", "bob", "carol")
    for name in names:
        enroll(issue(name), person(name))
    browser = SyncBrowser()
    for name in names * 2:
        assert browser.get("/sync/open/", by_nginx(issue(name).der)) == Answer(200, name)
    assert len(get_authenticator()._cache) == entries


def _ids_in_source(module: Any) -> Counter[str]:
    """Return the ids of checks that a module spells out, with their number."""
    tree = ast.parse(Path(module.__file__).read_text())
    words = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return Counter(
        word.removeprefix("django_mtls.") for word in words if re.fullmatch(r"(django_mtls\.)?[EW]\d{3}", word)
    )


def test_ids_are_unique() -> None:
    """An id means one thing: no check has two, none shares one with a problem of the settings."""
    of_checks, of_problems = _ids_in_source(checks), _ids_in_source(problems)
    assert of_problems.keys() == {"E001", "E002", "E003", "E004", "E005", "E006", "E009", "E010", "E013"}
    assert of_checks.keys().isdisjoint(of_problems)
    assert set(of_checks.values()) == {1}
    package = Path(checks.__file__).parent
    others = [file for file in package.rglob("*.py") if file.name not in {"checks.py", "problems.py"}]
    assert not [file for file in others if re.search(r"[\"'.][EW]0\d\d[\"']", file.read_text(encoding="utf-8"))]
    constants = {name: value for name, value in vars(checks).items() if isinstance(value, django_checks.CheckMessage)}
    assert {name: f"django_mtls.{name}" for name in constants} == {name: m.id for name, m in constants.items()}
    assert constants.keys() == of_checks.keys()


def test_ids_name_their_level() -> None:
    """E is an error, W a warning, and each says what to do."""
    for name, message in vars(checks).items():
        if isinstance(message, django_checks.CheckMessage):
            assert isinstance(message, django_checks.Error if name[0] == "E" else django_checks.Warning)
            assert message.hint


def test_problems_are_errors(settings: Any) -> None:
    """Every problem of the settings is an error of `check`, text and hint included."""
    settings.MTLS_AUTH = {}
    (message,) = checks.check_settings(None)
    (problem,) = problems_of({})
    assert message == django_checks.Error(problem.message, hint=problem.hint, id="django_mtls.E003")
    assert "tls" in texts([message])
    assert isinstance(problem, Problem)


def test_timedelta_is_no_number() -> None:
    """Seconds are a number; a timedelta is told so."""
    (problem,) = problems_of({**TLS, "MAX_STALENESS": timedelta(seconds=1)})
    assert problem.hint == "Give int or float or None."
