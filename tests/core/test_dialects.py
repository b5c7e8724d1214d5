"""Dialects: what real and hostile headers in each of them come to, through every adapter (`tests/vectors`).

The files hold what is special to a dialect; what can go wrong in all of them alike is made here from the genuine row
of each.
"""

from dataclasses import replace
from datetime import datetime
from functools import cache

import pytest

from mtls_auth import (
    AllOf,
    AnyOf,
    AnyVerifiedCertificate,
    AssuredBy,
    Authenticator,
    ByCommonName,
    ByStatedName,
    CommonName,
    ConfigurationError,
    Evidence,
    Fingerprint,
    Identity,
    IssuedBy,
    NoneOf,
    OrganizationalUnit,
    PathVerifier,
    Policy,
    Reason,
    SubjectPublicKey,
    TrustedProxies,
    VouchedFor,
)
from mtls_auth.dialects import BUILTIN
from mtls_auth.evidence import Assurance
from mtls_auth.forwarded import MAX_CHAIN_CHARACTERS, MAX_LEAF_CHARACTERS
from tests.core.conftest import CARRIERS, PROXIES, PROXY, STRANGER, Answer, Request, reason_of
from tests.vectors.tables import CAPTURES, TABLES, VECTORS, Expected, Headers, Row, Table

PROXY_NETWORKS = TrustedProxies.parse(PROXIES)
UNVERIFIED = {
    "aws-alb-passthrough",
    "azure-app-service",
    "azure-container-apps",
    "kong",
}
STATED = {"alibaba-alb", "alibaba-clb", "consul", "istio", "linkerd"}

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
every_carrier = pytest.mark.parametrize("carrier", CARRIERS)
# For tests of many requests: a WebSocket and Starlette see what ASGI sees.
three_carriers = pytest.mark.parametrize("carrier", ["authenticator", "wsgi", "asgi"])


@cache
def authenticator_of(name: str, clock: datetime) -> Authenticator:
    """Build the authenticator of a dialect's table once: what one request leaves in its cache, the next one finds."""
    return TABLES[name].authenticator(TABLES[name].source(PROXY_NETWORKS), clock=clock)


def ask(
    table: Table,
    headers: Headers,
    carrier: str,
    *,
    peer: str | None = PROXY,
    clock: datetime | None = None,
    authenticator: Authenticator | None = None,
) -> Answer:
    """Send these headers from a proxy to an application that reads the table's dialect."""
    asked = authenticator or authenticator_of(table.dialect.name, clock or table.genuine.clock)
    return CARRIERS[carrier](asked, Request(headers=headers, peer=peer))


def assert_comes_to(answer: Answer, expected: Expected) -> None:
    """Compare an answer with what was expected of it."""
    assert answer.kind == expected.kind, answer.reason
    assert answer.reason is expected.reason
    assert answer.subject_cn == expected.subject_cn
    if expected.kind == "authenticated" and expected.subject_cn is None:
        assert (answer.fingerprint, answer.name) == (expected.fingerprint, expected.name)


def assert_nothing_passed(table: Table, answer: Answer, carrier: str) -> None:
    """Whatever was decided, the application behind saw no header that speaks of a certificate."""
    passed = answer.passed
    if carrier == "wsgi":  # `X.SSL.Client.Cert` stays what it is in an environ, where no key of ours looks like it
        passed = frozenset(name.replace("_", "-") for name in passed if "." not in name)
    assert passed <= table.passed


ROWS = [pytest.param(table, row, id=f"{name}: {row.id}") for name, table in TABLES.items() for row in table.rows]


@every_carrier
@pytest.mark.parametrize(("table", "row"), ROWS)
def test_vectors(table: Table, row: Row, carrier: str) -> None:
    """Every row of headers comes to the decision that it names, through every adapter."""
    answer = ask(table, row.headers, carrier, peer=row.peer, clock=row.clock)

    assert_comes_to(answer, row.wsgi if carrier == "wsgi" else row.expected)
    assert_nothing_passed(table, answer, carrier)


