"""Distinct client certificates by the hundred: one key for all of them, since minting keys is what takes the time."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth.testing import CLIENT_AUTH, CertificateAuthority, KeyType, distinguished_name, generate_key


@lru_cache(maxsize=2)
def _authority(key_type: KeyType) -> CertificateAuthority:
    return CertificateAuthority("Benchmark Client CA", key_type=key_type)


def mint(key_type: KeyType, count: int) -> list[bytes]:
    """Return *count* leaves in DER with the names and extensions that a CA writes; the first is alice's."""
    authority = _authority(key_type)
    key = generate_key(key_type).public_key()
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        "content_commitment data_encipherment key_agreement key_cert_sign crl_sign encipher_only decipher_only".split(),
        False,
    )
    crl = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://crl.example.com/clients.crl")], None, None, None
    )
    common = (
        x509.CertificateBuilder()
        .issuer_name(authority.subject)
        .public_key(key)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_encipherment=key_type == "rsa", **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .add_extension(x509.CRLDistributionPoints([crl]), critical=False)
    )
    names = ["alice", *(f"user{number:04}" for number in range(1, count))]
    return [
        common.subject_name(distinguished_name(name, "Benchmarks"))
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(f"{name}@example.com")]), critical=False)
        .sign(authority.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
        for name in names
    ]
