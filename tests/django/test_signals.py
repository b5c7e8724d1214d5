"""`certificate_denied`: who was turned away, and why; nothing else of the certificate."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_mtls.models import State
from django_mtls.signals import certificate_denied
from mtls_auth import IssuedBy, Reason
from mtls_auth.testing import escaped_pem
from tests.django.conftest import (
    NOTHING,
    STRANGER,
    Browser,
    Configure,
    Issue,
    Sent,
    by_nginx,
    database_down,
    enroll,
    person,
    put,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def received() -> Iterator[list[dict[str, Any]]]:
    """What the signal brought."""
    found: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        found.append(kwargs)

    certificate_denied.connect(receive)
    yield found
    certificate_denied.disconnect(receive)


VIEWS = pytest.mark.parametrize("view", ["/sync/open/", "/async/open/"])


@VIEWS
def test_denied_by_the_middleware(
    configure: Configure, browser: Browser, issue: Issue, received: list[dict[str, Any]], view: str
) -> None:
    """One signal a denial, with request, reason, detail and fingerprint."""
    put(enroll(issue("alice"), person("alice")), State.PENDING)
    answer = browser.get(view, by_nginx(issue("alice").der))
    (found,) = received
    assert found["reason"] is Reason.PENDING
    assert found["detail"] == "the certificate is pending"
    assert found["fingerprint_sha256"] == issue("alice").fingerprint_sha256
    assert found["request"] is answer.request
    assert found["request"].certificate_decision.reason is Reason.PENDING
    assert found.keys() == {"signal", "sender", "request", "reason", "detail", "fingerprint_sha256"}


@pytest.mark.parametrize("guard", ["decorator", "mixin"])
@pytest.mark.parametrize("door", ["sync", "async"])
def test_denied_by_a_guard(
    configure: Configure, browser: Browser, issue: Issue, received: list[dict[str, Any]], guard: str, door: str
) -> None:
    """A guard's denial names the predicate; without a certificate there is no fingerprint."""
    enroll(issue("alice"), person("alice"))
    browser.get(f"/{door}/{guard}/ops/", by_nginx(issue("alice").der))
    browser.get(f"/{door}/{guard}/ops/")
    assert [(found["reason"], found["detail"], found["fingerprint_sha256"]) for found in received] == [
        (Reason.NOT_ALLOWED, "refused by OrganizationalUnit('Ops')", issue("alice").fingerprint_sha256),
        (Reason.CERTIFICATE_REQUIRED, "", None),
    ]


CERT, VERIFY = "X-SSL-Client-Cert", "X-SSL-Client-Verify"
CASES = {
    "verified, not enrolled": ("PEM", "SUCCESS", Reason.NOT_ENROLLED, True),
    "not verified": ("PEM", "FAILED:x", Reason.PROXY_REJECTED, False),
    "unreadable": ("x", "SUCCESS", Reason.MALFORMED_HEADER, False),
    "twice": ("PEM,PEM", "SUCCESS", Reason.AMBIGUOUS_HEADER, False),
}


@VIEWS
@pytest.mark.parametrize(("cert", "verify", "reason", "known"), CASES.values(), ids=CASES)
def test_fingerprint_of_what_was_verified_alone(
    configure: Configure,
    browser: Browser,
    issue: Issue,
    received: list[dict[str, Any]],
    view: str,
    cert: str,
    verify: str,
    reason: Reason,
    known: bool,
) -> None:
    """The fingerprint is there where somebody verified the certificate, and None where nobody did."""
    headers = ((CERT, cert.replace("PEM", escaped_pem(issue("alice").der))), (VERIFY, verify))
    browser.get(view, Sent(headers=headers))
    (found,) = received
    assert found["reason"] is reason
    assert found["fingerprint_sha256"] == (issue("alice").fingerprint_sha256 if known else None)
    assert escaped_pem(issue("alice").der) not in repr(found)


@VIEWS
def test_site_policy_and_store(
    configure: Configure, browser: Browser, issue: Issue, received: list[dict[str, Any]], view: str
) -> None:
    """The site's policy and a database that does not answer are named too."""
    enroll(issue("alice"), person("alice"))
    with database_down():
        browser.get(view, by_nginx(issue("alice").der))
    configure(POLICY=IssuedBy("CN=Other"))
    browser.get(view, by_nginx(issue("alice").der))
    assert [(found["reason"], found["detail"]) for found in received] == [
        (Reason.STORE_UNAVAILABLE, "OperationalError"),
        (Reason.NOT_ALLOWED, "refused by IssuedBy('CN=Other')"),
    ]


@VIEWS
def test_no_signal_without_denial(
    configure: Configure, browser: Browser, issue: Issue, received: list[dict[str, Any]], view: str
) -> None:
    """Neither the admitted nor the anonymous are announced, nor what strangers write."""
    enroll(issue("alice"), person("alice"))
    browser.get(view, by_nginx(issue("alice").der))
    browser.get(view, NOTHING)
    browser.get(view, Sent(headers=((CERT, "x"), (VERIFY, "SUCCESS")), peer=STRANGER))
    assert received == []


def test_receivers_may_use_the_database(
    configure: Configure, browser: Browser, issue: Issue, django_assert_num_queries: Any
) -> None:
    """A receiver is called where it may ask the database, under ASGI too."""

    def count(request: Any, **kwargs: Any) -> None:
        counted.append(type(request.user.pk))

    counted: list[Any] = []
    certificate_denied.connect(count)
    try:
        browser.get("/async/open/", by_nginx(issue("alice").der))
    finally:
        certificate_denied.disconnect(count)
    assert counted == [type(None)]