def test_vectors_are_complete() -> None:
    """Every built-in dialect has its file, no file stands for another, and rows go by different names."""
    assert {path.stem for path in VECTORS.glob("*.json")} == set(BUILTIN) == set(TABLES)
    for table in TABLES.values():
        assert len({row.id for row in table.rows}) == len(table.rows) > 5
        assert {row.expected.kind for row in table.rows} == {"authenticated", "anonymous", "denied"}
        assert table.success == {verdict.header: verdict.success for verdict in table.dialect.verdicts}
        assert all(table.dialect.means_none(value) for value in table.none)


@every_carrier
@every_table
def test_somebody_else(table: Table, carrier: str) -> None:
    """The table's other value is one that would be believed, so that refusing it says something."""
    answer = ask(table, table.alone(table.other), carrier)
    if table.anchors:
        assert answer.reason is Reason.UNTRUSTED
    else:
        assert answer.kind == "authenticated"
        assert (answer.subject_cn, answer.name) != ("bob", table.genuine.expected.name)
        assert answer.fingerprint != table.genuine.expected.fingerprint or answer.fingerprint is None


@every_carrier
@every_table
def test_order_and_case(table: Table, carrier: str) -> None:
    """Neither the order of the fields nor the case of their names matters."""
    for headers in (
        table.genuine.headers[::-1],
        tuple((name.upper(), value) for name, value in table.genuine.headers),
        tuple((name.lower(), value) for name, value in table.genuine.headers),
        tuple((name, f" \t{value}\t ") for name, value in table.genuine.headers),
    ):
        assert_comes_to(ask(table, headers, carrier), table.genuine.expected)


EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# What terminators write where there is no certificate.
NONE_SHAPES = (
    "(null)",
    "NONE",
    "::",
    "{http.request.tls.client.certificate_der_base64}",
    "<nil>",
    "-",
    '""',
    '"',
    "false",
    "0",
    EMPTY_SHA256,
)
MALFORMED = {Reason.MALFORMED_HEADER, Reason.MALFORMED_CERTIFICATE}


@three_carriers
@every_table
def test_shapes_of_none(table: Table, carrier: str) -> None:
    """What means "no certificate" in this dialect is anonymous; what means it in another one is malformed here."""
    leaf = table.dialect.leaf
    for value in {"", *table.none}:
        assert ask(table, ((leaf, value),), carrier).kind == "anonymous"
        assert ask(table, ((leaf, f" {value}\t"),), carrier).kind == "anonymous"
    for value in set(NONE_SHAPES) - set(table.none):
        if (table.dialect.name, value) != ("linkerd", EMPTY_SHA256):  # might be a name
            assert ask(table, table.alone(value), carrier).reason in MALFORMED, value


# Nearly success, success of others, and what software made of a word or a number on the way.
VERDICTS = (
    *("", "SUCCESS", "SUCCESS,SUCCESS", "SUCCESS, NONE", "NONE,SUCCESS", "SUCCESSFUL", "success", "Success", "SUCCES"),
    *("SUCCESS:", "SUCCESS;x", '"SUCCESS"', "SUC CESS", "SUCCESS\x00", "\x00SUCCESS", "SUCCESS\x0b", "SUCCESS\xa0"),
    *("FAILED", "FAILED:", "FAILED: ", "FAILED:SUCCESS", "FAILED:self-signed certificate", "FAILED: SUCCESS"),
    *("GENEROUS", "NONE", "none", "(null)", "OK", "yes", "on", "true", "TRUE", "True", "true,true", "truest", "t"),
    *("false", "FALSE", "false,true", "1", "1,1", "01", "+1", "1.0", "10", "0", "0,0", "+0", "-0", "00", "0x0", "0.0"),
    # Full-width digits and letters, as their UTF-8 arrives.
    *(
        "0 0",
        "\xef\xbc\x90",
        "\xef\xbc\x91",
        "\xef\xbc\xb3UCCESS",
        "18",
        "-1",
        "null",
        "undefined",
        "client_cert_error",
    ),
)


