"""Who vouches for a certificate: evidence in, verified certificate out. Only verifiers construct the latter."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509 import verification as path
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_auth.certificate import Certificate, load_certificate, load_client_certificate
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Assurance, Evidence, Statement, without_certificate

logger = logging.getLogger("mtls_auth")

MAX_CHAIN = 8
_FOREVER = datetime.max.replace(tzinfo=UTC)
# What `ClientVerifier` cannot be talked into.
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}
_REFUSED_KEYS = (dsa.DSAPublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCertificate:
    """A certificate that somebody named by `assurance` verified. Says nothing about validity *now*.

    `certificate` is what the terminator states of it where it forwards none. `chain` are the other certificates as
    presented, in DER: input to path building, never evidence. `good_until` is the earliest notAfter of everything
    that the verification rested on.
    """

    certificate: Certificate | Statement
    chain: tuple[bytes, ...]
    assurance: Assurance
    source: str
    good_until: datetime

    def check_validity(self, at: datetime) -> None:
        """Raise `expired` or `not_yet_valid` unless everything verified is within its validity at *at*.

        A statement tells no validity: whoever verified the certificate checked it.
        """
        if isinstance(self.certificate, Statement):
            return
        if self.certificate.not_before <= at <= self.good_until:
            return
        self.certificate.check_validity(at)
        if at > self.good_until:
            raise CertificateRejected(Reason.EXPIRED, "a certificate of the path expired")


class Verifier(Protocol):
    """Decides whether unverified evidence may become a verified certificate."""

    @property
    def needs_vouching(self) -> bool:
        """Whether this verifier accepts only what the source itself vouches for."""

    def verify(self, evidence: Evidence, *, at: datetime) -> VerifiedCertificate:
        """Verify as of *at* (aware); raise `CertificateRejected` otherwise."""


@dataclass(frozen=True, slots=True)
class VouchedFor:
    """Takes the word of the TLS layer or of the trusted proxy; does not look at any signature."""

    needs_vouching: bool = True

    def verify(self, evidence: Evidence, *, at: datetime) -> VerifiedCertificate:
        if evidence.vouched is None:
            raise CertificateRejected(Reason.UNVERIFIED, "nobody vouches for this certificate")
        certificate, chain = _read(evidence)
        return VerifiedCertificate(
            certificate=certificate,
            chain=chain,
            assurance=evidence.vouched,
            source=evidence.source,
            good_until=_FOREVER if isinstance(certificate, Statement) else certificate.not_after,
        )


class PathVerifier:
    """Builds the path to trust anchors of the application. RFC 5280 §6, by cryptography's `ClientVerifier`.

    The policy takes what private CAs make (no SAN, no AKI, CAs without keyUsage) and keeps the rest: clientAuth,
    no CA as a client, critical extensions. X.509 v1, SHA-1 and Ed25519 issuers are refused. No revocation.
    *intermediates* help where the client or the proxy sends none; they are no anchors. `useless` says of which
    anchors, and why, nothing can be verified by them; that is logged as well.
    """

    needs_vouching = False

    def __init__(self, anchors: Iterable[x509.Certificate], *, intermediates: Iterable[x509.Certificate] = ()) -> None:
        self._anchors = tuple(anchors)
        self._intermediates = tuple(intermediates)
        if not self._anchors:
            raise ConfigurationError("no trust anchor is given: name a PEM file with your CA's certificate")
        self.useless = tuple(filter(None, map(_uselessness, self._anchors)))
        for problem in self.useless:
            logger.warning(problem)
        self._builder = (
            path.PolicyBuilder()
            .store(path.Store(list(self._anchors)))
            .extension_policies(ca_policy=_ca_policy(), ee_policy=_leaf_policy())
        )

    @classmethod
    def from_files(cls, *files: str | Path, intermediates: Iterable[str | Path] = ()) -> Self:
        """Read trust anchors from PEM files; raise `ConfigurationError` naming every file that has none."""
        problems: list[str] = []
        anchors = _read_files(files, "trust anchors", problems)
        between = _read_files(intermediates, "intermediates", problems)
        if problems:
            raise ConfigurationError(*problems)
        return cls(anchors, intermediates=between)

    def verify(self, evidence: Evidence, *, at: datetime) -> VerifiedCertificate:
        certificate, chain = _read(evidence)
        if isinstance(certificate, Statement):
            raise without_certificate("the path to a trust anchor")
        certificate.check_validity(at)  # for its precise reason
        # The verifier's clock stands still from the moment that it is built: one for each verification.
        verifier = self._builder.time(at).build_client_verifier()
        try:
            leaf = x509.load_der_x509_certificate(certificate.der)
            presented = [x509.load_der_x509_certificate(load_certificate(der).der) for der in chain]
            verified = verifier.verify(leaf, [*presented, *self._intermediates])
        except path.VerificationError as error:
            raise CertificateRejected(Reason.UNTRUSTED, str(error).split(" (encountered")[0]) from error
        except (ValueError, x509.UnsupportedGeneralNameType) as error:
            raise CertificateRejected(Reason.UNTRUSTED, "no path to a trust anchor can be read") from error
        return VerifiedCertificate(
            certificate=certificate,
            chain=chain,
            assurance=Assurance.PATH,
            source=evidence.source,
            good_until=min(link.not_valid_after_utc for link in verified.chain),
        )


def _read_files(files: Iterable[str | Path], what: str, problems: list[str]) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for file in files:
        try:
            found += x509.load_pem_x509_certificates(Path(file).read_bytes())
        except OSError as error:
            problems.append(f"{what} {str(file)!r}: {error.strerror}")
        except ValueError:
            problems.append(f"{what} {str(file)!r}: the file holds no readable PEM certificate")
    return found


def _uselessness(anchor: x509.Certificate) -> str | None:
    """Say why nothing can ever be verified by this anchor; None if something can."""
    try:
        name = f"trust anchor {anchor.subject.rfc4514_string()!r}"
        key = anchor.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"a trust anchor cannot be read ({type(error).__name__})"
    if anchor.version is not x509.Version.v3:
        return f"{name} is X.509 v1 and verifies nobody: make the CA again with basicConstraints CA:TRUE"
    weak_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048
    other_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES
    if weak_rsa or other_curve or isinstance(key, _REFUSED_KEYS):
        return f"{name} has a key that verifies nobody: use RSA of 2048 bits or more, P-256, P-384 or P-521"
    return None


def _read(evidence: Evidence) -> tuple[Certificate | Statement, tuple[bytes, ...]]:
    decoded = evidence.decoded()
    if isinstance(decoded, Statement):
        return decoded, ()
    leaf, *chain = decoded
    if len(chain) > MAX_CHAIN:
        raise CertificateRejected(Reason.OVERSIZED_HEADER, f"the chain has more than {MAX_CHAIN} certificates")
    return load_client_certificate(leaf), tuple(chain)


def _ca_policy() -> path.ExtensionPolicy:
    agnostic = path.Criticality.AGNOSTIC
    return (
        path.ExtensionPolicy.webpki_defaults_ca()
        .require_present(x509.BasicConstraints, agnostic, None)
        .may_be_present(x509.KeyUsage, agnostic, _ca_may_sign)
        .may_be_present(x509.AuthorityKeyIdentifier, agnostic, None)
        .may_be_present(x509.ExtendedKeyUsage, agnostic, _ca_for_clients)
    )


def _leaf_policy() -> path.ExtensionPolicy:
    agnostic = path.Criticality.AGNOSTIC
    return (
        path.ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.AuthorityKeyIdentifier, agnostic, None)
        .may_be_present(x509.SubjectAlternativeName, agnostic, None)
        .may_be_present(x509.KeyUsage, agnostic, None)  # checked by the loader
        .may_be_present(x509.ExtendedKeyUsage, agnostic, None)  # checked by the loader
    )


def _ca_may_sign(_policy: path.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the CA may not sign certificates")


def _ca_for_clients(_policy: path.Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and not allowed.intersection(usage):
        raise ValueError("the CA may not issue for clientAuth")
