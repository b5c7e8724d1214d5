"""The decision table: source × certificate × user × policy → status, user, reason; through every door alike."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient

from django_mtls import lifecycle
from django_mtls.models import CRLReason, Revocation, State
from mtls_auth import AllOf, AnyVerifiedCertificate, IssuedBy, NoneOf, OrganizationalUnit, Policy, load_certificate
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, escaped_pem
from tests.django.conftest import (
    BROWSERS,
    NGINX_SETTINGS,
    NOTHING,
    STRANGER,
    Answer,
    Configure,
    Headers,
    Issue,
    Sent,
    by_nginx,
    by_rfc9440,
    by_tls,
    database_down,
    enroll,
    person,
    put,
    revoke_serial,
    scope_of,
)
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

DOORS = [(browser, view) for browser in BROWSERS for view in ("sync", "async")]
doors = pytest.mark.parametrize(("browser", "view"), DOORS, ids=[f"{browser}-{view}" for browser, view in DOORS])


def get(browser: str, path: str, sent: Sent = NOTHING) -> Answer:
    """Send one request with a browser of its own."""
    return BROWSERS[browser]().get(path, sent)


@dataclass(frozen=True)
class SourceRow:
    """A way on which certificates come."""

    settings: dict[str, Any]
    send: Callable[[bytes], Sent]
    anchored: bool = False


SOURCES = {
    "nginx": SourceRow(NGINX_SETTINGS, by_nginx),
    "nginx, anchors": SourceRow(NGINX_SETTINGS, by_nginx, anchored=True),
    "rfc9440": SourceRow({**NGINX_SETTINGS, "SOURCE": "rfc9440", "PROXY_VERIFIES": True}, by_rfc9440),
    "rfc9440, anchors": SourceRow({**NGINX_SETTINGS, "SOURCE": "rfc9440"}, by_rfc9440, anchored=True),
    "tls": SourceRow({"SOURCE": "tls"}, by_tls),
}


@dataclass(frozen=True)
class StateRow:
    """A certificate, what happened to it, and what its holder meets."""

    expected: Answer
    leaf: str = "good"
    happen: Callable[[IssuedCertificate, User], object] = field(default=lambda issued, user: enroll(issued, user))


def _enrolled(then: Callable[[Any, User], object]) -> Callable[[IssuedCertificate, User], object]:
    return lambda issued, user: then(enroll(issued, user), user)


def _nothing(issued: IssuedCertificate, user: User) -> None: ...


def _deactivate(issued: IssuedCertificate, user: User) -> None:
    enroll(issued, user)
    user.is_active = False
    user.save()


def _revoke_after_enrolment_elsewhere(issued: IssuedCertificate, user: User) -> None:
    """A revocation that names the enrolled certificate by serial number alone, its row still active."""
    enroll(issued, user)
    certificate = load_certificate(issued.der)
    Revocation.objects.create(issuer=certificate.issuer.rfc4514_string(), **lifecycle.issued(certificate))


def _reactivate(issued: IssuedCertificate, user: User) -> None:
    row = enroll(issued, user)
    lifecycle.suspend(row)
    lifecycle.reactivate(row)


ALICE = Answer(200, "alice")
ANONYMOUS = Answer(200, "")


def refused(reason: str, status: int = 403) -> Answer:
    return Answer(status, None, reason)


STATES = {
    "active": StateRow(ALICE),
    "pending": StateRow(refused("pending"), happen=_enrolled(lambda row, user: put(row, State.PENDING))),
    "suspended": StateRow(refused("suspended"), happen=_enrolled(lambda row, user: lifecycle.suspend(row))),
    "reactivated": StateRow(ALICE, happen=_reactivate),
    "superseded": StateRow(refused("superseded"), happen=_enrolled(lambda row, user: put(row, State.SUPERSEDED))),
    "revoked": StateRow(
        refused("revoked"),
        happen=_enrolled(lambda row, user: lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)),
    ),
    "serial revoked, row active": StateRow(refused("revoked"), happen=_revoke_after_enrolment_elsewhere),
    "serial revoked, never enrolled": StateRow(
        refused("not_enrolled"), happen=lambda issued, user: revoke_serial(issued)
    ),
    "unknown": StateRow(refused("not_enrolled"), happen=_nothing),
    "inactive user": StateRow(refused("inactive_user"), happen=_deactivate),
    "deleted user": StateRow(refused("no_user"), happen=_enrolled(lambda row, user: user.delete())),
    "expired": StateRow(refused("expired"), "expired"),
    "not yet valid": StateRow(refused("not_yet_valid"), "not_yet_valid"),
    "for servers": StateRow(refused("wrong_key_usage"), "server_only"),
    "names nobody": StateRow(refused("unusable_name"), "without_name", _nothing),
    "two names": StateRow(refused("unusable_name"), "two_common_names", _nothing),
}


@pytest.fixture(scope="session")
def anchors(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root in a PEM file."""
    file = tmp_path_factory.mktemp("anchors") / "ca.pem"
    file.write_bytes(ca.pem)
    return file


