"""The codecs alone: one certificate beside the bare C function that does the work, and time by length.

The time of a thousand characters must not grow with their number, whatever the text, accepted or refused.
"""

import base64
import binascii
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from urllib.parse import quote, unquote

from mtls_auth import CertificateRejected, codecs
from mtls_auth.testing import client_cert_field, escaped_pem
from mtls_auth.xfcc import XFCC, parse
from tests.benchmarks.report import Cell, Table
from tests.benchmarks.rounds import Case, Measured, Pace, measure, repeated

CERTIFICATE = 1_199  # not a multiple of three: there is padding
LENGTHS = (1_000, 8_000, 64_000)
IN_CHAIN = 8
BASE64_TARGET = 12.0
ESCAPED_TARGET = 20.0

Decode = Callable[[str], object]
Encode = Callable[[bytes], str]


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode()


def _aws(der: bytes) -> str:
    return quote(ssl.DER_cert_to_PEM_cert(der), safe="+/=")


def _folded(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der).strip().replace("\n", " ")


def _sequence(length: int) -> bytes:
    return b"\x30\x82" + length.to_bytes(2, "big") + os.urandom(length)


def _chain(der: bytes, encode: Encode, between: str = "") -> str:
    size = len(der) // IN_CHAIN
    return between.join(encode(der[start : start + size]) for start in range(0, size * IN_CHAIN, size))


def _xfcc(der: bytes) -> str:
    return f'By=spiffe://a/b;Hash={sha256(der).hexdigest()};Cert="{escaped_pem(der)}";Subject="CN=a";URI=;DNS=a.example'


def _xfcc_chain(der: bytes) -> str:
    chain = _chain(der, escaped_pem)
    return f'Hash={sha256(der[: len(der) // IN_CHAIN]).hexdigest()};Chain="{chain}"'


