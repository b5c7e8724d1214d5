"""XFCC: the grammar, which element counts, and that no name in a certificate makes somebody else of its holder."""

import json
import ssl
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, ConfigurationError, Reason
from mtls_auth.codecs import MAX_CERTIFICATES
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


def envoy(
    der: bytes,
    *,
    subject: str | None = None,
    uris: Sequence[str] | None = None,
    dns: Sequence[str] = (),
    sends_cert: bool = True,
) -> str:
    """Write an element as Envoy does: Subject and Cert in quotes, SANs as they are, `URI=` where there is none."""
    pairs = [f"Hash={hash_of(der)}"]
    pairs += [f'Cert="{escaped_pem(der)}"'] if sends_cert else []
    pairs += [] if subject is None else [f'Subject="{subject}"']
    pairs += [] if uris is None else [f"URI={uri}" for uri in uris or [""]]
    return ";".join([*pairs, *(f"DNS={name}" for name in dns)])


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


PEERS = Path(__file__).parent.parent / "vectors" / "peers"
PEER_CASES = json.loads((PEERS / "xfcc_strings.json").read_text(encoding="utf-8"))["cases"]
UNKNOWN_KEY = "Envoy adds keys; `XFCC` refuses those that it does not know"
SUBJECT = "a Subject is not parsed: the certificate says it better"
# Where we part from the peer: why, and what becomes of the case here.
DEVIATIONS: dict[str, tuple[str, list[list[list[str]]] | None]] = {
    "xfcc-unknown-key": (UNKNOWN_KEY, [[["unknown", "hello"]]]),
    "xfcc-bad-key": (UNKNOWN_KEY, [[["Example", "x"]]]),
    "xfcc-escaped-quote": ("backslashes belong to RFC 2253 and stay", [[["Chain", r"hello, \"world\"!"]]]),
    "xfcc-subject-3": (SUBJECT, [[["Subject", "C"]]]),
    "xfcc-subject-4": (SUBJECT, [[["Subject", "C="]]]),
    "xfcc-subject-5": (SUBJECT, [[["Subject", "unknown=hello"]]]),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in PEER_CASES])
def test_peers(case: dict[str, Any]) -> None:
    """Other people's parsers agree, but for what `DEVIATIONS` names."""
    subject = case["given"].get("subject")
    header = case["given"].get("header", f'Subject="{subject}"')
    theirs = [[["Subject", subject]]] if "attributes" in case["expect"] else case["expect"].get("elements")
    if case["expect"]["error"]:
        theirs = None
    _why, expected = DEVIATIONS.get(case["id"], ("", theirs))
    assert (case["id"] in DEVIATIONS) == (expected != theirs)

    if expected is None:
        assert reason_of(parse, header) in {MALFORMED, AMBIGUOUS}
    else:
        assert parse(header) == tuple(
            Element(tuple((key.lower(), value) for key, value in pairs)) for pairs in expected
        )


def test_every_peer_case_is_there() -> None:
    """No deviation is about a case that does not exist."""
    assert len(PEER_CASES) == 29
    assert {case["id"] for case in PEER_CASES} > set(DEVIATIONS)