@pytest.fixture
def use(configure: Configure, anchors: Path) -> Callable[..., SourceRow]:
    """Configure one of SOURCES."""

    def configured(name: str, **changes: Any) -> SourceRow:
        row = SOURCES[name]
        if row.anchored:
            changes["TRUST_ANCHORS"] = [anchors]
        configure(**{**row.settings, **changes})
        return row

    return configured


Use = Callable[..., SourceRow]


@doors
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("state", STATES)
def test_states(use: Use, leaves: BrokenLeaves, source: str, state: str, browser: str, view: str) -> None:
    """What became of a certificate and its user decides, whatever source it came by and whichever view was asked."""
    row = STATES[state]
    issued = getattr(leaves, row.leaf)
    row.happen(issued, person("alice"))
    assert get(browser, f"/{view}/open/", use(source).send(issued.der)) == row.expected


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("leaf", ["impostor", "from_impostor_ca"])
def test_anchors_decide_where_there_are_some(
    use: Use, leaves: BrokenLeaves, source: str, leaf: str, browser: str
) -> None:
    """A certificate of somebody else's CA is untrusted where anchors are configured, and unknown elsewhere."""
    enroll(leaves.good, person("alice"))
    sent = use(source).send(getattr(leaves, leaf).der)
    reason = "untrusted" if SOURCES[source].anchored else "not_enrolled"
    assert get(browser, "/sync/open/", sent) == refused(reason)


@doors
@pytest.mark.parametrize("source", SOURCES)
def test_without_certificate(use: Use, source: str, browser: str, view: str) -> None:
    """Whoever presents none is anonymous."""
    use(source)
    assert get(browser, f"/{view}/open/") == ANONYMOUS


@doors
@pytest.mark.parametrize("source", SOURCES)
def test_required(use: Use, leaves: BrokenLeaves, source: str, browser: str, view: str) -> None:
    """With REQUIRED whoever presents none is refused, and a holder is not."""
    enroll(leaves.good, person("alice"))
    row = use(source, REQUIRED=True)
    assert get(browser, f"/{view}/open/") == refused("certificate_required")
    assert get(browser, f"/{view}/open/", row.send(leaves.good.der)) == ALICE


GUARDS = {
    ("decorator/any", None): refused("certificate_required"),
    ("decorator/any", "alice"): ALICE,
    ("decorator/any", "operator"): Answer(200, "operator"),
    ("decorator/ops", None): refused("certificate_required"),
    ("decorator/ops", "alice"): refused("not_allowed"),
    ("decorator/ops", "operator"): Answer(200, "operator"),
}
GUARDS |= {(guard.replace("decorator", "mixin"), who): answer for (guard, who), answer in GUARDS.items()}
UNITS = {"alice": "Sales", "operator": "Ops"}


@doors
@pytest.mark.parametrize("source", ["nginx", "rfc9440, anchors", "tls"])
@pytest.mark.parametrize(
    ("guard", "who", "expected"),
    [(*key, answer) for key, answer in GUARDS.items()],
    ids=[f"{guard}-{who}" for guard, who in GUARDS],
)
def test_guards(
    use: Use, issue: Issue, source: str, guard: str, who: str | None, expected: Answer, browser: str, view: str
) -> None:
    """A guarded view runs for those whom its policy admits."""
    send = use(source).send
    sent = NOTHING
    if who is not None:
        issued = issue(who, UNITS[who])
        enroll(issued, person(who))
        sent = send(issued.der)
    assert get(browser, f"/{view}/{guard}/", sent) == expected


