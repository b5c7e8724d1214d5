"""Everything that `inspect` says about one certificate: the loader's judgement, facts, fingerprints, warnings."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from mtls_auth.certificate import load_client_certificate
from mtls_auth.cli.certificate_facts import CertificateFacts
from mtls_auth.cli.certificate_input import Found, is_der
from mtls_auth.cli.certificate_warnings import certificate_warnings
from mtls_auth.errors import CertificateRejected
from mtls_auth.evidence import Assurance, Evidence
from mtls_auth.identity import Identity
from mtls_auth.mapping import ByCommonName, ByFingerprint, PrincipalMapper
from mtls_auth.verification import VouchedFor

JSONValue = str | int | bool | list[str] | dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class MappedName:
    """What a mapper would take of an accepted certificate; None and why where it would refuse."""

    mapper: str
    name: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest in the forms that people paste and compare."""

    value: bytes

    @property
    def hex(self) -> str:
        return self.value.hex()

    @property
    def colons(self) -> str:
        """Upper-case hex with colons, as OpenSSL prints it."""
        return self.value.hex(":").upper()

    @property
    def base64(self) -> str:
        return base64.b64encode(self.value).decode()

    @property
    def base64url(self) -> str:
        """Base64url without padding, as `x5t#S256`. RFC 8705 §3.1."""
        return base64.urlsafe_b64encode(self.value).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReport:
    """One certificate of a file; `rejected` is None where the strict loader takes it at this time.

    Says nothing about who issued it: no signature is verified.
    """

    file: str
    index: int
    rejected: CertificateRejected | None
    facts: CertificateFacts
    sha256: Digest | None
    sha1: Digest | None
    mapped: tuple[MappedName, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, file: str, index: int, found: Found, at: datetime) -> Self:
        """Judge what was found as of *at*."""
        rejected = found.rejected or _judge(found.der or b"", at)
        der = found.der if found.der is not None and is_der(found.der) else None
        facts = CertificateFacts.read(der) if der is not None else CertificateFacts()
        return cls(
            file=file,
            index=index,
            rejected=rejected,
            facts=facts,
            sha256=Digest(hashlib.sha256(der).digest()) if der is not None else None,
            # A name for a certificate in other tools' lists, not a protection.
            sha1=Digest(hashlib.sha1(der, usedforsecurity=False).digest()) if der is not None else None,
            mapped=tuple(_mapped(der, at)) if der is not None and rejected is None else (),
            warnings=tuple(certificate_warnings(facts, at)) if facts.version is not None else (),
        )

    def as_json(self) -> dict[str, JSONValue]:
        """Return the values of one JSON line; `serial` is text, since it exceeds what JavaScript counts to."""
        facts = self.facts
        spki = Digest(facts.spki_sha256).hex if facts.spki_sha256 is not None else None
        return {
            "file": self.file,
            "index": self.index,
            "accepted": self.rejected is None,
            "reason": self.rejected.reason.value if self.rejected else None,
            "detail": self.rejected.detail if self.rejected else "",
            "fingerprint_sha256": self.sha256.hex if self.sha256 else None,
            "fingerprint_sha1": self.sha1.hex if self.sha1 else None,
            "x5t_s256": self.sha256.base64url if self.sha256 else None,
            "spki_sha256": spki,
            "version": facts.version,
            "subject_cn": facts.common_name,
            "subject": facts.subject,
            "issuer": facts.issuer,
            "serial": serial_decimal(facts.serial_number),
            "serial_hex": serial_hex(facts.serial_number),
            "not_before": facts.not_before.isoformat() if facts.not_before else None,
            "not_after": facts.not_after.isoformat() if facts.not_after else None,
            "key_type": facts.key_type,
            "key_bits": facts.key_bits,
            "signature": facts.signature,
            "key_usage": list(facts.key_usage) if facts.key_usage is not None else None,
            "extended_key_usage": list(facts.extended_key_usage) if facts.extended_key_usage is not None else None,
            "ca": facts.is_ca,
            "san": [f"{kind}:{value}" for kind, value in facts.alternative_names],
            "mappers": {mapped.mapper: mapped.name for mapped in self.mapped},
            "warnings": list(self.warnings),
        }


def serial_hex(serial: int | None) -> str | None:
    """Return a serial number in lower-case hex without leading zeros."""
    return None if serial is None else f"{serial:x}"


def serial_decimal(serial: int | None) -> str | None:
    """Return a serial number in decimal; None beyond the digits that Python converts."""
    try:
        return None if serial is None else str(serial)
    except ValueError:
        return None


def _judge(der: bytes, at: datetime) -> CertificateRejected | None:
    try:
        load_client_certificate(der).check_validity(at)
    except CertificateRejected as rejected:
        return rejected
    return None


def _mapped(der: bytes, at: datetime) -> list[MappedName]:
    # Mappers take identities, which only verifiers make: here the operator vouches for the file's certificate.
    evidence = Evidence("file", (der,), Assurance.PINNED, lambda _raw: (der,))
    identity = Identity.from_verified(VouchedFor().verify(evidence, at=at))
    fingerprint = identity.fingerprint_sha256
    mappers: dict[str, PrincipalMapper] = {
        "ByFingerprint": ByFingerprint({fingerprint: fingerprint}),
        "ByCommonName": ByCommonName(),
    }
    return [_ask(name, mapper, identity) for name, mapper in mappers.items()]


def _ask(name: str, mapper: PrincipalMapper, identity: Identity) -> MappedName:
    try:
        return MappedName(name, str(mapper.map(identity)))
    except CertificateRejected as rejected:
        return MappedName(name, None, rejected.detail)
