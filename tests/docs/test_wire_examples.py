"""The requests that the terminators' pages show, decided by the code."""

from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
from cryptography import x509

from mtls_auth import (
    Anonymous,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    Connection,
    Decision,
    Dialect,
    Forwarded,
    PathVerifier,
    TrustedProxies,
    VouchedFor,
)
from mtls_auth.dialects import BUILTIN, CADDY, ENVOY, NGINX
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from tests.docs.snippets import ROOT

Headers = tuple[tuple[str, str], ...]


def load_wire() -> ModuleType:
    """Return the module alone: the package around it needs Sphinx."""
    spec = spec_from_file_location("docs_ext_wire", ROOT / "docs/ext/wire.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WIRE = load_wire()
PROXY = "10.0.0.7"
THEN = datetime(2026, 6, 1, tzinfo=UTC)


def decide(dialect: Dialect, headers: Headers) -> Decision:
    """Return the decision about an example in the year that it is from."""
    issuer = x509.load_der_x509_certificate(WIRE.example_chain()[1])
    source = Forwarded(
        dialect=dialect,
        proxies=TrustedProxies.parse([PROXY]),
        proxy_verifies=not (dialect.has_verdict or dialect.unverified),
    )
    verifier = PathVerifier([issuer]) if dialect.unverified else VouchedFor()
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate(), verifier=verifier, clock=lambda: THEN)
    raw = [(name.encode(), value.encode()) for name, value in headers]
    facts = StatedFacts(transport_peer=Peer(PROXY))
    return authenticator.authenticate(Connection.from_headers(raw, authenticator.known_headers, facts))


@pytest.mark.parametrize("dialect", BUILTIN.values(), ids=lambda dialect: dialect.name)
def test_with_a_certificate(dialect: Dialect) -> None:
    """The shown request is alice's."""
    decision = decide(dialect, WIRE.with_certificate(dialect))
    assert isinstance(decision, Authenticated), decision
    if decision.identity.statement is None:
        assert decision.identity.subject_cn == "alice"


@pytest.mark.parametrize("dialect", BUILTIN.values(), ids=lambda dialect: dialect.name)
def test_without_one(dialect: Dialect) -> None:
    """The shown request is nobody's, and is no error."""
    assert decide(dialect, WIRE.WITHOUT[dialect.name]) == Anonymous()


def test_old_caddy() -> None:
    """The placeholder's own text, which the page of Caddy speaks of, is nobody."""
    text = "{http.request.tls.client.certificate_der_base64}"
    assert decide(CADDY, (("x-ssl-client-cert", text),)) == Anonymous()


def test_values_are_shortened_in_the_middle() -> None:
    """What makes the encoding stays: boundaries, escapes, keys, hashes."""
    assert WIRE.shown(WIRE.with_certificate(NGINX)).startswith(
        "x-ssl-client-cert: -----BEGIN%20CERTIFICATE-----%0AMIIB7DCCAZKgA…"
    )
    envoy = WIRE.shown(WIRE.with_certificate(ENVOY))
    assert envoy.count("…") == 3
    assert dict(WIRE.with_certificate(ENVOY))["x-forwarded-client-cert"][:69] in envoy, "the whole hash"
