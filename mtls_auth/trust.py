"""Whom the files of a server trust: what open connections are held against after the files changed."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509

from mtls_auth.errors import Reason


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The CAs and revocation lists of one generation of files. The TLS layer verifies; this compares."""

    authorities: frozenset[x509.Certificate]
    crls: tuple[x509.CertificateRevocationList, ...] = ()

    def objection_to(self, leaf: bytes, *, accepted_under: "Trust") -> Reason | None:
        """Say why a client whose handshake another generation accepted is not welcome any more; None if it is.

        Resumed sessions do not get here: new files mean a new context, which knows no old session.
        """
        if accepted_under is self:
            return None
        if not accepted_under.authorities <= self.authorities:
            return Reason.UNTRUSTED  # which CA the client's path led to is not known
        certificate = x509.load_der_x509_certificate(leaf)
        serials = self._revoked.get(certificate.issuer.public_bytes(), frozenset())
        return Reason.REVOKED if certificate.serial_number in serials else None

    @cached_property
    def _revoked(self) -> Mapping[bytes, frozenset[int]]:
        found: dict[bytes, frozenset[int]] = defaultdict(frozenset)
        for crl in self.crls:
            found[crl.issuer.public_bytes()] |= {entry.serial_number for entry in crl}
        return found