@doors
@pytest.mark.parametrize("guard", ["decorator/any", "mixin/any", "decorator/ops", "mixin/ops"])
def test_a_password_is_no_certificate(configure: Configure, guard: str, browser: str, view: str) -> None:
    """A user of a password session is refused by a guard."""
    person("alice")
    client = BROWSERS[browser]()
    client.get("/sync/log-in/?name=alice")
    assert client.get(f"/{view}/open/") == ALICE
    assert client.get(f"/{view}/{guard}/") == refused("certificate_required")


SITE_POLICIES: dict[str, tuple[Policy, Answer, Answer]] = {
    "any": (AnyVerifiedCertificate(), ALICE, Answer(200, "operator")),
    "unit": (OrganizationalUnit("Ops"), refused("not_allowed"), Answer(200, "operator")),
    "issuer": (IssuedBy("CN=Test CA"), ALICE, Answer(200, "operator")),
    "other issuer": (IssuedBy("CN=Other"), refused("not_allowed"), refused("not_allowed")),
    "all but": (AllOf(AnyVerifiedCertificate(), NoneOf(OrganizationalUnit("Ops"))), ALICE, refused("not_allowed")),
    "or": (IssuedBy("CN=Other") | OrganizationalUnit("Ops"), refused("not_allowed"), Answer(200, "operator")),
}


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize(("policy", "alice", "operator"), SITE_POLICIES.values(), ids=SITE_POLICIES)
def test_site_policies(
    configure: Configure, issue: Issue, policy: Policy, alice: Answer, operator: Answer, browser: str
) -> None:
    """The policy of the site holds for every view, open ones included, and lets the anonymous pass."""
    configure(POLICY=policy)
    for name, unit in UNITS.items():
        enroll(issue(name, unit), person(name))
    assert get(browser, "/sync/open/") == ANONYMOUS
    assert get(browser, "/sync/open/", by_nginx(issue("alice", "Sales").der)) == alice
    assert get(browser, "/sync/open/", by_nginx(issue("operator", "Ops").der)) == operator


CERT = "X-SSL-Client-Cert"
VERIFY = "X-SSL-Client-Verify"


@dataclass(frozen=True)
class HeaderRow:
    """What stands in the headers, where `PEM` is alice's certificate as nginx writes it."""

    headers: Headers
    expected: Answer
    asgi: Answer | None = None
    """Where ASGI servers tell more than WSGI servers."""


HEADERS = {
    "good": HeaderRow(((CERT, "PEM"), (VERIFY, "SUCCESS")), ALICE),
    "other case": HeaderRow(((CERT.upper(), "PEM"), (VERIFY.lower(), "SUCCESS")), ALICE),
    "none": HeaderRow(((CERT, ""), (VERIFY, "NONE")), ANONYMOUS),
    "failed": HeaderRow(((CERT, "PEM"), (VERIFY, "FAILED:certificate has expired")), refused("proxy_rejected")),
    "failed, no certificate": HeaderRow(((CERT, ""), (VERIFY, "FAILED:x")), refused("proxy_rejected")),
    "success in lower case": HeaderRow(((CERT, "PEM"), (VERIFY, "success")), refused("proxy_rejected")),
    "prefix": HeaderRow(((CERT, "PEM"), (VERIFY, "SUCCESSFUL")), refused("proxy_rejected")),
    "no verdict": HeaderRow(((CERT, "PEM"),), refused("unverified")),
    "verdict for none": HeaderRow(((CERT, "PEM"), (VERIFY, "NONE")), refused("contradictory_evidence", 400)),
    "verdict alone": HeaderRow(((VERIFY, "SUCCESS"),), refused("contradictory_evidence", 400)),
    "malformed": HeaderRow(((CERT, "bm90IGEgY2VydA"), (VERIFY, "SUCCESS")), refused("malformed_header", 400)),
    "not escaped": HeaderRow(
        ((CERT, "-----BEGIN CERTIFICATE----- MIIB"), (VERIFY, "SUCCESS")), refused("malformed_header", 400)
    ),
    "no certificate in it": HeaderRow(
        ((CERT, escaped_pem(b"\x30\x03\x02\x01\x00")), (VERIFY, "SUCCESS")), refused("malformed_certificate", 400)
    ),
    "oversized": HeaderRow(((CERT, "A" * 16385), (VERIFY, "SUCCESS")), refused("oversized_header", 431)),
    "certificate twice": HeaderRow(
        ((CERT, "PEM"), (CERT, "PEM"), (VERIFY, "SUCCESS")), refused("ambiguous_header", 400)
    ),
    "verdict twice": HeaderRow(
        ((CERT, "PEM"), (VERIFY, "SUCCESS"), (VERIFY, "SUCCESS")), refused("ambiguous_header", 400)
    ),
    "other dialect": HeaderRow((("Client-Cert", "PEM"), ("X-Forwarded-Client-Cert", "Cert=PEM")), ANONYMOUS),
    "other dialect beside": HeaderRow(((CERT, "PEM"), (VERIFY, "SUCCESS"), ("Client-Cert", "x")), ALICE),
}


