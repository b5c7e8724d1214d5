"""The explanation of a decision: every kind of source, one or several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from django_mtls import lifecycle
from django_mtls.conf import get_authenticator
from django_mtls.explanation import Step, explain
from django_mtls.models import CRLReason, EnrolledCertificate
from mtls_auth import Assurance, AssuredBy, CommonName, Fingerprint, IssuedBy
from mtls_auth.dialects import BUILTIN
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.django.conftest import Issue, enroll, person

pytestmark = pytest.mark.django_db

SPIFFE_ID = "spiffe://example.org/ns/default/sa/alice"
TRUST = {"TRUSTED_PROXIES": ["10.0.0.1"]}
NGINX = {"SOURCE": "nginx", **TRUST}
ALIBABA = {"SOURCE": "alibaba-alb", **TRUST}
LINKERD = {"SOURCE": "linkerd", **TRUST, "PROXY_VERIFIES": True}
TITLES = ["Verified", "In force", "Admitted by the site’s policy", "Stands for a user"]


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """A leaf with a SPIFFE ID."""
    return ca.issue("alice", san=(x509.UniformResourceIdentifier(SPIFFE_ID),))


@pytest.fixture
def row(leaf: IssuedCertificate) -> EnrolledCertificate:
    """It is alice's; a user has the name that a mesh would state."""
    person(SPIFFE_ID)
    return enroll(leaf, person("alice"))


Explained = Callable[..., list[Step]]


@pytest.fixture
def explained(settings: Any, leaf: IssuedCertificate, row: EnrolledCertificate) -> Explained:
    """Return the steps under these settings."""

    def steps(der: bytes = leaf.der, **raw: Any) -> list[Step]:
        settings.MTLS_AUTH = raw
        return list(explain((der,), get_authenticator()))

    return steps


def admitted(steps: list[Step]) -> list[str]:
    """Return what each of four steps found, the last of whom the certificate stands for."""
    assert [str(step.title) for step in steps] == TITLES
    assert [step.rejected for step in steps] == [None] * 4
    return [step.found for step in steps]


def refused(steps: list[Step]) -> tuple[str, str]:
    """Return the title and the reason of the step that refuses, the last."""
    assert [step.rejected for step in steps[:-1]] == [None] * (len(steps) - 1)
    last = steps[-1]
    assert last.rejected is not None
    return str(last.title), last.rejected.reason.value


