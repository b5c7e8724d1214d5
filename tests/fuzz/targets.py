"""What is fuzzed: every decoder of header text. A target says whether it accepted its input; anything wrong raises.

Whatever the text, a decoder raises `CertificateRejected` or returns what it promises, and the same as a slow and
simple decoder does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import new, sha256

from mtls_auth import CertificateRejected, codecs
from mtls_auth.dialects import BUILTIN, Dialect
from mtls_auth.evidence import Decoded, Statement
from mtls_auth.xfcc import MAX_ELEMENTS, MAX_PAIRS, XFCC, parse
from tests.fuzz.reference import REFERENCE, pieces_of, xfcc_pairs
from tests.fuzz.words import text_of

Target = Callable[[bytes], bool]


def check_shape(decoded: object) -> None:
    """Raise `AssertionError` unless it is DER, a list of DER that is not empty, or a statement."""
    if isinstance(decoded, Statement):
        name = decoded.name
        assert name is None or (type(name) is str and name.isascii() and name.isprintable())
    else:
        items = decoded if isinstance(decoded, tuple) else (decoded,)
        assert items
        assert all(type(item) is bytes and item for item in items)


@dataclass(frozen=True, slots=True)
class OfCodec:
    """One function from text to DER or to a statement, beside the simple one."""

    decode: Callable[[str], Decoded]
    simple: Callable[[str], Decoded]

    def __call__(self, data: bytes) -> bool:
        text = text_of(data)
        try:
            decoded = self.decode(text)
        except CertificateRejected:
            return False
        check_shape(decoded)
        assert decoded == self.simple(text)
        return True


def base64_der_list(data: bytes) -> bool:
    """Pieces of concatenated DER lose no byte."""
    text = text_of(data)
    try:
        pieces = codecs.base64_der_list(text)
    except CertificateRejected:
        return False
    check_shape(pieces)
    assert len(pieces) <= codecs.MAX_CERTIFICATES
    assert pieces_of(text, pieces)
    return True


def check_fingerprint(data: bytes) -> bool:
    """A certificate has the fingerprint that is stated only if it is the digest of its bytes."""
    der, _, statement = data.partition(b"\n")
    stated = text_of(statement)
    try:
        codecs.check_fingerprint(der, stated)
    except CertificateRejected:
        return False
    digits = stated.replace(":", "").lower()
    assert digits in {new("sha1", der, usedforsecurity=False).hexdigest(), sha256(der).hexdigest()}
    return True


def xfcc_grammar(data: bytes) -> bool:
    """The grammar accepts what the character-by-character reader does, but for what comes twice or too often."""
    text = text_of(data)
    simple = xfcc_pairs(text)
    too_much = simple is not None and _too_much(simple)
    try:
        elements = parse(text)
    except CertificateRejected:
        assert simple is None or too_much
        return False
    assert [list(element.pairs) for element in elements] == simple
    assert not too_much
    return True


def _too_much(elements: list[list[tuple[str, str]]]) -> bool:
    keys = [[key for key, _value in element] for element in elements]
    twice = any(element.count(key) > 1 for element in keys for key in ("hash", "cert", "chain", "subject"))
    return twice or len(elements) > MAX_ELEMENTS or any(len(element) > MAX_PAIRS for element in elements)


VARIANTS = (
    XFCC(),
    XFCC(take="uri"),
    XFCC(appended=True),
    XFCC(appended=True, take="uri"),
    XFCC(hops=2),
    XFCC(hops=2, appended=True, fields=frozenset({"hash", "chain"})),
)


def xfcc(data: bytes) -> bool:
    """The first byte chooses the settings; what is taken is of the element that they name, and has its Hash."""
    if not data:
        return False
    decode, text = VARIANTS[data[0] % len(VARIANTS)], text_of(data[1:])
    try:
        decoded = decode(text)
    except CertificateRejected:
        return False
    check_shape(decoded)
    elements = parse(text)
    assert len(elements) == decode.hops or (decode.appended and len(elements) > decode.hops)
    element = elements[-decode.hops]
    stated = (element.value("hash") or "").lower()
    if isinstance(decoded, Statement):
        assert (decode.take, decoded.fingerprint, (decoded.name,)) == ("uri", stated, element.values("uri"))
    else:
        assert (decode.take, sha256(decoded[0]).hexdigest()) == ("certificate", stated)
    return True


ROWS = tuple(BUILTIN[name] for name in sorted(BUILTIN))


def fields_of(row: Dialect, values: list[str]) -> tuple[str, ...] | None:
    """Return what a source hands to the row: the leaf, the fingerprint where there is one, the chain; or None."""
    leaf, *rest = values
    if row.means_none(leaf):
        return None
    stated = [rest.pop(0) if rest else ""] if row.fingerprint is not None else []
    chain = [value for value in rest if value.strip()] if row.chain_headers else []
    return (leaf, *stated, *chain)


def dialects(data: bytes) -> bool:
    """The first byte chooses the row, the fields follow, one a line."""
    if not data:
        return False
    row = ROWS[data[0] % len(ROWS)]
    raw = fields_of(row, text_of(data[1:]).split("\n"))
    if raw is None:
        return False
    try:
        decoded = row.decode_raw(raw)
    except CertificateRejected:
        return False
    check_shape(decoded)
    stated = {name for name in ("fingerprint", "name") if getattr(decoded, name, None) is not None}
    assert stated == row.states
    if row.fingerprint is not None and raw[1] and not isinstance(decoded, Statement):
        codecs.check_fingerprint(decoded[0], raw[1])
    return True


TARGETS: dict[str, Target] = {
    **{decode.__name__: OfCodec(decode, simple) for decode, simple in REFERENCE.items()},
    **{target.__name__: target for target in (base64_der_list, check_fingerprint, xfcc_grammar, xfcc, dialects)},
}
