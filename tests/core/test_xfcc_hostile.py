"""XFCC against names and prefixes that were made to be misread: nobody becomes somebody else."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_auth import CertificateRejected, Reason
from mtls_auth.evidence import Statement
from mtls_auth.testing import escaped_pem
from mtls_auth.xfcc import XFCC, Element, parse
from tests.core.conftest import reason_of

# Decoders do not read DER: any bytes are somebody's certificate.
ALICE, ADMIN, GATEWAY = b"alice" * 40, b"admin" * 40, b"gateway" * 40
ALICE_ID, ADMIN_ID = "spiffe://example.org/alice", "spiffe://example.org/admin"


def hash_of(der: bytes) -> str:
    """Return what Envoy writes for Hash."""
    return sha256(der).hexdigest()


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


MALFORMED, AMBIGUOUS = Reason.MALFORMED_HEADER, Reason.AMBIGUOUS_HEADER
CONTRADICTORY = Reason.CONTRADICTORY_EVIDENCE


@pytest.mark.parametrize(
    ("injected", "beside_cert", "without_cert"),
    [
        ("", None, MALFORMED),
        (';Subject="CN=admin"', None, MALFORMED),
        (f";URI={ADMIN_ID};DNS=admin;By={ADMIN_ID}", None, MALFORMED),
        (f';Cert="{escaped_pem(ADMIN)}"', AMBIGUOUS, CONTRADICTORY),
        (f';Chain="{escaped_pem(ADMIN)}"', CONTRADICTORY, CONTRADICTORY),
        (f";Hash={hash_of(ADMIN)}", AMBIGUOUS, AMBIGUOUS),
        (f";{envoy(ADMIN)}", AMBIGUOUS, AMBIGUOUS),
        (f",{envoy(ADMIN)}", AMBIGUOUS, AMBIGUOUS),
        (f',{envoy(ADMIN)};X="', MALFORMED, MALFORMED),
        (f',{envoy(ADMIN)};X="",Y=', AMBIGUOUS, AMBIGUOUS),
        (",b;c=d", MALFORMED, MALFORMED),
        (",b=c;d=e", AMBIGUOUS, AMBIGUOUS),
        (";b=c", MALFORMED, MALFORMED),
        ('"', MALFORMED, MALFORMED),
        ("\\", None, MALFORMED),
    ],
)
def test_what_a_name_injects(injected: str, beside_cert: Reason | None, without_cert: Reason) -> None:
    """Whatever stands in a SAN, its holder is refused or stays who it is, whether or not the proxy sends Cert."""
    for uris, dns in (([f"x{injected}"], []), (None, ["x", f"x{injected}"]), ([f"x{injected}"], ["y"])):
        assert reason_of(XFCC(), envoy(ALICE, uris=uris, dns=dns)) is beside_cert
        assert reason_of(XFCC(), envoy(ALICE, uris=uris, dns=dns, sends_cert=False)) is without_cert
        if beside_cert is None:
            assert XFCC()(envoy(ALICE, uris=uris, dns=dns)) == (ALICE,)


def test_a_second_subject() -> None:
    """Where the proxy sends Subject, an injected one is the second."""
    assert reason_of(XFCC(), envoy(ALICE, subject="CN=alice", uris=['x;Subject="CN=admin"'])) is AMBIGUOUS
    fields = frozenset({"hash", "cert", "uri"})
    assert reason_of(XFCC(fields=fields), envoy(ALICE, uris=['x;Subject="CN=admin"'])) is MALFORMED


def test_appended_elements_need_a_careful_authority() -> None:
    """Why `appended` is not the default: a comma in a name is the last element."""
    text = envoy(ALICE, uris=[f"x,{envoy(ADMIN)}"])
    assert reason_of(XFCC(), text) is AMBIGUOUS
    assert XFCC(appended=True)(text) == (ADMIN,)
    assert XFCC(appended=True)(f"x=y,{envoy(ALICE)}") == (ALICE,)


# RFC 2253 as OpenSSL writes it: what separates is escaped.
SPECIAL = str.maketrans({character: f"\\{character}" for character in ',+"\\<>;'})
PIECES = [
    *'",;=\\ x',
    "\\\\",
    '\\"',
    'X="',
    "By=a",
    ADMIN_ID,
    f"URI={ADMIN_ID}",
    envoy(ADMIN),
    f"Hash={hash_of(ALICE)}",
]
PIECES += [f"Hash={hash_of(ALICE)}", f"Hash={hash_of(ADMIN)}"]
PIECES += [f'Cert="{escaped_pem(ADMIN)}"', f'Chain="{escaped_pem(ADMIN)}"']
FRAGMENTS = st.lists(st.sampled_from(PIECES)).map("".join)
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
@example(prefix=f'{envoy(ADMIN)};X="', subject="", hops=1)
@example(prefix=f'{envoy(ADMIN)};X="\\', subject="", hops=1)
def test_a_client_s_own_element_is_not_taken(prefix: str, subject: str | None, hops: int) -> None:
    """Before appended elements a client may write what it likes: quotes and backslashes included, it stays itself."""
    last = [f'Hash={hash_of(GATEWAY)};Subject=""'] * (hops - 1)
    text = ",".join([prefix, envoy(ALICE, subject=subject), *last])
    assert taken(XFCC(hops=hops, appended=True), text) in (None, (ALICE,))
    mesh = ",".join([prefix, envoy(ALICE, subject=subject, uris=[ALICE_ID], sends_cert=False), *last])
    statement = Statement(fingerprint=hash_of(ALICE), name=ALICE_ID)
    assert taken(XFCC(hops=hops, appended=True, take="uri"), mesh) in (None, statement)


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
QUOTED = st.lists(PRINTABLE.filter(lambda character: character not in '"\\') | PRINTABLE.map("\\{}".format)).map(
    "".join
)
PLAIN = st.text(PRINTABLE.filter(lambda character: character not in '",;\\'))
REPEATED = st.sampled_from(["by", "uri", "dns", "a", "new-key_2"])
SINGLE = st.lists(st.sampled_from(["hash", "cert", "chain", "subject"]), unique=True)


@st.composite
def elements(draw: st.DrawFn) -> Element:
    """Draw an element: keys that occur once anywhere among the others."""
    keys = draw(st.permutations([*draw(SINGLE), *draw(st.lists(REPEATED, min_size=1, max_size=5))]))
    return Element(tuple((key, draw(QUOTED | PLAIN)) for key in keys))


ELEMENTS = st.lists(elements(), max_size=4)


def render(written: Sequence[Element], *, quotes: bool) -> str:
    """Write elements: in quotes all values, or those alone that need it."""

    def value_of(value: str) -> str:
        return f'"{value}"' if quotes or set(value) & set('",;\\') or value.endswith(" ") else value

    return ",".join(";".join(f"{key.title()}={value_of(value)}" for key, value in element.pairs) for element in written)


@given(ELEMENTS, st.booleans())
def test_round_trip(written: list[Element], quotes: bool) -> None:
    """What is written is what is read."""
    assert parse(render(written, quotes=quotes)) == tuple(written)


TEXTS = st.one_of(st.text(), FRAGMENTS, ELEMENTS.map(lambda written: render(written, quotes=False)))


@given(text=TEXTS, appended=st.booleans(), hops=st.sampled_from([1, 2]))
def test_no_other_exception(text: str, appended: bool, hops: int) -> None:
    """Whatever the text, it is elements, certificates or a statement, or it is refused."""
    reason_of(parse, text)
    reason_of(XFCC(appended=appended, hops=hops), text)
    reason_of(XFCC(appended=appended, hops=hops, take="uri"), text)
