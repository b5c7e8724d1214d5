"""Header text to DER: what the codecs take, and that they refuse everything else with a reason."""

import base64
import hashlib
import re
import ssl
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason, Statement, codecs
from mtls_auth.codecs import (
    base64_der,
    base64_der_list,
    base64_list,
    base64_pem,
    byte_sequence,
    byte_sequence_list,
    check_fingerprint,
    client_name,
    escaped_or_folded_pem,
    escaped_pem,
    escaped_pem_list,
    fingerprint,
    folded_pem,
    pem,
)
from mtls_auth.evidence import Decoded
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


def test_byte_sequence_list_of_many() -> None:
    """Sixteen members are read, seventeen are not."""
    assert byte_sequence_list(", ".join([FIELD] * 16)) == (DER,) * 16
    assert reason_of(byte_sequence_list, ", ".join([FIELD] * 17)) is Reason.OVERSIZED_HEADER
    assert reason_of(byte_sequence_list, "," * 5000) is Reason.OVERSIZED_HEADER


BODY = PEM.split("-----\n")[1].split("\n-----")[0]
LINES = BODY.split("\n")
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "joint",
    [" ", "\t", "\n", "\r\n", "\n\t", "\r\n ", "\r\n\t", "   ", "", "\\n", "\\n\\n", " \\n\t"],
    ids=repr,
)
@pytest.mark.parametrize("end", ["", " ", "\n", "\\n", "\r\n\t"], ids=repr)
def test_folded_pem_accepts(joint: str, end: str) -> None:
    """Whatever became of the newlines, the lines between the boundaries are the body."""
    assert folded_pem(joint.join([BEGIN, *LINES, END]) + end) == DER
    assert escaped_or_folded_pem(joint.join([BEGIN, *LINES, END]) + end) == DER


FOLDED = PEM.replace("\n", " ").rstrip()
NOT_FOLDED = [
    pytest.param("", MALFORMED, id="empty"),
    pytest.param(BASE64, MALFORMED, id="bare base64"),
    pytest.param(FIELD, MALFORMED, id="RFC 9440"),
    pytest.param("(null)", MALFORMED, id="Apache's null"),
    pytest.param(f" {FOLDED}", MALFORMED, id="blank before"),
    pytest.param(f"x{FOLDED}", MALFORMED, id="text before"),
    pytest.param(f"{FOLDED} x", MALFORMED, id="text behind"),
    pytest.param(f"{FOLDED} {FOLDED}", MALFORMED, id="two blocks"),
    pytest.param(f"{FOLDED},{FOLDED}", AMBIGUOUS, id="twice, joined by a comma"),
    pytest.param(f"{FOLDED}, ", AMBIGUOUS, id="and an empty one"),
    pytest.param(FOLDED.replace("BEGIN ", "BEGIN+"), MALFORMED, id="plus for the blank"),
    pytest.param(FOLDED.replace("BEGIN ", "BEGIN  "), MALFORMED, id="two blanks in the label"),
    pytest.param(FOLDED.replace("BEGIN ", "BEGIN\n"), MALFORMED, id="newline in the label"),
    pytest.param(FOLDED.replace("BEGIN ", "BEGIN"), MALFORMED, id="no blank in the label"),
    pytest.param(FOLDED.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), MALFORMED, id="trusted certificate"),
    pytest.param(FOLDED.replace("CERTIFICATE", "X509 CERTIFICATE"), MALFORMED, id="old label"),
    pytest.param(FOLDED.replace("CERTIFICATE", "certificate"), MALFORMED, id="lower-case label"),
    pytest.param(FOLDED.replace("-----BEGIN", "----BEGIN"), MALFORMED, id="four hyphens"),
    pytest.param(FOLDED.replace("=", "", 1), MALFORMED, id="missing padding"),
    pytest.param(FOLDED.replace("+", "-").replace("/", "_"), MALFORMED, id="URL-safe alphabet"),
    pytest.param(FOLDED.replace("/w", "/=w", 1), MALFORMED, id="padding inside"),
    pytest.param(f"{BEGIN} {END}", MALFORMED, id="no body"),
    pytest.param(f"{BEGIN} = {END}", MALFORMED, id="padding alone"),
    pytest.param(FOLDED.rsplit(" ", 2)[0], MALFORMED, id="no end"),
    pytest.param(FOLDED.replace("----- ", "-----\\r\\n", 1), MALFORMED, id="backslash and r"),
    pytest.param(FOLDED.replace("----- ", "-----\\t", 1), MALFORMED, id="backslash and t"),
    pytest.param(f"{BEGIN} Proc-Type: 4,ENCRYPTED {LINES[0]} {END}", AMBIGUOUS, id="PEM headers"),
    pytest.param(FOLDED + "é", MALFORMED, id="not ASCII"),
    pytest.param(FOLDED.replace(" ", "\xa0"), MALFORMED, id="no-break spaces"),
    pytest.param(FOLDED.replace(" ", "\u2003"), MALFORMED, id="em spaces"),
    *(
        pytest.param(FOLDED.replace(" +", f" {char}+", 1), MALFORMED, id=f"control character {char!r}")
        for char in "\0\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x85"
    ),
]


