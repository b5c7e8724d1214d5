"""The certificates of the recipes' tests, by the CA that the documentation calls Example CA, and sites."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.docs.site import URLS, MakeSite, Site


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The CA of the clients and of the server."""
    return CertificateAuthority("Example CA")


@pytest.fixture(scope="session")
def alice(ca: CertificateAuthority) -> IssuedCertificate:
    """A certificate that the recipes' policies admit."""
    return ca.issue("alice", organizational_unit="Finance")


@pytest.fixture(scope="session")
def bob(ca: CertificateAuthority) -> IssuedCertificate:
    """A good certificate that the policies do not admit."""
    return ca.issue("bob", organizational_unit="Engineering")


@pytest.fixture(scope="session")
def proxy(ca: CertificateAuthority) -> IssuedCertificate:
    """The certificate by which a proxy proves who it is."""
    return ca.issue("proxy.example.com")


@pytest.fixture(scope="module")
def blank(
    ca: CertificateAuthority, alice: IssuedCertificate, bob: IssuedCertificate, proxy: IssuedCertificate
) -> Iterator[Site]:
    """A new project without our settings; no test changes it."""
    with tempfile.TemporaryDirectory(prefix="mtls-docs-") as name:  # short: a socket's path has about 100 bytes
        site = Site(Path(name))
        site.shell("python -m django startproject mysite .")
        (site.directory / "mysite/urls.py").write_text(URLS)
        (site.directory / "client-ca.pem").write_bytes(ca.pem)
        ca.issue_server("localhost", "www.example.com").write(site.directory, "server")
        expired = ca.issue("alice", not_after=datetime.now(UTC) - timedelta(hours=1))
        mallory = ca.issue("mallory", organizational_unit="Finance")
        clients = {"alice": alice, "bob": bob, "expired": expired, "mallory": mallory, "proxy": proxy}
        for client, issued in clients.items():
            issued.write(site.directory, client)
        yield site


@pytest.fixture
def make_site(blank: Site) -> Iterator[MakeSite]:
    """Copies of the project with the settings and views of the documentation."""
    with ExitStack() as stack:
        yield MakeSite(blank, stack)
