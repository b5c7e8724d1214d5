"""What to do about a refused certificate."""

import pytest

from django_mtls.advice import ADVICE, advise
from django_mtls.settings import Settings
from mtls_auth import CertificateRejected, Reason

# What a request alone can meet: no certificate, or what only a header can get wrong.
OF_REQUESTS = {
    Reason.NO_CERTIFICATE,
    Reason.CERTIFICATE_REQUIRED,
    Reason.MALFORMED_HEADER,
    Reason.AMBIGUOUS_HEADER,
    Reason.OVERSIZED_HEADER,
    Reason.UNVERIFIED,
    Reason.PROXY_REJECTED,
}


def test_every_reason() -> None:
    """There is advice for every reason that an operator meets in the admin or a command."""
    assert set(ADVICE) == set(Reason) - OF_REQUESTS


@pytest.mark.parametrize("reason", Reason)
def test_sentences(reason: Reason) -> None:
    """The detail is the first sentence, the advice the rest; without a detail the reason speaks."""
    text = advise(CertificateRejected(reason, "it is odd."))
    assert text.startswith("Refused: it is odd.")
    assert text == text.strip()
    assert text.endswith(".")
    assert (text != "Refused: it is odd.") is (reason in ADVICE)
    assert advise(CertificateRejected(reason)).startswith(f"Refused: {reason.value.replace('_', ' ')}.")


@pytest.mark.parametrize(
    ("reason", "keys"),
    [(Reason.PROXY_UNPROVEN, {"PROXY_SECRET"}), (Reason.INSUFFICIENT_EVIDENCE, {"MAPPING", "POLICY"})],
)
def test_keys_that_are_named(reason: Reason, keys: set[str]) -> None:
    """The advice names keys of `MTLS_AUTH` that exist."""
    text = str(ADVICE[reason])
    assert all(f"['{key}']" in text for key in keys)
    assert keys <= {name.upper() for name in Settings.__dataclass_fields__}
