"""XFCC as others read it: the test strings of published parsers and of Keycloak come to the same, or are refused."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from mtls_auth import Reason
from mtls_auth.xfcc import XFCC, Element, parse
from tests.core.conftest import reason_of

REFUSALS = {Reason.MALFORMED_HEADER, Reason.AMBIGUOUS_HEADER}

PEERS = Path(__file__).parent.parent / "vectors" / "peers"
PEER_CASES = json.loads((PEERS / "xfcc_strings.json").read_text(encoding="utf-8"))["cases"]
UNKNOWN_KEY = "Envoy adds keys; `XFCC` refuses those that it does not know"
SUBJECT = "a Subject is not parsed: the certificate says it better"
# Where we part from the peer: why, and what becomes of the case here.
DEVIATIONS: dict[str, tuple[str, list[list[list[str]]] | None]] = {
    "xfcc-unknown-key": (UNKNOWN_KEY, [[["unknown", "hello"]]]),
    "xfcc-bad-key": (UNKNOWN_KEY, [[["Example", "x"]]]),
    "xfcc-escaped-quote": ("backslashes belong to RFC 2253 and stay", [[["Chain", r"hello, \"world\"!"]]]),
    "xfcc-subject-not-a-dn": (SUBJECT, [[["Subject", "random"]]]),
    "xfcc-subject-unknown-attribute": (SUBJECT, [[["Subject", "random=hello"]]]),
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
        assert reason_of(parse, header) in REFUSALS
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
        assert reason_of(XFCC(), case["header"] or "") in REFUSALS
    else:
        assert XFCC()(case["header"]) == tuple(
            ssl.PEM_cert_to_DER_cert(KEYCLOAK["certificates"][name]) for name in certs
        )
