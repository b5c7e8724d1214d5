"""XFCC: the grammar, which element counts, and what is taken from it."""

import ssl
from hashlib import sha1, sha256
from typing import Any
from urllib.parse import quote

import pytest

from mtls_auth import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Statement
from mtls_auth.testing import escaped_pem
from mtls_auth.xfcc import MAX_ELEMENTS, MAX_PAIRS, XFCC, Element, parse
from tests.core.conftest import reason_of

MALFORMED, AMBIGUOUS = Reason.MALFORMED_HEADER, Reason.AMBIGUOUS_HEADER
OVERSIZED, CONTRADICTORY = Reason.OVERSIZED_HEADER, Reason.CONTRADICTORY_EVIDENCE
UNUSABLE = Reason.UNUSABLE_NAME

# Decoders do not read DER: any bytes are somebody's certificate.
ALICE, ADMIN, ISSUER = b"alice" * 40, b"admin" * 40, b"issuer" * 40
ALICE_ID, ADMIN_ID = "spiffe://example.org/alice", "spiffe://example.org/admin"


def hash_of(der: bytes) -> str:
    """Return what Envoy writes for Hash."""
    return sha256(der).hexdigest()


def cert(der: bytes) -> str:
    """Return an element with Hash and Cert."""
    return f'Hash={hash_of(der)};Cert="{escaped_pem(der)}"'


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param("By=a", [("by", "a")], id="one pair"),
        pytest.param("HASH=a;uri=b;dNs=c", [("hash", "a"), ("uri", "b"), ("dns", "c")], id="keys in any case"),
        pytest.param("URI=a=b==", [("uri", "a=b==")], id="the first = separates"),
        pytest.param("URI=", [("uri", "")], id="empty value"),
        pytest.param('Subject=""', [("subject", "")], id="empty quoted value"),
        pytest.param('Subject="a,b;c=d"', [("subject", "a,b;c=d")], id="separators in quotes"),
        pytest.param(r'Subject="CN=\C3\A9\+\,"', [("subject", r"CN=\C3\A9\+\,")], id="backslashes are kept"),
        pytest.param(r'Subject="CN=\"x\""', [("subject", r"CN=\"x\"")], id="escaped quotes are kept"),
        pytest.param(r'Subject="CN=x\\";URI=a', [("subject", r"CN=x\\"), ("uri", "a")], id="escaped backslash at end"),
        pytest.param(r'Subject="\\\"";URI=a', [("subject", r"\\\""), ("uri", "a")], id="both"),
        pytest.param(r"URI=a\;DNS=b", [("uri", "a\\"), ("dns", "b")], id="outside quotes a backslash is itself"),
        pytest.param("URI=a b c;DNS=d", [("uri", "a b c"), ("dns", "d")], id="blanks in an unquoted value"),
        pytest.param("By=a;By=b;DNS=c;DNS=c", [("by", "a"), ("by", "b"), ("dns", "c"), ("dns", "c")], id="repeated"),
        pytest.param("Hash=a;", [("hash", "a")], id="semicolon at the end"),
        pytest.param('Cert="a";', [("cert", "a")], id="semicolon at the end, after a quote"),
        pytest.param(" \tHash=a\t ", [("hash", "a")], id="blanks around"),
        pytest.param("New-Key_2=x", [("new-key_2", "x")], id="unknown key"),
    ],
)
def test_an_element(text: str, pairs: list[tuple[str, str]]) -> None:
    """Pairs come out in order, keys in lower case, values as they are."""
    assert parse(text) == (Element(tuple(pairs)),)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        (" \t ", []),
        ("By=a,By=b", [["by"], ["by"]]),
        ("By=a;Hash=b, URI=c,Hash=d", [["by", "hash"], ["uri"], ["hash"]]),
        ('Subject="a,b",Subject="c\\",d"', [["subject"], ["subject"]]),
    ],
)
def test_elements(text: str, keys: list[list[str]]) -> None:
    """A comma outside quotes begins an element, after which a blank may stand."""
    assert [[key for key, _value in element.pairs] for element in parse(text)] == keys


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, MALFORMED) for text in (",", ";", "=", '"', "Hash", "=a", " =a", "Hash =a", "Hä=a", "-a=b", "1=b")),
        *((text, MALFORMED) for text in ("a=b,", ",a=b", "a=b,,c=d", "a=b;;", "a=b;;c=d", ";a=b", "a=b;,c=d", "a=b;c")),
        *((text, MALFORMED) for text in ('a="', 'a="b', 'a="b\\"', 'a="b\\', 'a=b"c', 'a=b"', 'a="b"c', 'a="b" ;c=d')),
        *((text, MALFORMED) for text in ('a="b" ,c=d', 'a="b""c"', "a=\x00", 'a="\x7f"', "a=b\n", "a=\tb", "a=é")),
        *((text, MALFORMED) for text in ('{"Hash": "a"}', "[]", "(null)", "a=\ud800", "a=\u2028")),
        *((f"{key}=a;{key.upper()}=a", AMBIGUOUS) for key in ("hash", "cert", "chain", "subject")),
        ("Hash=a;URI=b;Hash=", AMBIGUOUS),
        ("By=a," * MAX_ELEMENTS + "By=a", OVERSIZED),
        ("By=a;" * MAX_PAIRS + "By=a", OVERSIZED),
    ],
)
def test_what_is_not_the_grammar(text: str, reason: Reason) -> None:
    """One malformed element spoils the header; what an element says once it does not say twice."""
    assert reason_of(parse, text) is reason


