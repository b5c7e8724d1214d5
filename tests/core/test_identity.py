"""Identities: the field's own terms for one verified certificate."""

import base64
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from mtls_auth import Assurance, Evidence, Identity, VouchedFor
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.pki import BrokenLeaves


def identify(issued: IssuedCertificate, assurance: Assurance = Assurance.TLS_SOCKET) -> Identity:
    """Return the identity of a leaf."""
    evidence = Evidence("test", (issued.der,), assurance, lambda _raw: (issued.der,))
    return Identity.from_verified(VouchedFor().verify(evidence, at=datetime.now(UTC)))


def test_terms(leaves: BrokenLeaves) -> None:
    """An identity tells name, fingerprint, thumbprint and assurance of its certificate."""
    identity = identify(leaves.good, Assurance.PROXY_VERDICT)
    assert identity.subject_cn == "alice"
    assert identity.assurance is Assurance.PROXY_VERDICT
    assert identity.certificate is identity.verified.certificate
    assert identity.certificate.der == leaves.good.der
    assert identity.fingerprint_sha256 == leaves.good.fingerprint_sha256


def test_thumbprint(leaves: BrokenLeaves) -> None:
    """`x5t#S256` is the same hash in base64url without padding. RFC 8705 §3.1."""
    thumbprint = identify(leaves.good).x5t_s256
    assert len(thumbprint) == 43
    assert base64.urlsafe_b64decode(thumbprint + "=").hex() == leaves.good.fingerprint_sha256


@pytest.mark.parametrize(
    ("common_name", "text"), [("alice", "alice (SHA-256 "), (None, "no common name (SHA-256 ")], ids=["name", "none"]
)
def test_text(ca: CertificateAuthority, common_name: str | None, text: str) -> None:
    """The text for logs is the name and the start of the fingerprint."""
    identity = identify(ca.issue(common_name, organizational_unit="Ops"))
    assert str(identity) == f"{text}{identity.fingerprint_sha256[:16]}…)"
    assert identity.subject_cn == common_name


def test_equality(leaves: BrokenLeaves) -> None:
    """Identities are equal if certificate and assurance are."""
    assert identify(leaves.good) == identify(leaves.good)
    assert identify(leaves.good) != identify(leaves.good, Assurance.PINNED)
    assert identify(leaves.good) != identify(leaves.without_eku)


def test_frozen(leaves: BrokenLeaves) -> None:
    """An identity is not changed."""
    with pytest.raises(FrozenInstanceError):
        identify(leaves.good).verified = identify(leaves.without_eku).verified  # type: ignore[misc]
