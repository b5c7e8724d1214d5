"""The variables of servers and gateways: each row's shapes, what must agree, and that no client can write them."""

import ssl
from collections.abc import Mapping
from typing import Any

import pytest

from mtls_auth import (
    AnyVerifiedCertificate,
    Assurance,
    AssuredBy,
    Authenticator,
    ConfigurationError,
    Evidence,
    PathVerifier,
    Reason,
    ServerEnviron,
    ServerVariables,
    Statement,
    Verdict,
    codecs,
)
from mtls_auth.dialect import Confidence
from mtls_auth.forwarded import MAX_CHAIN_CHARACTERS, MAX_LEAF_CHARACTERS
from mtls_auth.server_environ import (
    AWS_API_GATEWAY,
    BUILTIN_VARIABLES,
    CHEROOT,
    GATEWAY_PARAMS,
    MOD_WSGI,
    PYVOY,
    UWSGI,
    WERKZEUG,
)
from tests.core.conftest import CARRIERS, STRANGER, Request, reason_of, received
from tests.pki import BrokenLeaves

DER = b"0\x03\x02\x01\x00"
OTHER = b"0\x03\x02\x01\x01"
PEM, OTHER_PEM = ssl.DER_cert_to_PEM_cert(DER), ssl.DER_cert_to_PEM_cert(OTHER)
DN = "CN=bob,OU=Ops,O=Modern GmbH,C=DE"
Variables = Mapping[str, object]


def pyvoy(dn: str) -> list[Variables]:
    """Return both shapes: of a WSGI environ, and of an ASGI scope."""
    return [
        {"wsgi.ext.tls.client_cert_name": dn},
        {"extensions": {"tls": {"tls_version": 772, "client_cert_name": dn}}},
    ]


EVENTS = ("aws.event", "apig_wsgi.full_event", "serverless.event", "awsgi.event")


def events(certificate: object, *keys: str) -> list[Variables]:
    """Return the events of REST and HTTP APIs, under the key of every adapter."""
    return [
        {key: {"requestContext": {where: {"clientCert": certificate}}}}
        for key in keys or EVENTS
        for where in ("identity", "authentication")
    ]


# What each server puts there with a certificate, and what without.
WITH: list[tuple[ServerVariables, Variables]] = [
    (MOD_WSGI, {"SSL_CLIENT_CERT": PEM, "SSL_CLIENT_VERIFY": "SUCCESS"}),
    (MOD_WSGI, {"SSL_CLIENT_CERT": PEM, "SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_CERT_CHAIN_0": OTHER_PEM}),
    (GATEWAY_PARAMS, {"SSL_CLIENT_CERT": PEM, "SSL_CLIENT_VERIFY": "SUCCESS", "HTTP_SSL_CLIENT_CERT": OTHER_PEM}),
    (GATEWAY_PARAMS, {"SSL_CLIENT_CERT": PEM.encode(), "SSL_CLIENT_VERIFY": b"SUCCESS"}),
    (GATEWAY_PARAMS, {"SSL_CLIENT_CERT": PEM.replace("\n", "\r\n"), "SSL_CLIENT_VERIFY": "SUCCESS"}),
    (UWSGI, {"HTTPS_CC": PEM}),
    (UWSGI, {"HTTPS_CC": PEM.encode(), "HTTPS_DN": b"/CN=bob", "HTTPS_CLIENT_CERTIFICATE": DER}),
    (CHEROOT, {"SSL_CLIENT_CERT": PEM, "SSL_CLIENT_VERIFY": "SUCCESS"}),
    (WERKZEUG, {"SSL_CLIENT_CERT": PEM}),
    *((PYVOY, variables) for variables in pyvoy(DN)),
    *((AWS_API_GATEWAY, event) for event in events({"clientCertPem": PEM, "subjectDN": "CN=x"})),
]
WITHOUT: list[tuple[ServerVariables, Variables]] = [
    *((row, {}) for row in BUILTIN_VARIABLES.values()),
    (MOD_WSGI, {"SSL_CLIENT_CERT": "", "SSL_CLIENT_VERIFY": "NONE", "SSL_SERVER_CERT": PEM}),
    (MOD_WSGI, {"SSL_CLIENT_VERIFY": "NONE"}),
    (GATEWAY_PARAMS, {"SSL_CLIENT_CERT": "", "SSL_CLIENT_VERIFY": "NONE"}),
    (GATEWAY_PARAMS, {"SSL_CLIENT_CERT": b"", "SSL_CLIENT_VERIFY": b""}),
    (GATEWAY_PARAMS, {"HTTP_SSL_CLIENT_CERT": PEM, "HTTP_SSL_CLIENT_VERIFY": "SUCCESS"}),
    (UWSGI, {"HTTPS": "on", "HTTP_HTTPS_CC": PEM}),
    (CHEROOT, {"SSL_CLIENT_VERIFY": "NONE"}),
    (WERKZEUG, {"HTTP_SSL_CLIENT_CERT": PEM}),
    *((PYVOY, variables) for variables in pyvoy("")),
    (PYVOY, {"extensions": {"tls": None}}),
    (PYVOY, {"extensions": {}}),
    (PYVOY, {"extensions": None}),
    *((AWS_API_GATEWAY, event) for event in events(None)),
    *((AWS_API_GATEWAY, event) for event in events({})),
    (AWS_API_GATEWAY, {"aws.event": {"requestContext": {}}}),
    (AWS_API_GATEWAY, {"aws.event": {"requestContext": {"identity": {"clientCert": PEM}}}}),
    (AWS_API_GATEWAY, {"aws.event": {"headers": {"clientCertPem": PEM}}}),
    (AWS_API_GATEWAY, {"aws.event": PEM}),
]