def test_json_is_named() -> None:
    """The refusal of Envoy's other format says what to change."""
    with pytest.raises(CertificateRejected, match="the JSON format is not supported"):
        parse('[{"hash": "a"}]')


def test_limits() -> None:
    """The largest header that is accepted; a certificate with 150 names is far below."""
    assert len(parse(",".join(["By=a"] * MAX_ELEMENTS))) == MAX_ELEMENTS
    assert len(parse(";".join(["By=a"] * MAX_PAIRS))[0].pairs) == MAX_PAIRS > 3 * 150


PEM = ssl.DER_cert_to_PEM_cert(ALICE)
CHAIN = escaped_pem(ALICE) + escaped_pem(ISSUER)
PLAIN_CHAIN = PEM + ssl.DER_cert_to_PEM_cert(ISSUER)
H = f"Hash={hash_of(ALICE)}"
PAIRS_OF_DIGITS = [hash_of(ALICE)[i : i + 2] for i in range(0, 64, 2)]


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        pytest.param(cert(ALICE), (ALICE,), id="Cert"),
        pytest.param(f'{H};Chain="{CHAIN}"', (ALICE, ISSUER), id="Chain"),
        pytest.param(f'{H};Chain="{escaped_pem(ALICE)}"', (ALICE,), id="Chain of one"),
        pytest.param(f'{cert(ALICE)};Chain="{CHAIN}"', (ALICE, ISSUER), id="both: the leaf once"),
        pytest.param(cert(ALICE).replace(H, H.upper()), (ALICE,), id="Hash in upper case"),
        pytest.param(cert(ALICE).replace("%0A", "%0a").replace("%2B", "%2b"), (ALICE,), id="lower-case escapes"),
        pytest.param(f'{H};Cert="{quote(PEM, safe=":-")}"', (ALICE,), id="old Envoy"),
        pytest.param(f"{H};Cert={escaped_pem(ALICE)}", (ALICE,), id="no quotes"),
        pytest.param(f'{H};Cert="{PEM.replace(chr(10), " ")}";', (ALICE,), id="blanks for newlines"),
        pytest.param(f'{H};Cert="{PEM.replace(chr(10), "")}";', (ALICE,), id="no newlines"),
        pytest.param(
            f'{H};Cert="{PEM.replace(chr(10), "")}";Chain="{PLAIN_CHAIN.replace(chr(10), "")}";',
            (ALICE, ISSUER),
            id="Azure Container Apps",
        ),
        pytest.param(f'{H};Chain="{PLAIN_CHAIN.replace(chr(10), " ")}"', (ALICE, ISSUER), id="plain Chain, blanks"),
        pytest.param(f'{H};Chain="{escaped_pem(ALICE) * 16}"', (ALICE,) * 16, id="long Chain"),
        pytest.param(f'{H};Chain="{PEM.replace(chr(10), "") * 16}"', (ALICE,) * 16, id="long plain Chain"),
        pytest.param(
            f'By=a;{cert(ALICE)};Subject="CN=a\\,b,O=\\"x\\"";URI={ALICE_ID};DNS=a;DNS=b', (ALICE,), id="everything"
        ),
    ],
)
def test_certificates(text: str, chain: tuple[bytes, ...]) -> None:
    """The leaf comes first, and once."""
    assert XFCC()(text) == chain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", AMBIGUOUS, id="empty"),
        pytest.param(f'Cert="{escaped_pem(ALICE)}"', MALFORMED, id="no Hash"),
        pytest.param(f'Hash=;Cert="{escaped_pem(ALICE)}"', MALFORMED, id="empty Hash"),
        pytest.param(cert(ALICE).replace(H, H[:-1]), MALFORMED, id="short Hash"),
        pytest.param(cert(ALICE).replace(H, H + "a"), MALFORMED, id="long Hash"),
        pytest.param(cert(ALICE).replace(H, f'Hash="{hash_of(ALICE)} "'), MALFORMED, id="blank after Hash"),
        pytest.param(
            cert(ALICE).replace(H, f"Hash={sha1(ALICE, usedforsecurity=False).hexdigest()}"), MALFORMED, id="SHA-1"
        ),
        pytest.param(cert(ALICE).replace(H, f"Hash={':'.join(PAIRS_OF_DIGITS)}"), MALFORMED, id="colons"),
        pytest.param(f"Hash={hash_of(b'')}", MALFORMED, id="Hash of nothing"),
        pytest.param(cert(ALICE).replace(H, f"Hash={hash_of(ADMIN)}"), CONTRADICTORY, id="somebody else's Hash"),
        pytest.param(f'{H};Chain="{escaped_pem(ISSUER) + escaped_pem(ALICE)}"', CONTRADICTORY, id="chain reversed"),
        pytest.param(f'{cert(ALICE)};Chain="{escaped_pem(ISSUER)}"', CONTRADICTORY, id="another Chain"),
        pytest.param(f'{H};Cert="{escaped_pem(ADMIN)}";Chain="{CHAIN}"', CONTRADICTORY, id="another Cert"),
        pytest.param(f'{cert(ALICE)};Chain=""', MALFORMED, id="empty Chain"),
        pytest.param(f'{H};Cert="";Chain="{CHAIN}"', MALFORMED, id="empty Cert"),
        pytest.param(f'{H};Chain="{CHAIN}x"', MALFORMED, id="text after the Chain"),
        pytest.param(f'{H};Chain="x{PLAIN_CHAIN.replace(chr(10), "")}"', MALFORMED, id="text before a plain Chain"),
        pytest.param(f'{H};Chain="x"', MALFORMED, id="Chain of text"),
        pytest.param(f'{H};Cert="{CHAIN}"', MALFORMED, id="two in Cert"),
        pytest.param(f'{H};Chain="{escaped_pem(ALICE) * 17}"', OVERSIZED, id="long Chain"),
        pytest.param(f'{H};Chain="{PEM.replace(chr(10), "") * 17}"', OVERSIZED, id="long plain Chain"),
        pytest.param(f"{cert(ALICE)};New=1", MALFORMED, id="unknown key"),
        pytest.param(f"{cert(ALICE)},{cert(ALICE)}", AMBIGUOUS, id="two elements"),
    ],
)
def test_certificates_refused(text: str, reason: Reason) -> None:
    """Without a Hash that is the leaf's own, nothing is taken."""
    assert reason_of(XFCC(), text) is reason


