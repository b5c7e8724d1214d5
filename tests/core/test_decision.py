"""Decisions: three values to match in full, and what is logged of a denial."""

import logging
from dataclasses import FrozenInstanceError
from typing import assert_never

import pytest

from mtls_auth import Anonymous, Authenticated, CertificateRejected, Decision, Denied, Identity, Reason
from tests.core.test_identity import identify
from tests.pki import BrokenLeaves


@pytest.fixture
def identity(leaves: BrokenLeaves) -> Identity:
    """Somebody."""
    return identify(leaves.good)


def test_three_values(identity: Identity) -> None:
    """A `match` over the three values is total."""

    def name(decision: Decision) -> str:
        match decision:
            case Anonymous(reason):
                return f"anonymous: {reason}"
            case Authenticated(identity, principal):
                return f"{principal}: {identity.subject_cn}"
            case Denied(reason, detail, _identity):
                return f"denied: {reason} {detail}"
            case _:
                assert_never(decision)

    assert name(Anonymous()) == "anonymous: no_certificate"
    assert name(Authenticated(identity, "user")) == "user: alice"
    assert name(Denied(Reason.EXPIRED, "yesterday")) == "denied: expired yesterday"


def test_frozen(identity: Identity) -> None:
    """A decision is not changed by whoever it is handed to."""
    with pytest.raises(FrozenInstanceError):
        Authenticated(identity, "user").principal = "admin"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Denied(Reason.EXPIRED).reason = Reason.PENDING  # type: ignore[misc]


def test_because(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A rejection becomes a denial, and one warning with reason, detail and fingerprint."""
    with caplog.at_level(logging.INFO, "mtls_auth"):
        denied = Denied.because(CertificateRejected(Reason.EXPIRED, "yesterday"), identity)
    assert denied == Denied(Reason.EXPIRED, "yesterday", identity)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mtls_auth", logging.WARNING)
    assert record.getMessage() == f"client certificate refused: expired (yesterday) {identity}"
    assert record.__dict__["reason"] == "expired"
    assert record.__dict__["fingerprint_sha256"] == identity.fingerprint_sha256


def test_because_of_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A denial without an identity has no fingerprint to log."""
    denied = Denied.because(CertificateRejected(Reason.CERTIFICATE_REQUIRED))
    assert denied == Denied(Reason.CERTIFICATE_REQUIRED)
    (record,) = caplog.records
    assert record.getMessage().strip() == "client certificate refused: certificate_required ()"
    assert record.__dict__["fingerprint_sha256"] is None