@pytest.mark.parametrize(("text", "reason"), [*NOT_FOLDED, pytest.param(escaped(PEM), MALFORMED, id="escaped")])
def test_folded_pem_refuses(text: str, reason: Reason) -> None:
    """Anything but exactly one block is refused."""
    assert reason_of(folded_pem, text) is reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *NOT_FOLDED,
        pytest.param(f"{FOLDED}%0A", MALFORMED, id="both at once"),
        pytest.param(escaped(PEM).replace("%0A", " "), MALFORMED, id="escaped, and blanks for newlines"),
        pytest.param(escaped(PEM).replace("%0A", "\n"), MALFORMED, id="escaped, and newlines"),
        pytest.param(escaped(escaped(PEM)), MALFORMED, id="escaped twice"),
    ],
)
def test_escaped_or_folded_pem_refuses(text: str, reason: Reason) -> None:
    """A value is one or the other, never something of both."""
    assert reason_of(escaped_or_folded_pem, text) is reason


def test_escaped_or_folded_pem_accepts() -> None:
    """A percent sign tells the two apart."""
    assert escaped_or_folded_pem(nginx_field(DER)) == escaped_or_folded_pem(FOLDED) == DER


OTHER = bytes(range(50, 90))
OTHER_PEM = ssl.DER_cert_to_PEM_cert(OTHER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (escaped(PEM), (DER,)),
        (escaped(PEM + OTHER_PEM), (DER, OTHER)),
        (quote(PEM + OTHER_PEM + PEM, safe="+=/"), (DER, OTHER, DER)),
        (escaped((PEM + OTHER_PEM).replace("\n", "\r\n")), (DER, OTHER)),
        (escaped(PEM + OTHER_PEM.rstrip()), (DER, OTHER)),
        (escaped(PEM * 16), (DER,) * 16),
    ],
    ids=["one", "two", "as AWS writes it", "CRLF", "no last newline", "sixteen"],
)
def test_escaped_pem_list_accepts(text: str, expected: tuple[bytes, ...]) -> None:
    """Blocks one after the other decode in order."""
    assert escaped_pem_list(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", MALFORMED),
        (BASE64, MALFORMED),
        (escaped("\n"), MALFORMED),
        (escaped("x" + PEM), MALFORMED),
        (escaped("\n" + PEM), MALFORMED),
        (escaped(PEM + "x"), MALFORMED),
        (escaped(PEM + "\n" + OTHER_PEM), MALFORMED),
        (escaped(PEM + "x" + OTHER_PEM), MALFORMED),
        (escaped(PEM + OTHER_PEM[:-30]), MALFORMED),
        (escaped(PEM + OTHER_PEM.replace("CERTIFICATE", "PRIVATE KEY")), MALFORMED),
        (quote(PEM + OTHER_PEM, safe="+").replace("+", " "), MALFORMED),
        (f"{escaped(PEM)}, {escaped(OTHER_PEM)}", AMBIGUOUS),
        (f"{escaped(PEM)},", AMBIGUOUS),
        (escaped(PEM) + "é", MALFORMED),
        (escaped(escaped(PEM)), MALFORMED),
        (escaped(PEM * 17), Reason.OVERSIZED_HEADER),
        (escaped(PEM * 40), Reason.OVERSIZED_HEADER),
    ],
    ids=[
        *("empty", "base64", "newline", "text before", "newline before", "text behind", "empty line between"),
        *("text between", "cut short", "private key", "plus turned into blanks", "comma"),
        *("comma behind", "not ASCII", "escaped twice", "seventeen", "forty"),
    ],
)
def test_escaped_pem_list_refuses(text: str, reason: Reason) -> None:
    """One bad block spoils the list, and so does anything between the blocks."""
    assert reason_of(escaped_pem_list, text) is reason