KEYCLOAK = json.loads((PEERS / "keycloak_envoy.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in KEYCLOAK["cases"]])
def test_keycloak(case: dict[str, Any]) -> None:
    """Keycloak's cases come to the same certificates; where it finds none in a header, that is an error here."""
    certs = case["expect"]["certs"]
    if certs is None:
        assert reason_of(XFCC(), case["header"] or "") in {MALFORMED, AMBIGUOUS}
    else:
        assert XFCC()(case["header"]) == tuple(
            ssl.PEM_cert_to_DER_cert(KEYCLOAK["certificates"][name]) for name in certs
        )


PEM = ssl.DER_cert_to_PEM_cert(ALICE)
CHAIN = escaped_pem(ALICE) + escaped_pem(ISSUER)
PLAIN_CHAIN = PEM + ssl.DER_cert_to_PEM_cert(ISSUER)
H = f"Hash={hash_of(ALICE)}"


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
        pytest.param(
            envoy(ALICE, subject=r"CN=a\,b,O=\"x\"\\", uris=[ALICE_ID], dns=["a", "b"]), (ALICE,), id="everything"
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
        pytest.param(f"Hash={hash_of(b'')}", MALFORMED, id="Hash of nothing"),
        pytest.param(cert(ALICE).replace(H, f"Hash={hash_of(ADMIN)}"), CONTRADICTORY, id="somebody else's Hash"),
        pytest.param(f'{H};Chain="{escaped_pem(ISSUER) + escaped_pem(ALICE)}"', CONTRADICTORY, id="chain reversed"),
        pytest.param(f'{cert(ALICE)};Chain="{escaped_pem(ISSUER)}"', CONTRADICTORY, id="another Chain"),
        pytest.param(f'{cert(ALICE)};Chain=""', MALFORMED, id="empty Chain"),
        pytest.param(f'{H};Cert="";Chain="{CHAIN}"', MALFORMED, id="empty Cert"),
        pytest.param(f'{H};Chain="{CHAIN}x"', MALFORMED, id="text after the Chain"),
        pytest.param(f'{H};Chain="x{PLAIN_CHAIN.replace(chr(10), "")}"', MALFORMED, id="text before a plain Chain"),
        pytest.param(f'{H};Chain="x"', MALFORMED, id="Chain of text"),
        pytest.param(f'{H};Cert="{CHAIN}"', MALFORMED, id="two in Cert"),
        pytest.param(f'{H};Chain="{escaped_pem(ALICE) * (MAX_CERTIFICATES + 1)}"', OVERSIZED, id="long Chain"),
        pytest.param(
            f'{H};Chain="{PEM.replace(chr(10), "") * (MAX_CERTIFICATES + 1)}"', OVERSIZED, id="long plain Chain"
        ),
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


INJECTIONS = [
    ';Subject="CN=admin"',
    f';Cert="{escaped_pem(ADMIN)}"',
    f';Chain="{escaped_pem(ADMIN)}"',
    f";Hash={hash_of(ADMIN)}",
    f';Hash={hash_of(ADMIN)};Cert="{escaped_pem(ADMIN)}"',
    f",{cert(ADMIN)}",
    f",{cert(ADMIN)},",
    f',{cert(ADMIN)};X="',
    ",b;c=d",
    '"',
    f';X="a,{cert(ADMIN)}',
]


@pytest.mark.parametrize("injected", INJECTIONS)
@pytest.mark.parametrize("sends_cert", [True, False])
def test_a_name_injects_nothing(injected: str, sends_cert: bool) -> None:
    """Whatever stands in a SAN, its holder is refused or stays who it is."""
    for text in (
        envoy(ALICE, uris=[f"x{injected}"], sends_cert=sends_cert),
        envoy(ALICE, uris=[], dns=[f"x{injected}", "y"], sends_cert=sends_cert),
        envoy(ALICE, subject="CN=alice", uris=["x", f"x{injected}"], sends_cert=sends_cert),
    ):
        assert reason_of(XFCC(), text) is not None or XFCC()(text) == (ALICE,)
        assert reason_of(XFCC(fields=frozenset({"hash", "cert", "uri", "dns"})), text) is not None or sends_cert


def test_appended_elements_need_a_careful_authority() -> None:
    """Why `appended` is not the default: a comma in a name is the last element."""
    text = envoy(ALICE, uris=[f"x,{cert(ADMIN)}"])
    assert reason_of(XFCC(), text) is AMBIGUOUS
    assert XFCC(appended=True)(text) == (ADMIN,)
    assert XFCC(appended=True)(f"x=y,{envoy(ALICE)}") == (ALICE,)


# RFC 2253 as OpenSSL writes it: what separates is escaped.
SPECIAL = str.maketrans({character: f"\\{character}" for character in ',+"\\<>;'})
FRAGMENTS = st.lists(
    st.sampled_from(
        [*'",;=\\ x', "\\\\", '\\"', 'X="', f"Hash={hash_of(ADMIN)}", f"URI={ADMIN_ID}", "By=a", cert(ADMIN), ADMIN_ID]
        + [f'Cert="{escaped_pem(ADMIN)}"', f'Chain="{escaped_pem(ADMIN)}"', f"Hash={hash_of(ALICE)}"]
    )
).map("".join)
SUBJECTS = FRAGMENTS.map(lambda text: text.translate(SPECIAL))


def taken(decode: XFCC, text: str) -> object:
    """Return what is taken from a header, None if it is refused."""
    try:
        return decode(text)
    except CertificateRejected:
        return None


@given(
    subject=st.none() | SUBJECTS,
    uris=st.none() | st.lists(FRAGMENTS),
    dns=st.lists(FRAGMENTS),
    sends_cert=st.booleans(),
)
def test_nobody_becomes_another(subject: str | None, uris: list[str] | None, dns: list[str], sends_cert: bool) -> None:
    """One element of a proxy that overwrites: no Subject and no SAN makes its holder somebody else."""
    text = envoy(ALICE, subject=subject, uris=uris, dns=dns, sends_cert=sends_cert)
    assert taken(XFCC(), text) in (None, (ALICE,))


@given(prefix=FRAGMENTS, subject=st.none() | SUBJECTS, hops=st.sampled_from([1, 2]))
@example(prefix=f'{cert(ADMIN)};X="', subject="", hops=1)
@example(prefix=f'{cert(ADMIN)};X="\\', subject="", hops=1)
def test_a_client_s_own_element_is_not_taken(prefix: str, subject: str | None, hops: int) -> None:
    """Before appended elements a client may write what it likes: quotes and backslashes included, it stays itself."""
    last = [f'Hash={hash_of(ISSUER)};Subject=""'] * (hops - 1)
    text = ",".join([prefix, envoy(ALICE, subject=subject), *last])
    assert taken(XFCC(hops=hops, appended=True), text) in (None, (ALICE,))
    mesh = ",".join([prefix, envoy(ALICE, subject=subject, uris=[ALICE_ID], sends_cert=False), *last])
    statement = Statement(fingerprint=hash_of(ALICE), name=ALICE_ID)
    assert taken(XFCC(hops=hops, appended=True, take="uri"), mesh) in (None, statement)


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
QUOTED = st.lists(PRINTABLE.filter(lambda character: character not in '"\\') | PRINTABLE.map("\\{}".format)).map(
    "".join
)
PLAIN = st.text(PRINTABLE.filter(lambda character: character not in '",;')).map(lambda text: text.rstrip(" "))
KEYS = st.from_regex(r"\A[a-z][a-z0-9_-]{0,9}\Z").filter(
    lambda key: key not in {"hash", "cert", "chain", "subject"}
) | st.sampled_from(["by", "uri", "dns"])
PAIRS = st.lists(st.tuples(KEYS, st.one_of(QUOTED, PLAIN)), min_size=1, max_size=9)
ONCE = st.sets(st.sampled_from(["hash", "cert", "chain", "subject"])).flatmap(
    lambda keys: st.tuples(*(st.tuples(st.just(key), QUOTED) for key in sorted(keys)))
)
ELEMENTS = st.lists(st.tuples(ONCE, PAIRS).map(lambda both: Element((*both[0], *both[1]))), max_size=MAX_ELEMENTS)


def render(elements: Sequence[Element], *, quotes: bool) -> str:
    """Write elements: in quotes all of them, or those alone that need it."""
    return ",".join(
        ";".join(
            f'{key.title()}="{value}"'
            if quotes or set(value) & set('",;\\') or value.endswith(" ")
            else f"{key}={value}"
            for key, value in element.pairs
        )
        for element in elements
    )


@given(ELEMENTS, st.booleans())
def test_round_trip(elements: list[Element], quotes: bool) -> None:
    """What is written is what is read."""
    assert parse(render(elements, quotes=quotes)) == tuple(elements)


TEXTS = st.one_of(st.text(), FRAGMENTS, ELEMENTS.map(lambda elements: render(elements, quotes=False)))


@given(text=TEXTS, appended=st.booleans(), hops=st.sampled_from([1, 2]))
def test_no_other_exception(text: str, appended: bool, hops: int) -> None:
    """Whatever the text, it is elements, certificates or a statement, or it is refused."""
    reason_of(parse, text)
    reason_of(XFCC(appended=appended, hops=hops), text)
    reason_of(XFCC(appended=appended, hops=hops, take="uri"), text)
