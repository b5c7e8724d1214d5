"""From identity to principal: whom of the application's users a certificate stands for."""

from collections.abc import Mapping
from typing import Protocol

from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import SHA1_DIGITS, SHA256_DIGITS, without_certificate
from mtls_auth.identity import Identity
from mtls_auth.names import check_name, check_stable

_HEX = frozenset("0123456789abcdef")


class PrincipalMapper(Protocol):
    """Finds the principal of an identity, or raises `CertificateRejected`. Never returns None from `map`."""

    def recall(self, identity: Identity) -> object | None:
        """Return the principal if that takes no I/O at all, None if `map` must be asked."""

    def map(self, identity: Identity) -> object:
        """Return the principal; may block on a database."""


class ByIdentity:
    """The identity itself is the principal: for applications that have no users."""

    def recall(self, identity: Identity) -> object:
        return identity

    map = recall


class ByFingerprint:
    """A fixed table from SHA-256 fingerprints (hex, colons and case ignored) to principals.

    SHA-1 fingerprints match only what a terminator states that forwards no certificate and no better digest.
    """

    def __init__(self, principals: Mapping[str, object]) -> None:
        problems: list[str] = []
        self._principals: dict[str, object] = {}
        for key, value in principals.items():
            try:
                self._principals[read_fingerprint(key)] = value
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(*problems)
        if len(self._principals) < len(principals):
            raise ConfigurationError("a fingerprint is in the table twice, in two spellings: keep one of them")

    def recall(self, identity: Identity) -> object:
        if identity.fingerprint is None:
            raise without_certificate("a fingerprint")
        principal = self._principals.get(identity.fingerprint)
        if principal is None:
            raise CertificateRejected(Reason.NOT_ENROLLED, "the fingerprint is not in the table")
        return principal

    map = recall


class ByCommonName:
    """The subject's common name is the principal, as text, unchanged: no case folding, no normalisation.

    Safe only where every trusted CA checks the common names that it signs.
    """

    def recall(self, identity: Identity) -> str:
        if identity.subject_cn is None:
            raise CertificateRejected(Reason.UNUSABLE_NAME, "the subject has no common name")
        return check_stable(identity.subject_cn, "the common name")

    map = recall


class ByStatedName:
    """The name that a terminator states is the principal: a mesh's client name or SPIFFE ID, as text, unchanged.

    Refuses certificates: their names have mappers of their own.
    """

    def recall(self, identity: Identity) -> str:
        return stated_name(identity)

    map = recall


def stated_name(identity: Identity) -> str:
    """Return the name that the terminator states; raise `insufficient_evidence` where it states none."""
    statement = identity.statement
    if statement is None or statement.name is None:
        raise CertificateRejected(Reason.INSUFFICIENT_EVIDENCE, "the terminator states no name of its client")
    return check_stable(check_name(statement.name, "the client's name"), "the client's name")


def read_fingerprint(text: str) -> str:
    """Return a SHA-256 or SHA-1 fingerprint as lower-case hex; raise `ConfigurationError` if it is neither."""
    digits = _digits(text)
    return digits if len(digits) == SHA1_DIGITS and _HEX.issuperset(digits) else normalize_fingerprint(text)


def normalize_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hex digits; raise `ConfigurationError` if it is none."""
    digits = _digits(text)
    if len(digits) != SHA256_DIGITS or not _HEX.issuperset(digits):
        raise ConfigurationError(f"{text!r} is not a SHA-256 fingerprint: give 64 hex digits, colons allowed")
    return digits


def _digits(text: str) -> str:
    return text.strip().lower().replace(":", "").replace(" ", "")
