"""A certificate with its private key, in the forms that clients and tests want it."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_auth.testing.keys import PrivateKey

_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A leaf, its private key, the intermediates that a client sends along, and the root that it does not."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate

    @property
    def der(self) -> bytes:
        """The leaf in DER."""
        return self.certificate.public_bytes(_DER)

    @property
    def pem(self) -> bytes:
        """The leaf in PEM."""
        return self.certificate.public_bytes(_PEM)

    @property
    def chain_pem(self) -> bytes:
        """The leaf and then its intermediates in PEM, without the root."""
        return b"".join(certificate.public_bytes(_PEM) for certificate in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM: PKCS#8, not encrypted."""
        return self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    @property
    def fingerprint_sha256(self) -> str:
        """The SHA-256 of the DER in lower-case hex without colons."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def p12(self, password: str, name: str) -> bytes:
        """Return PKCS#12 with leaf, key, intermediates and root; *name* is what a browser's dialog shows.

        NSS (Firefox, Chromium on Linux) imports no Ed25519 key, in whatever encryption.
        """
        # The macOS Keychain answers "MAC verification failed" to AES-256 with an HMAC of SHA-256
        # (pyca/cryptography#7293). NSS, Java 17 and OpenSSL 3 without its legacy provider import both, so the
        # old encryption is the one that all of them read. It is weak: the password protects a test key only.
        encryption = (
            serialization.PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(20_000)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())  # noqa: S303
            .build(password.encode())
        )
        issuers = (*self.chain, self.root)
        return pkcs12.serialize_key_and_certificates(name.encode(), self.key, self.certificate, issuers, encryption)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write chain and key as *name*.pem and *name*.key into *directory* and return both paths."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(self.chain_pem)
        _write_secret(key, self.key_pem)
        return certificate, key

    def write_p12(self, directory: Path, name: str, password: str) -> Path:
        """Write PKCS#12 as *name*.p12 into *directory* and return its path."""
        path = directory / f"{name}.p12"
        _write_secret(path, self.p12(password, name))
        return path


def _write_secret(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
