"""What one named source says about the client's certificate: unverified, and not decoded yet."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mtls_auth.errors import CertificateRejected, Reason

Raw = tuple[str | bytes, ...]
SHA1_DIGITS, SHA256_DIGITS = 40, 64
_FINGERPRINT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Assurance(StrEnum):
    """Who vouches that the certificate was verified and its key proven. Policies can ask for it."""

    TLS_SOCKET = "tls_socket"
    """The TLS layer of this very server."""
    PROXY_VERDICT = "proxy_verdict"
    """A trusted proxy that forwards its positive verify signal."""
    PROXY_PRESENCE = "proxy_presence"
    """A trusted proxy that forwards only what it verified; the operator says so."""
    PATH = "path"
    """This application built the path to its own trust anchors. RFC 5280 §6."""
    PINNED = "pinned"
    """This application knows this very certificate. RFC 8705 §2.2."""
    DIRECTLY_ISSUED = "directly_issued"
    """This application checked the issuer's signature alone (X.509 v1 and the like)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a terminator says of a certificate that it keeps to itself: a digest of it, a name in it, or both.

    `fingerprint` is lower-case hex, SHA-1 (40 digits) or SHA-256 (64); `name` is a SPIFFE ID or a mesh's client
    name. Says nothing about validity, issuer or key usage: whatever needs those denies.
    """

    fingerprint: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise CertificateRejected(Reason.MALFORMED_HEADER, "the stated fingerprint is neither SHA-1 nor SHA-256")
        if self.name == "" or (self.name is None and self.fingerprint is None):
            raise CertificateRejected(Reason.MALFORMED_HEADER, "nothing is stated of the certificate")


def digest_name(fingerprint: str) -> str:
    """Return which digest a fingerprint of a certificate or a `Statement` is."""
    return "SHA-256" if len(fingerprint) == SHA256_DIGITS else "SHA-1"


Decoded = bytes | tuple[bytes, ...] | Statement
"""What a decoder makes of a leaf's header: DER, DER with its chain leaf first, or a statement."""


def decode_leaf(decode: Callable[[str], Decoded], text: str, where: str) -> tuple[bytes, ...] | Statement:
    """Decode the text found *where*, by a decoder that may be somebody's own. Raises `malformed_header`."""
    try:
        decoded = decode(text)
    except ValueError as error:
        raise CertificateRejected(Reason.MALFORMED_HEADER, f"{where} cannot be decoded") from error
    if not decoded:
        raise CertificateRejected(Reason.MALFORMED_HEADER, f"{where} holds nothing")
    return (decoded,) if isinstance(decoded, bytes) else decoded


# Not frozen: one is built on every request, and freezing would triple its cost.
@dataclass(slots=True)
class Evidence:
    """Received certificates in the source's encoding, leaf first, and the way to decode them.

    `raw` and `source` identify it: equal evidence decodes to equal certificates, so it is what the cache is
    keyed by. `vouched` is what the source claims to have done; None says that nobody verified anything.
    """

    source: str
    raw: Raw
    vouched: Assurance | None
    decode: Callable[[Raw], tuple[bytes, ...] | Statement]

    def decoded(self) -> tuple[bytes, ...] | Statement:
        """Decode to DER, leaf first, never empty; or to what the terminator states. Raises `CertificateRejected`."""
        return self.decode(self.raw)

    def chain(self) -> tuple[bytes, ...]:
        """Decode to DER, leaf first; raise `insufficient_evidence` where the terminator forwards no certificate."""
        decoded = self.decoded()
        if isinstance(decoded, Statement):
            raise without_certificate("verification")
        return decoded


def without_certificate(needed_for: str) -> CertificateRejected:
    """Return the refusal of whatever a statement is not enough for."""
    return CertificateRejected(
        Reason.INSUFFICIENT_EVIDENCE, f"the terminator forwards no certificate, which {needed_for} needs"
    )
