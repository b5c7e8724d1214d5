"""Requests as terminators write them: one with the example certificate, one of a client without any."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import Dialect
from mtls_auth.testing.headers import headers_for

Headers = tuple[tuple[str, str], ...]

# Alice and her issuer. Whether they are in force does not matter: they are shown, not used.
_FILE = Path(__file__).parent / "example.pem"
# Base64, plain, percent-encoded or folded. What stands around it is what makes the encoding.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/= ]|%2B|%2F|%3D|%0A){72,}")
_CHARACTER = re.compile(r"%..|.")
_HEAD, _TAIL = 14, 8

_OPENSSL = (("x-ssl-client-verify", "NONE"),)
# What a terminator sends of a client without a certificate; () for nothing at all.
WITHOUT: Mapping[str, Headers] = {
    "nginx": _OPENSSL,
    "nginx-folded": _OPENSSL,
    "ingress-nginx": (("ssl-client-verify", "NONE"),),
    "apache": (
        ("x-ssl-client-cert", "(null)"),
        ("x-ssl-client-verify", "NONE"),
        ("x-ssl-client-chain-0", "(null)"),
        ("x-ssl-client-chain-1", "(null)"),
        ("x-ssl-client-chain-2", "(null)"),
        ("x-ssl-client-chain-3", "(null)"),
    ),
    "apache-escaped": (("x-ssl-client-cert", ""), *_OPENSSL),
    "rfc9440": (),
    "haproxy": (
        ("x-ssl-client-cert", ""),
        ("x-ssl-client-chain", ""),
        ("x-ssl-client-verify", "0"),
        ("x-ssl-client-used", "0"),
    ),
    "openshift-router": (("x-ssl-client-der", ""), ("x-ssl-client-verify", "0")),
    "traefik": (),
    "caddy": (
        ("x-ssl-client-cert", ""),
        ("x-ssl-client-fingerprint", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ),
    "lighttpd": _OPENSSL,
    "envoy": (),
    "contour": (),
    "istio": (),
    "consul": (),
    "linkerd": (),
    "kong": (),
    "f5": (("x-ssl-client-verify", "0"),),
    "f5-base64": (("x-ssl-client-verify", "0"),),
    "aws-alb": (),
    "aws-alb-passthrough": (),
    "cloudfront": (("cloudfront-viewer-cert-present", "0"),),
    "google-cloud": (
        ("client-cert", ""),
        ("client-cert-chain", ""),
        ("x-client-cert-chain-verified", "false"),
        ("x-client-cert-error", "client_cert_not_provided"),
        ("x-client-cert-present", "false"),
    ),
    "azure-app-service": (),
    "azure-application-gateway": (("x-client-certificate", ""), ("x-client-certificate-verification", "NONE")),
    "azure-container-apps": (),
    "cloudflare": (("cf-cert-presented", "false"), ("cf-cert-verified", "false"), ("cf-cert-revoked", "false")),
    "cloudflare-rfc9440": (("x-client-cert-verified", "false"), ("x-client-cert-revoked", "false")),
    "fastly": (("x-ssl-client-cert", ""), ("x-ssl-client-verify", "0")),
    "akamai": (),
    "huawei-elb": (),
    "alibaba-alb": (("x-forwarded-clientcert-clientverify", "NONE"),),
    "alibaba-clb": (("x-forwarded-clientcert-clientverify", "NONE"),),
}


@cache
def example_chain() -> tuple[bytes, ...]:
    """Return the example certificate and its issuer in DER."""
    certificates = x509.load_pem_x509_certificates(_FILE.read_bytes())
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def with_certificate(dialect: Dialect) -> Headers:
    """Return what the terminator sends of the example certificate."""
    return tuple(headers_for(dialect, *example_chain()))


def shown(headers: Headers) -> str:
    """Return headers as they stand in a request, long values shortened in the middle."""
    return "\n".join(f"{name}: {_shortened(value)}".rstrip() for name, value in headers)


def _shortened(value: str) -> str:
    return _BASE64.sub(_ends_of, value)


def _ends_of(match: re.Match[str]) -> str:
    characters = _CHARACTER.findall(match[0])
    return "".join([*characters[:_HEAD], "…", *characters[-_TAIL:]])
