"""How a certificate would reach the application: what each source would say of it."""

from dataclasses import replace
from hashlib import sha1
from typing import Any

import pytest
from cryptography import x509

from django_mtls.configured import source_of
from django_mtls.presentation import presented
from mtls_auth import Assurance, CertificateRejected, Evidence, Reason, Statement
from mtls_auth.dialects import ALIBABA_ALB, BUILTIN
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.testing import CertificateAuthority, IssuedCertificate

SPIFFE_ID = "spiffe://example.org/ns/default/sa/alice"
TRUST = {"TRUSTED_PROXIES": ["10.0.0.1"]}


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """A leaf with a SPIFFE ID."""
    return ca.issue("alice", san=(x509.UniformResourceIdentifier(SPIFFE_ID),))


def only(raw: dict[str, Any], *chain: bytes) -> Evidence:
    """Return what the only source says."""
    (evidence,) = presented(source_of(raw), chain)
    return evidence


def settings_for(name: str) -> dict[str, Any]:
    """Return settings of one source."""
    if name not in BUILTIN:
        return {"SOURCE": name}
    row = BUILTIN[name]
    return {"SOURCE": name, **TRUST, "PROXY_VERIFIES": not row.unverified and not row.has_verdict}


@pytest.mark.parametrize("name", ["tls", *BUILTIN, *BUILTIN_VARIABLES])
def test_every_source(name: str, leaf: IssuedCertificate, ca: CertificateAuthority) -> None:
    """Each is called by its name, vouches as on a request, and says what it forwards or states."""
    chain = (leaf.der, ca.der)
    evidence = only(settings_for(name), *chain)
    row = BUILTIN.get(name) or BUILTIN_VARIABLES.get(name)
    assert evidence.source == name
    if row is None or not row.without_certificate:
        assert evidence.decoded() == chain
    else:
        assert isinstance(evidence.decoded(), Statement)
    if name in BUILTIN:
        expected = Assurance.PROXY_VERDICT if BUILTIN[name].has_verdict else Assurance.PROXY_PRESENCE
        assert evidence.vouched == (None if BUILTIN[name].unverified else expected)
    else:
        assert evidence.vouched == (Assurance.TLS_SOCKET if name == "tls" else BUILTIN_VARIABLES[name].assurance)


STATEMENTS = {
    "alibaba-alb": lambda leaf: Statement(fingerprint=sha1(leaf.der, usedforsecurity=False).hexdigest()),
    "istio": lambda leaf: Statement(fingerprint=leaf.fingerprint_sha256, name=SPIFFE_ID),
    "consul": lambda leaf: Statement(fingerprint=leaf.fingerprint_sha256, name=SPIFFE_ID),
    "linkerd": lambda leaf: Statement(name=SPIFFE_ID),
    "pyvoy": lambda leaf: Statement(name="CN=alice"),
}


@pytest.mark.parametrize(("name", "statement"), STATEMENTS.items(), ids=STATEMENTS)
def test_statements(name: str, statement: Any, leaf: IssuedCertificate) -> None:
    """A terminator that keeps the certificate states what its headers carry, and no more."""
    assert only(settings_for(name), leaf.der).decoded() == statement(leaf)


def test_a_certificate_without_a_mesh_name(ca: CertificateAuthority) -> None:
    """Of a certificate that has no name of the kind a mesh states nothing."""
    for name in ("istio", "linkerd"):
        with pytest.raises(CertificateRejected, match=f"no name that {name} would state") as caught:
            only(settings_for(name), ca.issue("alice").der).decoded()
        assert caught.value.reason is Reason.INSUFFICIENT_EVIDENCE


def test_a_decoder_of_one_s_own(leaf: IssuedCertificate) -> None:
    """What a project's own terminator states is not guessed at."""
    own = replace(ALIBABA_ALB, name="own", decode=lambda text: Statement(name=text))
    with pytest.raises(CertificateRejected, match="what own states") as caught:
        only({"SOURCE": own, **TRUST}, leaf.der).decoded()
    assert caught.value.reason is Reason.INSUFFICIENT_EVIDENCE


def test_several(leaf: IssuedCertificate) -> None:
    """Each source says it, one for each name, in their order."""
    nginx = {"SOURCE": "nginx", **TRUST}
    parts = [{"SOURCE": "mod_wsgi"}, nginx, {"SOURCE": "tls"}, {**nginx, "HEADERS": {"leaf": "x-other"}}]
    found = presented(source_of({"SOURCES": parts}), (leaf.der,))
    assert [(evidence.source, evidence.vouched) for evidence in found] == [
        ("mod_wsgi", Assurance.TLS_SOCKET),
        ("nginx", Assurance.PROXY_VERDICT),
        ("tls", Assurance.TLS_SOCKET),
    ]