@three_carriers
@every_table
def test_verdicts(table: Table, carrier: str) -> None:
    """Only the exact words of success are success, with blanks around them or without; a missing one is none."""
    for verdict in table.dialect.verdicts:
        believed = table.success[verdict.header]
        for word in {*VERDICTS, *believed}:
            answer = ask(table, table.with_value(verdict.header, word), carrier)
            blanks = ask(table, table.with_value(verdict.header, f"\t {word} "), carrier)
            if word in believed:
                assert_comes_to(answer, table.genuine.expected)
            else:
                assert answer.reason in {
                    Reason.PROXY_REJECTED,
                    Reason.CONTRADICTORY_EVIDENCE,
                    Reason.AMBIGUOUS_HEADER,
                }, word
            assert blanks.reason is answer.reason
        missing = ask(table, table.without(verdict.header), carrier)
        if verdict.optional:
            assert_comes_to(missing, table.genuine.expected)
        else:
            assert missing.reason is Reason.UNVERIFIED


# OpenSSL's code is 0 also where there was nothing to check.
SILENT_VERDICTS = {"f5", "f5-base64", "openshift-router"}


@every_carrier
@every_table
def test_verdict_without_a_certificate(table: Table, carrier: str) -> None:
    """A verdict of success without a certificate is a contradiction, whether its field is missing or empty."""
    dialect = table.dialect
    for headers in (tuple(h for h in table.alone("") if h[0].lower() != dialect.leaf), table.alone("")):
        answer = ask(table, headers, carrier)
        if dialect.verdicts and dialect.name not in SILENT_VERDICTS:
            assert answer.reason is Reason.CONTRADICTORY_EVIDENCE
        else:
            assert answer.kind == "anonymous"


WITH_CHAIN = [table for table in TABLES.values() if table.dialect.chain_headers]


@every_carrier
@pytest.mark.parametrize("table", WITH_CHAIN, ids=lambda table: table.dialect.name)
def test_chain(table: Table, carrier: str) -> None:
    """A chain without a certificate is a contradiction; a certificate alone, as after resumption, is not."""
    dialect = table.dialect
    chain = tuple(header for header in table.genuine.headers if header[0].lower() in dialect.chain_headers)
    assert chain
    assert ask(table, chain, carrier).reason is Reason.CONTRADICTORY_EVIDENCE
    assert ask(table, (*chain, (dialect.leaf, "")), carrier).reason is Reason.CONTRADICTORY_EVIDENCE
    assert_comes_to(ask(table, table.without(*dialect.chain_headers), carrier), table.genuine.expected)
    empty = tuple((name, "" if (name, value) in chain else value) for name, value in table.genuine.headers)
    assert_comes_to(ask(table, empty, carrier), table.genuine.expected)


@every_carrier
@pytest.mark.parametrize("name", ["caddy", "cloudflare", "cloudfront"])
def test_fingerprint(name: str, carrier: str) -> None:
    """A fingerprint that comes must be the certificate's; without a certificate it may only be that of nothing."""
    table = TABLES[name]
    assert table.dialect.fingerprint is not None
    others = "0" * 64
    answer = ask(table, table.with_value(table.dialect.fingerprint, others), carrier)
    assert answer.reason is Reason.CONTRADICTORY_EVIDENCE
    assert_comes_to(ask(table, table.without(table.dialect.fingerprint), carrier), table.genuine.expected)
    alone = ((table.dialect.fingerprint, others),)
    assert ask(table, alone, carrier).reason is Reason.CONTRADICTORY_EVIDENCE
    assert ask(table, ((table.dialect.fingerprint, EMPTY_SHA256),), carrier).kind == "anonymous"


# The client's elements stand left of the sidecar's own, in as many lines as they came.
APPENDED = {"consul", "istio"}