def ids(rows: list[tuple[ServerVariables, Variables]]) -> list[str]:
    """Name rows."""
    return [f"{row.name} {at}" for at, (row, _variables) in enumerate(rows)]


@pytest.mark.parametrize(("row", "variables"), WITH, ids=ids(WITH))
def test_certificate(row: ServerVariables, variables: Variables) -> None:
    """The certificate of the variables is evidence, whoever the peer is and whatever the headers say."""
    evidence = ServerEnviron(row).read(received(("Client-Cert", "x"), peer=STRANGER, variables=variables))
    assert isinstance(evidence, Evidence)
    assert (evidence.source, evidence.vouched) == (row.name, row.assurance)
    if row is PYVOY:
        assert evidence.decoded() == Statement(name=DN)
        assert reason_of(evidence.chain) is Reason.INSUFFICIENT_EVIDENCE
    else:
        with_chain = "SSL_CLIENT_CERT_CHAIN_0" in variables
        assert evidence.decoded() == evidence.chain() == ((DER, OTHER) if with_chain else (DER,))


@pytest.mark.parametrize(("row", "variables"), WITHOUT, ids=ids(WITHOUT))
def test_none(row: ServerVariables, variables: Variables) -> None:
    """Without the variables, or with empty ones, nobody is there; what came in headers is another matter."""
    assert ServerEnviron(row).read(received(variables=variables)) is None


@pytest.mark.parametrize(
    ("verdict", "certificate", "reason"),
    [
        ("FAILED:unable to verify the first certificate", PEM, Reason.PROXY_REJECTED),
        ("GENEROUS", PEM, Reason.PROXY_REJECTED),
        ("success", PEM, Reason.PROXY_REJECTED),
        ("SUCCESS ", PEM, Reason.PROXY_REJECTED),
        ("SUCCESS,SUCCESS", PEM, Reason.AMBIGUOUS_HEADER),
        (None, PEM, Reason.UNVERIFIED),
        ("NONE", PEM, Reason.CONTRADICTORY_EVIDENCE),
        ("", PEM, Reason.CONTRADICTORY_EVIDENCE),
        ("SUCCESS", "", Reason.CONTRADICTORY_EVIDENCE),
        ("SUCCESS", None, Reason.CONTRADICTORY_EVIDENCE),
        ("FAILED:certificate has expired", None, Reason.PROXY_REJECTED),
        (7, PEM, Reason.MALFORMED_HEADER),
        ("SUCCESS", {"a": PEM}, Reason.MALFORMED_HEADER),
        ("SUCCESS", [PEM], Reason.MALFORMED_HEADER),
    ],
)
@pytest.mark.parametrize("row", [MOD_WSGI, GATEWAY_PARAMS, CHEROOT], ids=lambda row: row.name)
def test_verdicts(row: ServerVariables, verdict: object, certificate: object, reason: Reason) -> None:
    """The server's own verification is compared exactly; what is no text is no variable of a server's."""
    given = {"SSL_CLIENT_CERT": certificate, "SSL_CLIENT_VERIFY": verdict}
    variables = {key: value for key, value in given.items() if value is not None}
    assert reason_of(ServerEnviron(row).read, received(variables=variables)) is reason


