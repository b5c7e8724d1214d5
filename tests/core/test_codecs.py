"""Header text to DER: what the codecs take, and that they refuse everything else with a reason."""

import base64
import re
import ssl
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason, codecs
from mtls_auth.codecs import byte_sequence, byte_sequence_list, escaped_pem, pem
from mtls_auth.testing import client_cert_field
from mtls_auth.testing import escaped_pem as nginx_field
from tests.core.conftest import reason_of

# 0xfb, 0xef, 0xbe and 0xff make every special character of the alphabet; 100 bytes make three PEM lines.
DER = bytes([0xFB, 0xEF, 0xBE, 0xFF]) + bytes(range(96))
PEM = ssl.DER_cert_to_PEM_cert(DER)
BASE64 = base64.b64encode(DER).decode()
FIELD = f":{BASE64}:"

MALFORMED, AMBIGUOUS = Reason.MALFORMED_HEADER, Reason.AMBIGUOUS_HEADER


def escaped(text: str) -> str:
    """Percent-encode as nginx does."""
    return quote(text, safe="")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(nginx_field(DER), id="as nginx writes it"),
        pytest.param(escaped(PEM.rstrip("\n")), id="without the last newline"),
        pytest.param(escaped(PEM.replace("\n", "\r\n")), id="CRLF"),
        pytest.param(quote(PEM, safe="").replace("%2B", "%2b").replace("%0A", "%0a"), id="lower-case hex"),
        pytest.param(quote(PEM, safe="+/="), id="literal plus, slash and equals"),
        pytest.param(escaped(PEM).replace("-", "%2D"), id="needless escapes"),
        pytest.param(
            escaped(f"-----BEGIN CERTIFICATE-----\n{BASE64}\n-----END CERTIFICATE-----\n"), id="one long line"
        ),
    ],
)
def test_escaped_pem_accepts(text: str) -> None:
    """Every spelling of one block that RFC 3986 and RFC 7468 call the same decodes to the same bytes."""
    assert escaped_pem(text) == DER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", MALFORMED, id="empty"),
        pytest.param(PEM, MALFORMED, id="not escaped"),
        pytest.param(PEM.replace("\n", " "), MALFORMED, id="Apache's blanks"),
        pytest.param(PEM.replace("\n", "\n\t"), MALFORMED, id="nginx's folded form"),
        pytest.param(BASE64, MALFORMED, id="bare base64"),
        pytest.param(FIELD, MALFORMED, id="RFC 9440"),
        pytest.param("(null)", MALFORMED, id="Apache's null"),
        pytest.param(escaped(escaped(PEM)), MALFORMED, id="escaped twice"),
        pytest.param(escaped(PEM).replace("%20", "+"), MALFORMED, id="plus for a blank"),
        pytest.param(escaped(PEM).replace("%2B", "%20"), MALFORMED, id="blank in the body"),
        pytest.param(quote(PEM, safe="+").replace("+", " "), MALFORMED, id="plus turned into a blank before us"),
        pytest.param(escaped(PEM) + "%", MALFORMED, id="stray percent at the end"),
        pytest.param(escaped(PEM).replace("%2B", "%2"), MALFORMED, id="half an escape"),
        pytest.param(escaped(PEM).replace("%2B", "%2G"), MALFORMED, id="not hex"),
        pytest.param(escaped(PEM).replace("%2B", "%u002B"), MALFORMED, id="%u escape"),
        pytest.param(escaped(PEM) + "%00", MALFORMED, id="NUL"),
        pytest.param(escaped(PEM) * 2, MALFORMED, id="two blocks"),
        pytest.param(escaped("subject=x\n" + PEM), MALFORMED, id="text before"),
        pytest.param(escaped(PEM + "x"), MALFORMED, id="text after"),
        pytest.param(escaped("\n" + PEM), MALFORMED, id="newline before"),
        pytest.param(escaped(PEM + "\n"), MALFORMED, id="empty line after"),
        pytest.param(escaped(PEM.replace("\n", "\r")), MALFORMED, id="CR alone"),
        pytest.param(escaped(PEM.replace("\n", "")), MALFORMED, id="no newlines"),
        pytest.param(escaped(PEM.replace("\n", "\\n")), MALFORMED, id="backslash and n"),
        pytest.param(escaped(PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE")), MALFORMED, id="trusted certificate"),
        pytest.param(escaped(PEM.replace("CERTIFICATE", "certificate")), MALFORMED, id="lower-case label"),
        pytest.param(
            escaped("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"), MALFORMED, id="empty block"
        ),
        pytest.param(escaped("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), MALFORMED, id="no body"),
        pytest.param(escaped(PEM.rsplit("\n", 2)[0]), MALFORMED, id="no end"),
        pytest.param(escaped(PEM.replace("=", "")), MALFORMED, id="missing padding"),
        pytest.param(escaped(PEM.replace("+", "-").replace("/", "_")), MALFORMED, id="URL-safe alphabet"),
        pytest.param(f'"{escaped(PEM)}"', MALFORMED, id="quoted"),
        pytest.param(escaped(PEM) + "é", MALFORMED, id="not ASCII"),
        pytest.param(escaped(PEM + "é"), MALFORMED, id="not ASCII behind an escape"),
        pytest.param(f"{escaped(PEM)},{escaped(PEM)}", AMBIGUOUS, id="twice, joined by a comma"),
        pytest.param(f",{escaped(PEM)}", AMBIGUOUS, id="empty and once more"),
        pytest.param(f"{escaped(PEM)}, SUCCESS", AMBIGUOUS, id="comma and blank"),
    ],
)
def test_escaped_pem_refuses(text: str, reason: Reason) -> None:
    """Anything but exactly one percent-encoded block is refused."""
    assert reason_of(escaped_pem, text) is reason


def test_missing_padding_is_really_missing() -> None:
    """The body of the sample ends in padding, so that the row about it says something."""
    assert BASE64.endswith("=")
    assert {"+", "/"} <= set(BASE64)


@pytest.mark.parametrize("body", [PEM, PEM.rstrip("\n"), PEM.replace("\n", "\r\n")], ids=["LF", "no last LF", "CRLF"])
def test_pem_accepts(body: str) -> None:
    """One block in plain PEM decodes."""
    assert pem(body) == DER


@pytest.mark.parametrize(
    "text",
    ["", PEM * 2, "x" + PEM, PEM + "x", " " + PEM, PEM + "é", nginx_field(DER), BASE64, PEM.replace("\n", "\n\t")],
    ids=["empty", "two", "before", "after", "blank", "not ASCII", "escaped", "base64", "folded"],
)
def test_pem_refuses(text: str) -> None:
    """Anything but exactly one block is malformed."""
    assert reason_of(pem, text) is MALFORMED


@pytest.mark.parametrize(
    "text",
    [FIELD, FIELD.replace("=", "")],
    ids=["as RFC 9440 writes it", "without padding"],
)
def test_byte_sequence_accepts(text: str) -> None:
    """A byte sequence decodes, with its padding and without."""
    assert byte_sequence(text) == DER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", MALFORMED, id="empty"),
        pytest.param(":", MALFORMED, id="one colon"),
        pytest.param("::", MALFORMED, id="empty sequence"),
        pytest.param(":=:", MALFORMED, id="padding alone"),
        pytest.param(":====:", MALFORMED, id="much padding alone"),
        pytest.param(BASE64, MALFORMED, id="bare base64"),
        pytest.param(f":{BASE64}", MALFORMED, id="no colon at the end"),
        pytest.param(f"{BASE64}:", MALFORMED, id="no colon at the start"),
        pytest.param(f":{FIELD}:", MALFORMED, id="two colons"),
        pytest.param(f"{FIELD};x=1", MALFORMED, id="parameter"),
        pytest.param(f"{FIELD};x", MALFORMED, id="boolean parameter"),
        pytest.param(f"{FIELD};x=:YQ==:", MALFORMED, id="parameter that ends like the sequence"),
        pytest.param(f" {FIELD}", MALFORMED, id="blank before"),
        pytest.param(f": {BASE64}:", MALFORMED, id="blank inside"),
        pytest.param(FIELD.replace("A", "A ", 1), MALFORMED, id="blank in the middle"),
        pytest.param(FIELD.replace("A", "A\n", 1), MALFORMED, id="newline in the middle"),
        pytest.param(FIELD.replace("+", "-").replace("/", "_"), MALFORMED, id="URL-safe alphabet"),
        pytest.param(f":{BASE64}=:", MALFORMED, id="too much padding"),
        pytest.param(":YQ==YQ==:", MALFORMED, id="padding in the middle"),
        pytest.param(":Y:", MALFORMED, id="one character"),
        pytest.param(f'"{BASE64}"', MALFORMED, id="string"),
        pytest.param(quote(FIELD, safe=""), MALFORMED, id="percent-encoded"),
        pytest.param(quote(FIELD, safe=":"), MALFORMED, id="percent-encoded inside"),
        pytest.param(f":{BASE64}é:", MALFORMED, id="not ASCII"),
        pytest.param(nginx_field(DER), MALFORMED, id="nginx"),
        pytest.param(f"{FIELD}, {FIELD}", AMBIGUOUS, id="twice, joined by comma and blank"),
        pytest.param(f"{FIELD},{FIELD}", AMBIGUOUS, id="twice, joined by comma"),
        pytest.param(f"{FIELD},", AMBIGUOUS, id="comma after"),
        pytest.param(",", AMBIGUOUS, id="two empty ones"),
    ],
)
def test_byte_sequence_refuses(text: str, reason: Reason) -> None:
    """Anything but exactly one byte sequence without parameters is refused."""
    assert reason_of(byte_sequence, text) is reason


