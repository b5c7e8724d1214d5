"""The strict loader: DER in, one plain record out, every exception of the parser one reason.

`load_certificate` touches every attribute that anybody will use, at once: cryptography parses lazily, and a
certificate that loads may still raise at `.subject`, `.extensions` or `.public_key()`. The record proves
nothing about who issued it; `verification` does.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from warnings import filterwarnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_auth.alternative_names import AlternativeNames
from mtls_auth.errors import CertificateRejected, Reason
from mtls_auth.names import MAX_ATTRIBUTES, check_name, check_text, unusable

MAX_CERTIFICATE_BYTES = 64 * 1024
MIN_RSA_BITS = 1024
MAX_RSA_BITS = 8192
MAX_SERIAL_BITS = 160  # RFC 5280 §4.1.2.2: 20 octets

# What cryptography raises on hostile input; `Warning` because -W error turns its complaints into exceptions.
PARSER_ERRORS = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    Warning,
)


# cryptography complains of names and serial numbers on standard error, where any client could fill the log.
filterwarnings("ignore", module=r"mtls_auth\.certificate")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Certificate:
    """What a certificate says, read strictly. Names passed the name policy; nothing here is verified."""

    der: bytes
    fingerprint_sha256: str
    version: int
    serial_number: int
    subject: x509.Name
    issuer: x509.Name
    common_name: str | None
    alternative_names: AlternativeNames
    not_before: datetime
    not_after: datetime
    key_type: str
    key_bits: int
    key_usage: x509.KeyUsage | None
    extended_key_usage: frozenset[str] | None
    is_ca: bool

    def __repr__(self) -> str:
        return f"<Certificate {self.subject.rfc4514_string()} SHA-256 {self.fingerprint_sha256}>"

    @property
    def serial_hex(self) -> str:
        """The serial number in lower-case hex without leading zeros; unique only with the issuer."""
        return f"{self.serial_number:x}"

    def check_validity(self, at: datetime) -> None:
        """Raise `not_yet_valid` or `expired` unless *at* is within the validity period. RFC 5280 §4.1.2.5."""
        if at > self.not_after:
            raise CertificateRejected(Reason.EXPIRED, f"expired {self.not_after:%Y-%m-%d %H:%M:%S} UTC")
        if at < self.not_before:
            raise CertificateRejected(Reason.NOT_YET_VALID, f"valid from {self.not_before:%Y-%m-%d %H:%M:%S} UTC")

    def check_client_usage(self) -> None:
        """Raise `wrong_key_usage` unless the certificate may authenticate a TLS client. RFC 5280 §4.2.1.3, §4.2.1.12.

        An absent extension restricts nothing; anyExtendedKeyUsage alone is refused, as OpenSSL refuses it.
        """
        usage = self.key_usage
        if usage is not None and not (usage.digital_signature or usage.key_agreement):
            raise CertificateRejected(
                Reason.WRONG_KEY_USAGE, "keyUsage allows neither digitalSignature nor keyAgreement"
            )
        extended = self.extended_key_usage
        if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string not in extended:
            raise CertificateRejected(Reason.WRONG_KEY_USAGE, "extendedKeyUsage does not list clientAuth")


def load_certificate(der: bytes) -> Certificate:
    """Read one DER certificate; raise `CertificateRejected` for anything else, whatever it is.

    Reasons: `malformed_certificate`, `unusable_name`, `weak_key`. Does not check validity, usage or trust.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise _malformed(f"is larger than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        return _read(x509.load_der_x509_certificate(der), der)
    except PARSER_ERRORS as error:
        raise _malformed(f"cannot be read ({type(error).__name__})") from error


def load_client_certificate(der: bytes) -> Certificate:
    """`load_certificate`, and raise `wrong_key_usage` unless it may authenticate a TLS client."""
    certificate = load_certificate(der)
    certificate.check_client_usage()
    return certificate


def spki_sha256(certificate: Certificate) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in hex: the same for every certificate of one key. RFC 7469 §2.4."""
    key = x509.load_der_x509_certificate(certificate.der).public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def signature_hash_name(certificate: Certificate) -> str | None:
    """Name of the hash that the issuer signed with, as `sha256`; None where the algorithm has none (Ed25519)."""
    try:
        algorithm = x509.load_der_x509_certificate(certificate.der).signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unknown"
    return algorithm.name if algorithm is not None else None


def _read(parsed: x509.Certificate, der: bytes) -> Certificate:
    version = 1 if parsed.version is x509.Version.v1 else 3
    serial_number = parsed.serial_number
    if serial_number <= 0 or serial_number.bit_length() > MAX_SERIAL_BITS:
        raise _malformed("has a serial number that is not positive or longer than 20 octets")
    subject, issuer = parsed.subject, parsed.issuer
    common_name = _check_attributes(subject, "subject")
    _check_attributes(issuer, "issuer")
    alternative_names, key_usage, extended_key_usage, is_ca = _read_extensions(parsed, version)
    if not issuer.rdns:
        raise _malformed("names no issuer")
    if not subject.rdns and alternative_names is _NO_NAMES:
        raise unusable("the certificate names nobody")
    key_type, key_bits = _read_key(parsed)
    return Certificate(
        der=der,
        fingerprint_sha256=sha256(der).hexdigest(),
        version=version,
        serial_number=serial_number,
        subject=subject,
        issuer=issuer,
        common_name=common_name,
        alternative_names=alternative_names,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        key_type=key_type,
        key_bits=key_bits,
        key_usage=key_usage,
        extended_key_usage=extended_key_usage,
        is_ca=is_ca,
    )


def _check_attributes(name: x509.Name, what: str) -> str | None:
    """Check the text of every attribute; return the one common name, if there is one."""
    common_name = None
    for count, attribute in enumerate(name, 1):
        value = attribute.value
        if count > MAX_ATTRIBUTES:
            raise unusable(f"the {what} has more than {MAX_ATTRIBUTES} attributes")
        if isinstance(value, bytes):  # x500UniqueIdentifier, a BIT STRING that is no text
            continue
        if attribute.oid == NameOID.COMMON_NAME and what == "subject":
            if common_name is not None:
                raise unusable("the subject has more than one common name")
            common_name = check_name(value, "the common name")
        else:
            check_text(value, f"an attribute of the {what}")
    return common_name


_NO_NAMES = AlternativeNames()


def _read_extensions(
    parsed: x509.Certificate, version: int
) -> tuple[AlternativeNames, x509.KeyUsage | None, frozenset[str] | None, bool]:
    found: dict[type, Any] = {}
    for extension in parsed.extensions:
        value = extension.value
        found[type(value)] = value
        if extension.critical and type(value) is x509.UnrecognizedExtension:
            # RFC 5280 §4.2: a system must reject a critical extension that it does not recognise.
            raise _malformed(f"has an unknown critical extension {extension.oid.dotted_string}")
    if found and version == 1:
        raise _malformed("is X.509 v1 and has extensions")
    names = found.get(x509.SubjectAlternativeName)
    extended_key_usage = found.get(x509.ExtendedKeyUsage)
    basic_constraints = found.get(x509.BasicConstraints)
    return (
        _NO_NAMES if names is None else AlternativeNames.read(names),
        found.get(x509.KeyUsage),
        None if extended_key_usage is None else frozenset(oid.dotted_string for oid in extended_key_usage),
        basic_constraints is not None and basic_constraints.ca,
    )


def _read_key(parsed: x509.Certificate) -> tuple[str, int]:
    key = parsed.public_key()
    match key:
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}", key.key_size
        case rsa.RSAPublicKey():
            if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
                raise CertificateRejected(Reason.WEAK_KEY, f"RSA key of {key.key_size} bits")
            return "RSA", key.key_size
        case dsa.DSAPublicKey():
            raise CertificateRejected(Reason.WEAK_KEY, "DSA key")
        case _:
            return type(key).__name__.lstrip("_").removesuffix("PublicKey"), getattr(key, "key_size", 256)


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_CERTIFICATE, f"the certificate {detail}")
