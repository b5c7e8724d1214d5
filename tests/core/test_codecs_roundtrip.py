"""Codecs against what terminators write: any bytes come back, and a changed text never becomes other bytes unnoticed.

A change to a character of the base64 is another certificate, which is for its signature to show. Every other change
of one character is refused or means the same.
"""

import base64
import ssl
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason, codecs
from mtls_auth.evidence import Decoded, Statement
from mtls_auth.testing import client_cert_field, escaped_pem
from mtls_auth.xfcc import XFCC
from tests.core.conftest import reason_of

Decode = Callable[[str], Decoded]


@dataclass(frozen=True)
class Spelling:
    """One terminator's way to write certificates, the codec that reads it, and what a change may not touch."""

    name: str
    decode: Decode
    encode: Callable[[Sequence[bytes]], str]
    single: bool = True
    separates: str = ""


def pem(der: bytes) -> str:
    """Return PEM with its last newline."""
    return ssl.DER_cert_to_PEM_cert(der)


def plain(der: bytes) -> str:
    """Return bare base64."""
    return base64.b64encode(der).decode()


def folded(fold: str) -> Callable[[Sequence[bytes]], str]:
    """Return the writer of PEM that puts *fold* for a newline, and nothing at the end."""
    return lambda chain: pem(chain[0]).strip().replace("\n", fold)


def element(chain: Sequence[bytes]) -> str:
    """Return Envoy's element with a chain."""
    return f'Hash={sha256(chain[0]).hexdigest()};Chain="{"".join(map(escaped_pem, chain))}"'


def xfcc(text: str) -> Decoded:
    """Read Envoy's header."""
    return XFCC()(text)


SPELLINGS = [
    Spelling("nginx", codecs.escaped_pem, lambda chain: escaped_pem(chain[0])),
    Spelling("nginx to either", codecs.escaped_or_folded_pem, lambda chain: escaped_pem(chain[0])),
    Spelling("AWS leaf", codecs.escaped_pem, lambda chain: quote(pem(chain[0]), safe="+=/")),
    Spelling("lower-case hex", codecs.escaped_pem, lambda chain: quote(pem(chain[0])).replace("%0A", "%0a")),
    Spelling("CRLF", codecs.escaped_pem, lambda chain: quote(pem(chain[0]).replace("\n", "\r\n"), safe="")),
    Spelling("mod_wsgi", codecs.pem, lambda chain: pem(chain[0])),
    Spelling("Apache", codecs.folded_pem, lambda chain: folded(" ")(chain) + " "),
    Spelling("nginx folded", codecs.folded_pem, folded("\n\t")),
    Spelling("pound", codecs.folded_pem, folded("\r\n\t")),
    Spelling("backslash and n", codecs.folded_pem, folded("\\n")),
    Spelling("one line", codecs.folded_pem, folded("")),
    Spelling("Apache to either", codecs.escaped_or_folded_pem, folded(" ")),
    Spelling("HAProxy", codecs.base64_der, lambda chain: plain(chain[0])),
    Spelling("in quotes", codecs.base64_der, lambda chain: f'"{plain(chain[0])}"'),
    Spelling("Apache base64", codecs.base64_pem, lambda chain: plain(pem(chain[0]).encode())),
    Spelling("RFC 9440", codecs.byte_sequence, lambda chain: client_cert_field(chain[0])),
    Spelling("RFC 9440 without padding", codecs.byte_sequence, lambda chain: f":{plain(chain[0]).rstrip('=')}:"),
    Spelling("AWS chain", codecs.escaped_pem_list, lambda chain: "".join(map(escaped_pem, chain)), single=False),
    Spelling("Traefik", codecs.base64_list, lambda chain: ",".join(map(plain, chain)), single=False, separates=","),
    Spelling(
        "Traefik escaped",
        codecs.base64_list,
        lambda chain: quote(",".join(map(plain, [*chain, b"ca"])), safe=""),
        single=False,
        separates="%",
    ),
    Spelling(
        "RFC 9440 chain", codecs.byte_sequence_list, lambda chain: ", ".join(map(client_cert_field, chain)), False
    ),
    Spelling("Envoy", xfcc, element, single=False),
]
LISTS = [spelling for spelling in SPELLINGS if not spelling.single]
CERTIFICATES = st.binary(min_size=1, max_size=200)
CHAINS = st.lists(CERTIFICATES, min_size=1, max_size=4)
# What is neither of the base64 nor its padding, and some of it from outside what headers can hold.
OTHERS = [chr(code) for code in range(256) if chr(code) not in string.ascii_letters + string.digits + "+/="]
OTHERS += ["\u0130", "\uff21", "\u212a", "\ud800", "\N{FULLWIDTH COLON}"]


