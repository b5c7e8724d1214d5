"""The headers that the test kit writes are those that each dialect reads."""

from hashlib import sha1, sha256

import pytest
from cryptography import x509

from mtls_auth import Connection, Dialect, Forwarded, Statement, TrustedProxies, codecs
from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import ConfigurationError
from mtls_auth.known_headers import known_headers
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from mtls_auth.testing.headers import headers_for
from mtls_auth.xfcc import XFCC

SPIFFE = "spiffe://example.org/alice"
# What each dialect that forwards issuers makes of them; the others forward the leaf alone.
WITH_CHAIN = {
    *("apache", "rfc9440", "haproxy", "traefik", "envoy", "contour", "aws-alb-passthrough"),
    *("azure-container-apps", "google-cloud", "cloudflare-rfc9440"),
}


@pytest.fixture(scope="module")
def issuer() -> CertificateAuthority:
    """An intermediate."""
    return CertificateAuthority().intermediate()


@pytest.fixture(scope="module")
def alice(issuer: CertificateAuthority) -> IssuedCertificate:
    """A leaf with every kind of name that a proxy forwards."""
    return issuer.issue("alice", san=[x509.UniformResourceIdentifier(SPIFFE), x509.DNSName("alice.example.org")])


def read(dialect: Dialect, headers: list[tuple[str, str]]) -> tuple[bytes, ...] | Statement:
    """Return what a source of this dialect makes of the headers, from its proxy."""
    source = Forwarded(
        dialect=dialect, proxies=TrustedProxies.parse(["10.0.0.1"]), proxy_verifies=not dialect.unverified
    )
    raw = [(name.encode(), value.encode()) for name, value in headers]
    connection = Connection.from_headers(
        raw, known_headers(source.headers), StatedFacts(transport_peer=Peer("10.0.0.1"))
    )
    evidence = source.read(connection)
    assert evidence is not None
    return evidence.decoded()


def stated(dialect: str, der: bytes) -> Statement:
    """Return what a dialect without certificates says of alice's."""
    digest = sha256(der).hexdigest()
    return {
        "istio": Statement(fingerprint=digest, name=SPIFFE),
        "consul": Statement(fingerprint=digest, name=SPIFFE),
        "linkerd": Statement(name=SPIFFE),
    }.get(dialect, Statement(fingerprint=sha1(der, usedforsecurity=False).hexdigest()))


@pytest.mark.parametrize("name", BUILTIN)
def test_every_dialect_reads_them(name: str, alice: IssuedCertificate) -> None:
    """Each dialect reads the leaf, or what it states instead, out of the headers made for it."""
    dialect = BUILTIN[name]
    expected = stated(name, alice.der) if dialect.without_certificate else (alice.der,)
    assert read(dialect, headers_for(dialect, alice.der)) == expected


@pytest.mark.parametrize("name", [name for name in BUILTIN if not BUILTIN[name].without_certificate])
def test_chains(name: str, alice: IssuedCertificate, issuer: CertificateAuthority) -> None:
    """Where a dialect forwards issuers, they come with the leaf; elsewhere they are left out."""
    dialect = BUILTIN[name]
    expected = (alice.der, issuer.der) if name in WITH_CHAIN else (alice.der,)
    assert read(dialect, headers_for(dialect, alice.der, issuer.der)) == expected


def test_numbered_chains(alice: IssuedCertificate, issuer: CertificateAuthority) -> None:
    """Apache writes one issuer into each numbered header, and no more than there are headers."""
    headers = dict(headers_for(BUILTIN["apache"], alice.der, *[issuer.der] * 5))
    assert [name for name in headers if "chain" in name] == [f"x-ssl-client-chain-{number}" for number in range(4)]


@pytest.mark.parametrize("name", BUILTIN)
def test_the_header_of_the_certificate_is_first(name: str, alice: IssuedCertificate) -> None:
    """The certificate's own header comes first, and every required header of the row is there once."""
    dialect = BUILTIN[name]
    names = [header for header, _value in headers_for(dialect, alice.der)]
    assert names[0] == dialect.leaf
    assert len(set(names)) == len(names)
    assert set(names) == set(dialect.headers) - set(dialect.chain_headers)


@pytest.mark.parametrize("name", ["istio", "consul", "linkerd"])
def test_a_certificate_without_the_name(name: str, issuer: CertificateAuthority) -> None:
    """A mesh forwards nothing of a certificate that has no name of its kind."""
    assert headers_for(BUILTIN[name], issuer.issue("alice").der) == []


def test_a_mesh_name_that_is_no_uri(issuer: CertificateAuthority) -> None:
    """Linkerd forwards a DNS name where there is no URI."""
    leaf = issuer.issue(None, san=[x509.DNSName("web.ns.serviceaccount.identity.linkerd.cluster.local")])
    assert headers_for(BUILTIN["linkerd"], leaf.der) == [
        ("l5d-client-id", "web.ns.serviceaccount.identity.linkerd.cluster.local")
    ]


@pytest.mark.parametrize(
    "decoder",
    [XFCC(hops=3), XFCC(fields=frozenset({"hash", "chain"})), XFCC(take="uri", hops=2, appended=True)],
    ids=["three proxies", "chain alone", "two proxies of a mesh"],
)
def test_xfcc_as_configured(decoder: XFCC, alice: IssuedCertificate, issuer: CertificateAuthority) -> None:
    """Envoy's header has the elements and the keys that the decoder asks for."""
    dialect = Dialect(name="mine", leaf="x-forwarded-client-cert", decode=decoder, lists=frozenset({"leaf"}))
    found = read(dialect, headers_for(dialect, alice.der, issuer.der))
    assert found == (
        Statement(fingerprint=alice.fingerprint_sha256, name=SPIFFE)
        if decoder.take == "uri"
        else (alice.der, issuer.der)
    )


@pytest.mark.parametrize("fields", [{"hash", "cert"}, {"hash", "chain"}, {"hash", "cert", "chain"}])
def test_xfcc_of_a_leaf_alone(fields: set[str], alice: IssuedCertificate) -> None:
    """The leaf is there in whatever keys a proxy sends, also without issuers."""
    dialect = Dialect(name="mine", leaf="x-forwarded-client-cert", decode=XFCC(fields=frozenset(fields)))
    assert read(dialect, headers_for(dialect, alice.der)) == (alice.der,)


def test_base64_of_pem(alice: IssuedCertificate) -> None:
    """The encoding that no built-in row uses is written too."""
    dialect = Dialect(name="mine", leaf="x-cert", decode=codecs.base64_pem)
    assert read(dialect, headers_for(dialect, alice.der)) == (alice.der,)


def test_a_decoder_of_one_s_own(alice: IssuedCertificate) -> None:
    """Nobody here knows how the headers of a foreign decoder are written."""
    dialect = Dialect(name="mine", leaf="x-cert", decode=bytes.fromhex)
    with pytest.raises(ConfigurationError, match="dialect mine has a decoder of its own"):
        headers_for(dialect, alice.der)
