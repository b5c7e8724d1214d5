"""The diagnostic endpoint of a Django site: settings, checks, and what it answers before anything else."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from django_mtls.conf import get_settings
from django_mtls.signals import certificate_denied
from mtls_auth.diagnostics import DEFAULT_PATH
from tests.django.conftest import NOTHING, Browser, Configure, Issue, Sent, by_nginx, enroll, our_ids, person

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = ("Authorization", f"Bearer {TOKEN}")

pytestmark = pytest.mark.django_db(transaction=True)


def test_off_by_default(configure: Configure, browser: Browser) -> None:
    """Without a token there is no endpoint: the path is the site's."""
    assert get_settings().diagnostics is None
    assert browser.get(DEFAULT_PATH, NOTHING, BEARER).status == 404


def test_who_is_believed(configure: Configure, browser: Browser, issue: Issue) -> None:
    """Whoever knows the token is told whom the site believes, on whose word, and which headers came."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    alice = issue("alice")
    enroll(alice, person("alice"))
    answer = browser.get(DEFAULT_PATH, by_nginx(alice.der), BEARER)
    report = answer.json()
    names = {name.lower().removeprefix("http_").replace("_", "-") for name in report.pop("removed")}
    assert names == {"x-ssl-client-cert", "x-ssl-client-verify"}
    assert (answer.status, report) == (
        200,
        {
            "decision": "authenticated",
            "reason": None,
            "subject_cn": "alice",
            "fingerprint_sha256": alice.fingerprint_sha256,
            "assurance": "proxy_verdict",
            "source": "nginx",
            "presented": [alice.fingerprint_sha256],
            "reads": [{"name": "nginx", "headers": ["x-ssl-client-cert", "x-ssl-client-verify"]}],
            "peer": "10.0.0.1",
            "peer_believed": True,
        },
    )
    assert answer.response.headers["Cache-Control"] == "no-store"


def test_nobody(configure: Configure, browser: Browser) -> None:
    """Nobody is told as nobody."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    report = browser.get(DEFAULT_PATH, NOTHING, BEARER).json()
    assert (report["decision"], report["reason"]) == ("anonymous", "no_certificate")


def test_denials_are_answered_too(configure: Configure, browser: Browser, issue: Issue) -> None:
    """A denied certificate is told with its reason, and neither the operator's view nor the signal sees it."""
    configure(DIAGNOSTICS_TOKEN=TOKEN, DENIED_VIEW="tests.django.test_diagnostics.unreachable")
    sent: list[Any] = []
    certificate_denied.connect(unwanted := (lambda **values: sent.append(values)))
    try:
        answer = browser.get(DEFAULT_PATH, by_nginx(issue("stranger").der), BEARER)
    finally:
        certificate_denied.disconnect(unwanted)
    report = answer.json()
    assert (answer.status, report["decision"], report["reason"]) == (200, "denied", "not_enrolled")
    assert report["fingerprint_sha256"] == issue("stranger").fingerprint_sha256
    assert sent == []


def unreachable(request: HttpRequest, denied: object) -> Any:
    """Fail: the endpoint answers first."""
    raise AssertionError("asked")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (DEFAULT_PATH, ()),
        (DEFAULT_PATH, (("Authorization", f"Bearer {TOKEN[::-1]}"),)),
        (DEFAULT_PATH, (BEARER, BEARER)),
        ("/elsewhere", (BEARER,)),
    ],
    ids=["no token", "a wrong token", "twice", "another path"],
)
def test_everybody_else(
    configure: Configure, browser: Browser, path: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """Everybody else asks the site, which has no such page."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    assert browser.get(path, NOTHING, *headers).status == 404


def test_another_path(configure: Configure, browser: Browser) -> None:
    """The endpoint is where the operator puts it."""
    configure(DIAGNOSTICS_TOKEN=TOKEN, DIAGNOSTICS_PATH="/who")
    assert browser.get("/who", NOTHING, BEARER).json()["decision"] == "anonymous"
    assert browser.get(DEFAULT_PATH, NOTHING, BEARER).status == 404


def test_a_stranger(configure: Configure, browser: Browser, issue: Issue) -> None:
    """Headers that did not come from the proxy are named, and not believed."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    forged = Sent(headers=by_nginx(issue("alice").der).headers, peer="203.0.113.9")
    report = browser.get(DEFAULT_PATH, forged, BEARER).json()
    assert (report["decision"], report["peer_believed"], len(report["removed"])) == ("anonymous", False, 2)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"DIAGNOSTICS_TOKEN": "short"}, r"MTLS_AUTH\['DIAGNOSTICS_TOKEN'\]: the diagnostics token has fewer than 32"),
        ({"DIAGNOSTICS_TOKEN": TOKEN, "DIAGNOSTICS_PATH": "who"}, "begin with a slash"),
        ({"DIAGNOSTICS_TOKEN": 7}, r"MTLS_AUTH\['DIAGNOSTICS_TOKEN'\] is int"),
        ({"DIAGNOSTICS_PATH": None}, r"MTLS_AUTH\['DIAGNOSTICS_PATH'\] is NoneType"),
    ],
)
def test_wrong_settings(configure: Configure, values: dict[str, Any], problem: str) -> None:
    """A token that can be guessed, and a path that no request has, stop the site, and are E002."""
    configure(**values)
    with pytest.raises(ImproperlyConfigured, match=problem):
        get_settings()
    assert "E002" in our_ids()


def test_the_token_is_not_shown(configure: Configure) -> None:
    """Logs of the settings do not hold the token."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    assert TOKEN not in repr(get_settings())


def test_a_deployed_site_is_warned(configure: Configure) -> None:
    """`check --deploy` warns as long as the endpoint is on."""
    configure(DIAGNOSTICS_TOKEN=TOKEN)
    assert our_ids() == []
    assert "W006" in our_ids(include_deployment_checks=True)
    configure()
    assert "W006" not in our_ids(include_deployment_checks=True)
