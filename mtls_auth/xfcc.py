"""Envoy's `x-forwarded-client-cert`: its one grammar, and what may be believed of it.

    header  = element *( "," element )     the nearest proxy's is the last
    element = pair *( ";" pair )           a ";" at the very end is Azure Container Apps'
    pair    = key "=" ( plain / DQUOTE quoted DQUOTE )

Envoy writes By, URI and DNS as they stand in the certificates, unquoted: a name with a comma or semicolon in it adds
elements and pairs. So a certificate counts only with its own Hash, pairs that the proxy is not configured to send are
refused, and so are elements that nobody has asked for.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from mtls_auth import codecs
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Statement
from mtls_auth.names import unusable
from mtls_auth.spiffe import check_spiffe_id

MAX_ELEMENTS = 32
MAX_PAIRS = 512  # a pair for each DNS name of a certificate: 150 names were seen

ONCE = frozenset({"hash", "cert", "chain", "subject"})
KEYS = ONCE | {"by", "uri", "dns"}

Take = Literal["certificate", "uri"]

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_BEGIN = "-----BEGIN CERTIFICATE-----"
# In quotes a backslash takes the next character, whatever it is. A quote without one before it is the closing one: the
# first form of `quoted`, which is the fast one. No text matches in two ways, so time grows with the length alone.
_PAIR = re.compile(
    r"""
    [ ]*+ (?P<key> [A-Za-z][A-Za-z0-9_-]*+ ) =
    (?: " (?P<quoted> [^"]*+ (?<!\\) | [^"\\]*+ (?: \\. [^"\\]*+ )+ ) " | (?P<plain> [^",;]*+ ) )
    (?: ;? \Z | (?P<separator> [,;] ) )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Element:
    """What one proxy says of its client: keys in lower case, values as they came, backslashes included."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for key, _value in self.pairs)

    def values(self, key: str) -> tuple[str, ...]:
        """Return every value of a key, in order."""
        return tuple(value for name, value in self.pairs if name == key)

    def value(self, key: str) -> str | None:
        """Return the value of a key that occurs once, None if it does not."""
        return next(iter(self.values(key)), None)


def parse(text: str) -> tuple[Element, ...]:
    """Return the elements of a header, () for an empty one. Believes nothing: `XFCC` picks what counts.

    Does not read a Subject, which is RFC 2253 text, nor Envoy's JSON format. Raises `CertificateRejected`.
    """
    text = text.strip(" \t")
    if not text:
        return ()
    if text[0] in "{[":
        raise _malformed("is JSON: the JSON format is not supported")
    if not (text.isascii() and text.isprintable()):
        raise _malformed("holds other characters than printable ASCII")
    elements: list[Element] = []
    pairs: list[tuple[str, str]] = []
    position, separator = 0, ";"
    while separator:
        match = _PAIR.match(text, position)
        if match is None:
            raise _malformed("is not a list of key=value pairs")
        key, quoted, plain, separator = match.groups()
        pairs.append((key.lower(), plain if quoted is None else quoted))
        position = match.end()
        if len(pairs) > MAX_PAIRS or len(elements) == MAX_ELEMENTS:
            raise CertificateRejected(
                Reason.OVERSIZED_HEADER, f"more than {MAX_ELEMENTS} elements or {MAX_PAIRS} pairs in one came"
            )
        if separator != ";":
            elements.append(_element(pairs))
            pairs = []
    return tuple(elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class XFCC:
    """A decoder of the header, for `Dialect.decode`: which element counts, and what is taken from it.

    `hops` counts elements from the right: 1 is what the nearest proxy says. With more, everyone who can reach the
    nearest proxy with a certificate must be a proxy of yours. Exactly that many must come, unless the proxies are
    `appended`: then what stands further left is the client's word and not looked at, but whoever gets a certificate
    with a comma in a URI or DNS name can write a whole last element. Use it only where the authority prevents that.
    `fields` are the keys that the proxy is configured to send, all known ones by default; others are refused.

    Taking a `certificate` returns Cert, and the rest of Chain; the leaf must have the Hash. Taking a `uri` returns
    the Hash and the only URI, which must be a SPIFFE ID: those are the proxy's word, unchecked.
    """

    hops: int = 1
    appended: bool = False
    fields: frozenset[str] | None = None
    take: Take = "certificate"

    def __post_init__(self) -> None:
        fields = KEYS if self.fields is None else frozenset(field.lower() for field in self.fields)
        needed = frozenset({"uri"}) if self.take == "uri" else frozenset({"cert", "chain"})
        problems = []
        if not 1 <= self.hops <= MAX_ELEMENTS:
            problems.append(f"XFCC hops: a number from 1 to {MAX_ELEMENTS}, the proxies that add an element")
        if self.take not in get_args(Take):
            problems.append(f"XFCC take: one of {', '.join(get_args(Take))}")
        elif "hash" not in fields or fields.isdisjoint(needed):
            problems.append(f"XFCC fields: Hash, and {' or '.join(sorted(needed))}, or nothing can be taken")
        if problems:
            raise ConfigurationError(*problems)
        object.__setattr__(self, "fields", fields)

    def __call__(self, text: str) -> tuple[bytes, ...] | Statement:
        """Decode a header to DER, leaf first, or to a statement. Raises `CertificateRejected`."""
        element = self._choose(parse(text))
        stated = element.value("hash")
        if stated is None or not _SHA256.fullmatch(stated):
            raise _malformed("has no Hash, the SHA-256 of the certificate")
        fingerprint = codecs.fingerprint(stated).fingerprint
        certificates = _certificates(element)
        if certificates and sha256(certificates[0]).hexdigest() != fingerprint:
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "Hash is not that of the certificate")
        if self.take == "uri":
            uris = element.values("uri")
            if len(uris) != 1:
                raise unusable("the proxy does not state exactly one URI of the certificate")
            return Statement(fingerprint=fingerprint, name=check_spiffe_id(uris[0]))
        if not certificates:
            raise _malformed("has neither Cert nor Chain: set_current_client_cert_details needs `cert: true`")
        return certificates

    def _choose(self, elements: tuple[Element, ...]) -> Element:
        if len(elements) < self.hops or (len(elements) > self.hops and not self.appended):
            raise CertificateRejected(
                Reason.AMBIGUOUS_HEADER, f"{len(elements)} elements came where {self.hops} were expected"
            )
        element = elements[-self.hops]
        if not element.keys <= (self.fields or KEYS):
            raise _malformed("has a key that the proxy is not configured to send, or a name with a semicolon in it")
        return element


def _element(pairs: list[tuple[str, str]]) -> Element:
    once = [key for key, _value in pairs if key in ONCE]
    if len(set(once)) < len(once):
        raise CertificateRejected(Reason.AMBIGUOUS_HEADER, "Hash, Cert, Chain or Subject came twice in one element")
    return Element(tuple(pairs))


def _certificates(element: Element) -> tuple[bytes, ...]:
    """Decode Cert and Chain to DER, leaf first; () if there is neither."""
    cert, chain = element.value("cert"), element.value("chain")
    leaf = () if cert is None else (codecs.escaped_or_folded_pem(cert),)
    certificates = leaf if chain is None else _chain(chain)
    if leaf and certificates[:1] != leaf:
        raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "Chain does not begin with Cert")
    return certificates


def _chain(text: str) -> tuple[bytes, ...]:
    if "%" in text:
        return codecs.escaped_pem_list(text)
    head, *blocks = text.split(_BEGIN)
    if head or not blocks:
        raise _malformed("has a Chain that is not PEM")
    if len(blocks) > codecs.MAX_CERTIFICATES:
        raise CertificateRejected(Reason.OVERSIZED_HEADER, f"more than {codecs.MAX_CERTIFICATES} certificates came")
    return tuple(codecs.folded_pem(_BEGIN + block) for block in blocks)


def _malformed(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.MALFORMED_HEADER, f"x-forwarded-client-cert {detail}")
