"""Dialects: rows of data, and what real and hostile headers in each of them come to (`tests/vectors`)."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mtls_auth import (
    NGINX,
    RFC9440,
    AnyVerifiedCertificate,
    Authenticator,
    ConfigurationError,
    Dialect,
    Forwarded,
    Reason,
    TrustedProxies,
)
from mtls_auth.codecs import byte_sequence
from mtls_auth.dialects import BUILTIN
from tests.core.conftest import CARRIERS, PROXIES, Request

VECTORS = Path(__file__).parent.parent / "vectors"


def load_rows() -> list[Any]:
    """Return every row of every dialect as a parameter; a row may have its own clock, and `wsgi` for its own end."""
    parameters = []
    for dialect in BUILTIN.values():
        table = json.loads((VECTORS / f"{dialect.name}.json").read_text(encoding="utf-8"))
        for row in table["rows"]:
            forwarded = Forwarded(
                dialect=BUILTIN[table["dialect"]],
                proxies=TrustedProxies.parse(PROXIES),
                proxy_verifies=table["proxy_verifies"],
            )
            clock = row.get("clock", table["clock"])
            parameters.append(pytest.param(forwarded, clock, row, id=f"{dialect.name}: {row['id']}"))
    return parameters


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("source", "clock", "row"), load_rows())
def test_vectors(source: Forwarded, clock: str, row: dict[str, Any], carrier: str) -> None:
    """Every row of headers comes to the decision that it names, through every adapter."""
    now = datetime.fromisoformat(clock)
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate(), clock=lambda: now)
    headers = [(name, value) for name, value in row["headers"]]
    expected = row.get("wsgi", row) if carrier == "wsgi" else row

    answer = CARRIERS[carrier](authenticator, Request(headers=headers, peer=row["peer"]))

    assert (answer.kind, answer.subject_cn) == (expected["expect"], expected.get("subject_cn"))
    assert answer.reason == (Reason(expected["reason"]) if answer.kind == "denied" else None)
    # `X.SSL.Client.Cert` stays what it is in an environ, where no key of ours looks like it.
    assert {name for name in answer.passed if carrier != "wsgi" or "." not in name} <= {"accept"}


def test_vectors_are_complete() -> None:
    """Every built-in dialect has its vectors, and no file stands for a dialect that does not exist."""
    assert {path.stem for path in VECTORS.glob("*.json")} == set(BUILTIN)


CAPTURED = {
    "nginx-1.26__modern": "bob",
    "nginx-1.31__modern": "bob",
    "nginx__modern": "bob",
    "nginx__modern__optional_no_ca": "bob",
    "nginx__modern__required": "bob",
    "nginx__forged-exact-modern": "bob",
    "nginx__big": "big",
    "nginx__ed25519": "eddy",
    "nginx__legacy": "alice",
    "nginx__legacy-sha1__seclevel0": "alice-sha1",
    "nginx-1.31__nocert": None,
    "nginx__nocert": None,
    "nginx__nocert__folded": None,
    "nginx__nocert__optional_no_ca": None,
    "nginx__forged-exact-nocert": None,
    "nginx__short-tlsv1_3-resumed-after-expiry": Reason.EXPIRED,
    "nginx-1.31__modern__folded": Reason.MALFORMED_HEADER,
    "nginx__modern__folded": Reason.MALFORMED_HEADER,
    "nginx__modern__rawpem": Reason.MALFORMED_HEADER,
    "nginx__forged-exact-modern__inherit-lost": Reason.PROXY_REJECTED,
    "nginx__forged-exact-nocert__inherit-lost": Reason.PROXY_REJECTED,
    "nginx__forged-dup-nocert__inherit-lost": Reason.AMBIGUOUS_HEADER,
    "nginx__forged-h2-underscore-modern__underscores_on": Reason.AMBIGUOUS_HEADER,
    "nginx__forged-underscore-modern__underscores_on": Reason.AMBIGUOUS_HEADER,
    "nginx__forged-underscore-nocert__ignore_invalid_off": Reason.AMBIGUOUS_HEADER,
}


def captured_headers(path: Path) -> list[tuple[str, str]]:
    """Return the fields of a captured request; a value keeps the bare line feeds that nginx folded it with."""
    _request_line, *lines = path.read_bytes().decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    return [(name, value.strip(" ")) for name, _colon, value in (line.partition(":") for line in lines)]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("capture", "expected"), CAPTURED.items(), ids=CAPTURED)
def test_captures(capture: str, expected: str | Reason | None, carrier: str) -> None:
    """What real versions of nginx send comes to the client's name, to nobody, or to a reason."""
    now = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
    source = Forwarded(
        dialect=NGINX.with_headers(leaf="Ssl-Client-Cert", verdict="Ssl-Client-Verify"),
        proxies=TrustedProxies.parse(PROXIES),
    )
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate(), clock=lambda: now)
    if carrier == "wsgi" and "underscore" in capture:  # the server drops those names
        expected = "bob" if "modern" in capture else None

    answer = CARRIERS[carrier](
        authenticator, Request(headers=captured_headers(VECTORS / "captures" / f"{capture}.http"))
    )

    match expected:
        case Reason():
            assert (answer.kind, answer.reason) == ("denied", expected)
        case None:
            assert answer.kind == "anonymous"
        case _:
            assert (answer.kind, answer.subject_cn) == ("authenticated", expected)
    assert not any("cert" in name or "verify" in name for name in answer.passed)


