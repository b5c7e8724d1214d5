"""What one named source says about the client's certificate: unverified, and not decoded yet."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Raw = tuple[str | bytes, ...]


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
    decode: Callable[[Raw], tuple[bytes, ...]]

    def chain(self) -> tuple[bytes, ...]:
        """Decode to DER, leaf first, never empty. Raises `CertificateRejected`."""
        return self.decode(self.raw)
