"""Certificates that go wrong, and certificates as people really make them.

`BrokenLeaves` mints leaves in memory with the package's own test kit. `TutorialPKI` runs the commands that
tutorials teach, in a directory, because their certificates differ: no extensions, often X.509 v1.
"""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtls_auth.testing import (
    SERVER_AUTH,
    CertificateAuthority,
    IssuedCertificate,
    KeyType,
    generate_key,
)

# Legal names that software likes to misread: each stands for exactly the person it spells.
AWKWARD_NAMES = {
    "comma": "Doe, Jane",
    "double quote": 'Jane "JD" Doe',
    "single quote": "Jane O'Doe",
    "slash": "alice/CN=admin",
    "plus": "alice+CN=admin",
    "equals": "a=b",
    "semicolon": "alice;Hash=0",
    "backslash": "EXAMPLE\\alice",
    "angle brackets": "<b>alice</b>",
    "leading hash": "#616c696365",
    "percent": "alice%0Abob",
    "looks like a DN": "alice,CN=admin",
    "accents": "Zoë Müller",
    "CJK": "王小明",
    "emoji": "alice 🦊",
}

# Names that no reader can tell from another, or that end early somewhere: to be refused.
HOSTILE_NAMES = {
    "NUL": "admin\x00.example.com",
    "line feed": "alice\nadmin",
    "carriage return": "alice\r\nX-User: admin",
    "tab": "alice\tadmin",
    "escape": "alice\x1b[2J",
    "bidi override": "alice\u202enimda",
    "zero width space": "ad\u200bmin",
    "line separator": "alice\u2028admin",
    "blank": "   ",
}


class BrokenLeaves:
    """Leaves of one authority, each broken in one way or valid in an unusual one, minted when asked for."""

    def __init__(self, ca: CertificateAuthority | None = None) -> None:
        """Use *ca* or a new root."""
        self.ca = ca or CertificateAuthority()

    @cached_property
    def good(self) -> IssuedCertificate:
        """Nothing wrong: a client certificate of alice."""
        return self.ca.issue("alice")

    @cached_property
    def expired(self) -> IssuedCertificate:
        """It ended an hour ago."""
        return self.ca.issue("alice", not_after=datetime.now(UTC) - timedelta(hours=1))

    @cached_property
    def not_yet_valid(self) -> IssuedCertificate:
        """It begins in an hour."""
        return self.ca.issue("alice", not_before=datetime.now(UTC) + timedelta(hours=1))

    @cached_property
    def server_only(self) -> IssuedCertificate:
        """Its extended key usage is serverAuth alone."""
        return self.ca.issue("alice", eku=(SERVER_AUTH,))

    @cached_property
    def without_eku(self) -> IssuedCertificate:
        """It has no extended key usage: good for anything."""
        return self.ca.issue("alice", eku=None)

    @cached_property
    def without_name(self) -> IssuedCertificate:
        """Its subject is empty and it has no SAN."""
        return self.ca.issue()

    @cached_property
    def two_common_names(self) -> IssuedCertificate:
        """Its subject holds two common names, alice and then admin."""
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("alice", "admin")]
        return self.ca.issue(subject=x509.Name(names))

    @cached_property
    def two_common_names_in_one_rdn(self) -> IssuedCertificate:
        """Its subject is one RDN that holds two common names."""
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("alice", "admin")]
        return self.ca.issue(subject=x509.Name([x509.RelativeDistinguishedName(names)]))

    @cached_property
    def through_intermediate(self) -> IssuedCertificate:
        """An EC leaf below an intermediate, with e-mail, DNS and URI names."""
        san = (
            x509.RFC822Name("alice@example.com"),
            x509.DNSName("alice.example.com"),
            x509.UniformResourceIdentifier("spiffe://example.com/alice"),
        )
        return self.ca.intermediate().issue("alice", organizational_unit="Ops", san=san)

    @cached_property
    def impostor(self) -> IssuedCertificate:
        """Signed by itself, with the same subject as `good`."""
        key, name = generate_key(), self.good.certificate.subject
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(self.good.certificate.serial_number)
            .not_valid_before(self.good.certificate.not_valid_before_utc)
            .not_valid_after(self.good.certificate.not_valid_after_utc)
            .sign(key, hashes.SHA256())
        )
        return IssuedCertificate(certificate=certificate, key=key, chain=(), root=certificate)

    @cached_property
    def from_impostor_ca(self) -> IssuedCertificate:
        """Signed by another authority that gave itself the name of ours."""
        impostor = CertificateAuthority()
        impostor.subject = self.ca.subject
        return impostor.issue("alice")

    def named(self, common_name: str) -> IssuedCertificate:
        """A leaf whose common name is this text, whatever it is; see AWKWARD_NAMES and HOSTILE_NAMES."""
        return self.ca.issue(common_name)

    def of_key(self, key_type: KeyType) -> IssuedCertificate:
        """A leaf whose own key is of this type; the authority signs with its own."""
        return self.ca.issue("alice", key_type=key_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class TutorialClient:
    """The files that a tutorial leaves behind for one client."""

    common_name: str
    certificate: Path
    key: Path
    p12: Path

    def load(self) -> x509.Certificate:
        """Return the parsed certificate."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())


class TutorialPKI:
    """A root and clients made by `openssl` as tutorials do it: no extension file, so X.509 v1 on OpenSSL 3.0.

    OpenSSL 3.2 and later write v3 for the same commands. The caller skips where `openssl` is missing.
    """

    P12_PASSWORD = "tutorial"

    def __init__(self, directory: Path, clients: tuple[str, ...] = ("alice", "bob")) -> None:
        """Run the commands in *directory*, which must exist."""
        self.directory = directory
        self.ca = directory / "ca.crt"
        self._openssl("genrsa -out ca.key 2048")
        self._openssl("req -new -key ca.key -out ca.csr -subj", "/CN=Tutorial Root CA")
        self._openssl("x509 -req -days 3650 -in ca.csr -signkey ca.key -out ca.crt")
        self.clients = {name: self._client(name) for name in clients}

    def _client(self, name: str) -> TutorialClient:
        self._openssl(f"genrsa -out {name}.key 2048")
        self._openssl(f"req -new -key {name}.key -out {name}.csr -subj", f"/OU=Tutorial/CN={name}")
        self._openssl(f"x509 -req -days 365 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt")
        self._openssl(
            f"pkcs12 -export -clcerts -in {name}.crt -inkey {name}.key -out {name}.p12 -passout",
            f"pass:{self.P12_PASSWORD}",
        )
        path = self.directory / name
        return TutorialClient(
            common_name=name,
            certificate=path.with_suffix(".crt"),
            key=path.with_suffix(".key"),
            p12=path.with_suffix(".p12"),
        )

    def _openssl(self, arguments: str, *last: str) -> None:
        command = ["openssl", *arguments.split(), *last]
        result = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr}")


def revocation_list(
    ca: CertificateAuthority,
    *revoked: IssuedCertificate | CertificateAuthority | x509.Certificate,
    issued: timedelta = timedelta(hours=-2),
    ends: timedelta = timedelta(days=7),
    issuer: x509.Name | None = None,
    delta: bool = False,
) -> bytes:
    """Return a CRL, in PEM, of certificates that were revoked an hour ago; a *delta* CRL if told so."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or ca.subject)
        .last_update(now + issued)
        .next_update(now + ends)
    )
    if delta:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    for item in revoked:
        certificate = item if isinstance(item, x509.Certificate) else item.certificate
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(now - timedelta(hours=1))
            .build()
        )
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)