@three_carriers
@every_table
def test_twice(table: Table, carrier: str) -> None:
    """A field that came twice is refused, even if it says the same; a list may come in several lines."""
    dialect = table.dialect
    for at, (name, value) in enumerate(table.genuine.headers):
        header = name.lower()
        values = {value, table.other if header == dialect.leaf else value}
        for first, second in ((value, new) for new in values):
            headers = list(table.genuine.headers)
            headers[at : at + 1] = [(name, second), (name.upper(), first)]
            answer = ask(table, tuple(headers), carrier)
            is_list = (header in dialect.chain_headers and "chain" in dialect.lists) or dialect.name in APPENDED
            # A comma is part of Traefik's grammar: an environ cannot show that there were two fields.
            invisible = dialect.name == "traefik" and carrier == "wsgi"
            if header not in dialect.headers or is_list:
                assert_comes_to(answer, table.genuine.expected)
            elif dialect.name == "azure-container-apps":  # its semicolon at the end stands before a comma then
                assert answer.reason is Reason.MALFORMED_HEADER
            elif not invisible:
                assert answer.reason is Reason.AMBIGUOUS_HEADER, name


@every_carrier
@every_table
def test_spelling(table: Table, carrier: str) -> None:
    """A name in another spelling is refused, alone and beside ours; a WSGI server has dropped it."""
    for name in table.dialect.headers:
        values = {key.lower(): value for key, value in table.genuine.headers}
        for spelling in (name.replace("-", "_"), name.replace("-", "."), name.replace("-", "_", 1).title()):
            header = (spelling, values.get(name, "x"))
            alone, beside = ask(table, (header,), carrier), ask(table, (*table.genuine.headers, header), carrier)
            if carrier == "wsgi":
                assert alone.kind == "anonymous"
                assert_comes_to(beside, table.genuine.expected)
            else:
                assert alone.reason is beside.reason is Reason.AMBIGUOUS_HEADER
            assert_nothing_passed(table, alone, carrier)
            assert_nothing_passed(table, beside, carrier)


@every_carrier
@pytest.mark.parametrize("peer", [STRANGER, None, "unix:/run/other.sock"], ids=["stranger", "hidden", "socket"])
@every_table
def test_strangers(table: Table, peer: str | None, carrier: str) -> None:
    """From anybody but the proxy the headers are removed, whatever they are, and the client is anonymous."""
    nonsense = tuple((name, "nonsense") for name in table.dialect.headers)
    for headers in (table.genuine.headers, (*table.genuine.headers, *nonsense), nonsense):
        answer = ask(table, headers, carrier, peer=peer)
        assert answer.kind == "anonymous"
        assert_nothing_passed(table, answer, carrier)


@every_carrier
@every_table
def test_other_dialects(table: Table, carrier: str) -> None:
    """Headers of all the other dialects are removed and not used, alone and beside ours."""
    own = {*table.dialect.headers, *(name.lower() for name, _value in table.genuine.headers)}
    others = tuple(
        header
        for other in TABLES.values()
        for header in other.genuine.headers
        if header[0].lower() not in own | {"forwarded", "x-ssl"}
    )
    assert len(others) > 30
    alone, beside = ask(table, others, carrier), ask(table, (*others, *table.genuine.headers), carrier)
    assert alone.kind == "anonymous"
    assert_comes_to(beside, table.genuine.expected)
    assert_nothing_passed(table, alone, carrier)
    assert_nothing_passed(table, beside, carrier)


@every_carrier
@every_table
def test_lengths(table: Table, carrier: str) -> None:
    """A field of more characters than are allowed is refused before anything is decoded: 431."""
    dialect = table.dialect
    of_leaf = MAX_CHAIN_CHARACTERS if dialect.leaf_has_chain else MAX_LEAF_CHARACTERS
    too_long = [table.alone("A" * (of_leaf + 1))]
    if dialect.chain_headers:
        too_long.append(table.with_value(dialect.chain_headers[0], "A" * (MAX_CHAIN_CHARACTERS + 1)))
    for headers in too_long:
        answer = ask(table, headers, carrier)
        assert answer.reason is Reason.OVERSIZED_HEADER
        assert answer.status in {None, 431, 1008}
    assert ask(table, table.alone("A" * of_leaf), carrier).reason is not Reason.OVERSIZED_HEADER


# Where newlines came to be blanks, other white space may stand between the lines of PEM.
FOLDED = {"apache", "f5", "huawei-elb", "nginx-folded"}