@pytest.mark.parametrize("text", [BASE64, f'"{BASE64}"'], ids=["bare", "quoted"])
def test_base64_der_accepts(text: str) -> None:
    """Bare base64 decodes, in one pair of quotes or none."""
    assert base64_der(text) == DER


NOT_BASE64 = [
    pytest.param("", MALFORMED, id="empty"),
    pytest.param('""', MALFORMED, id="quoted empty"),
    pytest.param('"', MALFORMED, id="one quote"),
    pytest.param("=", MALFORMED, id="padding alone"),
    pytest.param("====", MALFORMED, id="much padding alone"),
    pytest.param(f'"{BASE64}', MALFORMED, id="quote before"),
    pytest.param(f'{BASE64}"', MALFORMED, id="quote behind"),
    pytest.param(f'""{BASE64}""', MALFORMED, id="two pairs of quotes"),
    pytest.param(f"'{BASE64}'", MALFORMED, id="single quotes"),
    pytest.param(FIELD, MALFORMED, id="RFC 9440"),
    pytest.param(f" {BASE64}", MALFORMED, id="blank before"),
    pytest.param(f"{BASE64[:8]} {BASE64[8:]}", MALFORMED, id="blank inside"),
    pytest.param(f"{BASE64[:8]}\n{BASE64[8:]}", MALFORMED, id="newline inside"),
    pytest.param(BASE64.replace("+", "-").replace("/", "_"), MALFORMED, id="URL-safe alphabet"),
    pytest.param(BASE64.rstrip("="), MALFORMED, id="missing padding"),
    pytest.param(f"{BASE64[:8]}={BASE64[8:]}", MALFORMED, id="padding inside"),
    pytest.param("A", MALFORMED, id="one character"),
    pytest.param(f"{BASE64}é", MALFORMED, id="not ASCII"),
    pytest.param("(null)", MALFORMED, id="Apache's null"),
    pytest.param("<nil>", MALFORMED, id="Go's nil"),
    pytest.param("{http.request.tls.client.certificate_der_base64}", MALFORMED, id="Caddy's placeholder"),
    pytest.param(quote(BASE64, safe=""), MALFORMED, id="percent-encoded"),
]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *NOT_BASE64,
        pytest.param(f"{BASE64},{BASE64}", AMBIGUOUS, id="twice"),
        pytest.param(f'"{BASE64},{BASE64}"', AMBIGUOUS, id="twice in quotes"),
        pytest.param(f'"{BASE64}","{BASE64}"', AMBIGUOUS, id="twice, each in quotes"),
        pytest.param(f"{BASE64},", AMBIGUOUS, id="and an empty one"),
    ],
)
@pytest.mark.parametrize("codec", [base64_der, base64_pem, base64_der_list], ids=lambda codec: codec.__name__)
def test_base64_refuses(codec: Callable[[str], object], text: str, reason: Reason) -> None:
    """Anything but exactly one text in base64 with its padding is refused."""
    assert reason_of(codec, text) is reason


