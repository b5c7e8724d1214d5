"""The certificates of the recipes' tests: the CA that the documentation calls Example CA, alice and bob."""

import pytest

from mtls_auth.testing import CertificateAuthority, IssuedCertificate


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
