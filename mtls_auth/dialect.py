"""The shape of a dialect: how one TLS terminator writes a client certificate into headers.

A header's name says nothing about its encoding: the operator names the dialect.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from mtls_auth import codecs
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Decoded, Raw, Statement, decode_leaf
from mtls_auth.header_names import HEADER_NAME, RESERVED

_EMPTY = frozenset({""})


class Confidence(StrEnum):
    """Where the facts of a row come from."""

    OBSERVED = "observed"
    """The terminator was run, and its bytes were looked at."""
    DOCUMENTED = "documented"
    """The vendor's documentation or source says so."""
    INFERRED = "inferred"
    """It follows from the above, or others report it: look at a request of your own before you rely on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A header of the proxy's own verification; compared exactly, no prefix, no case folding.

    `success` are the values that must come with a certificate, `absent` those that may come without one;
    `failure` are the `absent` ones that with a certificate mean that it was refused. An `optional` one may be
    missing, and says nothing by itself.
    """

    header: str
    success: frozenset[str]
    absent: frozenset[str]
    failure: frozenset[str] = frozenset()
    optional: bool = False
    field: str = "verdict"

    def check(self, value: str | None, *, came: bool) -> None:
        """Raise `CertificateRejected` unless *value* goes with a certificate that *came*, or that did not."""
        agreed = self.success if came else self.absent
        if value in agreed or (value is None and (self.optional or not came)):
            return
        if value is None:
            raise CertificateRejected(Reason.UNVERIFIED, f"a certificate came without {self.header}")
        if came and value in self.absent - self.failure:
            raise CertificateRejected(
                Reason.CONTRADICTORY_EVIDENCE, f"a certificate came, and {self.header} has the value for none"
            )
        if not came and value in self.success:
            raise CertificateRejected(
                Reason.CONTRADICTORY_EVIDENCE, f"{self.header} says verified, but no certificate came"
            )
        if "," in value:
            raise CertificateRejected(Reason.AMBIGUOUS_HEADER, f"{self.header} came more than once")
        raise CertificateRejected(
            Reason.PROXY_REJECTED, f"{self.header} does not say that the proxy verified the certificate"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One terminator's way to forward a certificate.

    `decode` reads the leaf's header, `decode_chain` those of the chain: one, or `numbered_chain` of them (`-0`,
    `-1`, …). `absent` are the leaf's values that mean no certificate; those that begin with `absent_prefix` too.
    `lists` names which of `"leaf"` and `"chain"` may be spread over several field lines. `fingerprint` is a header
    that must agree with the leaf where it comes. Without a `verdict`, presence of the leaf is all there is: then the
    operator says that the proxy verifies, or the application verifies against its own trust anchors; `unverified`
    ones leave only the latter. `leaf_has_chain` says that the leaf's header may be as long as a chain.
    `states` names what a terminator that forwards no certificate tells in its `Statement`: `"fingerprint"`, `"name"`.
    """

    name: str
    title: str = ""
    leaf: str
    decode: Callable[[str], Decoded]
    absent: frozenset[str] = _EMPTY
    absent_prefix: str | None = None
    chain: str | None = None
    decode_chain: Callable[[str], bytes | tuple[bytes, ...]] | None = None
    numbered_chain: int = 0
    lists: frozenset[str] = frozenset()
    fingerprint: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    unverified: bool = False
    states: frozenset[str] = frozenset()
    leaf_has_chain: bool = False
    confidence: Confidence = Confidence.DOCUMENTED
    has_rest: bool = field(init=False)
    chain_headers: tuple[str, ...] = field(init=False)
    headers: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        chain = () if self.chain is None else (self.chain,)
        numbered = tuple(f"{self.chain}-{number}" for number in range(self.numbered_chain)) if chain else ()
        object.__setattr__(self, "chain_headers", numbered or chain)
        verdicts = tuple(verdict.header for verdict in self.verdicts)
        fingerprint = () if self.fingerprint is None else (self.fingerprint,)
        object.__setattr__(self, "headers", (self.leaf, *self.chain_headers, *verdicts, *fingerprint))
        object.__setattr__(self, "has_rest", bool(chain or fingerprint))
        for name in self.headers:
            # Servers fold an underscore into the hyphen spelling or drop it; ASGI names are in lower case.
            if not HEADER_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"dialect {self.name}, header name {name!r}: use letters, digits and hyphens only, in lower case"
                )
            if name in RESERVED:
                raise ConfigurationError(f"dialect {self.name}, header name {name!r}: this header has another purpose")
        if len(set(self.headers)) < len(self.headers):
            raise ConfigurationError(f"dialect {self.name} would read one header as two facts: name different ones")

    @property
    def without_certificate(self) -> bool:
        """Whether the terminator keeps the certificate to itself."""
        return bool(self.states)

    @property
    def has_verdict(self) -> bool:
        """Whether the terminator says of each certificate that it verified it."""
        return any(not verdict.optional for verdict in self.verdicts)

    @property
    def fields(self) -> tuple[str, ...]:
        """What `with_headers` can rename."""
        own = (name for name in ("leaf", "chain", "fingerprint") if getattr(self, name) is not None)
        return (*own, *(verdict.field for verdict in self.verdicts))

    def with_headers(self, **names: str) -> Self:
        """Return the row with other header names, in any case: `leaf`, `chain`, `verdict`…, as `fields` lists them.

        Raises `ConfigurationError` for a field that the dialect does not have, and for a name with an underscore.
        """
        changes: dict[str, Any] = {}
        for name in names:
            if name not in self.fields:
                raise ConfigurationError(f"dialect {self.name} has no field {name!r}; it has {', '.join(self.fields)}")
            if name in ("leaf", "chain", "fingerprint"):
                changes[name] = names[name].lower()
        verdicts = tuple(
            replace(verdict, header=names[verdict.field].lower()) if verdict.field in names else verdict
            for verdict in self.verdicts
        )
        return replace(self, verdicts=verdicts, **changes)

    def means_none(self, leaf: str) -> bool:
        """Whether this value of the leaf's header says that no certificate was presented."""
        return leaf in self.absent or (self.absent_prefix is not None and leaf.startswith(self.absent_prefix))

    def decode_raw(self, raw: Raw) -> tuple[bytes, ...] | Statement:
        """Decode received field values: the leaf's, the fingerprint's where the row has one, the chain's."""
        leaf, *rest = (value for value in raw if isinstance(value, str))
        certificates = decode_leaf(self.decode, leaf, self.leaf)
        stated = rest.pop(0) if self.fingerprint is not None else ""
        if isinstance(certificates, Statement):
            return certificates
        if stated:
            codecs.check_fingerprint(certificates[0], stated)
        chain: list[bytes] = []
        for value in rest:
            more = self.decode_chain(value) if self.decode_chain is not None else ()
            chain += more if isinstance(more, tuple) else (more,)
        return (*certificates, *chain)