def test_base64_pem() -> None:
    """Base64 of one PEM block decodes twice; base64 of DER, and of two blocks, does not."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    assert base64_pem(encoded(PEM)) == base64_pem(encoded(PEM.rstrip())) == DER
    for text in (BASE64, encoded(PEM * 2), encoded("x" + PEM), encoded(PEM + "x"), encoded(encoded(PEM))):
        assert reason_of(base64_pem, text) is MALFORMED


def der(content: bytes, tag: int = 0x30, length: bytes | None = None) -> bytes:
    """Return an element of DER with this tag and, if given, these octets of its length."""
    if length is None:
        size = len(content)
        octets = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes([0x80 | len(octets)]) + octets if octets else bytes([size])
    return bytes([tag]) + length + content


ITEMS = [der(b"a"), der(b"b" * 0x7F), der(b"c" * 0x80), der(b"d" * 0xFF), der(b"e" * 0x100), der(b"")]


@pytest.mark.parametrize(
    "items",
    [(item,) for item in ITEMS] + [tuple(ITEMS), (der(b"f" * 0x10000),), (der(b"g"),) * 16],
    ids=["1", "127", "128", "255", "256", "0", "all", "65536", "sixteen"],
)
def test_base64_der_list_accepts(items: tuple[bytes, ...]) -> None:
    """Elements of any length are cut apart where they end."""
    assert base64_der_list(base64.b64encode(b"".join(items)).decode()) == items


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x30", MALFORMED),
        (der(b"abc")[:-1], MALFORMED),
        (der(b"a") + b"\x30", MALFORMED),
        (der(b"a") + b"\0", MALFORMED),
        (der(b"a") + der(b"b" * 300)[:-1], MALFORMED),
        (der(b"a") + der(b"b", tag=0x31), MALFORMED),
        (der(b"a", tag=0x02), MALFORMED),
        (b"\x30\x80ab\0\0", MALFORMED),
        (b"\x30\x81", MALFORMED),
        (b"\x30\x82\x01", MALFORMED),
        (b"\x30\x84\0\0\0\x01a", MALFORMED),
        (b"\x30\xff" + b"\x01" * 200, MALFORMED),
        (b"\x30\x83\xff\xff\xff" + b"a" * 99, MALFORMED),
        (der(b"a") * 17, Reason.OVERSIZED_HEADER),
        (der(b"") * 5000, Reason.OVERSIZED_HEADER),
    ],
    ids=[
        *("tag alone", "cut short", "tag behind", "byte behind", "second cut short", "another tag second"),
        *("another tag", "indefinite length", "no octets of the length", "too few octets of it", "four octets"),
        *("127 octets", "longer than the rest", "seventeen", "five thousand"),
    ],
)
def test_base64_der_list_refuses(data: bytes, reason: Reason) -> None:
    """What does not end where it says, or does not say it in DER, is refused."""
    assert reason_of(base64_der_list, base64.b64encode(data).decode()) is reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE64, (DER,)),
        (f"{BASE64},YWJj", (DER, b"abc")),
        (quote(BASE64, safe=""), (DER,)),
        (quote(f"{BASE64},YWJj", safe=""), (DER, b"abc")),
        (quote(f"{BASE64},YWJj", safe="").lower().replace(quote(BASE64).lower(), quote(BASE64, safe="")), None),
        (",".join(["YWJj"] * 16), (b"abc",) * 16),
    ],
    ids=["one", "two", "one escaped", "two escaped", "half of it in lower case", "sixteen"],
)
def test_base64_list(text: str, expected: tuple[bytes, ...] | None) -> None:
    """Traefik's list decodes, plain or percent-encoded as a whole."""
    if expected is None:
        assert reason_of(base64_list, text) is None
    else:
        assert base64_list(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(row for row in NOT_BASE64 if row.id != "percent-encoded"),
        pytest.param(f'"{BASE64}"', MALFORMED, id="quoted"),
        pytest.param(",", MALFORMED, id="comma"),
        pytest.param(f"{BASE64},", MALFORMED, id="comma behind"),
        pytest.param(f",{BASE64}", MALFORMED, id="comma before"),
        pytest.param(f"{BASE64},,{BASE64}", MALFORMED, id="two commas"),
        pytest.param(f"{BASE64}, {BASE64}", MALFORMED, id="blank behind the comma"),
        pytest.param(f"{BASE64};{BASE64}", MALFORMED, id="semicolon"),
        pytest.param(f"{quote(BASE64, safe='')},{BASE64}", MALFORMED, id="percent-encoded in part"),
        pytest.param(quote(quote(BASE64, safe=""), safe=""), MALFORMED, id="percent-encoded twice"),
        pytest.param(f"{quote(BASE64, safe='')}%", MALFORMED, id="stray percent sign"),
        pytest.param(f"{quote(BASE64, safe='')}%00", MALFORMED, id="NUL"),
        pytest.param(f"{quote(BASE64, safe='')}%C3%A9", MALFORMED, id="not ASCII behind an escape"),
        pytest.param(f"{quote(BASE64, safe='')} ", MALFORMED, id="blank behind an escape"),
        pytest.param(",".join(["YWJj"] * 17), Reason.OVERSIZED_HEADER, id="seventeen"),
        pytest.param("," * 20, Reason.OVERSIZED_HEADER, id="twenty commas"),
    ],
)
def test_base64_list_refuses(text: str, reason: Reason) -> None:
    """One bad member spoils the list."""
    assert reason_of(base64_list, text) is reason


