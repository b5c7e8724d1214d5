"""What the page of misconfigurations says of requests that arrive, decided by the code."""

from dataclasses import dataclass

import pytest

from mtls_auth import (
    AnyVerifiedCertificate,
    Authenticator,
    ConfigurationError,
    Connection,
    Denied,
    Dialect,
    Forwarded,
    ProxySecret,
    Reason,
    TrustedProxies,
)
from mtls_auth.dialects import APACHE, CADDY, CLOUDFLARE, ENVOY, HAPROXY, INGRESS_NGINX, LIGHTTPD, NGINX
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.testing.headers import headers_for
from tests.docs.snippets import ROOT

PAGE = (ROOT / "docs/explanation/misconfigurations.md").read_text()
PROXY = "10.0.0.7"
SECRET = "Vt1yVq0P3hBfT7nJ4s9XwLk2ZrEo8mGd"

# Alice's, whose certificate the client writes into headers; and the client's own.
ALICE = CertificateAuthority("Example CA").issue("alice")
MALLORY = CertificateAuthority("Example CA").issue("mallory")
Headers = tuple[tuple[str, str], ...]


def of(dialect: Dialect, issued: IssuedCertificate = ALICE) -> dict[str, str]:
    """Return what the terminator sends of a certificate that it verified."""
    return dict(headers_for(dialect, issued.der))


def changed(dialect: Dialect, **headers: str | None) -> Headers:
    """Return the same with some headers replaced, None for one that does not arrive."""
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return tuple((name, value) for name, value in {**of(dialect), **renamed}.items() if value is not None)