def test_captures_are_complete() -> None:
    """Every captured request has its expectation."""
    assert {path.stem for path in (VECTORS / "captures").glob("*.http")} == set(CAPTURED)


def test_builtin_rows() -> None:
    """The built-in rows go by their own names, their headers are lower case with hyphens, no two share one."""
    headers = [header for dialect in BUILTIN.values() for header in dialect.headers]
    assert [dialect.name for dialect in BUILTIN.values()] == list(BUILTIN)
    assert len(set(headers)) == len(headers)
    assert all(header == header.lower() and header.replace("-", "").isalnum() for header in headers)


@pytest.mark.parametrize(
    ("dialect", "headers"),
    [
        (NGINX, ("x-ssl-client-cert", "x-ssl-client-verify")),
        (RFC9440, ("client-cert", "client-cert-chain")),
        (Dialect(name="bare", leaf="x-cert", decode=byte_sequence), ("x-cert",)),
    ],
    ids=["nginx", "rfc9440", "leaf alone"],
)
def test_headers(dialect: Dialect, headers: tuple[str, ...]) -> None:
    """A row lists every header that it reads."""
    assert dialect.headers == headers


def test_nginx_success_is_one_word() -> None:
    """Only `SUCCESS` is success, only `NONE` and nothing are none."""
    assert NGINX.verdict is not None
    assert NGINX.verdict.success == {"SUCCESS"}
    assert NGINX.verdict.absent == {"NONE", ""}


def test_with_headers() -> None:
    """Other names are taken in lower case; everything else of the row stays."""
    renamed = NGINX.with_headers(leaf="SSL-Client-Cert", verdict="SSL-Client-Verify")
    assert renamed.headers == ("ssl-client-cert", "ssl-client-verify")
    assert NGINX.headers == ("x-ssl-client-cert", "x-ssl-client-verify")
    assert (renamed.name, renamed.decode) == (NGINX.name, NGINX.decode)
    assert renamed.verdict is not None
    assert NGINX.verdict is not None
    assert renamed.verdict.success == NGINX.verdict.success
    assert RFC9440.with_headers(chain="X-Chain").headers == ("client-cert", "x-chain")
    assert NGINX.with_headers() == NGINX


@pytest.mark.parametrize("field", ["chain", "name", "decode", "headers", "x"])
def test_with_headers_refuses_other_fields(field: str) -> None:
    """A field that the dialect does not have is an error that names those that it has."""
    with pytest.raises(ConfigurationError, match=rf"nginx has no field '{field}'; it has leaf, verdict"):
        NGINX.with_headers(**{field: "x-cert"})


@pytest.mark.parametrize(
    "name", ["X_Cert", "x-cert_", "", "-", "x cert", "x:cert", "x.cert", "x-cért", "x-cert\n", "²"]
)
def test_with_headers_refuses_names(name: str) -> None:
    """A name that some server folds, drops or cannot send is an error."""
    with pytest.raises(ConfigurationError, match="use letters, digits and hyphens only"):
        NGINX.with_headers(leaf=name)


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        (NGINX, {"leaf": "X-SSL-Client-Verify"}),
        (NGINX, {"leaf": "x-one", "verdict": "X-One"}),
        (RFC9440, {"chain": "Client-Cert"}),
    ],
)
def test_with_headers_refuses_one_name_for_two(dialect: Dialect, names: dict[str, str]) -> None:
    """One header cannot be two facts."""
    with pytest.raises(ConfigurationError, match="one header as two facts"):
        dialect.with_headers(**names)


@pytest.mark.parametrize("name", ["X-My-Cert", "x_my_cert"])
def test_a_row_checks_its_names(name: str) -> None:
    """A third party's row with a name that cannot be received as written is an error when it is built."""
    with pytest.raises(ConfigurationError):
        Dialect(name="mine", leaf=name, decode=byte_sequence)


def test_decode_raw() -> None:
    """The first value is the leaf, the others are chain fields, each a list."""
    assert RFC9440.decode_raw((":AAAA:", ":AAAB:, :AAAC:", ":AAAD:")) == tuple(bytes([0, 0, n]) for n in range(4))


def test_decode_raw_without_a_chain() -> None:
    """A dialect without a chain field yields the leaf alone."""
    assert Dialect(name="bare", leaf="x-cert", decode=byte_sequence).decode_raw((":AAAA:",)) == (b"\0\0\0",)