@doors
@pytest.mark.parametrize("case", HEADERS)
def test_headers(configure: Configure, issue: Issue, case: str, browser: str, view: str) -> None:
    """The proxy's fields are read in one way or refused."""
    issued = issue("alice")
    enroll(issued, person("alice"))
    row = HEADERS[case]
    headers = tuple((name, value.replace("PEM", escaped_pem(issued.der))) for name, value in row.headers)
    assert get(browser, f"/{view}/open/", Sent(headers=headers)) == row.expected


@pytest.mark.parametrize("name", ["x_ssl_client_cert", "X-SSL_Client-Cert", "x.ssl.client.cert"])
@pytest.mark.parametrize("beside", [True, False], ids=["beside the field", "alone"])
def test_other_spellings(configure: Configure, issue: Issue, name: str, beside: bool) -> None:
    """Under ASGI a field of the dialect in another spelling is refused, from the proxy itself."""
    enroll(issue("alice"), person("alice"))
    good = by_nginx(issue("alice").der)
    sent = Sent(headers=((name, good.headers[0][1]), *(good.headers if beside else good.headers[1:])))
    assert get("asgi", "/sync/open/", sent) == refused("ambiguous_header", 400)


@doors
@pytest.mark.parametrize("peer", [STRANGER, "11.0.0.1", "::1", None, "unix:/run/app.sock", "not an address"])
def test_untrusted_peer(configure: Configure, issue: Issue, peer: str | None, browser: str, view: str) -> None:
    """Whoever is not the proxy is anonymous with whatever headers, and the view does not see them."""
    enroll(issue("alice"), person("alice"))
    answer = get(browser, f"/{view}/open/", replace(by_nginx(issue("alice").der), peer=peer))
    assert answer == ANONYMOUS
    assert not [key for key in answer.request.META if "SSL" in key]


@pytest.mark.parametrize("browser", BROWSERS)
def test_malformed_headers_of_strangers(configure: Configure, browser: str) -> None:
    """What a stranger writes is not even read."""
    sent = Sent(headers=((CERT, "A" * 20000), (CERT, "\x01"), (VERIFY, "FAILED")), peer=STRANGER)
    assert get(browser, "/sync/open/", sent) == ANONYMOUS


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize(
    ("stated", "expected"),
    [(True, ALICE), (False, ANONYMOUS)],
    ids=["SERVER_ADDRESS_IS_PEER", "not"],
)
def test_stated_address(configure: Configure, issue: Issue, stated: bool, expected: Answer, browser: str) -> None:
    """REMOTE_ADDR and scope["client"] are believed where the operator says so, and the server hides the peer."""
    configure(TRUSTED_PROXIES=[STRANGER], SERVER_ADDRESS_IS_PEER=stated)
    enroll(issue("alice"), person("alice"))
    assert get(browser, "/sync/open/", replace(by_nginx(issue("alice").der), peer=None)) == expected


