"""The database's view of a certificate: its state, its revocation and its user, in one row of one query.

*Immediate*, the default: every request asks. With `max_staleness` rows are remembered in the process: at most N
seconds after a change has been committed, the first request reads the state version and forgets them.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import Error as DatabaseError

from django_mtls import freshness
from django_mtls.lookup import CommonNameLookup, FingerprintLookup, Lookup, Row
from django_mtls.models import State
from django_mtls.remembered_user import mark
from django_mtls.stated_lookup import StatedFingerprintLookup, StatedNameLookup
from mtls_auth import CertificateRejected, Identity, Reason

BACKEND = "django_mtls.backends.ClientCertificateBackend"

# For changes that raise no version, as `User.objects.update()`: no row is older than this.
MAX_ENTRY_AGE = 30.0
MAX_ENTRIES = 4096

_REFUSED: dict[str, Reason] = {
    State.PENDING: Reason.PENDING,
    State.SUSPENDED: Reason.SUSPENDED,
    State.SUPERSEDED: Reason.SUPERSEDED,
    State.REVOKED: Reason.REVOKED,
}


_LOOKUPS: dict[str, tuple[type[Lookup], type[Lookup]]] = {
    "fingerprint": (FingerprintLookup, StatedFingerprintLookup),
    "common_name": (CommonNameLookup, CommonNameLookup),
    "stated_name": (StatedNameLookup, StatedNameLookup),
}


class Enrollment:
    """The principal of a certificate: its user, and the enrolled certificate's id (None if mapped by name)."""

    __slots__ = ("_lookup", "_row", "_user", "is_remembered")

    def __init__(self, lookup: Lookup, row: Row, is_remembered: bool) -> None:
        self._lookup = lookup
        self._row = row
        self.is_remembered = is_remembered
        self._user: AbstractBaseUser | None = None

    @property
    def certificate_id(self) -> int | None:
        """The primary key of the `EnrolledCertificate`."""
        return self._row.certificate_id

    @property
    def user(self) -> AbstractBaseUser:
        """The user: one object a request, made without a query when it is first asked for."""
        if self._user is None:
            user: Any = self._lookup.user(self._row)
            user.backend = BACKEND  # as `authenticate()` marks the users that it returns
            if self.is_remembered:
                mark(user, tuple(self._row.user_values))
            self._user = user
        return self._user

    def __str__(self) -> str:
        return self.user.get_username()


@dataclass(frozen=True, slots=True)
class Standing:
    """What a row means for requests: why its certificate is refused, or how to make its user."""

    row: Row
    refused: Reason | None
    detail: str
    read_at: float


class Directory:
    """The `PrincipalMapper` over Django's database. Unknown certificates are never remembered."""

    def __init__(self, *, mapping: str = "fingerprint", max_staleness: float | None = None) -> None:
        of_certificates, of_statements = _LOOKUPS[mapping]
        self._lookup: Lookup = of_certificates()
        self._stated: Lookup = of_statements()
        self._max_staleness = max_staleness
        self._version: int | None = None
        self._version_read_at = float("-inf")
        # Replaced as a whole: what was read before a change cannot enter the map after it.
        self._standings: dict[str, Standing] = {}

    def recall(self, identity: Identity) -> Enrollment | None:
        if not self._max_staleness or identity.statement is not None:
            return None
        now = monotonic()
        if now - self._version_read_at > self._max_staleness:
            return None
        standing = self._standings.get(identity.fingerprint_sha256)
        if standing is None or now - standing.read_at > MAX_ENTRY_AGE:
            return None
        return self._admit(standing)

    def map(self, identity: Identity) -> Enrollment:
        try:
            # Only the row tells whether a certificate that is kept back is in force: it is asked each time.
            if self._max_staleness is None or identity.statement is not None:
                return self._admit(self._read(identity, 0.0))
            return self._admit(self._fresh(identity))
        except DatabaseError as error:
            raise CertificateRejected(Reason.STORE_UNAVAILABLE, type(error).__name__) from error

    def _fresh(self, identity: Identity) -> Standing:
        now = monotonic()  # before the query: what it finds is at least this fresh
        if now - self._version_read_at > (self._max_staleness or 0) or self._max_staleness == 0:
            version = freshness.read(self._lookup.alias)
            if version != self._version:
                self._standings = {}
                self._version = version
            self._version_read_at = now
        standings = self._standings
        remembered = standings.get(identity.fingerprint_sha256)
        if remembered is not None and now - remembered.read_at <= MAX_ENTRY_AGE:
            return remembered
        standing = self._read(identity, now)
        if len(standings) >= MAX_ENTRIES:
            standings.clear()
        standings[identity.fingerprint_sha256] = standing
        return standing

    def _read(self, identity: Identity, now: float) -> Standing:
        row = (self._lookup if identity.statement is None else self._stated).fetch(identity)
        if row is None:
            raise CertificateRejected(Reason.NOT_ENROLLED, "the certificate stands for no user")
        return Standing(row, *self._refusal(row), now)

    def _refusal(self, row: Row) -> tuple[Reason | None, str]:
        if row.state != State.ACTIVE:
            return _REFUSED.get(row.state, Reason.NOT_ENROLLED), f"the certificate is {row.state}"
        if row.is_revoked:
            return Reason.REVOKED, "its serial number is revoked"
        if not self._lookup.has_user(row):
            return Reason.NO_USER, "the certificate's user was deleted"
        if not self._lookup.is_active(row):
            return Reason.INACTIVE_USER, "the user is not active"
        return None, ""

    def _admit(self, standing: Standing) -> Enrollment:
        if standing.refused is not None:
            raise CertificateRejected(standing.refused, standing.detail)
        return Enrollment(self._lookup, standing.row, self._max_staleness is not None)