@pytest.mark.parametrize(
    ("text", "count"),
    [(FIELD, 1), (f"{FIELD},{FIELD}", 2), (f"{FIELD} ,\t{FIELD}, {FIELD}", 3)],
    ids=["one", "two", "blanks around the comma"],
)
def test_byte_sequence_list_accepts(text: str, count: int) -> None:
    """A list decodes to its members in order."""
    assert byte_sequence_list(text) == (DER,) * count


@pytest.mark.parametrize(
    "text",
    [f"{FIELD},", f",{FIELD}", f"{FIELD},,{FIELD}", f"{FIELD} {FIELD}", f"{FIELD},::", f"{FIELD},{BASE64}", ","],
    ids=["comma after", "comma before", "empty member", "blank for a comma", "empty sequence", "bare base64", "comma"],
)
def test_byte_sequence_list_refuses(text: str) -> None:
    """One bad member spoils the list."""
    assert reason_of(byte_sequence_list, text) is MALFORMED


def accepted_characters(codec: Callable[[str], object], start: str, end: str) -> str:
    """Return which of the 256 characters of a header may stand between *start* and *end*."""
    return "".join(chr(code) for code in range(256) if reason_of(codec, start + chr(code) + end) is None)


ALPHABET = "+/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("codec", "start", "end", "accepted"),
    [
        # The inserted character takes the place of one of the body: the length of the base64 stays a multiple of 4.
        pytest.param(byte_sequence, ":YWJj", "WJj:", ALPHABET, id="byte sequence: body"),
        pytest.param(byte_sequence, "", FIELD, "", id="byte sequence: before"),
        pytest.param(byte_sequence, FIELD, "", "", id="byte sequence: after"),
        pytest.param(byte_sequence, ":", f"{BASE64}:", "", id="byte sequence: one too many"),
        pytest.param(
            escaped_pem,
            "-----BEGIN%20CERTIFICATE-----%0AYWJj",
            "WJj%0A-----END%20CERTIFICATE-----%0A",
            ALPHABET,
            id="escaped PEM: body",
        ),
        pytest.param(escaped_pem, "", nginx_field(DER), "", id="escaped PEM: before"),
        pytest.param(escaped_pem, nginx_field(DER), "", "", id="escaped PEM: after"),
        pytest.param(
            escaped_pem, "-----BEGIN", "CERTIFICATE-----%0AYWJj%0A-----END%20CERTIFICATE-----", "", id="label"
        ),
        pytest.param(
            pem, "-----BEGIN CERTIFICATE-----\nYWJj", "WJj\n-----END CERTIFICATE-----\n", ALPHABET, id="PEM: body"
        ),
        pytest.param(pem, "", PEM, "", id="PEM: before"),
    ],
)
def test_byte_walk(codec: Callable[[str], object], start: str, end: str, accepted: str) -> None:
    """Of all 256 characters only those of the base64 alphabet may stand in the body, and none around the value."""
    assert sorted(accepted_characters(codec, start, end)) == sorted(accepted)


