"""Mappers: from identity to principal, unchanged or not at all."""

from collections.abc import Callable

import pytest

from mtls_auth import ByCommonName, ByFingerprint, ByIdentity, ConfigurationError, PrincipalMapper, Reason
from mtls_auth.mapping import normalize_fingerprint
from mtls_auth.testing import CertificateAuthority
from tests.core.conftest import reason_of
from tests.core.test_identity import identify
from tests.pki import AWKWARD_NAMES, BrokenLeaves


def test_by_identity(leaves: BrokenLeaves) -> None:
    """The identity is its own principal."""
    identity = identify(leaves.good)
    assert ByIdentity().recall(identity) is ByIdentity().map(identity) is identity


def colons(digits: str) -> str:
    """Return a fingerprint as OpenSSL prints it."""
    return ":".join(digits[at : at + 2].upper() for at in range(0, 64, 2))


@pytest.mark.parametrize(
    "spell",
    [str, str.upper, colons, lambda digits: f" {digits}\n", lambda digits: colons(digits).replace(":", " ")],
    ids=["plain", "upper case", "colons", "blanks around", "blanks between"],
)
def test_by_fingerprint(leaves: BrokenLeaves, spell: Callable[[str], str]) -> None:
    """A fingerprint in the table, in whatever spelling, is the principal's; another one is not enrolled."""
    mapper = ByFingerprint({spell(leaves.good.fingerprint_sha256): "alice"})
    assert mapper.recall(identify(leaves.good)) == mapper.map(identify(leaves.good)) == "alice"
    assert reason_of(mapper.recall, identify(leaves.without_eku)) is Reason.NOT_ENROLLED


@pytest.mark.parametrize("principal", ["", 0, False, ()], ids=repr)
def test_principals_that_are_false(leaves: BrokenLeaves, principal: object) -> None:
    """A principal may be false in a condition; it is one all the same."""
    assert ByFingerprint({leaves.good.fingerprint_sha256: principal}).recall(identify(leaves.good)) == principal


def test_by_fingerprint_of_nobody(leaves: BrokenLeaves) -> None:
    """An empty table, and a principal None, admit nobody."""
    assert reason_of(ByFingerprint({}).map, identify(leaves.good)) is Reason.NOT_ENROLLED
    nobody = ByFingerprint({leaves.good.fingerprint_sha256: None})
    assert reason_of(nobody.map, identify(leaves.good)) is Reason.NOT_ENROLLED


def test_one_fingerprint_for_two(leaves: BrokenLeaves) -> None:
    """A table in which two spellings of one fingerprint stand for two principals is an error."""
    digits = leaves.good.fingerprint_sha256
    with pytest.raises(ConfigurationError):
        ByFingerprint({digits: "alice", colons(digits): "mallory"})


@pytest.mark.parametrize(
    "text",
    ["", "a" * 63, "a" * 65, "a" * 40, "g" * 64, "０" * 64, f"sha256:{'a' * 64}", f"{'a' * 32}-{'a' * 32}", "٣" * 64],
    ids=["empty", "63", "65", "SHA-1", "not hex", "full-width digits", "prefix", "hyphen", "Arabic digits"],
)
def test_not_a_fingerprint(text: str) -> None:
    """What is no SHA-256 fingerprint is an error that repeats it."""
    with pytest.raises(ConfigurationError, match="is not a SHA-256 fingerprint") as error:
        normalize_fingerprint(text)
    assert repr(text) in str(error.value)
    with pytest.raises(ConfigurationError):
        ByFingerprint({text: "alice"})


@pytest.mark.parametrize("name", AWKWARD_NAMES.values(), ids=AWKWARD_NAMES)
def test_by_common_name(ca: CertificateAuthority, name: str) -> None:
    """The common name is the principal, unchanged, however awkward it is."""
    identity = identify(ca.issue(name))
    assert ByCommonName().recall(identity) == ByCommonName().map(identity) == name


@pytest.mark.parametrize("name", [None, "ａｄｍｉｎ", "Zoe\u0308", "a\u00a0b", "ﬁnn"])
def test_by_common_name_refuses(ca: CertificateAuthority, name: str | None) -> None:
    """No name, or a name that normalisation makes another one, is nobody's."""
    identity = identify(ca.issue(name, organizational_unit="Ops"))
    assert reason_of(ByCommonName().map, identity) is Reason.UNUSABLE_NAME


@pytest.mark.parametrize("names", [("alice", "Alice"), ("a", "a."), ("Zoë", "Zoe")])
def test_by_common_name_tells_apart(ca: CertificateAuthority, names: tuple[str, str]) -> None:
    """Names that merely resemble each other are two principals."""
    first, second = (ByCommonName().map(identify(ca.issue(name))) for name in names)
    assert first != second


def test_the_protocol() -> None:
    """The built-in mappers are mappers."""
    mappers: list[PrincipalMapper] = [ByIdentity(), ByFingerprint({}), ByCommonName()]
    assert len(mappers) == 3
