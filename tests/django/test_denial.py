"""Denials: status, page or JSON, no cache, no secret; the operator's own view."""

import logging
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.translation import override

from django_mtls.denial import answer_denied
from django_mtls.problems import problems_of
from mtls_auth import CertificateRejected, Denied, Reason
from mtls_auth.testing import escaped_pem
from tests.django.conftest import (
    Answer,
    Browser,
    Configure,
    Issue,
    Sent,
    by_nginx,
    database_down,
    enroll,
    identity_of,
    person,
)

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

STATUSES = dict.fromkeys(Reason, 403) | {
    Reason.MALFORMED_HEADER: 400,
    Reason.AMBIGUOUS_HEADER: 400,
    Reason.CONTRADICTORY_EVIDENCE: 400,
    Reason.MALFORMED_CERTIFICATE: 400,
    Reason.PRIVATE_KEY: 400,
    Reason.OVERSIZED_HEADER: 431,
    Reason.STORE_UNAVAILABLE: 503,
}


def deny(reason: Reason, accept: str | None = None, detail: str = "secret detail") -> Any:
    request = RequestFactory().get("/", headers={} if accept is None else {"Accept": accept})
    return answer_denied(request, Denied(reason, detail))


@pytest.mark.parametrize("accept", [None, HTML], ids=["program", "browser"])
@pytest.mark.parametrize("reason", Reason)
def test_statuses(reason: Reason, accept: str | None) -> None:
    """A bad certificate is 403, a bad request 400 or 431, a store that does not answer 503; never cached."""
    response = deny(reason, accept)
    assert response.status_code == STATUSES[reason]
    assert "no-store" in response.headers["Cache-Control"]
    assert reason.value in response.text
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (HTML, True),
        ("text/html", True),
        ("application/json, text/html;q=0.1", True),
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/plain", False),
        ("text/html;q=0", False),
        ("garbage", False),
    ],
)
def test_who_gets_a_page(accept: str | None, html: bool) -> None:
    """A page is for those who ask for text/html by name; everybody else gets JSON."""
    response = deny(Reason.REVOKED, accept)
    assert response.headers["Content-Type"].startswith("text/html") is html
    if not html:
        assert response.headers["Content-Type"] == "application/json"
        assert response.content == b'{"reason": "revoked"}'


def test_page() -> None:
    """The page says what happened, the reason and what to do; it loads nothing."""
    text = deny(Reason.REVOKED, HTML).text
    assert text.startswith("<!doctype html>")
    assert "<code>revoked</code>" in text
    assert "did not accept your client certificate" in text
    assert "src=" not in text
    assert "href=" not in text


def test_page_in_another_language() -> None:
    """The page names its language."""
    with override("de"):
        assert '<html lang="de">' in deny(Reason.REVOKED, HTML).text


def test_page_without_templates(settings: Any) -> None:
    """A project without template engines, as an API is, refuses browsers with the same page."""
    usual = deny(Reason.REVOKED, HTML)
    settings.TEMPLATES = []
    response = deny(Reason.REVOKED, HTML)
    assert (response.status_code, response.text) == (403, usual.text)