SHA1, SHA256 = hashlib.sha1(DER, usedforsecurity=False).hexdigest(), hashlib.sha256(DER).hexdigest()


def with_colons(digits: str) -> str:
    """Return a fingerprint as OpenSSL prints it."""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()


@pytest.mark.parametrize("digits", [SHA1, SHA256], ids=["SHA-1", "SHA-256"])
@pytest.mark.parametrize("spell", [str, str.upper, with_colons, lambda digits: with_colons(digits).lower()])
def test_fingerprint(digits: str, spell: Callable[[str], str]) -> None:
    """SHA-1 and SHA-256 in hex, with a colon between all pairs or none, in any case, are the digest in lower case."""
    assert fingerprint(spell(digits)) == Statement(fingerprint=digits)
    assert reason_of(check_fingerprint, DER, spell(digits)) is None
    assert reason_of(check_fingerprint, DER + b"x", spell(digits)) is Reason.CONTRADICTORY_EVIDENCE
    assert reason_of(check_fingerprint, DER, spell(digits[::-1])) is Reason.CONTRADICTORY_EVIDENCE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", MALFORMED),
        (SHA1[:-1], MALFORMED),
        (SHA1 + "0", MALFORMED),
        (SHA256[:-1], MALFORMED),
        (SHA256 + "00", MALFORMED),
        (hashlib.md5(DER, usedforsecurity=False).hexdigest(), MALFORMED),
        (hashlib.sha512(DER).hexdigest(), MALFORMED),
        ("g" * 40, MALFORMED),
        (f" {SHA1}", MALFORMED),
        (f"{SHA1}\n", MALFORMED),
        (f"sha1:{SHA1}", MALFORMED),
        (with_colons(SHA1).replace(":", " "), MALFORMED),
        (with_colons(SHA1).replace(":", "", 1), MALFORMED),
        (with_colons(SHA1) + ":", MALFORMED),
        (":" + with_colons(SHA1)[:-1].replace(":", "", 1) + SHA1[-1], MALFORMED),
        (":" * 19 + SHA1, MALFORMED),
        (SHA1[0] + ":" + SHA1[1] + with_colons(SHA1[2:]).lower(), MALFORMED),
        (base64.b64encode(bytes.fromhex(SHA1)).decode(), MALFORMED),
        ("０" * 40, MALFORMED),
        ("٣" * 64, MALFORMED),
        (f"{SHA1},{SHA1}", AMBIGUOUS),
        (f"{SHA256}, ", AMBIGUOUS),
        (hashlib.sha1(b"", usedforsecurity=False).hexdigest(), MALFORMED),
        (with_colons(hashlib.sha256(b"").hexdigest()), MALFORMED),
    ],
    ids=[
        *("empty", "39", "41", "63", "66", "MD5", "SHA-512", "no hex", "blank", "newline", "prefix", "blanks between"),
        *("a colon missing", "a colon behind", "a colon before", "all colons before", "a colon inside a pair"),
        *(
            "base64",
            "full-width digits",
            "Arabic digits",
            "two",
            "and an empty one",
            "of nothing",
            "SHA-256 of nothing",
        ),
    ],
)
def test_fingerprint_refuses(text: str, reason: Reason) -> None:
    """Anything but one fingerprint of something is refused."""
    assert reason_of(fingerprint, text) is reason
    assert reason_of(check_fingerprint, DER, text) is reason