def expected(spelling: Spelling, chain: Sequence[bytes]) -> Decoded:
    """Return what the codec owes."""
    if spelling.single:
        return chain[0]
    return (*chain, b"ca") if spelling.separates == "%" else tuple(chain)


def by_name(spellings: Sequence[Spelling]) -> pytest.MarkDecorator:
    """Run a test for every spelling."""
    return pytest.mark.parametrize("spelling", [pytest.param(each, id=each.name) for each in spellings])


def result(decode: Decode, text: str) -> Decoded | None:
    """Return what a text decodes to, None if it is refused."""
    try:
        return decode(text)
    except CertificateRejected:
        return None


@by_name(SPELLINGS)
@settings(max_examples=40)
@given(chain=CHAINS)
def test_round_trip(spelling: Spelling, chain: list[bytes]) -> None:
    """What a terminator wrote comes back, byte for byte."""
    assert spelling.decode(spelling.encode(chain)) == expected(spelling, chain)


@by_name(SPELLINGS)
@settings(max_examples=40)
@given(chain=CHAINS, data=st.data())
def test_one_more_character(spelling: Spelling, chain: list[bytes], data: st.DataObject) -> None:
    """A character that is not of the base64, wherever it is put in, is refused or changes nothing."""
    text = spelling.encode(chain)
    place = data.draw(st.integers(0, len(text)))
    other = data.draw(
        st.sampled_from([character for character in [*OTHERS, "="] if character not in spelling.separates])
    )
    changed = text[:place] + other + text[place:]
    assert result(spelling.decode, changed) in (None, expected(spelling, chain))


@by_name(SPELLINGS)
@settings(max_examples=40)
@given(chain=CHAINS, data=st.data())
def test_another_character(spelling: Spelling, chain: list[bytes], data: st.DataObject) -> None:
    """A character that is not of the base64, in the place of another, is refused or changes nothing."""
    text = spelling.encode(chain)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([character for character in OTHERS if character not in spelling.separates]))
    changed = text[:place] + other + text[place + 1 :]
    assert result(spelling.decode, changed) in (None, expected(spelling, chain))


@by_name([each for each in SPELLINGS if not each.separates and "byte_sequence" not in each.decode.__name__])
@settings(max_examples=40)
@given(chain=CHAINS, data=st.data())
def test_one_character_less(spelling: Spelling, chain: list[bytes], data: st.DataObject) -> None:
    """Where padding is due, a character that got lost is refused or meant nothing."""
    text = spelling.encode(chain)
    place = data.draw(st.integers(0, len(text) - 1))
    assert result(spelling.decode, text[:place] + text[place + 1 :]) in (None, expected(spelling, chain))


@by_name(SPELLINGS)
@settings(max_examples=40)
@given(chain=CHAINS, data=st.data())
def test_any_change(spelling: Spelling, chain: list[bytes], data: st.DataObject) -> None:
    """Cut, doubled, turned round, in another case: DER of some kind comes out, or a refusal, and no other exception."""
    text = spelling.encode(chain)
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    replacement = data.draw(
        st.sampled_from([text, text[first:last][::-1], text[first:last].swapcase(), ""]) | st.text()
    )
    decoded = result(spelling.decode, text[:first] + replacement + text[last:])
    items = decoded if isinstance(decoded, tuple) else (decoded,)
    assert decoded is None or all(isinstance(item, bytes) and item for item in items)


@by_name([each for each in LISTS if each.decode is not codecs.byte_sequence_list])
def test_at_most_sixteen(spelling: Spelling) -> None:
    """Sixteen certificates are a chain, seventeen are not decoded."""
    room = codecs.MAX_CERTIFICATES - (spelling.separates == "%")
    assert spelling.decode(spelling.encode([b"leaf"] * room)) == expected(spelling, [b"leaf"] * room)
    assert reason_of(spelling.decode, spelling.encode([b"leaf"] * (room + 1))) is Reason.OVERSIZED_HEADER


def sequence(content: bytes) -> bytes:
    """Return a DER SEQUENCE. X.690 §8.1.3"""
    length = len(content)
    if length < 0x80:
        return bytes([0x30, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(octets)]) + octets + content