ACCEPTED: dict[str, tuple[Decode, Encode]] = {
    "base64_der": (codecs.base64_der, _base64),
    "byte_sequence": (codecs.byte_sequence, client_cert_field),
    "escaped_pem": (codecs.escaped_pem, escaped_pem),
    "escaped_pem, AWS's + / = left": (codecs.escaped_pem, _aws),
    "folded_pem": (codecs.folded_pem, _folded),
    "escaped_or_folded_pem": (codecs.escaped_or_folded_pem, escaped_pem),
    "pem": (codecs.pem, ssl.DER_cert_to_PEM_cert),
    "base64_pem": (codecs.base64_pem, lambda der: _base64(ssl.DER_cert_to_PEM_cert(der).encode())),
    "XFCC, Cert": (XFCC(), _xfcc),
    "XFCC, Chain": (XFCC(), _xfcc_chain),
    "escaped_pem_list": (codecs.escaped_pem_list, partial(_chain, encode=escaped_pem)),
    "base64_list": (codecs.base64_list, partial(_chain, encode=_base64, between=",")),
    "base64_der_list": (
        codecs.base64_der_list,
        lambda der: _base64(b"".join(_sequence(len(der) // IN_CHAIN) for _ in range(IN_CHAIN))),
    ),
    "byte_sequence_list": (codecs.byte_sequence_list, partial(_chain, encode=client_cert_field, between=", ")),
}
# What a certificate is measured beside, with the project's limit in µs.
BESIDE_BASE64 = {"base64_der": BASE64_TARGET, "byte_sequence": BASE64_TARGET, "folded_pem": None, "pem": None}
BESIDE_UNQUOTE = {
    "escaped_pem": ESCAPED_TARGET,
    "escaped_pem, AWS's + / = left": ESCAPED_TARGET,
    "escaped_or_folded_pem": ESCAPED_TARGET,
    "XFCC, Cert": None,
}
# Texts that a client could send to make reading slow: a beginning, and what is repeated up to the length.
SLOW: dict[str, tuple[Decode, str, str]] = {
    "escaped_pem, only escapes": (codecs.escaped_pem, "", "%41"),
    "escaped_pem, only percent signs": (codecs.escaped_pem, "", "%"),
    "escaped_pem_list, beginnings": (codecs.escaped_pem_list, "", "-----BEGIN%20CERTIFICATE-----%0A"),
    "folded_pem, no end": (codecs.folded_pem, "-----BEGIN CERTIFICATE-----", "A "),
    "folded_pem, beginnings": (codecs.folded_pem, "", "-----BEGIN CERTIFICATE-----"),
    "base64_list, commas": (codecs.base64_list, "", ","),
    "byte_sequence_list, many short ones": (codecs.byte_sequence_list, ":AAAA:", ",:AAAA:"),
    "fingerprint, colons": (codecs.fingerprint, "", "ab:"),
    "client_name, one letter": (codecs.client_name, "", "a"),
    "XFCC, quote without end": (parse, 'Subject="', "a"),
    "XFCC, escaped quotes": (parse, 'Subject="', '\\"'),
    "XFCC, backslashes": (parse, 'Subject="', "\\\\"),
    "XFCC, a long key": (parse, "", "a"),
    "XFCC, many pairs": (parse, "", "DNS=a.example;"),
    "XFCC, many elements": (parse, "", "By=a,"),
    "XFCC, blanks": (parse, "By=a,", " "),
}


def tables(pace: Pace) -> list[Table]:
    return [_one_certificate(pace), _growth(replace(pace, rounds=max(3, pace.rounds // 4)))]


def _one_certificate(pace: Pace) -> Table:
    der = os.urandom(CERTIFICATE)
    text, escaped = _base64(der), escaped_pem(der)
    in_base64 = Case("binascii.a2b_base64", repeated(partial(binascii.a2b_base64, text)))
    in_escapes = Case("urllib.parse.unquote", repeated(partial(unquote, escaped)))
    cases = {in_base64: len(text), in_escapes: len(escaped)}
    for baseline, names in ((in_base64, BESIDE_BASE64), (in_escapes, BESIDE_UNQUOTE)):
        for name, target in names.items():
            decode, encode = ACCEPTED[name]
            written = encode(der)
            cases[Case(name, repeated(partial(decode, written)), baseline, target)] = len(written)
    measured = measure(list(cases), pace)
    rows = [_compared(case, measured[case], length) for case, length in cases.items()]
    return Table(
        f"Codecs, a certificate of {CERTIFICATE} bytes",
        rows,
        ["Random bytes in place of certificates: the codecs do not parse DER. The target is for the whole time."],
    )


def _compared(case: Case, measured: Measured, length: int) -> dict[str, Cell]:
    return {
        "codec": case.name,
        "characters": length,
        "µs": measured.total,
        "× baseline": measured.ratio if case.baseline else None,
        "baseline": case.baseline.name if case.baseline else None,
        "target": case.target,
        "× target": measured.total / case.target if case.target else None,
    }


def _growth(pace: Pace) -> Table:
    shapes = [
        (name, decode, [_of_length(encode, length) for length in LENGTHS])
        for name, (decode, encode) in ACCEPTED.items()
    ]
    shapes += [
        (name, decode, [start + more * (length // len(more)) for length in LENGTHS])
        for name, (decode, start, more) in SLOW.items()
    ]
    cases = {name: _longer_and_longer(name, decode, texts) for name, decode, texts in shapes}
    measured = measure([case for row in cases.values() for case in row], pace)
    rows = [_grown(name, texts, [measured[case] for case in cases[name]]) for name, _decode, texts in shapes]
    return Table(
        "Codecs, µs per 1,000 characters by length of the text",
        rows,
        [
            f"Lists hold {IN_CHAIN} certificates. Below the lists are texts made to be slow, most of them refused. "
            f"“growth” is what a character costs in {LENGTHS[-1]:,}, by what it costs in {LENGTHS[-2]:,} in the same "
            f"round: 1 is linear, {LENGTHS[-1] // LENGTHS[-2]} quadratic."
        ],
    )


def _longer_and_longer(name: str, decode: Decode, texts: Sequence[str]) -> list[Case]:
    cases: list[Case] = []
    for text in texts:
        cases.append(Case(name, repeated(partial(_attempt, decode, text)), cases[-1] if cases else None))
    return cases


def _grown(name: str, texts: Sequence[str], measured: Sequence[Measured]) -> dict[str, Cell]:
    took = [each.total / len(text) * 1000 for each, text in zip(measured, texts, strict=True)]
    columns = {f"at {length:,}": figure for length, figure in zip(LENGTHS, took, strict=True)}
    growth = measured[-1].ratio * len(texts[-2]) / len(texts[-1])
    return {"codec": name, "longest": len(texts[-1]), **columns, "growth": growth}


def _of_length(encode: Encode, length: int) -> str:
    """Return a text of about this length."""
    overhead = len(encode(bytes(3_000))) / 3_000
    return encode(os.urandom(int(length / overhead)))


def _attempt(decode: Decode, text: str) -> None:
    try:
        decode(text)
    except CertificateRejected:
        return
