"""Whom the files of a server trust: what open connections are held against after the files changed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from mtls_auth.certificate import PARSER_ERRORS
from mtls_auth.errors import Reason
from mtls_auth.issuer_key import issuer_key

_ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The CAs and revocation lists of one generation of files, as of one moment. The TLS layer verifies; this compares.

    `authorities` are those in force, `revoked` the serial numbers of the lists in force by their issuers, None where no
    list is looked at. `ends` is when the next of them begins or ends: from then on it is another generation.
    """

    authorities: frozenset[x509.Certificate]
    crls: tuple[x509.CertificateRevocationList, ...]
    revoked: Mapping[str, frozenset[int]] | None
    ends: datetime | None

    @classmethod
    def of(
        cls,
        authorities: Iterable[x509.Certificate],
        crls: Iterable[x509.CertificateRevocationList] | None,
        *,
        at: datetime,
    ) -> Self:
        """Take what is in force *at* a moment; None for *crls* looks at no revocation list."""
        authorities, lists = tuple(authorities), tuple(crls or ())
        periods = [(ca.not_valid_before_utc, ca.not_valid_after_utc) for ca in authorities]
        periods += [(crl.last_update_utc, crl.next_update_utc or _ALWAYS) for crl in lists]
        revoked: dict[str, frozenset[int]] = defaultdict(frozenset)
        for crl in lists:
            if crl.last_update_utc <= at <= (crl.next_update_utc or _ALWAYS):
                revoked[issuer_key(crl.issuer)] |= {entry.serial_number for entry in crl}
        return cls(
            authorities=frozenset(ca for ca in authorities if ca.not_valid_before_utc <= at <= ca.not_valid_after_utc),
            crls=lists,
            revoked=None if crls is None else dict(revoked),
            ends=min((moment for period in periods for moment in period if at < moment < _ALWAYS), default=None),
        )

    def objection_to(self, leaf: bytes, *, accepted_under: "Trust") -> Reason | None:
        """Say why a client whose handshake another generation accepted is not welcome any more; None if it is.

        Looks at the leaf and at who signed it, not at CAs between it and ours. Resumed sessions do not get here: a new
        generation has a new context, which knows no old session.
        """
        if accepted_under is self:
            return None
        try:
            certificate = x509.load_der_x509_certificate(leaf)
            issuer = issuer_key(certificate.issuer)
        except PARSER_ERRORS:
            return Reason.MALFORMED_CERTIFICATE
        if not accepted_under.authorities <= self.authorities and not self._issued(certificate):
            return Reason.UNTRUSTED
        if self.revoked is None:
            return None
        if issuer not in self.revoked:
            return Reason.UNTRUSTED  # as in a handshake: nobody says whether it is revoked
        return Reason.REVOKED if certificate.serial_number in self.revoked[issuer] else None

    def _issued(self, certificate: x509.Certificate) -> bool:
        return any(_is_issuer(authority, certificate) for authority in self.authorities)


def _is_issuer(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *PARSER_ERRORS):
        return False
    return True
