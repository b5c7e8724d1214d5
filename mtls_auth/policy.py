"""Whom a scope admits: one frozen dataclass a predicate, combined with `&` and `|`.

A predicate that needs an attribute which the identity lacks denies. There is no `~`: it would admit whatever
lacks the attribute; write `AllOf(AnyVerifiedCertificate(), NoneOf(…))`.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_auth.certificate import load_certificate, spki_sha256
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import SHA256_DIGITS, Assurance, without_certificate
from mtls_auth.identity import Identity
from mtls_auth.mapping import normalize_fingerprint, read_fingerprint


class Policy:
    """Base of the predicates: subclasses implement `allows`. The `repr` is what a denial names."""

    __slots__ = ()

    def allows(self, identity: Identity) -> bool:
        """Whether *identity* is admitted."""
        raise NotImplementedError(f"{type(self).__name__} does not implement allows()")

    def check(self, identity: Identity) -> None:
        """Raise `not_allowed`, naming the predicate that failed, unless *identity* is admitted."""
        if not self.allows(identity):
            raise CertificateRejected(Reason.NOT_ALLOWED, f"refused by {self!r}")

    def decide(self, decision: Decision) -> Denied | Identity:
        """Apply the policy to a decision: the identity that it admits, or why nobody is admitted."""
        match decision:
            case Denied():
                return decision
            case Anonymous():
                return Denied.because(CertificateRejected(Reason.CERTIFICATE_REQUIRED))
            case Authenticated(identity=identity):
                try:
                    self.check(identity)
                except CertificateRejected as rejected:
                    return Denied.because(rejected, identity)
                return identity

    def __and__(self, other: "Policy") -> "AllOf":
        return AllOf(self, other)

    def __or__(self, other: "Policy") -> "AnyOf":
        return AnyOf(self, other)


@dataclass(frozen=True, slots=True)
class AnyVerifiedCertificate(Policy):
    """Admits every verified certificate. That is a decision: it has to be written out."""

    def allows(self, identity: Identity) -> bool:
        return True


@dataclass(frozen=True, slots=True, init=False)
class _Values(Policy):
    values: tuple[str, ...]

    def __init__(self, *values: str) -> None:
        if not values:
            raise ConfigurationError(f"{type(self).__name__}() admits nobody: name at least one value")
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise ConfigurationError(f"{type(self).__name__}({wrong[0]!r}): give text")
        object.__setattr__(self, "values", tuple(map(self.read, values)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.values))})"

    @staticmethod
    def read(value: str) -> str:
        return value


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Fingerprint(_Values):
    """Admits the certificates with these SHA-256 or SHA-1 fingerprints (hex, colons allowed).

    Where a terminator states a digest and forwards no certificate, one of the other kind cannot be compared: denied.
    """

    @staticmethod
    def read(value: str) -> str:
        return read_fingerprint(value)

    def allows(self, identity: Identity) -> bool:
        statement = identity.statement
        if statement is None:
            return identity.fingerprint_sha256 in self.values or self._has_sha1_of(identity)
        if statement.fingerprint in self.values:
            return True
        if statement.fingerprint is None or any(len(value) != len(statement.fingerprint) for value in self.values):
            raise without_certificate("a fingerprint of this kind")
        return False

    def _has_sha1_of(self, identity: Identity) -> bool:
        if all(len(value) == SHA256_DIGITS for value in self.values):
            return False
        return sha1(identity.certificate.der, usedforsecurity=False).hexdigest() in self.values


@dataclass(frozen=True, slots=True, init=False, repr=False)
class SubjectPublicKey(_Values):
    """Admits the certificates of these keys: SHA-256 of the SubjectPublicKeyInfo in hex. RFC 7469 §2.4."""

    @staticmethod
    def read(value: str) -> str:
        return normalize_fingerprint(value)

    def allows(self, identity: Identity) -> bool:
        return _spki_sha256(identity.certificate.der) in self.values


@dataclass(frozen=True, slots=True, init=False, repr=False)
class CommonName(_Values):
    """Admits the certificates whose one common name is among these, compared exactly."""

    def allows(self, identity: Identity) -> bool:
        return identity.subject_cn in self.values


@dataclass(frozen=True, slots=True, init=False, repr=False)
class OrganizationalUnit(_Values):
    """Admits the certificates whose subject has one of these organizational units, compared exactly."""

    def allows(self, identity: Identity) -> bool:
        units = identity.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return any(unit.value in self.values for unit in units)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class IssuedBy(_Values):
    """Admits the certificates whose issuer name is one of these (RFC 4514 text), compared as parsed names.

    A name, not a key: whoever vouches for the certificate vouches for the issuer's signature too.
    """

    names: tuple[x509.Name, ...]

    def __init__(self, *values: str) -> None:
        _Values.__init__(self, *values)
        object.__setattr__(self, "names", tuple(map(_parse_name, self.values)))

    @staticmethod
    def read(value: str) -> str:
        return _parse_name(value).rfc4514_string()

    def allows(self, identity: Identity) -> bool:
        return identity.certificate.issuer in self.names


@lru_cache(maxsize=1024)
def _spki_sha256(der: bytes) -> str:
    return spki_sha256(load_certificate(der))


def _parse_name(text: str) -> x509.Name:
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError as error:
        raise ConfigurationError(f"IssuedBy({text!r}): this is not a name in RFC 4514 form ({error})") from error


@dataclass(frozen=True, slots=True, init=False)
class AssuredBy(Policy):
    """Admits the certificates that one of these vouches for: `AssuredBy(Assurance.TLS_SOCKET)`."""

    assurances: frozenset[Assurance]

    def __init__(self, *assurances: Assurance) -> None:
        known = {assurance.value for assurance in Assurance}
        if not assurances or not known.issuperset(assurances):
            raise ConfigurationError(f"AssuredBy(): name at least one of {', '.join(sorted(known))}, and no other")
        object.__setattr__(self, "assurances", frozenset(map(Assurance, assurances)))

    def allows(self, identity: Identity) -> bool:
        return identity.assurance in self.assurances


@dataclass(frozen=True, slots=True, init=False)
class _Combination(Policy):
    policies: tuple[Policy, ...]

    def __init__(self, *policies: Policy) -> None:
        if not policies:
            raise ConfigurationError(f"{type(self).__name__}() without policies has no meaning: name at least one")
        if wrong := [policy for policy in policies if not isinstance(policy, Policy)]:
            raise ConfigurationError(f"{type(self).__name__}: {wrong[0]!r} is not a policy: write CommonName('alice')")
        object.__setattr__(self, "policies", policies)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.policies))})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AllOf(_Combination):
    """Admits what every one of the policies admits; a denial names the first that does not."""

    def allows(self, identity: Identity) -> bool:
        return all(policy.allows(identity) for policy in self.policies)

    def check(self, identity: Identity) -> None:
        for policy in self.policies:
            policy.check(identity)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AnyOf(_Combination):
    """Admits what at least one of the policies admits, whatever the others lack to decide."""

    def allows(self, identity: Identity) -> bool:
        lacking: CertificateRejected | None = None
        for policy in self.policies:
            try:
                if policy.allows(identity):
                    return True
            except CertificateRejected as rejected:
                lacking = lacking or rejected
        if lacking is not None:  # not False, which `NoneOf` would take for an answer
            raise lacking
        return False


@dataclass(frozen=True, slots=True, init=False, repr=False)
class NoneOf(_Combination):
    """Admits what none of the policies admits: for use inside `AllOf`."""

    def allows(self, identity: Identity) -> bool:
        return not any(policy.allows(identity) for policy in self.policies)
