"""Certificates for a server on this computer, in a folder: made when they are missing, and never for other clients.

The keys of the authorities are not kept, so nobody can make more of them; therefore each user has one of their own.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from mtls_auth.testing import CertificateAuthority

PASSWORD = "mtls"  # noqa: S105  # of the .p12 files, which are as secret as the keys beside them


class ClientFiles(NamedTuple):
    """What a client presents: to curl the first two, to a browser the third."""

    certificate: Path
    key: Path
    p12: Path


class DevelopmentPKI:
    """The files in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server_ca = directory / "ca.pem"
        self.certificate = directory / "server.pem"
        self.key = directory / "server.key"
        self.client_ca = directory / "client-ca.pem"

    def ensure_server(self) -> None:
        """Make the server's certificate, for localhost, where there is none that is good for today."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / ".gitignore").write_text("*\n")
        if not _is_usable(self.certificate):
            ca = CertificateAuthority("Development server CA")
            ca.issue_server("localhost", "127.0.0.1", "::1").write(self.directory, "server")
            self.server_ca.write_bytes(ca.pem)

    def ensure_client(self, user: str) -> ClientFiles:
        """Make a certificate named *user* where there is none that is good for today, and trust its issuer."""
        directory = self.directory / "clients"
        directory.mkdir(mode=0o700, exist_ok=True)
        files = ClientFiles(*(directory / f"{user}.{suffix}" for suffix in ("pem", "key", "p12")))
        if not _is_usable(files.certificate):
            ca = CertificateAuthority("Development client CA")
            issued = ca.issue(user)
            issued.write(directory, user)
            issued.write_p12(directory, user, PASSWORD)
            with self.client_ca.open("ab") as trusted:
                trusted.write(ca.pem)
        return files


def _is_usable(certificate: Path) -> bool:
    if not certificate.exists():
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)
