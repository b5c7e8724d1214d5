"""One key for one issuer name, however it was encoded or typed."""

import json
import unicodedata
from hashlib import sha256

from cryptography import x509


def issuer_key(name: x509.Name) -> str:
    """Return a hex key of *name* that ignores string types, case and runs of blanks. RFC 5280 §7.1.

    Made for revocation, where two names that might be one must meet. Not for telling accounts apart.
    """
    rdns = [sorted((attribute.oid.dotted_string, _fold(attribute.value)) for attribute in rdn) for rdn in name.rdns]
    return sha256(json.dumps(rdns).encode()).hexdigest()


def _fold(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.hex()
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
