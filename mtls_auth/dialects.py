"""How TLS terminators write a client certificate into headers: one row each.

The rows drive decoding, the removal of forged headers, the configuration checks and the tables of the docs.
Adding a terminator: one constant here, one file under `tests/vectors/`, one recipe. A header's name says
nothing about its encoding: the operator names the dialect.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from mtls_auth import codecs
from mtls_auth.errors import ConfigurationError
from mtls_auth.evidence import Raw

_HEADER_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The header of the proxy's own verification; compared exactly, no prefix, no case folding."""

    header: str
    success: frozenset[str]
    absent: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One terminator's way to forward a certificate.

    Without a `verdict`, presence of the leaf is all there is: then the operator says that the proxy verifies,
    or the application verifies against its own trust anchors.
    """

    name: str
    leaf: str
    decode: Callable[[str], bytes]
    chain: str | None = None
    decode_chain: Callable[[str], tuple[bytes, ...]] | None = None
    verdict: Verdict | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """Every header that this row reads."""
        verdict = self.verdict.header if self.verdict is not None else None
        return tuple(name for name in (self.leaf, self.chain, verdict) if name is not None)

    def __post_init__(self) -> None:
        for name in self.headers:
            # Servers fold an underscore into the hyphen spelling or drop it; ASGI names are in lower case.
            if not _HEADER_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"dialect {self.name}, header name {name!r}: use letters, digits and hyphens only, in lower case"
                )
        if len(set(self.headers)) < len(self.headers):
            raise ConfigurationError(f"dialect {self.name} would read one header as two facts: name different ones")

    def with_headers(self, **names: str) -> Self:
        """Return the row with other header names, in any case: `leaf`, `chain`, `verdict`.

        Raises `ConfigurationError` for a field that the dialect does not have, and for a name with an underscore.
        """
        changes: dict[str, Any] = {}
        for field, name in names.items():
            fields = [field for field in ("leaf", "chain", "verdict") if getattr(self, field) is not None]
            if field not in fields:
                raise ConfigurationError(f"dialect {self.name} has no field {field!r}; it has {', '.join(fields)}")
            if field == "verdict" and self.verdict is not None:
                changes[field] = replace(self.verdict, header=name.lower())
            else:
                changes[field] = name.lower()
        return replace(self, **changes)

    def decode_raw(self, raw: Raw) -> tuple[bytes, ...]:
        """Decode received field values, the leaf's first and then the chain's, to DER."""
        leaf, *chain = (value for value in raw if isinstance(value, str))
        decode_chain = self.decode_chain
        return (self.decode(leaf), *(der for value in chain if decode_chain for der in decode_chain(value)))


NGINX = Dialect(
    name="nginx",
    leaf="x-ssl-client-cert",  # proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
    decode=codecs.escaped_pem,
    verdict=Verdict(
        header="x-ssl-client-verify",  # proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
        success=frozenset({"SUCCESS"}),
        absent=frozenset({"NONE", ""}),
    ),
)

RFC9440 = Dialect(
    name="rfc9440",
    leaf="client-cert",
    decode=codecs.byte_sequence,
    chain="client-cert-chain",
    decode_chain=codecs.byte_sequence_list,
)

BUILTIN = {dialect.name: dialect for dialect in (NGINX, RFC9440)}