@pytest.mark.parametrize(
    "value",
    [
        *("nonsense", PEM + PEM, PEM.replace("\n", " "), PEM.replace("\n", "%0A"), f"x{PEM}", f"{PEM}x"),
        PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        PEM.encode() + b"\xff",
    ],
)
@pytest.mark.parametrize("row", [UWSGI, WERKZEUG], ids=lambda row: row.name)
def test_no_pem(row: ServerVariables, value: object) -> None:
    """What is not exactly one PEM block is malformed."""
    evidence = ServerEnviron(row).read(received(variables={row.keys[0]: value}))
    assert evidence is not None
    assert reason_of(evidence.decoded) is Reason.MALFORMED_HEADER


def test_all_that_is_there_must_agree() -> None:
    """Two keys that say the same are one certificate; two that do not are refused."""
    source = ServerEnviron(AWS_API_GATEWAY)
    (same, _rest) = events({"clientCertPem": PEM}, "aws.event")
    for other in events({"clientCertPem": PEM}, *EVENTS[1:]):
        assert source.read(received(variables={**same, **other})) is not None
    for other in events({"clientCertPem": OTHER_PEM}, *EVENTS[1:]):
        assert reason_of(source.read, received(variables={**same, **other})) is Reason.CONTRADICTORY_EVIDENCE
    both = {"identity": {"clientCert": {"clientCertPem": PEM}}, "authentication": {"clientCert": {"clientCertPem": ""}}}
    assert source.read(received(variables={"aws.event": {"requestContext": both}})) is not None
    both["authentication"]["clientCert"]["clientCertPem"] = OTHER_PEM
    event = received(variables={"aws.event": {"requestContext": both}})
    assert reason_of(source.read, event) is Reason.CONTRADICTORY_EVIDENCE
    in_both = {**pyvoy(DN)[0], **pyvoy("CN=mallory")[1]}
    assert reason_of(ServerEnviron(PYVOY).read, received(variables=in_both)) is Reason.CONTRADICTORY_EVIDENCE


@pytest.mark.parametrize("value", [7, b"\xff\xfe", {}, [], True])
def test_pem_of_an_event(value: object) -> None:
    """An event that holds no text where PEM should be is malformed, or none."""
    (event, _rest) = events({"clientCertPem": value}, "aws.event")
    source = ServerEnviron(AWS_API_GATEWAY)
    if isinstance(value, bytes):
        evidence = source.read(received(variables=event))
        assert evidence is not None
        assert reason_of(evidence.decoded) is Reason.MALFORMED_HEADER
    else:
        assert reason_of(source.read, received(variables=event)) is Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("leaf", "chain", "reason"),
    [
        ("A" * MAX_LEAF_CHARACTERS, (), None),
        ("A" * (MAX_LEAF_CHARACTERS + 1), (), Reason.OVERSIZED_HEADER),
        ("A", ("A" * MAX_CHAIN_CHARACTERS,), None),
        ("A", ("A" * MAX_CHAIN_CHARACTERS, "A"), Reason.OVERSIZED_HEADER),
    ],
)
def test_lengths(leaf: str, chain: tuple[str, ...], reason: Reason | None) -> None:
    """Longer variables than headers may be are refused before they are decoded."""
    variables = {"SSL_CLIENT_CERT": leaf, "SSL_CLIENT_VERIFY": "SUCCESS"}
    variables |= {f"SSL_CLIENT_CERT_CHAIN_{at}": value for at, value in enumerate(chain)}
    assert reason_of(ServerEnviron(MOD_WSGI).read, received(variables=variables)) is reason


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("row", BUILTIN_VARIABLES.values(), ids=BUILTIN_VARIABLES)
def test_through_every_adapter(leaves: BrokenLeaves, row: ServerVariables, carrier: str) -> None:
    """Each row's variables come to their client; headers of the same names come to nobody, and are removed."""
    pem = leaves.good.pem.decode()
    words = {"SSL_CLIENT_CERT": pem, "SSL_CLIENT_VERIFY": "SUCCESS"}
    shapes: dict[str, Variables] = {
        "mod_wsgi": words,
        "gateway-params": words,
        "cheroot": words,
        "uwsgi": {"HTTPS_CC": pem},
        "werkzeug": {"SSL_CLIENT_CERT": pem},
        "pyvoy": pyvoy(DN)[0 if carrier == "wsgi" else 1],
        "aws-api-gateway": events({"clientCertPem": pem}, "aws.event")[0],
    }
    shape = shapes[row.name]
    authenticator = Authenticator(ServerEnviron(row), policy=AssuredBy(row.assurance))
    forged = [("SSL-Client-Cert", pem.replace("\n", " ")), ("SSL-Client-Verify", "SUCCESS"), ("Accept", "*/*")]

    genuine = CARRIERS[carrier](authenticator, Request(headers=forged, peer=STRANGER, variables=shape))
    assert genuine.kind == "authenticated"
    assert (genuine.subject_cn, genuine.name) == ((None, DN) if row is PYVOY else ("alice", None))
    nobody = CARRIERS[carrier](authenticator, Request(headers=forged))
    assert nobody.kind == "anonymous"
    assert genuine.passed == nobody.passed <= {"accept"}