@three_carriers
@every_table
def test_control_characters(table: Table, carrier: str) -> None:
    """Control characters and those beyond ASCII are refused, wherever they stand in a certificate or a verdict."""
    leaf = dict(table.alone(table.other))[next(n for n, _v in table.genuine.headers if n.lower() == table.dialect.leaf)]
    between_lines = leaf.find(" MII") if table.dialect.name in FOLDED else -1
    codes = [*range(0x20), 0x7F, 0x80, 0xA0, 0xE9, 0xFF]
    for code in codes:
        for at in {0, len(leaf) // 2, len(leaf), between_lines} - {-1}:
            if chr(code) in " \t" and at in {0, len(leaf)}:
                continue
            answer = ask(table, table.alone(leaf[:at] + chr(code) + leaf[at:]), carrier)
            if table.dialect.name in FOLDED and chr(code) in "\t\r\n" and at > 0:
                continue
            assert answer.reason is Reason.MALFORMED_HEADER, (hex(code), at)
        for name, words in table.success.items():
            word = max(words)
            for text in (chr(code) + word, word + chr(code)):
                if text.strip(" \t") != word:
                    assert ask(table, table.with_value(name, text), carrier).kind == "denied", (hex(code), name)


def without_anchors(name: str, *, proxy_verifies: bool) -> None:
    """Configure a dialect without trust anchors."""
    table = replace(TABLES[name], anchors=())
    table.authenticator(table.source(PROXY_NETWORKS, proxy_verifies=proxy_verifies))


def test_who_forwards_unverified_certificates() -> None:
    """These dialects never say that the certificate was verified, whatever else is configured."""
    assert {dialect.name for dialect in BUILTIN.values() if dialect.unverified} == UNVERIFIED
    assert {name for name, table in TABLES.items() if table.anchors} == UNVERIFIED


@pytest.mark.parametrize("name", sorted(UNVERIFIED))
def test_unverified_dialects_need_anchors(name: str) -> None:
    """Without trust anchors such a dialect is an error at start-up, and the operator's word does not help."""
    with pytest.raises(ConfigurationError, match=rf"^{name}: .* trust anchors"):
        without_anchors(name, proxy_verifies=False)
    with pytest.raises(ConfigurationError, match=rf"^{name} never verifies .* trust anchors"):
        without_anchors(name, proxy_verifies=True)


SAYS_NOTHING = sorted(name for name, table in TABLES.items() if table.proxy_verifies)


def test_who_needs_the_operator_s_word() -> None:
    """These dialects forward no verdict, so that presence is all there is."""
    assert {*SAYS_NOTHING, *UNVERIFIED, "rfc9440"} >= {
        dialect.name for dialect in BUILTIN.values() if not dialect.has_verdict
    }


@pytest.mark.parametrize("name", SAYS_NOTHING)
def test_silent_dialects_need_the_operator_s_word(name: str) -> None:
    """Without a verdict, without the operator's word and without anchors a dialect is an error at start-up."""
    with pytest.raises(ConfigurationError, match=rf"^{name}: .* proxy_verifies=True"):
        without_anchors(name, proxy_verifies=False)
    without_anchors(name, proxy_verifies=True)


@pytest.mark.parametrize("name", sorted(set(TABLES) - STATED))
def test_anchors_instead_of_the_terminator_s_word(name: str) -> None:
    """With trust anchors of the application every dialect that forwards a certificate comes to the same identity."""
    table = replace(TABLES[name], anchors=(CAPTURES / "inter.pem",), proxy_verifies=False)
    authenticator = table.authenticator(table.source(PROXY_NETWORKS))
    genuine = ask(table, table.genuine.headers, "wsgi", authenticator=authenticator)
    assert_comes_to(genuine, table.genuine.expected)
    other = ask(table, table.alone(table.other), "wsgi", authenticator=authenticator)
    assert other.reason is Reason.UNTRUSTED


def stated(name: str) -> Identity:
    """Return the identity that a dialect's genuine headers come to."""
    table = TABLES[name]
    leaf = dict(table.genuine.headers)[next(n for n, _v in table.genuine.headers if n.lower() == table.dialect.leaf)]
    evidence = Evidence(name, (leaf,), Assurance.PROXY_VERDICT, table.dialect.decode_raw)
    return Identity.from_verified(VouchedFor().verify(evidence, at=table.clock))


def test_who_forwards_no_certificate() -> None:
    """These dialects state something of a certificate, and forward none."""
    assert {dialect.name for dialect in BUILTIN.values() if dialect.without_certificate} == STATED
    for name, table in TABLES.items():
        assert (table.genuine.expected.subject_cn is None) == (name in STATED)


@pytest.mark.parametrize("name", sorted(STATED))
def test_anchors_where_no_certificate_is_forwarded(name: str) -> None:
    """Trust anchors where there is nothing to verify are an error at start-up."""
    table = replace(TABLES[name], anchors=(CAPTURES / "root.pem",))
    with pytest.raises(ConfigurationError, match=rf"{name}: the terminator forwards no certificate"):
        table.authenticator(table.source(PROXY_NETWORKS))


NEEDY: list[Policy] = [
    CommonName("bob"),
    OrganizationalUnit("Ops"),
    IssuedBy("CN=Modern Issuing CA,O=Modern GmbH,C=DE"),
    SubjectPublicKey("0" * 64),
]


@pytest.mark.parametrize("predicate", NEEDY, ids=repr)
@pytest.mark.parametrize("name", sorted(STATED))
def test_predicates_without_a_certificate(name: str, predicate: Policy) -> None:
    """A predicate that needs the certificate denies where there is none, inside every combination."""
    identity = stated(name)
    for policy in (
        predicate,
        AllOf(AnyVerifiedCertificate(), predicate),
        AnyOf(predicate, CommonName("alice")),
        NoneOf(predicate),
        AnyVerifiedCertificate() & NoneOf(predicate),
        NoneOf(AllOf(AnyVerifiedCertificate(), predicate)),
    ):
        assert reason_of(policy.check, identity) is Reason.INSUFFICIENT_EVIDENCE


@pytest.mark.parametrize(
    ("name", "known"),
    [("alibaba-alb", "0a35c8c1a9a3f2d6a1d9ac5a21b9d4d8ce0ab5a1"), ("istio", "0" * 64), ("linkerd", "0" * 64)],
)
def test_fingerprints_that_cannot_be_compared(name: str, known: str) -> None:
    """A fingerprint that is not stated, or stated by another digest, denies; it does not admit by being absent."""
    identity = stated(name)
    other = "0" * (64 if identity.fingerprint is None or len(identity.fingerprint) == 40 else 40)
    for policy in (Fingerprint(other), NoneOf(Fingerprint(other)), Fingerprint(other) | CommonName("bob")):
        assert reason_of(policy.check, identity) is Reason.INSUFFICIENT_EVIDENCE, policy
    if identity.fingerprint is not None:
        assert Fingerprint(identity.fingerprint, other).allows(identity)
        assert reason_of(Fingerprint(known).check, identity) is Reason.NOT_ALLOWED
        assert NoneOf(Fingerprint(known)).allows(identity)


@pytest.mark.parametrize("name", sorted(STATED))
def test_what_a_statement_is_good_for(name: str) -> None:
    """Who vouches, the stated digest and the stated name can be asked for; the subject's name cannot."""
    identity = stated(name)
    assert AssuredBy(Assurance.PROXY_VERDICT).allows(identity)
    assert not AssuredBy(Assurance.PATH).allows(identity)
    assert reason_of(ByCommonName().map, identity) is Reason.INSUFFICIENT_EVIDENCE
    expected = TABLES[name].genuine.expected
    if expected.name is None:
        assert reason_of(ByStatedName().map, identity) is Reason.INSUFFICIENT_EVIDENCE
    else:
        assert ByStatedName().map(identity) == expected.name
    evidence = Evidence(name, ("x",), Assurance.PROXY_VERDICT, lambda _raw: identity.statement)  # type: ignore[arg-type, return-value]
    verifier = PathVerifier.from_files(CAPTURES / "root.pem")
    assert reason_of(verifier.verify, evidence, at=TABLES[name].clock) is Reason.INSUFFICIENT_EVIDENCE
    assert reason_of(evidence.chain) is Reason.INSUFFICIENT_EVIDENCE