@pytest.mark.parametrize(
    "text",
    [
        "bob",
        "default.prod.serviceaccount.identity.linkerd.cluster.local",
        "spiffe://example.org/ns/prod/sa/bob",
        "bob@example.org",
        "a" * 255,
    ],
)
def test_client_name(text: str) -> None:
    """A name that nobody could cut in two is taken as it is, its case too."""
    assert client_name(text) == Statement(name=text)
    assert client_name(text.title()) == Statement(name=text.title())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(
            pytest.param(text, MALFORMED, id=repr(text))
            for text in ("", " ", "a b", "a;b", "a=b", 'a"', "a\\b", "a%20")
        ),
        *(pytest.param(text, MALFORMED, id=repr(text)) for text in ("<nil>", "(null)", "a\n", "a\0b", "é", "a\u200bb")),
        *(pytest.param(text, MALFORMED, id=repr(text)) for text in ("-", "::", "NONE", "none", "null", "false", "0")),
        pytest.param("a" * 256, MALFORMED, id="longer than any name"),
        pytest.param("a,b", AMBIGUOUS, id="two"),
        pytest.param("a,", AMBIGUOUS, id="and an empty one"),
    ],
)
def test_client_name_refuses(text: str, reason: Reason) -> None:
    """Anything that another reader might take for two names, or for none, is refused."""
    assert reason_of(client_name, text) is reason


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
        pytest.param(folded_pem, f"{BEGIN} YWJj", f"WJj {END}", ALPHABET, id="folded PEM: body"),
        pytest.param(folded_pem, f"{BEGIN} YWJj", f"YWJj {END}", " \t\r\n", id="folded PEM: between lines"),
        pytest.param(folded_pem, FOLDED, "", " \t\r\n", id="folded PEM: after"),
        pytest.param(folded_pem, "", FOLDED, "", id="folded PEM: before"),
        pytest.param(folded_pem, "-----BEGIN", f"CERTIFICATE----- YWJj {END}", " ", id="folded PEM: label"),
        pytest.param(base64_der, "YWJj", "WJj", ALPHABET, id="base64: body"),
        pytest.param(base64_der, "", BASE64, "", id="base64: before"),
        pytest.param(base64_der, BASE64, "", "", id="base64: after"),
        pytest.param(base64_list, "YWJj", "YWJj", ",", id="list: between"),
        pytest.param(base64_list, "YWJj", "WJj", ALPHABET, id="list: body"),
        pytest.param(escaped_pem_list, nginx_field(DER), nginx_field(DER), "", id="escaped list: between"),
        pytest.param(fingerprint, "0" * 39, "", "0123456789ABCDEFabcdef", id="fingerprint: digit"),
        pytest.param(fingerprint, SHA1, "", "", id="fingerprint: after"),
        pytest.param(client_name, "a", "b", ALPHABET.replace("+", "") + "+-.:@_~", id="name: inside"),
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


CODECS = [
    *(escaped_pem, pem, byte_sequence, byte_sequence_list, escaped_pem_list, folded_pem, escaped_or_folded_pem),
    *(base64_der, base64_der_list, base64_list, base64_pem, fingerprint, client_name),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.__name__)
@given(text=TEXTS)
@example("\ud800")
def test_no_other_exception(codec: Callable[[str], Decoded], text: str) -> None:
    """Whatever the text, a codec returns something that is not empty or raises `CertificateRejected`."""
    try:
        decoded = codec(text)
    except CertificateRejected:
        return
    assert decoded


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.__name__)
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
