"""How TLS terminators write a client certificate into headers: one row each.

The rows drive decoding, the removal of forged headers, the configuration checks and the tables of the docs.
Adding a terminator: one constant here, one file under `tests/vectors/`, one recipe. A header's name says
nothing about its encoding: the operator names the dialect.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from mtls_auth import codecs
from mtls_auth.errors import ConfigurationError
from mtls_auth.evidence import Raw


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
        return tuple(name for name in (self.leaf, self.chain, self.verdict.header if self.verdict else None) if name)

    def with_headers(self, **names: str) -> Self:
        """Return the row with other header names: `leaf`, `chain`, `verdict`.

        Raises `ConfigurationError` for a field that the dialect does not have, and for a name with an
        underscore: servers fold it into the hyphen spelling or drop it.
        """
        changes: dict[str, str | Verdict] = {}
        for field, name in names.items():
            if getattr(self, field, None) is None or field not in {"leaf", "chain", "verdict"}:
                fields = [field for field in ("leaf", "chain", "verdict") if getattr(self, field) is not None]
                raise ConfigurationError(f"dialect {self.name} has no field {field!r}; it has {', '.join(fields)}")
            if "_" in name or not name.isascii() or not name.replace("-", "").isalnum():
                raise ConfigurationError(f"header name {name!r}: use letters, digits and hyphens only")
            lowered = name.lower()
            changes[field] = replace(self.verdict, header=lowered) if field == "verdict" and self.verdict else lowered
        renamed = replace(self, **changes)  # type: ignore[arg-type]  # each change has its field's type
        if len(set(renamed.headers)) < len(renamed.headers):
            raise ConfigurationError(f"dialect {self.name} would read one header as two facts: name different ones")
        return renamed

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