def spelled_with_underscores(dialect: Dialect) -> Headers:
    return tuple((name.replace("-", "_"), value) for name, value in of(dialect).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request as it arrives, under a heading of the page; a reason that the page names there, None for nobody's."""

    heading: str
    dialect: Dialect
    headers: Headers
    reason: Reason | None
    secret: bool = False


CASES = {
    "location without the lines": Case(
        heading="Any terminator", dialect=NGINX, headers=changed(NGINX), secret=True, reason=Reason.PROXY_UNPROVEN
    ),
    "underscores beside Nginx's verdict": Case(
        heading="Nginx",
        dialect=NGINX,
        headers=(("x-ssl-client-verify", "NONE"), *spelled_with_underscores(NGINX)),
        reason=Reason.AMBIGUOUS_HEADER,
    ),
    "verdicts that wsgiref joined": Case(
        heading="Nginx",
        dialect=NGINX,
        headers=changed(NGINX, x_ssl_client_verify="NONE,SUCCESS"),
        reason=Reason.AMBIGUOUS_HEADER,
    ),
    "optional_no_ca": Case(
        heading="Nginx",
        dialect=NGINX,
        headers=changed(NGINX, x_ssl_client_verify="FAILED:self-signed certificate"),
        reason=Reason.PROXY_REJECTED,
    ),
    "bare PEM before the verdict": Case(
        heading="Nginx",
        dialect=NGINX,
        headers=(("x-ssl-client-cert", "-----BEGIN CERTIFICATE-----"),),
        reason=Reason.UNVERIFIED,
    ),
    "bare PEM after the verdict": Case(
        heading="Nginx",
        dialect=NGINX,
        headers=changed(NGINX, x_ssl_client_cert="-----BEGIN CERTIFICATE-----"),
        reason=Reason.MALFORMED_HEADER,
    ),
    "a certificate set conditionally beside a verdict that is not": Case(
        heading="Apache httpd",
        dialect=APACHE,
        headers=changed(APACHE, x_ssl_client_verify="NONE"),
        reason=Reason.CONTRADICTORY_EVIDENCE,
    ),
    "the verdict nominated by Connection": Case(
        heading="Apache httpd",
        dialect=APACHE,
        headers=changed(APACHE, x_ssl_client_verify=None),
        reason=Reason.UNVERIFIED,
    ),
    "GENEROUS": Case(
        heading="Apache httpd",
        dialect=APACHE,
        headers=changed(APACHE, x_ssl_client_verify="GENEROUS"),
        reason=Reason.PROXY_REJECTED,
    ),
    "a trailer beside the header": Case(
        heading="HAProxy",
        dialect=HAPROXY,
        headers=(*changed(HAPROXY, x_ssl_client_cert="", x_ssl_client_used="0"), *changed(HAPROXY)[:1]),
        reason=Reason.AMBIGUOUS_HEADER,
    ),
    "a code that is not 0": Case(
        heading="HAProxy",
        dialect=HAPROXY,
        headers=changed(HAPROXY, x_ssl_client_verify="18"),
        reason=Reason.PROXY_REJECTED,
    ),
    "0 without a certificate": Case(
        heading="HAProxy",
        dialect=HAPROXY,
        headers=changed(HAPROXY, x_ssl_client_cert="", x_ssl_client_used="0"),
        reason=Reason.NO_CERTIFICATE,
    ),
    "a certificate that was not used": Case(
        heading="HAProxy",
        dialect=HAPROXY,
        headers=changed(HAPROXY, x_ssl_client_used="0"),
        reason=Reason.CONTRADICTORY_EVIDENCE,
    ),
    "a header made by a line break in a name": Case(
        heading="lighttpd",
        dialect=LIGHTTPD,
        headers=(*changed(LIGHTTPD), *changed(LIGHTTPD)[:1]),
        reason=Reason.AMBIGUOUS_HEADER,
    ),
    "APPEND_FORWARD": Case(
        heading="Envoy",
        dialect=ENVOY,
        headers=(
            (
                "x-forwarded-client-cert",
                ",".join(of(ENVOY, who)["x-forwarded-client-cert"] for who in (ALICE, MALLORY)),
            ),
        ),
        reason=Reason.AMBIGUOUS_HEADER,
    ),
    "FORWARD_ONLY": Case(heading="Envoy", dialect=ENVOY, headers=changed(ENVOY), reason=None),
    "a placeholder for another dialect": Case(
        heading="Caddy",
        dialect=NGINX,
        headers=changed(NGINX, x_ssl_client_cert="{http.request.tls.client.certificate_der_base64}"),
        reason=Reason.MALFORMED_HEADER,
    ),
    "a placeholder for Caddy's own": Case(
        heading="Caddy",
        dialect=CADDY,
        headers=(("x-ssl-client-cert", "{http.request.tls.client.certificate_der_base64}"),),
        reason=Reason.NO_CERTIFICATE,
    ),
    "without pass-certificate-to-upstream": Case(
        heading="ingress-nginx", dialect=INGRESS_NGINX, headers=changed(INGRESS_NGINX), reason=None
    ),
    "revoked and verified": Case(
        heading="Clouds",
        dialect=CLOUDFLARE,
        headers=changed(CLOUDFLARE, cf_cert_revoked="true"),
        reason=Reason.PROXY_REJECTED,
    ),
    "verified alone": Case(
        heading="Clouds",
        dialect=CLOUDFLARE,
        headers=changed(CLOUDFLARE, cf_cert_revoked=None),
        reason=Reason.UNVERIFIED,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_arrives(case: Case) -> None:
    """The decision is what the page says under this heading: a refusal, nobody, or alice where nothing can tell."""
    source = Forwarded(
        dialect=case.dialect,
        proxies=TrustedProxies.parse([PROXY]),
        secret=ProxySecret(SECRET) if case.secret else None,
        proxy_verifies=not case.dialect.has_verdict,
    )
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    raw = [(name.encode(), value.encode()) for name, value in case.headers]
    facts = StatedFacts(transport_peer=Peer(PROXY))
    decision = authenticator.authenticate(Connection.from_headers(raw, authenticator.known_headers, facts))
    assert getattr(decision, "reason", None) is case.reason
    section = PAGE.partition(f"\n## {case.heading}\n")[2].partition("\n## ")[0]
    assert section, case.heading
    if case.reason is None:
        assert "**nothing here can tell.**" in section
    elif isinstance(decision, Denied):
        said = {case.reason.value, *_WORDS.get(case.reason, ())}
        assert any(word in section for word in said)


# Where the page says it in words instead of the code.
_WORDS = {
    Reason.CONTRADICTORY_EVIDENCE: ("contradict",),
    Reason.MALFORMED_HEADER: ("malformed",),
    Reason.PROXY_UNPROVEN: ("secret; probe",),
    Reason.PROXY_REJECTED: ("*revoked* has to come, and be false",),
    Reason.UNVERIFIED: ("*revoked* has to come, and be false",),
}


def test_names_with_underscores_are_refused() -> None:
    """A header that servers drop or fold cannot be configured."""
    with pytest.raises(ConfigurationError):
        APACHE.with_headers(leaf="SSL_CLIENT_CERT")
    assert "names with underscores are refused as configuration" in PAGE