def test_byte_walk_over_an_escaped_character() -> None:
    """Of all 256 escapes only those of the alphabet may stand in the body; newlines do not count."""
    start, end = "-----BEGIN%20CERTIFICATE-----%0AYWJj", "WJj%0A-----END%20CERTIFICATE-----%0A"
    accepted = [code for code in range(256) if reason_of(escaped_pem, f"{start}%{code:02X}{end}") is None]
    assert accepted == sorted(map(ord, ALPHABET))
    assert escaped_pem(f"{start}%0AYWJj%0A{end.removeprefix('WJj%0A')}") == b"abcabc"


@given(st.binary(min_size=1))
def test_round_trips(der: bytes) -> None:
    """What a terminator encodes is what comes out, whatever the bytes are."""
    assert escaped_pem(nginx_field(der)) == der
    assert pem(ssl.DER_cert_to_PEM_cert(der)) == der
    assert byte_sequence(client_cert_field(der)) == der
    assert byte_sequence_list(f"{client_cert_field(der)}, {client_cert_field(der)}") == (der, der)


# Text that is nearly right finds more than text at random.
FRAGMENTS = st.sampled_from(
    [*"%:,;=+/ \t\r\n\0", "%0A", "%20", "%2", "YWJj", "-----BEGIN CERTIFICATE-----", "-----END%20CERTIFICATE-----%0A"]
)
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS).map("".join), st.binary().map(lambda data: data.decode("latin-1")))


@pytest.mark.parametrize("codec", [escaped_pem, pem, byte_sequence, byte_sequence_list])
@given(text=TEXTS)
@example("\ud800")
def test_no_other_exception(codec: Callable[[str], bytes | tuple[bytes, ...]], text: str) -> None:
    """Whatever the text, a codec returns bytes that are not empty or raises `CertificateRejected`."""
    try:
        decoded = codec(text)
    except CertificateRejected:
        return
    assert decoded


@pytest.mark.parametrize("codec", [escaped_pem, pem, byte_sequence, byte_sequence_list])
def test_the_text_is_never_repeated(codec: Callable[[str], object]) -> None:
    """A refusal says what is wrong, not what was sent."""
    with pytest.raises(CertificateRejected) as refused:
        codec("secret-value,secret-value")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None or "secret" not in str(refused.value.__cause__)


@settings(max_examples=500)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), max_size=64))
def test_unescape(text: str) -> None:
    """Printable text is unescaped as the standard library unescapes it, or refused for an escape that is none."""
    try:
        found = codecs._unescape(text)
    except CertificateRejected:
        assert re.search("%(?![0-9A-Fa-f]{2})", text)
    else:
        assert found == unquote_to_bytes(text)
