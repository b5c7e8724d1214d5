"""The codecs alone, by the length of the certificate: time per kilobyte must not grow."""

import os
import ssl
from functools import partial

from mtls_auth import codecs
from mtls_auth.testing import client_cert_field, escaped_pem
from tests.benchmarks.report import Cell, Table
from tests.benchmarks.rounds import Case, Pace, measure, repeated

SIZES = (500, 1_000, 2_000, 4_000, 8_000)
CODECS = (
    (codecs.escaped_pem, escaped_pem),
    (codecs.byte_sequence, client_cert_field),
    (codecs.pem, ssl.DER_cert_to_PEM_cert),
)


def tables(pace: Pace) -> list[Table]:
    texts = [(decode, size, encode(os.urandom(size))) for decode, encode in CODECS for size in SIZES]
    cases = [Case(decode.__name__, repeated(partial(decode, text))) for decode, _size, text in texts]
    measured = measure(cases, pace)
    rows: list[dict[str, Cell]] = []
    for case, (_decode, size, text) in zip(cases, texts, strict=True):
        took = measured[case].total
        rows.append(
            {
                "codec": case.name,
                "bytes of DER": size,
                "characters": len(text),
                "µs": took,
                "µs per 1,000 characters": took / len(text) * 1000,
            }
        )
    return [Table("Codecs", rows, ["Random bytes in place of certificates: the codecs do not parse DER."])]
