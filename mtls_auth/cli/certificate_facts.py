"""The facts of one certificate for people, refused or not: what the parser cannot read is None.

For display only: nothing here passed the name policy but the common name and the alternative names. The strict
loader is `certificate.load_client_certificate`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Self, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from mtls_auth.alternative_names import AlternativeNames
from mtls_auth.errors import CertificateRejected
from mtls_auth.names import check_name

_UNREADABLE = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    CertificateRejected,
)
# RFC 5280 §4.2.1.3 and §4.2.1.12, and the two that smart cards carry.
_KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "contentCommitment",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_EXTENDED_KEY_USAGES = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    ExtendedKeyUsageOID.SMARTCARD_LOGON: "smartcardLogon",
    ExtendedKeyUsageOID.KERBEROS_PKINIT_KDC: "pkinitKDC",
}
_SIGNATURES = {oid: name for name, oid in vars(SignatureAlgorithmOID).items() if isinstance(oid, x509.ObjectIdentifier)}

Fact = TypeVar("Fact")
Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What one certificate says; `extensions_readable` tells an absent extension from an unreadable one."""

    version: int | None = None
    subject: str | None = None
    issuer: str | None = None
    self_issued: bool = False
    serial_number: int | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    key_type: str | None = None
    key_bits: int | None = None
    spki_sha256: bytes | None = None
    signature: str | None = None
    signature_hash: str | None = None
    extensions_readable: bool = False
    key_usage: tuple[str, ...] | None = None
    extended_key_usage: tuple[str, ...] | None = None
    is_ca: bool | None = None
    common_name: str | None = None
    alternative_names: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Read whatever can be read; never raises."""
        certificate = _or_none(lambda: x509.load_der_x509_certificate(der))
        return cls() if certificate is None else cls._of(certificate)

    @classmethod
    def _of(cls, certificate: x509.Certificate) -> Self:
        subject, issuer = _or_none(lambda: certificate.subject), _or_none(lambda: certificate.issuer)
        key = _or_none(certificate.public_key)
        key_type, key_bits = _type_and_bits(key) if key is not None else (None, None)
        signature_oid = certificate.signature_algorithm_oid
        signature_hash = _or_none(lambda: certificate.signature_hash_algorithm)
        extensions = _or_none(lambda: certificate.extensions)
        constraints = _extension(extensions, x509.BasicConstraints)
        return cls(
            version=_or_none(lambda: certificate.version.value + 1),
            subject=subject.rfc4514_string() if subject is not None else None,
            issuer=issuer.rfc4514_string() if issuer is not None else None,
            self_issued=subject is not None and subject == issuer,
            serial_number=_or_none(lambda: certificate.serial_number),
            not_before=_or_none(lambda: certificate.not_valid_before_utc),
            not_after=_or_none(lambda: certificate.not_valid_after_utc),
            key_type=key_type,
            key_bits=key_bits,
            spki_sha256=_spki_sha256(key) if key is not None else None,
            signature=_SIGNATURES.get(signature_oid, signature_oid.dotted_string),
            signature_hash=signature_hash.name.upper().replace("SHA", "SHA-", 1) if signature_hash else None,
            extensions_readable=extensions is not None,
            key_usage=_key_usage(_extension(extensions, x509.KeyUsage)),
            extended_key_usage=_extended_key_usage(_extension(extensions, x509.ExtendedKeyUsage)),
            is_ca=constraints.ca if constraints is not None else None,
            common_name=_or_none(lambda: _common_name(subject)),
            alternative_names=_alternative_names(_extension(extensions, x509.SubjectAlternativeName)),
        )


def _or_none(read: Callable[[], Fact]) -> Fact | None:
    try:
        return read()
    except _UNREADABLE:
        return None


def _extension(extensions: x509.Extensions | None, kind: type[Extension]) -> Extension | None:
    if extensions is None:
        return None
    return _or_none(lambda: extensions.get_extension_for_class(kind).value)


def _common_name(subject: x509.Name | None) -> str | None:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME) if subject is not None else []
    if len(names) != 1 or not isinstance(names[0].value, str):
        return None
    return check_name(names[0].value, "the common name")


def _alternative_names(extension: x509.SubjectAlternativeName | None) -> tuple[tuple[str, str], ...]:
    names = _or_none(lambda: AlternativeNames.read(extension)) if extension is not None else None
    return tuple(names) if names is not None else ()


def _key_usage(extension: x509.KeyUsage | None) -> tuple[str, ...] | None:
    if extension is None:
        return None
    return tuple(name for attribute, name in _KEY_USAGES.items() if getattr(extension, attribute))


def _extended_key_usage(extension: x509.ExtendedKeyUsage | None) -> tuple[str, ...] | None:
    if extension is None:
        return None
    return tuple(_EXTENDED_KEY_USAGES.get(oid, oid.dotted_string) for oid in extension)


def _type_and_bits(key: CertificatePublicKeyTypes) -> tuple[str, int | None]:
    match key:
        case rsa.RSAPublicKey():
            return "RSA", key.key_size
        case dsa.DSAPublicKey():
            return "DSA", key.key_size
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}", key.key_size
        case _:
            return type(key).__name__.removesuffix("PublicKey"), None


def _spki_sha256(key: CertificatePublicKeyTypes) -> bytes:
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
