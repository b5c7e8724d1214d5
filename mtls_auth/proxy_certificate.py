"""Trust by the proxy's own client certificate: the proxy speaks mutual TLS to the application."""

from datetime import UTC, datetime

from mtls_auth import codecs
from mtls_auth.cache import VerifiedCache
from mtls_auth.errors import CertificateRejected, ConfigurationError
from mtls_auth.evidence import Assurance, Evidence, Raw
from mtls_auth.identity import Identity
from mtls_auth.policy import (
    AllOf,
    AnyOf,
    AnyVerifiedCertificate,
    AssuredBy,
    IssuedBy,
    NoneOf,
    OrganizationalUnit,
    Policy,
)
from mtls_auth.server_tls import ServerFacts
from mtls_auth.verification import Verifier, VouchedFor


class ProxyCertificate:
    """Which certificates on the server's own TLS socket are a proxy's: pinned by any policy.

    `Fingerprint("…")`, `SubjectPublicKey("…")`, or `IssuedBy("CN=…") & CommonName("proxy")`. The TLS layer has
    verified the certificate, or *verifier* does. A policy without a pin is refused: every client would be a proxy.
    """

    __slots__ = ("_cache", "policy", "verifier")

    def __init__(self, policy: Policy, *, verifier: Verifier | None = None) -> None:
        if not isinstance(policy, Policy) or not _pins(policy):
            raise ConfigurationError(
                "a proxy's certificate is pinned: give Fingerprint('…'), SubjectPublicKey('…'), or IssuedBy('…') & "
                "CommonName('…')"
            )
        self.policy = policy
        self.verifier = VouchedFor() if verifier is None else verifier
        self._cache = VerifiedCache(64)

    def __contains__(self, server: ServerFacts) -> bool:
        """Whether the peer of this connection presented a certificate that is a proxy's, and in force now."""
        chain = server.client_chain()
        if not chain:
            return False
        evidence, now = Evidence("proxy", chain, Assurance.TLS_SOCKET, decode_tls), datetime.now(UTC)
        try:
            identity = self._cache.get(evidence)
            if identity is None or now > identity.verified.good_until:
                identity = Identity.from_verified(self.verifier.verify(evidence, at=now))
                self._cache.put(evidence, identity)
            identity.verified.check_validity(now)
            self.policy.check(identity)
        except CertificateRejected:
            return False
        return True

    def __repr__(self) -> str:
        return f"ProxyCertificate({self.policy!r})"


def _pins(policy: Policy) -> bool:
    """Whether only particular certificates satisfy *policy*; somebody's own predicate is taken at its word."""
    match policy:
        case AllOf():
            return any(map(_pins, policy.policies))
        case AnyOf():
            return all(map(_pins, policy.policies))
        case AnyVerifiedCertificate() | AssuredBy() | IssuedBy() | NoneOf() | OrganizationalUnit():
            return False
        case _:
            return True


def decode_tls(raw: Raw) -> tuple[bytes, ...]:
    """Decode what a TLS layer hands out: PEM text or DER, leaf first."""
    return tuple(codecs.pem(item) if isinstance(item, str) else item for item in raw)
