"""Mappers: from identity to principal, unchanged or not at all."""

import hashlib
from collections.abc import Callable

import pytest

from mtls_auth import (
    ByCommonName,
    ByFingerprint,
    ByIdentity,
    ByStatedName,
    ConfigurationError,
    PrincipalMapper,
    Reason,
)
from mtls_auth.mapping import normalize_fingerprint, read_fingerprint
from mtls_auth.testing import CertificateAuthority
from tests.core.conftest import reason_of
from tests.core.test_identity import identify, state
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
    if len(text) != 40:
        with pytest.raises(ConfigurationError, match="is not a SHA-256 fingerprint"):
            ByFingerprint({text: "alice"})


SHA1, SHA256 = "ab" * 20, "cd" * 32


@pytest.mark.parametrize("spell", [str, str.upper, lambda digits: f" {digits}\n", lambda d: f"{d[:2]}:{d[2:]}"])
def test_read_fingerprint(spell: Callable[[str], str]) -> None:
    """A digest of either kind is read in every spelling."""
    assert read_fingerprint(spell(SHA1)) == SHA1
    assert read_fingerprint(spell(SHA256)) == SHA256


@pytest.mark.parametrize("text", ["", "ab" * 19, "ab" * 21, "g" * 40, "０" * 40])
def test_read_fingerprint_refuses(text: str) -> None:
    """What is neither is an error."""
    with pytest.raises(ConfigurationError, match="is not a SHA-256 fingerprint"):
        read_fingerprint(text)


def test_every_problem_of_a_table_at_once() -> None:
    """An operator reads about all of them the first time."""
    with pytest.raises(ConfigurationError) as refused:
        ByFingerprint({"a": 1, SHA1: 2, "b": 3})
    assert len(refused.value.problems) == 2


def test_by_stated_fingerprint(leaves: BrokenLeaves) -> None:
    """A table has stated digests of either kind; where none is stated nobody is looked up."""
    mapper = ByFingerprint({SHA1: "old", SHA256: "new"})
    assert mapper.map(state(fingerprint=SHA1)) == "old"
    assert mapper.map(state(fingerprint=SHA256, name="x")) == "new"
    assert reason_of(mapper.map, state(fingerprint="ef" * 20)) is Reason.NOT_ENROLLED
    assert reason_of(mapper.map, state(name="x")) is Reason.INSUFFICIENT_EVIDENCE
    sha1 = hashlib.sha1(leaves.good.der, usedforsecurity=False).hexdigest()
    assert reason_of(ByFingerprint({sha1: "alice"}).map, identify(leaves.good)) is Reason.NOT_ENROLLED


@pytest.mark.parametrize("name", ["bob", "spiffe://example.org/bob", "Bob", "CN=bob,OU=Ops", "a" * 255])
def test_by_stated_name(name: str) -> None:
    """The stated name is the principal, unchanged."""
    assert ByStatedName().recall(state(name=name)) == ByStatedName().map(state(fingerprint=SHA1, name=name)) == name


def test_by_stated_name_refuses(leaves: BrokenLeaves) -> None:
    """A certificate, and a statement without a name, have no stated name; one that changes is nobody's."""
    for identity in (identify(leaves.good), state(fingerprint=SHA1)):
        assert reason_of(ByStatedName().map, identity) is Reason.INSUFFICIENT_EVIDENCE
    for name in ("ａｄｍｉｎ", "Zoe\u0308", "a\u00a0b"):
        assert reason_of(ByStatedName().map, state(name=name)) is Reason.UNUSABLE_NAME


@pytest.mark.parametrize("name", [" ", " bob", "bob\n", "a\nb", "a\0b", "a\u202eb", "a\u200bb"], ids=repr)
def test_by_stated_name_refuses_what_is_no_name(name: str) -> None:
    """A text with control, bidi or zero-width characters, or with blanks around it, names nobody."""
    assert reason_of(ByStatedName().map, state(name=name)) is Reason.UNUSABLE_NAME


def test_by_common_name_of_a_statement() -> None:
    """A stated name is not a subject's common name."""
    assert reason_of(ByCommonName().map, state(name="bob")) is Reason.INSUFFICIENT_EVIDENCE
    assert ByIdentity().map(state(name="bob")) == state(name="bob")


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
    mappers: list[PrincipalMapper] = [ByIdentity(), ByFingerprint({}), ByCommonName(), ByStatedName()]
    assert len(mappers) == 4