@pytest.mark.parametrize("browser", BROWSERS)
def test_true_peer_beats_stated_address(configure: Configure, issue: Issue, browser: str) -> None:
    """Where the server shows the peer, the stated address does not count."""
    configure(TRUSTED_PROXIES=[STRANGER], SERVER_ADDRESS_IS_PEER=True)
    enroll(issue("alice"), person("alice"))
    assert get(browser, "/sync/open/", replace(by_nginx(issue("alice").der), peer="192.0.2.9")) == ANONYMOUS


@doors
def test_tls_reads_no_header(configure: Configure, issue: Issue, browser: str, view: str) -> None:
    """With SOURCE = "tls" the headers of every proxy are nothing."""
    configure(SOURCE="tls")
    enroll(issue("alice"), person("alice"))
    answer = get(browser, f"/{view}/open/", by_nginx(issue("alice").der))
    assert answer == ANONYMOUS
    assert not [key for key in answer.request.META if "SSL" in key]


@doors
def test_nginx_reads_no_socket(configure: Configure, issue: Issue, browser: str, view: str) -> None:
    """With a dialect as SOURCE the server's own socket is nothing."""
    enroll(issue("alice"), person("alice"))
    assert get(browser, f"/{view}/open/", by_tls(issue("alice").der)) == ANONYMOUS


@doors
def test_garbage_on_the_socket(configure: Configure, browser: str, view: str) -> None:
    """What cannot be read is refused, wherever it came from."""
    configure(SOURCE="tls")
    assert get(browser, f"/{view}/open/", by_tls(b"\x30\x00")) == refused("malformed_certificate", 400)


def test_tls_extension_without_tls(configure: Configure, issue: Issue) -> None:
    """A scope without TLS has no certificate, whatever its extensions say."""
    configure(SOURCE="tls")
    enroll(issue("alice"), person("alice"))
    scope = scope_of("/async/open/", by_tls(issue("alice").der))
    for scheme, user in (("https", "alice"), ("http", "")):
        response = async_to_sync(AsyncClient().request)(**scope | {"scheme": scheme, "headers": []})
        assert response.json()["user"] == user


@doors
def test_store_unavailable(configure: Configure, issue: Issue, browser: str, view: str) -> None:
    """Nobody gets in with a certificate while the database does not answer, and everybody without one."""
    enroll(issue("alice"), person("alice"))
    with database_down():
        assert get(browser, f"/{view}/open/", by_nginx(issue("alice").der)) == refused("store_unavailable", 503)
        assert get(browser, f"/{view}/open/") == ANONYMOUS
    assert get(browser, f"/{view}/open/", by_nginx(issue("alice").der)) == ALICE


COMMON_NAMES: dict[str, tuple[Callable[[IssuedCertificate], object], Answer]] = {
    "active user": (lambda issued: person("alice"), ALICE),
    "no such user": (lambda issued: person("bob"), refused("not_enrolled")),
    "other case": (lambda issued: person("Alice"), refused("not_enrolled")),
    "inactive user": (lambda issued: person("alice", is_active=False), refused("inactive_user")),
    "enrolled for alice": (lambda issued: enroll(issued, person("alice")), ALICE),
    "enrolled for bob": (
        lambda issued: (person("alice"), enroll(issued, person("bob"))),
        refused("contradictory_evidence", 400),
    ),
    "enrolled for nobody": (
        lambda issued: (person("alice"), enroll(issued, None)),
        refused("contradictory_evidence", 400),
    ),
    "revoked, never enrolled": (lambda issued: (person("alice"), revoke_serial(issued)), refused("revoked")),
    "suspended": (lambda issued: lifecycle.suspend(enroll(issued, person("alice"))), refused("suspended")),
    "pending": (lambda issued: put(enroll(issued, person("alice")), State.PENDING), refused("pending")),
}


@doors
@pytest.mark.parametrize("case", COMMON_NAMES)
def test_common_names(use: Use, issue: Issue, case: str, browser: str, view: str) -> None:
    """Mapped by name, a certificate stands for the user of its common name unless its enrolment says otherwise."""
    happen, expected = COMMON_NAMES[case]
    happen(issue("alice"))
    use("tls", MAPPING="common_name", POLICY=IssuedBy("CN=Test CA"))
    assert get(browser, f"/{view}/open/", by_tls(issue("alice").der)) == expected