SIZES = st.sampled_from([0, 1, 127, 128, 255, 256, 1200, 65535, 65536])


@given(st.lists(SIZES.map(lambda size: sequence(b"\x30" * size)), min_size=1, max_size=codecs.MAX_CERTIFICATES))
def test_concatenated_der(chain: list[bytes]) -> None:
    """HAProxy's chain is cut where one certificate ends, whatever is in it."""
    assert codecs.base64_der_list(plain(b"".join(chain))) == tuple(chain)


@given(chain=st.lists(SIZES.map(lambda size: sequence(bytes(size))), min_size=1, max_size=4), data=st.data())
def test_concatenated_der_that_is_cut(chain: list[bytes], data: st.DataObject) -> None:
    """A chain that ends early is a shorter chain where a certificate ends, and refused everywhere else."""
    whole = b"".join(chain)
    end = data.draw(st.integers(1, len(whole)))
    ends = {len(b"".join(chain[:count])): tuple(chain[:count]) for count in range(1, len(chain) + 1)}
    assert result(codecs.base64_der_list, plain(whole[:end])) == ends.get(end)
    assert reason_of(codecs.base64_der_list, plain(sequence(b"") * 17)) is Reason.OVERSIZED_HEADER


@given(der=CERTIFICATES, other=CERTIFICATES, colons=st.booleans(), upper=st.booleans())
def test_fingerprints(der: bytes, other: bytes, colons: bool, upper: bool) -> None:
    """Every spelling of both digests is read as one, and is that of these bytes and no others."""
    for digest in (sha256(der).hexdigest(), sha1(der, usedforsecurity=False).hexdigest()):
        text = ":".join(digest[place : place + 2] for place in range(0, len(digest), 2)) if colons else digest
        text = text.upper() if upper else text
        assert codecs.fingerprint(text) == Statement(fingerprint=digest)
        codecs.check_fingerprint(der, text)
        contradiction = None if other == der else Reason.CONTRADICTORY_EVIDENCE
        assert reason_of(codecs.check_fingerprint, other, text) is contradiction


@given(place=st.integers(0, 40), other=st.sampled_from([*OTHERS, "=", "g", "0", ""]))
def test_fingerprints_that_are_none(place: int, other: str) -> None:
    """Whatever is put into a fingerprint or over a digit of it, the rest does not pass for one."""
    digest = sha1(b"x", usedforsecurity=False).hexdigest()
    assert reason_of(codecs.fingerprint, digest[:place] + other + digest[place:]) in {
        Reason.MALFORMED_HEADER if other != "," else Reason.AMBIGUOUS_HEADER,
        *([None] if not other else []),
    }
    if place < len(digest) and other != "0":
        assert reason_of(codecs.fingerprint, digest[:place] + other + digest[place + 1 :]) is not None


@pytest.mark.parametrize("text", ["YWJj=", "YWJj==", "YWJj====", "YWI==", "YWI", "YQ=", "YQ===", "YQ====", "=", "===="])
def test_padding(text: str) -> None:
    """Padding fills the last group of four and no other, whichever way base64 comes."""
    assert reason_of(codecs.base64_der, text) is Reason.MALFORMED_HEADER
    assert reason_of(codecs.base64_list, f"YWJj,{text}") is Reason.MALFORMED_HEADER
    for body in (text, text.replace("=", "%3D")):
        escaped = f"-----BEGIN%20CERTIFICATE-----%0A{body}%0A-----END%20CERTIFICATE-----%0A"
        assert reason_of(codecs.escaped_pem, escaped) is Reason.MALFORMED_HEADER


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + "._~/:@+-"), max_size=240))
def test_client_names(rest: str) -> None:
    """A mesh's name is taken as it is."""
    name = f"client.{rest}"
    assert codecs.client_name(name) == Statement(name=name)


@given(st.text(st.sampled_from(string.ascii_letters), max_size=20), st.sampled_from([*" \t\n\0,;\"'\\%?#=é", "\u212a"]))
def test_client_names_that_are_none(name: str, other: str) -> None:
    """A character that some reader could cut a name at is refused, at either end too."""
    for text in (f"{name}{other}", f"{other}{name}", f"{name}{other}{name}"):
        assert reason_of(codecs.client_name, text) in {Reason.MALFORMED_HEADER, Reason.AMBIGUOUS_HEADER}
