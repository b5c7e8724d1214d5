"""The shape of a dialect: what its row lists, renames, refuses and decodes; a verdict's truth table."""

import base64
from typing import Any

import pytest

from mtls_auth import NGINX, RFC9440, CertificateRejected, ConfigurationError, Dialect, Reason, Statement, Verdict
from mtls_auth.codecs import base64_der, byte_sequence, client_name
from mtls_auth.dialect import Confidence
from mtls_auth.dialects import APACHE, BUILTIN, CADDY, GOOGLE_CLOUD, HAPROXY, clouds, proxies
from mtls_auth.proxy_secret import ProxySecret
from tests.core.conftest import reason_of

BARE = Dialect(name="bare", leaf="x-cert", decode=byte_sequence)


def test_builtin_rows() -> None:
    """The rows go by their own names; their headers are lower case with hyphens; every one has a title."""
    assert [dialect.name for dialect in BUILTIN.values()] == list(BUILTIN)
    assert len(BUILTIN) == 33
    for dialect in BUILTIN.values():
        assert all(header == header.lower() and header.replace("-", "").isalnum() for header in dialect.headers)
        assert dialect.title
        assert len({verdict.field for verdict in dialect.verdicts}) == len(dialect.verdicts)
        assert dialect.lists <= {"leaf", "chain"}
    assert {dialect.confidence for dialect in BUILTIN.values()} == set(Confidence)


def test_what_was_run() -> None:
    """No load balancer of a cloud was run here."""
    observed = {dialect.name for dialect in BUILTIN.values() if dialect.confidence is Confidence.OBSERVED}
    assert observed.isdisjoint({row.name for row in vars(clouds).values() if isinstance(row, Dialect)})
    assert observed == {
        *("apache", "apache-escaped", "caddy", "envoy", "haproxy", "lighttpd", "nginx", "nginx-folded", "traefik"),
    }
    assert observed <= {row.name for row in vars(proxies).values() if isinstance(row, Dialect)}


@pytest.mark.parametrize(
    ("dialect", "headers", "fields"),
    [
        (NGINX, ("x-ssl-client-cert", "x-ssl-client-verify"), ("leaf", "verdict")),
        (RFC9440, ("client-cert", "client-cert-chain"), ("leaf", "chain")),
        (BARE, ("x-cert",), ("leaf",)),
        (
            APACHE,
            (
                "x-ssl-client-cert",
                *(f"x-ssl-client-chain-{number}" for number in range(4)),
                "x-ssl-client-verify",
            ),
            ("leaf", "chain", "verdict"),
        ),
        (
            HAPROXY,
            ("x-ssl-client-cert", "x-ssl-client-chain", "x-ssl-client-verify", "x-ssl-client-used"),
            ("leaf", "chain", "verdict", "used"),
        ),
        (CADDY, ("x-ssl-client-cert", "x-ssl-client-fingerprint"), ("leaf", "fingerprint")),
        (
            GOOGLE_CLOUD,
            (
                *("client-cert", "client-cert-chain", "x-client-cert-chain-verified", "x-client-cert-error"),
                "x-client-cert-present",
            ),
            ("leaf", "chain", "verdict", "error", "present"),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Dialect) else "",
)
def test_headers(dialect: Dialect, headers: tuple[str, ...], fields: tuple[str, ...]) -> None:
    """A row lists every header that it reads, the leaf's first, and every field that can be renamed."""
    assert dialect.headers == headers
    assert dialect.fields == fields
    assert dialect.has_rest == (len(fields) > 1 and not {"chain", "fingerprint"}.isdisjoint(fields))


def test_with_headers() -> None:
    """Other names are taken in lower case; everything else of the row stays."""
    renamed = NGINX.with_headers(leaf="SSL-Client-Cert", verdict="SSL-Client-Verify")
    assert renamed.headers == ("ssl-client-cert", "ssl-client-verify")
    assert NGINX.headers == ("x-ssl-client-cert", "x-ssl-client-verify")
    assert (renamed.name, renamed.decode) == (NGINX.name, NGINX.decode)
    assert [verdict.success for verdict in renamed.verdicts] == [verdict.success for verdict in NGINX.verdicts]
    assert RFC9440.with_headers(chain="X-Chain").headers == ("client-cert", "x-chain")
    assert NGINX.with_headers() == NGINX


def test_with_headers_of_several_verdicts() -> None:
    """Each verdict goes by its own field; numbered chain headers keep their numbers."""
    renamed = HAPROXY.with_headers(used="X-Used", chain="X-Chain")
    assert renamed.headers == ("x-ssl-client-cert", "x-chain", "x-ssl-client-verify", "x-used")
    assert APACHE.with_headers(chain="Chain").chain_headers == ("chain-0", "chain-1", "chain-2", "chain-3")
    assert CADDY.with_headers(fingerprint="X-Print").headers == ("x-ssl-client-cert", "x-print")


@pytest.mark.parametrize("field", ["chain", "name", "decode", "headers", "used", "x"])
def test_with_headers_refuses_other_fields(field: str) -> None:
    """A field that the dialect does not have is an error that names those that it has."""
    with pytest.raises(ConfigurationError, match=rf"nginx has no field '{field}'; it has leaf, verdict"):
        NGINX.with_headers(**{field: "x-cert"})


@pytest.mark.parametrize(
    "name", ["X_Cert", "x-cert_", "", "-", "x cert", "x:cert", "x.cert", "x-cért", "x-cert\n", "²", "x--cert", "x-"]
)
@pytest.mark.parametrize("field", ["leaf", "verdict", "used", "chain"])
def test_with_headers_refuses_names(field: str, name: str) -> None:
    """A name that some server folds, drops or cannot send is an error."""
    with pytest.raises(ConfigurationError, match="use letters, digits and hyphens only"):
        HAPROXY.with_headers(**{field: name})


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        (NGINX, {"leaf": "X-SSL-Client-Verify"}),
        (NGINX, {"leaf": "x-one", "verdict": "X-One"}),
        (RFC9440, {"chain": "Client-Cert"}),
        (APACHE, {"leaf": "X-SSL-Client-Chain-2"}),
        (CADDY, {"fingerprint": "X-SSL-Client-Cert"}),
        (HAPROXY, {"used": "X-SSL-Client-Verify"}),
    ],
)
def test_with_headers_refuses_one_name_for_two(dialect: Dialect, names: dict[str, str]) -> None:
    """One header cannot be two facts."""
    with pytest.raises(ConfigurationError, match="one header as two facts"):
        dialect.with_headers(**names)


