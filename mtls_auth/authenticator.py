"""The request path, whole: from a connection to a decision. Read this first.

    Connection ─► Source.read ─► Evidence ─► Verifier.verify ─► Identity ─► Policy.check ─► PrincipalMapper.map

Everything called from here raises `CertificateRejected`; here it becomes `Denied`, once.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from mtls_auth.cache import MAX_ENTRIES, VerifiedCache
from mtls_auth.connection import Connection
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Evidence
from mtls_auth.identity import Identity
from mtls_auth.known_headers import known_headers
from mtls_auth.mapping import ByIdentity, PrincipalMapper
from mtls_auth.policy import Policy
from mtls_auth.sources import Source, unvouched
from mtls_auth.verification import Verifier, VouchedFor


def _unvouched(source: Source) -> str:
    silent = unvouched(source)
    advice = "give trust anchors (PathVerifier)"
    if not any(dialect.unverified for dialect in silent):
        advice += ", or say proxy_verifies=True if your proxy forwards only certificates that it verified"
    names = ", ".join(dialect.name for dialect in silent)
    return f"{names}: the headers do not say that the certificate was verified: {advice}"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Authenticator:
    """Decides who is on a connection. Configured once, shared by all threads; holds no request state.

    `policy` has no default: whoever admits anyone writes `AnyVerifiedCertificate()`. Raises
    `ConfigurationError` if the source forwards certificates that nobody verified and the verifier needs that.
    """

    def __init__(
        self,
        source: Source,
        *,
        policy: Policy,
        verifier: Verifier | None = None,
        mapper: PrincipalMapper | None = None,
        required: bool = False,
        cache_entries: int = MAX_ENTRIES,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.source = source
        self.policy = policy
        self.verifier = VouchedFor() if verifier is None else verifier
        self.mapper = ByIdentity() if mapper is None else mapper
        self.required = required
        self.known_headers = known_headers(source.headers)
        self.clock = clock
        self._cache = VerifiedCache(cache_entries)
        if self.verifier.needs_vouching and not source.vouches:
            raise ConfigurationError(_unvouched(source))
        if not self.verifier.needs_vouching and any(dialect.without_certificate for dialect in source.dialects):
            names = ", ".join(dialect.name for dialect in source.dialects if dialect.without_certificate)
            raise ConfigurationError(
                f"{names}: the terminator forwards no certificate that this application could verify: leave out the "
                "trust anchors, and say proxy_verifies=True if it verifies"
            )

    def authenticate(self, connection: Connection) -> Decision:
        """Decide, blocking on the mapper's database if need be. Never raises for anything that a client sent."""
        found = self.identify(connection)
        return self.admit(found) if isinstance(found, Identity) else found

    def decide(self, connection: Connection) -> Decision | Identity:
        """Decide without I/O, for event loops; return the identity where that takes `admit`, in a thread."""
        found = self.identify(connection)
        return self.recall(found) or found if isinstance(found, Identity) else found

    def identify(self, connection: Connection) -> Identity | Anonymous | Denied:
        """Return whose certificate this is, in force now and within the policy. No I/O."""
        identity = None
        try:
            evidence = self.source.read(connection)
            if evidence is None:
                return self._without_certificate()
            now = self.clock()
            identity = self._cache.get(evidence)
            if identity is None or now > identity.verified.good_until:
                identity = self._verify(evidence, now)  # a path that ended may have a successor
            identity.verified.check_validity(now)
            self.policy.check(identity)
        except CertificateRejected as rejected:
            return Denied.because(rejected, identity)
        return identity

    def recall(self, identity: Identity) -> Decision | None:
        """Admit *identity* without I/O, or return None where that takes `admit`."""
        try:
            principal = self.mapper.recall(identity)
        except CertificateRejected as rejected:
            return Denied.because(rejected, identity)
        return None if principal is None else Authenticated(identity, principal)

    def admit(self, identity: Identity) -> Decision:
        """Find the principal of *identity*; may block."""
        try:
            return Authenticated(identity, self.mapper.map(identity))
        except CertificateRejected as rejected:
            return Denied.because(rejected, identity)

    def _verify(self, evidence: Evidence, now: datetime) -> Identity:
        identity = Identity.from_verified(self.verifier.verify(evidence, at=now))
        self._cache.put(evidence, identity)
        return identity

    def _without_certificate(self) -> Anonymous | Denied:
        if self.required:
            return Denied.because(CertificateRejected(Reason.CERTIFICATE_REQUIRED), None)
        return Anonymous()
