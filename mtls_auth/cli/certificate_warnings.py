"""What an operator should know about a certificate before it makes trouble: short texts that start with a keyword.

A warning is no refusal: what is refused, and why, says the report's reason.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mtls_auth.cli.certificate_facts import CertificateFacts

SOON = timedelta(days=30)
MIN_RSA_BITS = 2048
MIN_EC_BITS = 224
_WEAK_HASHES = frozenset({"MD5", "SHA-1"})
_NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 §4.1.2.5


def certificate_warnings(facts: CertificateFacts, at: datetime) -> Iterator[str]:
    """Yield the warnings about a certificate as of *at*."""
    if facts.version == 1:
        yield "X.509 v1: it has no extensions, so nothing restricts its use, and path verification refuses it"
    if facts.signature_hash in _WEAK_HASHES:
        yield f"{facts.signature_hash} signature: it can be forged, and OpenSSL refuses it by default"
    yield from _key_warnings(facts)
    yield from _usage_warnings(facts)
    yield from _validity_warnings(facts, at)


def _key_warnings(facts: CertificateFacts) -> Iterator[str]:
    kind, bits = facts.key_type or "", facts.key_bits or 0
    weak_rsa = kind == "RSA" and bits < MIN_RSA_BITS
    if weak_rsa or kind == "DSA" or (kind.startswith("EC ") and bits < MIN_EC_BITS):
        yield f"weak key: {kind}, {bits} bits; use EC P-256, or RSA of {MIN_RSA_BITS} bits or more"


def _usage_warnings(facts: CertificateFacts) -> Iterator[str]:
    if facts.is_ca:
        yield "CA certificate: it signs other certificates and should not be anybody's client certificate"
    elif facts.self_issued:
        yield "self-issued: subject and issuer are one name, so no CA stands behind it"
    if not facts.extensions_readable:
        return
    usages = facts.extended_key_usage
    if usages is None:
        yield "no clientAuth: there is no extendedKeyUsage at all, so it may be used for anything"
    elif "clientAuth" not in usages:
        yield f"no clientAuth: extendedKeyUsage lists {', '.join(usages)}"
    if facts.key_usage is not None and not {"digitalSignature", "keyAgreement"}.intersection(facts.key_usage):
        yield f"no digitalSignature: keyUsage lists {', '.join(facts.key_usage) or 'nothing'}"


def _validity_warnings(facts: CertificateFacts, at: datetime) -> Iterator[str]:
    if facts.not_before is not None and at < facts.not_before:
        yield f"not yet valid: it begins {facts.not_before:%Y-%m-%d %H:%M:%S} UTC"
    if facts.not_after is None:
        return
    if at > facts.not_after:
        yield f"expired: it ended {facts.not_after:%Y-%m-%d %H:%M:%S} UTC"
    elif facts.not_after - at <= SOON:
        yield f"expires soon: it ends {facts.not_after:%Y-%m-%d %H:%M:%S} UTC, in {(facts.not_after - at).days} days"
    elif facts.not_after == _NO_EXPIRY:
        yield "no expiry: it is valid until the year 9999, so only revocation ends it"