def _everything(issue: Issue) -> list[str]:
    """Return what must not be told: the certificate, in every form that we were given."""
    pem = issue("alice").pem.decode()
    return [escaped_pem(issue("alice").der), *pem.splitlines(), "BEGIN CERTIFICATE"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sync/open/", "/async/open/", "/sync/decorator/ops/", "/async/mixin/ops/"])
@pytest.mark.parametrize("accept", ["*/*", HTML], ids=["program", "browser"])
@pytest.mark.parametrize("case", ["revoked", "failed", "twice", "unknown", "not allowed", "store", "garbage"])
def test_neither_log_nor_answer_tells_the_certificate(
    configure: Configure,
    browser: Browser,
    issue: Issue,
    caplog: pytest.LogCaptureFixture,
    path: str,
    accept: str,
    case: str,
) -> None:
    """Neither the log nor the answer holds a header or a certificate, at any level."""
    caplog.set_level(logging.DEBUG)
    leaf = issue("alice")
    sent = by_nginx(leaf.der, "FAILED:by my secret CA" if case == "failed" else "SUCCESS")
    if case in {"revoked", "not allowed", "store"}:
        row = enroll(leaf, person("alice"))
        if case == "revoked":
            row.state = "revoked"
            row.save()
    if case == "twice":
        sent = Sent(headers=(*sent.headers, sent.headers[0]))
    if case == "garbage":
        sent = Sent(headers=((sent.headers[0][0], leaf.pem.decode().splitlines()[1]), sent.headers[1]))
    caplog.clear()
    if case == "store":
        with database_down():
            answer = browser.get(path, sent, ("Accept", accept))
    else:
        answer = browser.get(path, sent, ("Accept", accept))
    if case == "not allowed" and "open" in path:
        assert answer.status == 200
        return
    assert answer.status >= 400
    records = [record for record in caplog.records if record.name != "django.db.backends"]
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in records if record.name == "mtls_auth")
    logged += "\n".join(record.getMessage() for record in records)
    assert "client certificate refused" in logged
    for secret in [*_everything(issue), "my secret CA"]:
        assert secret not in logged
        assert secret not in answer.response.text
        assert secret not in str(answer.response.headers)


@pytest.mark.django_db
def test_the_log_names_reason_and_fingerprint(
    configure: Configure, browser: Browser, issue: Issue, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the reason and, where the certificate could be read, its fingerprint; one record a denial."""
    browser.get("/sync/open/", by_nginx(issue("alice").der))
    browser.get("/sync/open/", Sent(headers=(("X-SSL-Client-Verify", "SUCCESS"),)))
    records: list[Any] = [record for record in caplog.records if record.name == "mtls_auth"]
    assert [(record.reason, record.fingerprint_sha256) for record in records] == [
        ("not_enrolled", issue("alice").fingerprint_sha256),
        ("contradictory_evidence", None),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sync/open/", "/async/open/", "/sync/decorator/any/", "/async/mixin/any/"])
def test_own_view(configure: Configure, browser: Browser, issue: Issue, path: str) -> None:
    """DENIED_VIEW answers what the middleware and the guards refuse."""
    configure(DENIED_VIEW="tests.django.urls.denied_view")
    answer = browser.get(path, by_nginx(issue("alice").der))
    assert (answer.status, answer.response.text) == (418, "my own page: not_enrolled")
    if "open" not in path:
        answer = browser.get(path)
        assert (answer.status, answer.response.text) == (418, "my own page: certificate_required")


async def async_denied_view(request: HttpRequest, denied: Denied) -> Any:
    """A view that nobody awaits."""
    return None


def test_async_own_view() -> None:
    """A coroutine function as DENIED_VIEW is refused by the checks, or awaited; it does not end as a server error."""
    raw = {"SOURCE": "tls", "DENIED_VIEW": "tests.django.test_denial.async_denied_view"}
    assert [problem.id for problem in problems_of(raw)] == ["E002"]


@pytest.mark.django_db
def test_denied_requests_do_not_reach_the_view(configure: Configure, browser: Browser, issue: Issue) -> None:
    """A denied request is answered before anything of the project runs, a missing page included."""
    assert browser.get("/no/such/page/", by_nginx(issue("alice").der)) == Answer(403, None, "not_enrolled")
    assert browser.get("/no/such/page/").status == 404


def test_identity_is_not_told(issue: Issue) -> None:
    """The page does not tell whose certificate it was."""
    request = RequestFactory().get("/", HTTP_ACCEPT=HTML)
    denied = Denied.because(CertificateRejected(Reason.REVOKED, "by root"), identity_of(issue("alice")))
    text = answer_denied(request, denied).text
    assert "alice" not in text
    assert issue("alice").fingerprint_sha256[:16] not in text
    assert "by root" not in text