@pytest.mark.parametrize("name", ["X-My-Cert", "x_my_cert", ""])
def test_a_row_checks_its_names(name: str) -> None:
    """A third party's row with a name that cannot be received as written is an error when it is built."""
    with pytest.raises(ConfigurationError, match=f"dialect mine, header name {name!r}"):
        Dialect(name="mine", leaf=name, decode=byte_sequence)


def test_means_none() -> None:
    """The values for none are exact; a prefix is one only where the row has it."""
    assert BARE.means_none("")
    assert not BARE.means_none("(null)")
    assert APACHE.means_none("(null)")
    assert not APACHE.means_none("(null) ")
    assert CADDY.means_none("{http.request.tls.client.anything")
    assert not CADDY.means_none("x{http.request.tls.client.anything")
    assert not CADDY.means_none("{http.request.tls.clien")


def test_decode_raw() -> None:
    """The first value is the leaf, the others are chain fields, each a list."""
    assert RFC9440.decode_raw((":AAAA:", ":AAAB:, :AAAC:", ":AAAD:")) == tuple(bytes([0, 0, n]) for n in range(4))


def test_decode_raw_without_a_chain() -> None:
    """A dialect without a chain field yields the leaf alone."""
    assert BARE.decode_raw((":AAAA:",)) == (b"\0\0\0",)


def test_decode_raw_with_a_fingerprint() -> None:
    """The second value is the fingerprint where the row has one; an empty one says nothing."""
    sha256 = "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"
    both = Dialect(
        name="both", leaf="a", decode=base64_der, fingerprint="b", chain="c", decode_chain=base64_der, numbered_chain=2
    )
    assert both.decode_raw(("AAAA", sha256)) == (b"\0\0\0",)
    assert both.decode_raw(("AAAA", "", "AAAB", "AAAC")) == (b"\0\0\0", b"\0\0\1", b"\0\0\2")
    assert reason_of(both.decode_raw, ("AAAB", sha256)) is Reason.CONTRADICTORY_EVIDENCE
    assert reason_of(both.decode_raw, ("AAAA", "x")) is Reason.MALFORMED_HEADER


def test_decode_raw_to_a_statement() -> None:
    """What states something of a certificate is handed on as it is."""
    named = Dialect(name="named", leaf="x-name", decode=client_name, states=frozenset({"name"}))
    assert named.decode_raw(("bob.prod",)) == Statement(name="bob.prod")


@pytest.mark.parametrize("decoded", [b"", (), "raises"], ids=["no bytes", "no certificates", "ValueError"])
def test_a_decoder_of_somebody_s_own(decoded: object) -> None:
    """A decoder that finds nothing, or raises what decoders of the standard library raise, is a malformed header."""

    def decode(text: str) -> Any:
        return base64.b64decode(text, validate=True) if decoded == "raises" else decoded

    row = Dialect(name="mine", leaf="x-mine", decode=decode)
    with pytest.raises(CertificateRejected, match="x-mine") as refused:
        row.decode_raw(("secret",))
    assert refused.value.reason is Reason.MALFORMED_HEADER
    assert "secret" not in str(refused.value)


