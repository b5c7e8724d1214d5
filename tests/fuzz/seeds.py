"""What the targets start from: the headers of `tests/vectors`, and what the test kit writes for every dialect."""

import base64
import json
import ssl
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509

from mtls_auth.dialects import Dialect
from mtls_auth.testing import CertificateAuthority, client_cert_field, escaped_pem
from mtls_auth.testing.headers import headers_for
from tests.fuzz.targets import ROWS, VARIANTS
from tests.fuzz.words import input_of

VECTORS = Path(__file__).parent.parent / "vectors"
# An empty SEQUENCE: the shortest DER, for inputs that can be changed everywhere in no time.
SHORT = b"\x30\x00"


def seeds(target: str) -> list[bytes]:
    """Return the inputs that a target starts from."""
    if target == "dialects":
        return sorted({bytes([ROWS.index(row)]) + input_of("\n".join(values)) for row, values in requests()})
    if target == "check_fingerprint":
        return [SHORT + b"\n" + input_of(digest) for digest in (sha256(SHORT).hexdigest(), "00" * 32, "00:11")]
    texts = set(field_values())
    if target == "xfcc":
        texts = {text for text in texts if "Hash=" in text}
        return sorted(bytes([number]) + input_of(text) for number in range(len(VARIANTS)) for text in texts)
    inputs = sorted(map(input_of, texts))
    # The character-by-character reader is slow, and a short header says as much.
    return [seed for seed in inputs if len(seed) < 300] if target == "xfcc_grammar" else inputs


def field_values() -> Iterator[str]:
    """Yield every header value there is: each codec also gets those of the others."""
    for _row, values in requests():
        yield from values
    for case in json.loads((VECTORS / "peers" / "xfcc_strings.json").read_text(encoding="utf-8"))["cases"]:
        yield from case["given"].values()
    digest = f"Hash={sha256(SHORT).hexdigest()}"
    yield f'{digest};Cert="{escaped_pem(SHORT)}";Chain="{escaped_pem(SHORT) * 2}";Subject="CN=\\"a\\\\"'
    yield f"Hash={'0' * 64},By=a;{digest};URI=spiffe://example.org/a;DNS=a"
    yield f'{digest};Chain="{escaped_pem(SHORT)}",Hash={"0" * 64}'
    yield base64.b64encode(ssl.DER_cert_to_PEM_cert(SHORT).encode()).decode()
    yield ", ".join([client_cert_field(SHORT)] * 3)


@cache
def requests() -> list[tuple[Dialect, list[str]]]:
    """Return each dialect with what came in the headers that it decodes."""
    alice = CertificateAuthority().issue("alice", san=[x509.UniformResourceIdentifier("spiffe://example.org/alice")])
    found = []
    for row in ROWS:
        decoded = [row.leaf, *([row.fingerprint] if row.fingerprint else []), *row.chain_headers]
        table: dict[str, Any] = json.loads((VECTORS / f"{row.name}.json").read_text(encoding="utf-8"))
        written = [[(name, value) for name, value in request["headers"]] for request in table["rows"]]
        written += [headers_for(row, alice.der), headers_for(row, alice.der, SHORT)]
        if not row.without_certificate:
            written.append(headers_for(row, SHORT, SHORT))
        for headers in written:
            values = {name.lower(): value for name, value in headers}
            if row.leaf in values:
                found.append((row, [values.get(name, "") for name in decoded]))
    return found
