"""A throw-away PKI on disk: a CA, the server's certificate, and one client certificate for each user."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from mtls_auth.testing import CertificateAuthority

PASSWORD = "example"  # noqa: S105  # of the .p12 files; it protects nothing here
USERS = {"alice": "Finance", "bob": "Engineering"}
_LIFETIME = timedelta(days=365)


def ensure_pki(directory: Path) -> bool:
    """Make the PKI unless a usable one is there; return whether it is new."""
    if _is_usable(directory):
        return False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    not_after = datetime.now(UTC) + _LIFETIME
    ca = CertificateAuthority("mtls-auth example CA")
    (directory / "ca.pem").write_bytes(ca.pem)
    ca.issue_server("localhost", "127.0.0.1", "::1").write(directory, "server")
    for user, unit in USERS.items():
        issued = ca.issue(user, organizational_unit=unit, not_after=not_after)
        issued.write(directory, user)
        issued.write_p12(directory, user, PASSWORD)
    return True


def _is_usable(directory: Path) -> bool:
    names = ["ca", "server", *USERS]
    files = [directory / f"{name}.pem" for name in names]
    others = [f"{name}.key" for name in names[1:]] + [f"{user}.p12" for user in USERS]
    if not all(file.exists() for file in (*files, *(directory / other for other in others))):
        return False
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return all(x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc > tomorrow for file in files)