@pytest.fixture(scope="module")
def anchors(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root in a PEM file."""
    file = tmp_path_factory.mktemp("anchors") / "ca.pem"
    file.write_bytes(ca.pem)
    return file


@pytest.mark.parametrize("name", ["tls", *BUILTIN, *BUILTIN_VARIABLES])
def test_every_source(explained: Explained, name: str, anchors: Path) -> None:
    """Whatever the source, an enrolled certificate is explained as a request would decide, with its assurance."""
    raw: dict[str, Any] = {"SOURCE": name}
    vouched = "tls_socket" if name == "tls" else ""
    if name in BUILTIN:
        dialect = BUILTIN[name]
        raw |= TRUST
        if dialect.unverified:
            raw["TRUST_ANCHORS"] = anchors
        elif not dialect.has_verdict:
            raw["PROXY_VERIFIES"] = True
        vouched = "proxy_verdict" if dialect.has_verdict else "proxy_presence"
    elif name in BUILTIN_VARIABLES:
        vouched = BUILTIN_VARIABLES[name].assurance.value
    if name in {"linkerd", "pyvoy"}:
        raw["MAPPING"] = "stated_name"
    holder = {"linkerd": SPIFFE_ID, "pyvoy": "CN=alice"}.get(name, "alice")
    if name == "pyvoy":
        person(holder)
    found = admitted(explained(**raw))
    assert found[3] == holder
    if "TRUST_ANCHORS" in raw:
        assert found[0] == "up to a trust anchor of this application"
    else:
        assert found[0].startswith(f"if {vouched} says so: no signature is checked here")


def test_what_is_stated(explained: Explained, leaf: IssuedCertificate, row: EnrolledCertificate) -> None:
    """Where the certificate is kept back, the explanation says what arrives, and does not speak of its validity."""
    found = admitted(explained(**ALIBABA))
    assert f"what arrives is no name (SHA-1 {row.fingerprint_sha1[:16]}…) alone" in found[0]
    assert found[1] == "whoever verifies it says so"
    assert admitted(explained(**NGINX))[1].startswith("until 20")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({**ALIBABA, "POLICY": IssuedBy("CN=Test CA")}, (TITLES[2], "insufficient_evidence")),
        ({**ALIBABA, "POLICY": Fingerprint("0" * 40)}, (TITLES[2], "not_allowed")),
    ],
    ids=["policy", "another fingerprint"],
)
def test_what_a_statement_lacks(explained: Explained, raw: dict[str, Any], expected: tuple[str, str]) -> None:
    """The step that needs the certificate refuses, as it would on a request."""
    assert refused(explained(**raw)) == expected


def test_a_name_that_is_not_there(explained: Explained, issue: Issue) -> None:
    """A certificate that a mesh could not name is refused at once."""
    assert refused(explained(issue("alice").der, **LINKERD, MAPPING="stated_name")) == (
        TITLES[0],
        "insufficient_evidence",
    )


def test_state_of_a_stated_certificate(explained: Explained, row: EnrolledCertificate) -> None:
    """The row decides for a statement as for a certificate."""
    lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
    assert refused(explained(**ALIBABA)) == (TITLES[3], "revoked")


def test_an_expired_certificate_that_is_stated(
    explained: Explained, ca: CertificateAuthority, issue: Issue, row: EnrolledCertificate
) -> None:
    """The row's validity is found where the user is."""
    EnrolledCertificate.objects.update(not_after=row.not_before)
    assert refused(explained(**ALIBABA)) == (TITLES[3], "expired")


# Several sources


def test_sources_that_agree(explained: Explained) -> None:
    """Where it makes no difference which source brings it, none is named."""
    found = admitted(explained(SOURCES=[NGINX, {"SOURCE": "apache", **TRUST}]))
    assert found[0] == "if proxy_verdict says so: no signature is checked here"


def test_who_vouches_of_several(explained: Explained) -> None:
    """Where sources vouch differently, each is named with what it does."""
    found = admitted(explained(SOURCES=[{"SOURCE": "tls"}, NGINX]))
    assert found[0].startswith("by tls: if tls_socket says so")
    assert "; by nginx: if proxy_verdict says so" in found[0]
    assert found[3] == "alice"


def test_anchors_of_several(explained: Explained, anchors: Path) -> None:
    """Where the application verifies, it makes no difference."""
    raw = {"SOURCES": [{"SOURCE": "tls"}, {"SOURCE": "kong", **TRUST}], "TRUST_ANCHORS": anchors}
    assert admitted(explained(**raw))[0] == "up to a trust anchor of this application"


def test_one_source_is_refused(explained: Explained) -> None:
    """A policy that one source meets admits by that one; the others are named, and go no further."""
    policy = AssuredBy(Assurance.TLS_SOCKET)
    found = admitted(explained(SOURCES=[NGINX, {"SOURCE": "tls"}], POLICY=policy))
    assert found[2] == f"by tls: {policy!r}; not by nginx: refused by {policy!r}"
    assert found[3] == "alice"


def test_one_source_does_not_forward_it(explained: Explained) -> None:
    """A policy on the certificate is met by the source that forwards it."""
    found = admitted(explained(SOURCES=[ALIBABA, NGINX], POLICY=CommonName("alice")))
    assert found[2].startswith("by nginx: CommonName('alice'); not by alibaba-alb: the terminator forwards no")


def test_every_source_refuses(explained: Explained) -> None:
    """What no source can bring is refused, for the reason of the first."""
    steps = explained(SOURCES=[ALIBABA, NGINX], POLICY=CommonName("bob"))
    assert refused(steps) == (TITLES[2], "insufficient_evidence")
    steps = explained(SOURCES=[NGINX, ALIBABA], POLICY=CommonName("bob"))
    assert refused(steps) == (TITLES[2], "not_allowed")


def test_nothing_is_asked_after_a_refusal(explained: Explained, django_assert_num_queries: Any) -> None:
    """The steps are taken one by one: no user is looked for after the policy has refused."""
    with django_assert_num_queries(0):
        explained(**NGINX, POLICY=CommonName("bob"))
