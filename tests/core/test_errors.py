"""Reasons and exceptions: stable codes, the status of each, and texts for the log."""

import pytest

from mtls_auth import CertificateRejected, ConfigurationError, MTLSAuthError, Reason

STATUSES = {
    Reason.MALFORMED_HEADER: 400,
    Reason.AMBIGUOUS_HEADER: 400,
    Reason.CONTRADICTORY_EVIDENCE: 400,
    Reason.MALFORMED_CERTIFICATE: 400,
    Reason.PRIVATE_KEY: 400,
    Reason.OVERSIZED_HEADER: 431,
    Reason.STORE_UNAVAILABLE: 503,
}


@pytest.mark.parametrize("reason", Reason)
def test_status(reason: Reason) -> None:
    """A denial is 403, unless the request or our store is at fault."""
    assert reason.status == STATUSES.get(reason, 403)


def test_codes() -> None:
    """A code is its name in lower case: it stands in logs, metrics and tests of applications."""
    assert [reason.value for reason in Reason] == [reason.name.lower() for reason in Reason]
    assert f"{Reason.EXPIRED}" == "expired"


def test_rejection() -> None:
    """A rejection carries reason and detail, and says both."""
    rejected = CertificateRejected(Reason.EXPIRED, "yesterday")
    assert (rejected.reason, rejected.detail, str(rejected)) == (Reason.EXPIRED, "yesterday", "expired: yesterday")
    assert str(CertificateRejected(Reason.EXPIRED)) == "expired"
    assert isinstance(rejected, MTLSAuthError)


def test_configuration_error() -> None:
    """A configuration error lists every problem."""
    error = ConfigurationError("a is wrong", "b is missing")
    assert error.problems == ("a is wrong", "b is missing")
    assert str(error) == "a is wrong; b is missing"
    assert isinstance(error, MTLSAuthError)
