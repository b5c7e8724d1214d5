"""The database's view of a certificate: its state, its revocation and its user, in one row of one query.

*Immediate*, the default: every request asks. With `max_staleness` rows are remembered in the process: at most N
seconds after a change has been committed, the first request reads the state version and forgets them.
"""

from dataclasses import dataclass
from time import monotonic

from django.contrib.auth.models import AbstractBaseUser
from django.db import Error as DatabaseError

from django_mtls import freshness
from django_mtls.lookup import CommonNameLookup, FingerprintLookup, Row
from django_mtls.models import State
from mtls_auth import CertificateRejected, Identity, Reason

# For changes that raise no version, as `User.objects.update()`: no row is older than this.
MAX_ENTRY_AGE = 30.0
MAX_ENTRIES = 4096

_REFUSED: dict[str, Reason] = {
    State.PENDING: Reason.PENDING,
    State.SUSPENDED: Reason.SUSPENDED,
    State.SUPERSEDED: Reason.SUPERSEDED,
    State.REVOKED: Reason.REVOKED,
}


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The principal of a certificate: its user, and the enrolled certificate's id (None if mapped by name)."""

    user: AbstractBaseUser
    certificate_id: int | None

    def __str__(self) -> str:
        return self.user.get_username()


class Directory:
    """The `PrincipalMapper` over Django's database. Unknown certificates are never remembered."""

    def __init__(self, *, by_common_name: bool = False, max_staleness: float | None = None) -> None:
        self._lookup = CommonNameLookup() if by_common_name else FingerprintLookup()
        self._max_staleness = max_staleness
        self._version: int | None = None
        self._version_read_at = float("-inf")
        # Replaced as a whole: a row that was read before a change cannot enter the map after it.
        self._rows: dict[str, tuple[float, Row]] = {}

    def recall(self, identity: Identity) -> Enrollment | None:
        if self._max_staleness is None:
            return None
        now = monotonic()
        if now - self._version_read_at > self._max_staleness or self._max_staleness == 0:
            return None
        remembered = self._rows.get(identity.fingerprint_sha256)
        if remembered is None or now - remembered[0] > MAX_ENTRY_AGE:
            return None
        return self._admit(remembered[1])

    def map(self, identity: Identity) -> Enrollment:
        try:
            if self._max_staleness is None:
                return self._admit(self._lookup.fetch(identity))
            return self._admit(self._fresh_row(identity))
        except DatabaseError as error:
            raise CertificateRejected(Reason.STORE_UNAVAILABLE, type(error).__name__) from error

    def _fresh_row(self, identity: Identity) -> Row | None:
        now = monotonic()  # before the query: what it finds is at least this fresh
        if now - self._version_read_at > (self._max_staleness or 0) or self._max_staleness == 0:
            version = freshness.read(self._lookup.alias)
            if version != self._version:
                self._rows = {}
                self._version = version
            self._version_read_at = now
        rows = self._rows
        remembered = rows.get(identity.fingerprint_sha256)
        if remembered is not None and now - remembered[0] <= MAX_ENTRY_AGE:
            return remembered[1]
        row = self._lookup.fetch(identity)
        if row is not None:
            if len(rows) >= MAX_ENTRIES:
                rows.clear()
            rows[identity.fingerprint_sha256] = (now, row)
        return row

    def _admit(self, row: Row | None) -> Enrollment:
        if row is None:
            raise CertificateRejected(Reason.NOT_ENROLLED, "the certificate stands for no user")
        if row.state != State.ACTIVE:
            reason = _REFUSED.get(row.state, Reason.NOT_ENROLLED)
            raise CertificateRejected(reason, f"the certificate is {row.state}")
        if row.is_revoked:
            raise CertificateRejected(Reason.REVOKED, "its serial number is revoked")
        user = self._lookup.user(row)
        if user is None:
            raise CertificateRejected(Reason.NO_USER, "the certificate's user was deleted")
        if not user.is_active:
            raise CertificateRejected(Reason.INACTIVE_USER, "the user is not active")
        return Enrollment(user, row.certificate_id)