def test_a_chain_that_nobody_decodes() -> None:
    """A row without a decoder for its chain keeps the leaf, and does not guess."""
    row = Dialect(name="mine", leaf="a", decode=base64_der, chain="b")
    assert row.decode_raw(("AAAA", "AAAB")) == (b"\0\0\0",)


WORD = Verdict(header="v", success=frozenset({"yes"}), absent=frozenset({"none", ""}))
# HAProxy's code: the same for success and for nothing to check.
CODE = Verdict(header="v", success=frozenset({"0"}), absent=frozenset({"0", ""}))
# Cloudflare's: false is the value without a certificate, and of a certificate that was refused.
BOTH = Verdict(header="v", success=frozenset({"1"}), absent=frozenset({"0", ""}), failure=frozenset({"0"}))
OK, UNVERIFIED, REJECTED = None, Reason.UNVERIFIED, Reason.PROXY_REJECTED
CONTRADICTORY, AMBIGUOUS = Reason.CONTRADICTORY_EVIDENCE, Reason.AMBIGUOUS_HEADER


@pytest.mark.parametrize(
    ("verdict", "value", "with_certificate", "without"),
    [
        (WORD, "yes", OK, CONTRADICTORY),
        (WORD, "none", CONTRADICTORY, OK),
        (WORD, "", CONTRADICTORY, OK),
        (WORD, None, UNVERIFIED, OK),
        (WORD, "no", REJECTED, REJECTED),
        (WORD, "Yes", REJECTED, REJECTED),
        (WORD, "yes ", REJECTED, REJECTED),
        (WORD, "yesyes", REJECTED, REJECTED),
        (WORD, "yes,yes", AMBIGUOUS, AMBIGUOUS),
        (WORD, "none,yes", AMBIGUOUS, AMBIGUOUS),
        (CODE, "0", OK, OK),
        (CODE, "", CONTRADICTORY, OK),
        (CODE, None, UNVERIFIED, OK),
        (CODE, "00", REJECTED, REJECTED),
        (CODE, "18", REJECTED, REJECTED),
        (BOTH, "1", OK, CONTRADICTORY),
        (BOTH, "0", REJECTED, OK),
        (BOTH, "", CONTRADICTORY, OK),
    ],
)
def test_verdict(verdict: Verdict, value: str | None, with_certificate: Reason | None, without: Reason | None) -> None:
    """Only success goes with a certificate, and only the values for none go without."""
    assert reason_of(verdict.check, value, came=True) is with_certificate
    assert reason_of(verdict.check, value, came=False) is without


@pytest.mark.parametrize("came", [True, False])
@pytest.mark.parametrize("verdict", [WORD, CODE, BOTH], ids=["word", "code", "both"])
def test_optional_verdict(verdict: Verdict, came: bool) -> None:
    """One that may be missing says nothing when it is, and as much as any other when it comes."""
    optional = Verdict(
        header="v", success=verdict.success, absent=verdict.absent, failure=verdict.failure, optional=True
    )
    assert reason_of(optional.check, None, came=came) is None
    for value in ("yes", "none", "", "0", "1", "x", "0,1"):
        assert reason_of(optional.check, value, came=came) is reason_of(verdict.check, value, came=came)


def test_the_value_is_never_repeated() -> None:
    """A refusal names the header, not what was in it."""
    for value in ("secret", "secret,secret"):
        with pytest.raises(CertificateRejected) as refused:
            WORD.check(value, came=True)
        assert "secret" not in str(refused.value)


def test_has_verdict() -> None:
    """Verdicts that may be missing are no word of the terminator's."""
    optional = Verdict(header="v", success=frozenset({"1"}), absent=frozenset({""}), optional=True)
    assert not BARE.has_verdict
    assert not Dialect(name="a", leaf="a", decode=byte_sequence, verdicts=(optional,)).has_verdict
    assert Dialect(name="a", leaf="a", decode=byte_sequence, verdicts=(optional, CODE_OF_ITS_OWN)).has_verdict


CODE_OF_ITS_OWN = Verdict(header="w", field="code", success=CODE.success, absent=CODE.absent)


@pytest.mark.parametrize("name", ["Authorization", "cookie", "Host", "X-Forwarded-For"])
def test_headers_of_another_purpose(name: str) -> None:
    """A header that requests need for something else would be taken from them: an error at the start."""
    with pytest.raises(ConfigurationError, match="another purpose"):
        NGINX.with_headers(verdict=name)
    with pytest.raises(ConfigurationError, match="use your own"):
        ProxySecret("2WoPUvB4Jq2lfJfNyZ0T", header=name)
