"""A certificate authority in memory, which issues whatever it is asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from mtls_auth.testing.issued import IssuedCertificate
from mtls_auth.testing.keys import KeyType, PrivateKey, generate_key

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH

_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER


def distinguished_name(common_name: str | None, organizational_unit: str | None = None) -> x509.Name:
    """Return the name with these attributes, most general first; None leaves one out."""
    values = ((NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values if value is not None])


def server_name(name: str) -> x509.GeneralName:
    """Return the SAN entry of a host: iPAddress when *name* is an address, dNSName otherwise."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class CertificateAuthority:
    """A root that signed itself or, with *parent*, an intermediate; valid from a year ago for ten years."""

    def __init__(
        self,
        common_name: str = "Test CA",
        *,
        key_type: KeyType = "ec",
        parent: "CertificateAuthority | None" = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
    ) -> None:
        """Mint the authority's own key and certificate."""
        self.key = generate_key(key_type)
        self.subject = distinguished_name(common_name)
        self.parent = parent
        start = not_before or datetime.now(UTC) - timedelta(days=365)
        issuer = parent or self
        self.certificate = issuer._sign(
            self.subject,
            self.key,
            (start, not_after or start + timedelta(days=3650)),
            [
                (x509.BasicConstraints(ca=True, path_length=path_length), True),
                (_key_usage(ca=True), True),
            ],
        )

    @property
    def pem(self) -> bytes:
        """The authority's certificate in PEM."""
        return self.certificate.public_bytes(_PEM)

    @property
    def der(self) -> bytes:
        """The authority's certificate in DER."""
        return self.certificate.public_bytes(_DER)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The intermediates from this authority up to the root, which is left out: empty for a root."""
        return () if self.parent is None else (self.certificate, *self.parent.chain)

    @property
    def root(self) -> x509.Certificate:
        """The certificate at the top."""
        return self.certificate if self.parent is None else self.parent.root

    def intermediate(
        self, common_name: str = "Test Intermediate CA", *, key_type: KeyType = "ec"
    ) -> "CertificateAuthority":
        """Return a new authority that this one signed."""
        return CertificateAuthority(common_name, key_type=key_type, parent=self)

    def issue(
        self,
        common_name: str | None = None,
        *,
        organizational_unit: str | None = None,
        subject: x509.Name | None = None,
        san: Sequence[x509.GeneralName] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key_type: KeyType = "ec",
        eku: Sequence[ObjectIdentifier] | None = (CLIENT_AUTH,),
        server: bool = False,
    ) -> IssuedCertificate:
        """Return a v3 leaf for clients, valid from yesterday for 90 days unless told otherwise.

        *subject* replaces the other two names, *server* replaces *eku* by serverAuth. Nothing is checked: an
        expired leaf, an empty subject or names that no CA would sign are what tests ask for.
        """
        name = distinguished_name(common_name, organizational_unit) if subject is None else subject
        now = datetime.now(UTC)
        end = not_after or (not_before or now) + timedelta(days=90)
        start = not_before or min(now, end) - timedelta(days=1)
        key = generate_key(key_type)
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(ca=False, key_encipherment=key_type == "rsa"), True),
        ]
        usages = (SERVER_AUTH,) if server else eku
        if usages is not None:
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        if san:
            # RFC 5280 §4.2.1.6: critical when the subject is empty.
            extensions.append((x509.SubjectAlternativeName(san), not list(name)))
        certificate = self._sign(name, key, (start, end), extensions)
        return IssuedCertificate(certificate=certificate, key=key, chain=self.chain, root=self.root)

    def issue_server(self, *names: str, key_type: KeyType = "ec") -> IssuedCertificate:
        """Return a leaf for a server of these DNS names and IP addresses; the first is its CN."""
        san = [server_name(name) for name in names]
        return self.issue(names[0], san=san, key_type=key_type, server=True)

    def _sign(
        self,
        subject: x509.Name,
        key: PrivateKey,
        validity: tuple[datetime, datetime],
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        issuer_key = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(validity[0])
            .not_valid_after(validity[1])
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        # RFC 8032: Ed25519 hashes by itself.
        algorithm = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, algorithm)


def _key_usage(*, ca: bool, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