def test_the_operator_forgot_cert() -> None:
    """An element without a certificate says what the proxy needs."""
    with pytest.raises(CertificateRejected, match="set_current_client_cert_details needs `cert: true`") as refused:
        XFCC()(f'{H};Subject=""')
    assert refused.value.reason is MALFORMED


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (f"{H};URI={ALICE_ID}", ALICE_ID),
        (f'{H};URI="{ALICE_ID}"', ALICE_ID),
        (f'{H.upper()};URI={ALICE_ID};Subject="";DNS=a;By={ADMIN_ID}', ALICE_ID),
        (f"{cert(ALICE)};URI={ALICE_ID}", ALICE_ID),
        (f"URI={ALICE_ID}", MALFORMED),
        (f"Hash={hash_of(b'')};URI={ALICE_ID}", MALFORMED),
        (f"{H};By={ALICE_ID}", UNUSABLE),
        (f"{H};URI=", UNUSABLE),
        (f"{H};URI={ALICE_ID};URI={ADMIN_ID}", UNUSABLE),
        (f"{H};URI={ALICE_ID};URI=", UNUSABLE),
        (f"{H};URI={ALICE_ID.upper()}", UNUSABLE),
        (f"{H};URI=https://example.org/alice", UNUSABLE),
        (f"{H};URI={ALICE_ID} ;DNS=a", UNUSABLE),
        (f"{H};URI={ALICE_ID};c=d", MALFORMED),
        (f"{cert(ADMIN)};URI={ALICE_ID}".replace(hash_of(ADMIN), hash_of(ALICE)), CONTRADICTORY),
        (f'{H};Cert="x";URI={ALICE_ID}', MALFORMED),
    ],
)
def test_uri(text: str, outcome: str | Reason) -> None:
    """A mesh's statement is the fingerprint and the only URI, a SPIFFE ID; a Cert beside it must agree."""
    decode = XFCC(take="uri")
    if isinstance(outcome, Reason):
        assert reason_of(decode, text) is outcome
    else:
        assert decode(text) == Statement(fingerprint=hash_of(ALICE), name=outcome)


