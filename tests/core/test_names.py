"""The name policy: text that may stand for somebody, and text that never does."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason
from mtls_auth.names import (
    MAX_NAME_LENGTH,
    check_dns_name,
    check_email,
    check_name,
    check_stable,
    check_text,
    check_uri,
)
from tests.core.conftest import reason_of
from tests.pki import AWKWARD_NAMES, HOSTILE_NAMES

UNUSABLE = Reason.UNUSABLE_NAME


@pytest.mark.parametrize("name", AWKWARD_NAMES.values(), ids=AWKWARD_NAMES)
def test_awkward_names_are_names(name: str) -> None:
    """A legal name is returned as it is, however software likes to misread it."""
    assert check_name(name, "the name") == name


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_names_are_refused(name: str) -> None:
    """A name that ends early somewhere, or that nobody can tell from another, is refused."""
    assert reason_of(check_name, name, "the name") is UNUSABLE


@pytest.mark.parametrize(
    "char",
    [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x200B, 0x200E, 0x2028, 0x2029, 0x202E, 0x2066, 0xD800, 0xFEFF],
    ids=lambda char: f"U+{char:04X}",
)
def test_invisible_characters(char: int) -> None:
    """Control, format and surrogate characters are refused wherever they stand."""
    for text in (f"a{chr(char)}b", f"{chr(char)}ab", f"ab{chr(char)}", chr(char)):
        assert reason_of(check_text, text, "the name") is UNUSABLE


@given(st.text(max_size=MAX_NAME_LENGTH))
def test_check_text_is_its_rule(text: str) -> None:
    """Text of bounded length is refused for characters of the five invisible categories, and for nothing else."""
    invisible = any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)
    assert (reason_of(check_text, text, "it") is UNUSABLE) == invisible


def test_latin_1_byte_walk() -> None:
    """Of the 256 characters of Latin-1, those that are printable or blanks may stand in a text."""
    accepted = {chr(code) for code in range(256) if reason_of(check_text, f"a{chr(code)}b", "it") is None}
    assert accepted == {chr(code) for code in [*range(0x20, 0x7F), *range(0xA0, 0x100)] if code != 0xAD}


@pytest.mark.parametrize("name", ["", " ", "\u00a0", " alice", "alice ", "\u00a0alice", "alice\u3000", "\u2003"])
def test_blank_names(name: str) -> None:
    """Nothing, blanks, and blanks around a name are refused: somebody strips them."""
    assert reason_of(check_name, name, "the name") is UNUSABLE


def test_an_attribute_may_be_empty() -> None:
    """Text that is no name may be empty or have blanks around it."""
    assert check_text("", "it") == ""
    assert check_text(" x ", "it") == " x "


@pytest.mark.parametrize("check", [check_text, check_name])
def test_length(check: Callable[[str, str], str]) -> None:
    """255 characters are a name, 256 are none."""
    assert check("a" * 255, "it") == "a" * 255
    assert reason_of(check, "a" * 256, "it") is UNUSABLE


@pytest.mark.parametrize("email", ["a@b", "alice@example.com", "o'hara+x@ex-ample.com", "!#$%&'*+/=?^_`{|}~.-@x"])
def test_email(email: str) -> None:
    """A plain addr-spec is returned."""
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "alice",
        "@example.com",
        "alice@",
        "alice@@example.com",
        "alice@example.com\0@evil.example",
        "alice@example.com,bob@example.com",
        "alice@example.com bob@example.com",
        "Alice <alice@example.com>",
        '"alice bob"@example.com',
        "alice(comment)@example.com",
        "alice@[192.0.2.1]",
        "álice@example.com",
        "alice@exämple.com",
        "alice@example.com\n",
        " alice@example.com",
        f"{'a' * 250}@b.com",
    ],
)
def test_not_email(email: str) -> None:
    """Display names, quoted parts, comments, second addresses, NUL and anything beyond ASCII are refused."""
    assert reason_of(check_email, email) is UNUSABLE


@pytest.mark.parametrize(
    "name", ["a", "example.com", "*.example.com", "_sip.example.com", "xn--bcher-kva.example", "a."]
)
def test_dns_name(name: str) -> None:
    """A DNS name is returned as it is."""
    assert check_dns_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "*", "*.", "a b", "-a", "a-", ".a", "a.*.b", "a*.b", "ä", "a\0.b", "a\n", "a/b", "a:80", "a" * 256],
)
def test_not_dns_name(name: str) -> None:
    """Blanks, NUL, ports, partial wildcards and anything beyond ASCII are refused."""
    assert reason_of(check_dns_name, name) is UNUSABLE


@pytest.mark.parametrize("uri", ["urn:uuid:0", "https://example.com/a?b#c", "a+b-c.d:x"])
def test_uri(uri: str) -> None:
    """An absolute URI in ASCII is returned as it is."""
    assert check_uri(uri) == uri


@pytest.mark.parametrize("uri", ["", "alice", ":x", "1a:x", "urn:", "urn:a b", "urn:é", "urn:a\0", "urn:a\n", "//x"])
def test_not_uri(uri: str) -> None:
    """Relative references, blanks, control characters and anything beyond ASCII are refused."""
    assert reason_of(check_uri, uri) is UNUSABLE


@pytest.mark.parametrize("name", ["alice", "ALICE", "Zoë", "王小明", "alice 🦊", "a/b"])
def test_stable(name: str) -> None:
    """A name that normalisation leaves alone is returned."""
    assert check_stable(name, "the name") == name


@pytest.mark.parametrize("name", ["ａｄｍｉｎ", "ﬁnn", "Zoe\u0308", "№1", "a\u00a0b", "\u212a", "①"])
def test_not_stable(name: str) -> None:
    """A name that NFKC makes another one is refused: it could meet that one's account."""
    assert reason_of(check_stable, name, "the name") is UNUSABLE


@pytest.mark.parametrize("check", [check_email, check_dns_name, check_uri])
@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_other_exception(check: Callable[[str], str], text: str) -> None:
    """Whatever the text, it is returned as it is, in visible ASCII, or refused."""
    try:
        checked = check(text)
    except CertificateRejected:
        return
    assert checked == text
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


def test_the_refusal_says_what_not_which() -> None:
    """The detail tells which name is refused without repeating it."""
    with pytest.raises(CertificateRejected) as refused:
        check_name("evil\x1b[2J", "the common name")
    assert "the common name" in refused.value.detail
    assert "evil" not in str(refused.value)
