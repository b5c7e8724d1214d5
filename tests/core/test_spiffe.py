"""SPIFFE IDs, after the examples and rules of the SPIFFE-ID standard §2."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth import Reason
from mtls_auth.spiffe import check_spiffe_id
from tests.core.conftest import reason_of


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://staging.example.com/payments/mysql",
        "spiffe://k8s-west.example.com/ns/staging/sa/default",
        "spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453",
        "spiffe://example.com",
        "spiffe://a_b-c.9/...",
        "spiffe://example.com/A.b_c-9",
        f"spiffe://{'a' * 255}/x",
        f"spiffe://example.com/{'a' * 2027}",
    ],
)
def test_spiffe_id(uri: str) -> None:
    """A SPIFFE ID is returned as it is."""
    assert check_spiffe_id(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe:",
        "spiffe://",
        "spiffe:///path",
        "spiffe:example.com/x",
        "SPIFFE://example.com/x",
        "Spiffe://example.com/x",
        "https://example.com/x",
        " spiffe://example.com/x",
        "spiffe://EXAMPLE.com/x",
        "spiffe://exämple.com/x",
        "spiffe://example.com:8080/x",
        "spiffe://user@example.com/x",
        "spiffe://[::1]/x",
        "spiffe://example.com/",
        "spiffe://example.com/x/",
        "spiffe://example.com//x",
        "spiffe://example.com/./x",
        "spiffe://example.com/x/..",
        "spiffe://example.com/x?q",
        "spiffe://example.com/x#f",
        "spiffe://example.com/%61",
        "spiffe://example.com/a b",
        "spiffe://example.com/a,b",
        "spiffe://example.com/a;b=c",
        "spiffe://example.com/é",
        "spiffe://example.com/x\n",
        "spiffe://example.com\n/x",
        "spiffe://example.com/x\0",
        "spiffe://example.com\\x",
        f"spiffe://{'a' * 256}/x",
        f"spiffe://example.com/{'a' * 2028}",
    ],
)
def test_not_a_spiffe_id(uri: str) -> None:
    """Other schemes, ports, queries, escapes, empty or dot segments and upper-case trust domains are refused."""
    assert reason_of(check_spiffe_id, uri) is Reason.UNUSABLE_NAME


@pytest.mark.parametrize(
    ("start", "end", "alphabet"),
    [
        ("spiffe://exam", "ple.com/x", "a-z0-9._/-"),  # a slash there ends the trust domain
        ("spiffe://example.com/a", "b", "A-Za-z0-9._/-"),
        ("spiffe://example.com/a", "", "A-Za-z0-9._-"),
    ],
    ids=["trust domain", "path", "end"],
)
def test_byte_walk(start: str, end: str, alphabet: str) -> None:
    """Of all 256 characters only those of the standard's grammar may stand in each part."""
    accepted = {chr(code) for code in range(256) if reason_of(check_spiffe_id, start + chr(code) + end) is None}
    assert accepted == {chr(code) for code in range(256) if re.fullmatch(f"[{alphabet}]", chr(code))}


SEGMENT = st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True).filter(lambda segment: segment not in {".", ".."})


@given(st.from_regex(r"[a-z0-9._-]{1,30}", fullmatch=True), st.lists(SEGMENT, max_size=5))
def test_every_composed_id(trust_domain: str, segments: list[str]) -> None:
    """Whatever is composed by the grammar is a SPIFFE ID."""
    uri = "/".join([f"spiffe://{trust_domain}", *segments])
    assert check_spiffe_id(uri) == uri


@given(st.text())
def test_no_other_exception(text: str) -> None:
    """Any text behind a valid prefix is returned as it is or refused."""
    uri = f"spiffe://example.com/{text}"
    if reason_of(check_spiffe_id, uri) is None:
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", text)