@pytest.mark.parametrize(
    ("decode", "accepted"),
    [(XFCC(), {1}), (XFCC(hops=2), {2}), (XFCC(appended=True), {1, 2, 3}), (XFCC(hops=2, appended=True), {2, 3})],
)
def test_hops(decode: XFCC, accepted: set[int]) -> None:
    """The element that counts is counted from the right; only appended ones may have more before them."""
    for count in range(1, 4):
        elements = [cert(ADMIN)] * count
        elements[-decode.hops :] = [cert(ALICE), *[cert(ADMIN)] * (decode.hops - 1)][:count]
        outcome = reason_of(decode, ",".join(elements))
        assert outcome is (None if count in accepted else AMBIGUOUS)
        if outcome is None:
            assert decode(",".join(elements)) == (ALICE,)


def test_fields() -> None:
    """A key that the proxy does not send is refused in the element that counts, and in no other."""
    decode = XFCC(fields=frozenset({"HASH", "Cert"}), appended=True)
    assert decode(f"URI=x;New=1,{cert(ALICE)}") == (ALICE,)
    assert reason_of(decode, f"{cert(ALICE)};URI=x") is MALFORMED
    new = XFCC(fields=frozenset({"Hash", "Cert", "New"}))
    assert new(f"{cert(ALICE)};new=1") == (ALICE,)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"hops": 0}, "XFCC hops"),
        ({"hops": MAX_ELEMENTS + 1}, "XFCC hops"),
        ({"take": "subject"}, "XFCC take: one of certificate, uri"),
        ({"fields": frozenset()}, "XFCC fields: Hash, and cert or chain"),
        ({"fields": frozenset({"hash"})}, "XFCC fields: Hash, and cert or chain"),
        ({"fields": frozenset({"cert"})}, "XFCC fields: Hash"),
        ({"fields": "hash"}, "XFCC fields: Hash"),
        ({"fields": frozenset({"hash", "cert"}), "take": "uri"}, "XFCC fields: Hash, and uri"),
    ],
)
def test_configuration(settings: Any, problem: str) -> None:
    """What can never accept anybody is an error at start-up."""
    with pytest.raises(ConfigurationError, match=problem):
        XFCC(**settings)


def test_configuration_reports_everything() -> None:
    """Both problems are told at once."""
    with pytest.raises(ConfigurationError) as error:
        XFCC(hops=0, fields=frozenset())
    assert len(error.value.problems) == 2