@pytest.mark.parametrize("key", ["HTTP_SSL_CLIENT_CERT", "HTTP_X", "http_x", "Http_Cert"])
def test_headers_are_no_variables(key: str) -> None:
    """A key that a client's header makes is an error, as leaf, chain or verdict."""
    yes = Verdict(header=key, success=frozenset({"yes"}), absent=frozenset({""}))
    for changes in ({"leaf": ((key,),)}, {"chain": ((key,),)}, {"verdict": yes}):
        keywords: dict[str, Any] = {"leaf": (("SSL_CLIENT_CERT",),), **changes}
        with pytest.raises(ConfigurationError, match=f"mine: {key} is a header, which clients write: use Forwarded"):
            ServerVariables(name="mine", title="Mine", decode=codecs.pem, **keywords)


def test_a_row_of_somebody_else_s(leaves: BrokenLeaves) -> None:
    """A third party's server is a row, with any decoder."""
    row = ServerVariables(
        name="mine", title="Mine", leaf=(("x.y", "z"),), chain=(("x.c",),), decode=codecs.escaped_pem_list
    )
    assert row.keys == ("x.y", "x.c")
    assert row.confidence is Confidence.OBSERVED
    assert row.assurance is Assurance.TLS_SOCKET
    value = PEM.replace("\n", "%0A").replace(" ", "%20")
    evidence = ServerEnviron(row).read(received(variables={"x.y": {"z": value}, "x.c": OTHER_PEM}))
    assert evidence is not None
    assert evidence.chain() == (DER, OTHER)


@pytest.mark.parametrize("row", BUILTIN_VARIABLES.values(), ids=BUILTIN_VARIABLES)
def test_the_process_s_environment(monkeypatch: pytest.MonkeyPatch, row: ServerVariables) -> None:
    """A variable of the process that some server copies into every request is an error at start-up, but under CGI."""
    for key in row.keys:
        with monkeypatch.context() as patch:
            patch.setenv(key, PEM)
            with pytest.raises(ConfigurationError, match=f"{key} is set in the environment of this process"):
                ServerEnviron(row)
            patch.setenv("GATEWAY_INTERFACE", "CGI/1.1")
            assert ServerEnviron(row).vouches
    assert ServerEnviron(row).vouches


def test_sources() -> None:
    """A row's source reads no header, and vouches for what it says."""
    for name, row in BUILTIN_VARIABLES.items():
        source = ServerEnviron(row)
        assert (row.name, source.dialects, source.headers, source.vouches) == (name, (), frozenset(), True)
        assert row.title
        assert row.without_certificate == (row is PYVOY)


def test_keys() -> None:
    """Each key is listed once, the leaf's first."""
    chain = tuple(f"SSL_CLIENT_CERT_CHAIN_{number}" for number in range(4))
    assert MOD_WSGI.keys == GATEWAY_PARAMS.keys == ("SSL_CLIENT_CERT", "SSL_CLIENT_VERIFY", *chain)
    assert AWS_API_GATEWAY.keys == EVENTS
    assert PYVOY.keys == ("wsgi.ext.tls.client_cert_name", "extensions")


def test_anchors_where_there_is_no_certificate(leaves: BrokenLeaves) -> None:
    """With trust anchors a server that hands on a name alone comes to a refusal."""
    verifier = PathVerifier([leaves.ca.certificate])
    authenticator = Authenticator(ServerEnviron(PYVOY), policy=AnyVerifiedCertificate(), verifier=verifier)
    answer = CARRIERS["wsgi"](authenticator, Request(variables=pyvoy(DN)[0]))
    assert answer.reason is Reason.INSUFFICIENT_EVIDENCE


def test_decode_raw_keeps_to_text() -> None:
    """A row decodes the leaf by its decoder and the rest as PEM."""
    assert MOD_WSGI.decode_raw((PEM, OTHER_PEM, PEM)) == (DER, OTHER, DER)
    assert reason_of(MOD_WSGI.decode_raw, (PEM, "x")) is Reason.MALFORMED_HEADER
    assert PYVOY.decode_raw((DN, "x")) == Statement(name=DN)
