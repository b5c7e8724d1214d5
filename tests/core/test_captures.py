"""Requests as real proxies sent them (`tests/vectors/captures`), each read in the dialect that its proxy speaks.

What each must come to follows from what the index says of it: the client's own certificate, nobody, or a reason. The
values that clients forged there are placeholders. Every such request is sent a second time with a victim's certificate
in their place, and a third time to an application that expects the proxy's secret.
"""

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import (
    NGINX,
    RFC9440,
    AnyVerifiedCertificate,
    Authenticator,
    Dialect,
    Forwarded,
    PathVerifier,
    ProxySecret,
    Reason,
    TrustedProxies,
    codecs,
)
from mtls_auth.dialects import (
    APACHE,
    APACHE_ESCAPED,
    BUILTIN,
    CADDY,
    ENVOY,
    HAPROXY,
    KONG,
    LIGHTTPD,
    NGINX_FOLDED,
    TRAEFIK,
)
from mtls_auth.testing.headers import headers_for
from tests.core.conftest import CARRIERS, PROXIES, STRANGER, Answer, Request
from tests.vectors.tables import CAPTURES, Headers

NOW = datetime(2027, 1, 1, tzinfo=UTC)
PROXY_NETWORKS = TrustedProxies.parse(PROXIES)
SECRET = ProxySecret("2WoPUvB4Jq2lfJfNyZ0T")
ANCHORS = [CAPTURES / f"{name}.pem" for name in "root inter big-root big-inter legacy-ca legacy35-ca".split()]
# What the victims of the forgeries have, and none of the clients: a certificate of the same authority.
VICTIM = "revoked.pem"

Outcome: TypeAlias = "str | Reason | None"
"""A certificate's file, a reason to refuse, or nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One request, and what the index says of it."""

    file: str
    proxy: str
    proxy_version: str
    client_cert: str | None
    mode: str
    kind: str
    variant: str
    notes: str

    @property
    def family(self) -> str:
        """The proxy without its version."""
        return re.split(r"-\d", self.proxy)[0]

    @property
    def passed(self) -> frozenset[str]:
        """The names under which the client's own headers came through, in lower case."""
        names = re.findall(r"'([^']+)'", self.notes) if self.notes.startswith("PASSED as") else []
        return frozenset(name.lower() for name in names)

    def headers(self) -> Headers:
        """Return the fields; bare line feeds stay in a value, a folded line is joined by a blank."""
        return headers_of(self.file)


@cache
def headers_of(file: str) -> Headers:
    """Read the head of a captured request."""
    head = (CAPTURES / file).read_bytes().decode("latin-1").split("\r\n\r\n")[0]
    _request_line, *lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    return tuple((name, value.strip(" ")) for name, _colon, value in (line.partition(":") for line in lines))


INDEX = [Capture(**entry) for entry in json.loads((CAPTURES / "index.json").read_text(encoding="utf-8"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """An application's configuration behind a proxy; `by_path` it builds the path, or else takes the proxy's word."""

    name: str
    dialect: Dialect = field(compare=False)
    by_path: bool = False


def word(name: str, dialect: Dialect) -> Reader:
    """Return a reader that takes the proxy's word."""
    return Reader(name=name, dialect=dialect)


def both(name: str, dialect: Dialect) -> tuple[Reader, Reader]:
    """Return a reader that takes the operator's word for the proxy's, and one that builds the path."""
    return word(name, dialect), Reader(name=f"{name} with anchors", dialect=dialect, by_path=True)


SSL_NAMES = {"leaf": "Ssl-Client-Cert", "verdict": "Ssl-Client-Verify"}
NGINX_READER = word("nginx", NGINX.with_headers(**SSL_NAMES))
FOLDED_READER = word("nginx-folded", NGINX_FOLDED.with_headers(**SSL_NAMES))
APACHE_READER = word("apache", APACHE.with_headers(**SSL_NAMES, chain="Ssl-Client-Chain"))
BASE64_PEM = replace(APACHE_ESCAPED, name="apache-base64", decode=codecs.base64_pem)
ENV_NAMES = {"leaf": "X-Env-Cert", "verdict": "X-Env-Verify", "chain": "X-Env-Chain"}
CADDY_NAMES = {"leaf": "Ssl-Client-Cert-Der", "fingerprint": "Ssl-Client-Fingerprint"}

# By proxy, or by proxy and mode.
READERS: dict[str, tuple[Reader, ...]] = {
    "nginx": (NGINX_READER,),
    "nginx folded": (FOLDED_READER, NGINX_READER),
    "nginx rawpem": (FOLDED_READER, NGINX_READER),
    "apache": (APACHE_READER,),
    "apache env-expr": (
        APACHE_READER,
        word("apache env", APACHE.with_headers(**ENV_NAMES)),
        word("apache-escaped", APACHE_ESCAPED.with_headers(leaf="X-Esc-Cert", verdict="X-Env-Verify")),
        word("apache-base64", BASE64_PEM.with_headers(leaf="X-B64-Cert", verdict="X-Env-Verify")),
        word("raw", NGINX_FOLDED.with_headers(leaf="X-Expr-Cert", verdict="X-Expr-Verify")),
    ),
    "haproxy": (word("haproxy", HAPROXY), *both("rfc9440", RFC9440)),
    "haproxy conditional": (word("haproxy", HAPROXY),),
    "caddy": (*both("caddy", CADDY.with_headers(**CADDY_NAMES)), *both("rfc9440", RFC9440)),
    "caddy pem": both("caddy pem", CADDY.with_headers(leaf="Ssl-Client-Cert")),
    "traefik": both("traefik", TRAEFIK),
    "envoy": (*both("envoy", ENVOY), Reader(name="kong", dialect=KONG, by_path=True)),
    "lighttpd": (word("lighttpd", LIGHTTPD),),
}
# No built-in dialect is theirs.
OTHERS = {"hitch+varnish", "pound", "squid"}


def readers(capture: Capture) -> list[Reader]:
    """Return who reads what this proxy sends in this mode."""
    found = READERS.get(f"{capture.family} {capture.mode}", READERS[capture.family])
    # Where nobody verifies and nothing says so, only trust anchors help.
    unverified = capture.mode == "optional_no_ca"
    return [reader for reader in found if reader.by_path or reader.dialect.has_verdict or not unverified]


@cache
def authenticator(reader: Reader, secret: ProxySecret | None = None) -> Authenticator:
    """Configure an application."""
    silent = not reader.by_path and not reader.dialect.has_verdict
    source = Forwarded(dialect=reader.dialect, proxies=PROXY_NETWORKS, secret=secret, proxy_verifies=silent)
    verifier = PathVerifier.from_files(*ANCHORS) if reader.by_path else None
    return Authenticator(source, policy=AnyVerifiedCertificate(), verifier=verifier, clock=lambda: NOW)


@cache
def leaf(file: str) -> bytes:
    """Return the first certificate of a PEM file in DER."""
    return x509.load_pem_x509_certificates((CAPTURES / file).read_bytes())[0].public_bytes(Encoding.DER)


def every(readings: list[tuple[Capture, Reader]]) -> pytest.MarkDecorator:
    """Run a test for these captures and their readers."""
    names = [f"{capture.file.removesuffix('.http')}: {reader.name}" for capture, reader in readings]
    return pytest.mark.parametrize(("capture", "reader"), readings, ids=names)


READINGS = [(capture, reader) for capture in INDEX if capture.family not in OTHERS for reader in readers(capture)]
FORGED = [(capture, reader) for capture, reader in READINGS if "FORGED" in str(capture.headers())]
# The client's header came through under the very name that the application reads.
FORGED_EXACTLY = [(capture, reader) for capture, reader in FORGED if reader.dialect.leaf in capture.passed]


# What this proxy's own headers come to where nothing else says so, and why.
OWN: dict[tuple[str, str], tuple[Outcome, str]] = {
    ("apache__conndrop-verify-impostor__optional_no_ca", "apache"): (Reason.UNVERIFIED, "the verdict was lost"),
    ("apache__forged-conn-drop-modern", "apache"): (Reason.CONTRADICTORY_EVIDENCE, "the chain alone was left"),
    ("apache__forged-conn-drop-modern__env-expr", "apache env"): (None, "certificate and verdict were lost"),
    ("apache__forged-conn-drop-modern__env-expr", "apache-base64"): (None, "certificate and verdict were lost"),
    ("apache__forged-conn-drop-modern__env-expr", "apache-escaped"): (Reason.UNVERIFIED, "the verdict was lost"),
    ("apache__forged-conn-drop-modern__env-expr", "raw"): (
        Reason.CONTRADICTORY_EVIDENCE,
        "the certificate was lost, not its verdict",
    ),
    ("nginx__modern__folded", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("nginx__legacy__folded", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("nginx-1.31__modern__folded", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("nginx__modern__rawpem", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("nginx__legacy__rawpem", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("nginx-1.31__modern__rawpem", "nginx"): (Reason.MALFORMED_HEADER, "the operator named another dialect"),
    ("lighttpd__modern__naive-lua", "lighttpd"): (Reason.MALFORMED_HEADER, "the script did not escape the PEM"),
    ("lighttpd__legacy__naive-lua", "lighttpd"): (Reason.MALFORMED_HEADER, "the script did not escape the PEM"),
}
# In these modes the proxy forwards no certificate of the client's, whatever it has.
SILENT = {
    ("apache", "underscore-names"): "under names that servers drop, and that no dialect can have",
    ("envoy", "default_sanitize"): "the header is removed",
    ("envoy", "forward_only"): "what the client sent, and nothing else",
    ("envoy", "always_forward_only"): "what the client sent, and nothing else",
    ("traefik", "info"): "the text of the names alone",
    ("traefik", "required-no-host-rule"): "nobody is asked for a certificate",
}
# The proxies that verify refuse these, and say so where they forward them all the same.
REFUSED = {"expired.pem", "legacy-sha1.pem", "legacy35.pem"}
# X.509 v1, a SHA-1 signature, a root without basicConstraints: no path is built for them.
NO_PATH = {"legacy.pem", "legacy-sha1.pem", "legacy35.pem"}


def own(capture: Capture, reader: Reader) -> Outcome:
    """Say what the proxy's own headers of this capture come to."""
    stem, certificate = capture.file.removesuffix(".http"), capture.client_cert
    if (stem, reader.name) in OWN:
        return OWN[stem, reader.name][0]
    if capture.family == "envoy" and certificate == "ed25519.pem":
        return None  # Envoy does not offer the algorithm, so the client sends none
    if certificate is None or ((capture.family, capture.mode) in SILENT and reader.dialect.name != "kong"):
        # Colons around nothing, or around the placeholder of an old Caddy, are no byte sequence.
        return Reason.MALFORMED_HEADER if reader.dialect is RFC9440 else None
    if reader.dialect.has_verdict and certificate in REFUSED and capture.mode != "seclevel0":
        return Reason.PROXY_REJECTED
    if certificate in {"expired.pem", "short.pem"}:
        return Reason.EXPIRED
    return Reason.UNTRUSTED if reader.by_path and certificate in NO_PATH else certificate


# In these modes a client's headers come through under the names that the application reads. Nothing in such a request
# tells it from a genuine one; a secret of the proxy's does, if it stands in the same place, under the same condition.
FORGEABLE = {
    ("nginx", "inherit-lost"): "a location that lost the headers lost the secret with them",
    ("haproxy", "conditional"): "set the headers without a condition",
    ("envoy", "append_forward"): "more elements than proxies are refused; use SANITIZE_SET",
    ("envoy", "forward_only"): "use SANITIZE_SET",
    ("envoy", "always_forward_only"): "use SANITIZE_SET",
    ("traefik", "trusted-forwarded"): "trust nobody's headers, or delete these before the certificate is passed",
}


def expected(capture: Capture, reader: Reader, carrier: str, *, victim: Outcome = None) -> Outcome:
    """Say what a capture comes to, with a victim's certificate in place of what was forged or with a placeholder."""
    dialect, in_environ = reader.dialect, carrier == "wsgi"
    aliases = {name for name, _value in capture.headers() if "_" in name}
    if not in_environ and any(name.lower().replace("_", "-") in dialect.headers for name in aliases):
        return Reason.AMBIGUOUS_HEADER  # the server behind a WSGI application has dropped them
    if dialect.leaf not in capture.passed:
        return own(capture, reader)
    assert (capture.family, capture.mode) in FORGEABLE
    # Lists show no difference between one field and two.
    several = capture.variant == "dup" and not (dialect.name == "traefik" and in_environ)
    if victim is not None:
        return Reason.AMBIGUOUS_HEADER if several or capture.mode == "append_forward" else victim
    if several and dialect.name != "envoy":
        return Reason.AMBIGUOUS_HEADER
    return Reason.PROXY_REJECTED if dialect.has_verdict else Reason.MALFORMED_HEADER


def assert_outcome(answer: Answer, outcome: Outcome) -> None:
    """Compare an answer with an outcome."""
    match outcome:
        case Reason():
            assert (answer.kind, answer.reason) == ("denied", outcome)
        case None:
            assert (answer.kind, answer.reason) == ("anonymous", None)
        case file:
            assert (answer.kind, answer.reason) == ("authenticated", None)
            assert answer.fingerprint == sha256(leaf(file)).hexdigest()


# Names that were made up for these configurations.
LAB_NAMES = {"x-if-s-dn", "x-env-cert", "x-env-verify", "x-b64-cert", "x-expr-cert"}


def assert_removed(headers: Headers, answer: Answer) -> None:
    """Nothing that the client forged reached the application."""
    forged = {name.lower().replace("_", "-") for name, value in headers if "FORGED" in value}
    assert forged.isdisjoint({name.replace("_", "-") for name in answer.passed} - LAB_NAMES)


@every(READINGS)
def test_captures(capture: Capture, reader: Reader) -> None:
    """A request comes to the client's own certificate, to nobody, or to a reason, through every adapter."""
    for carrier, ask in CARRIERS.items():
        answer = ask(authenticator(reader), Request(headers=capture.headers()))
        assert_outcome(answer, expected(capture, reader, carrier))
        assert_removed(capture.headers(), answer)


def armed(headers: Headers, dialect: Dialect) -> Headers:
    """Return the headers with the victim's certificate, and the verdict of success, in place of what was forged."""
    forged = dict(headers_for(dialect, leaf(VICTIM)))

    def value_of(name: str, value: str) -> str:
        genuine = forged.get(name.lower().replace("_", "-"))
        return value if genuine is None else re.sub(r"FORGED-[a-z]+(-\d)?", lambda _match: genuine, value)

    return tuple((name, value_of(name, value)) for name, value in headers)


@every(FORGED)
def test_forgeries(capture: Capture, reader: Reader) -> None:
    """The victim is believed only where a proxy hands the client's headers on as if they were its own."""
    headers = armed(capture.headers(), reader.dialect)
    for carrier, ask in CARRIERS.items():
        outcome = expected(capture, reader, carrier, victim=VICTIM)
        assert_outcome(ask(authenticator(reader), Request(headers=headers)), outcome)
        if outcome == VICTIM:
            answer = ask(authenticator(reader, SECRET), Request(headers=headers))
            assert_outcome(answer, Reason.PROXY_UNPROVEN)


def test_who_can_be_forged() -> None:
    """Every mode of which somebody's headers come through is in the captures, and no other."""
    found = {(capture.family, capture.mode) for capture, _reader in FORGED_EXACTLY}
    assert found == set(FORGEABLE)


@every(READINGS)
def test_without_the_secret(capture: Capture, reader: Reader) -> None:
    """Where the proxy's secret is expected and does not come, nobody is identified, whatever else comes."""
    for headers in (capture.headers(), armed(capture.headers(), reader.dialect)):
        read = {name.lower() for name, _value in headers} & set(reader.dialect.headers)
        for carrier in ("authenticator", "wsgi", "asgi"):
            answer = CARRIERS[carrier](authenticator(reader, SECRET), Request(headers=headers))
            if read:
                assert answer.reason in {Reason.PROXY_UNPROVEN, Reason.AMBIGUOUS_HEADER}
            else:
                assert answer.kind == "anonymous" or answer.reason is Reason.AMBIGUOUS_HEADER


@every(READINGS)
def test_with_the_secret(capture: Capture, reader: Reader) -> None:
    """Where the secret comes with them, the headers come to the same as without; it does not reach the application."""
    headers = (*capture.headers(), ("X-Proxy-Secret", "2WoPUvB4Jq2lfJfNyZ0T"))
    for carrier in ("authenticator", "wsgi", "asgi"):
        answer = CARRIERS[carrier](authenticator(reader, SECRET), Request(headers=headers))
        assert_outcome(answer, expected(capture, reader, carrier))
        assert not {name for name in answer.passed if "secret" in name}


@every(READINGS)
def test_strangers(capture: Capture, reader: Reader) -> None:
    """From anybody but the proxy the same request is anonymous, and its headers are removed."""
    for headers in (capture.headers(), armed(capture.headers(), reader.dialect)):
        for carrier in ("authenticator", "wsgi", "asgi"):
            answer = CARRIERS[carrier](authenticator(reader), Request(headers=headers, peer=STRANGER))
            assert_outcome(answer, None)
            assert_removed(headers, answer)


ALL_READERS = {reader.name: reader for found in READERS.values() for reader in found}


@pytest.mark.parametrize("reader", ALL_READERS.values(), ids=ALL_READERS)
def test_the_victim(reader: Reader) -> None:
    """The victim's certificate is one that every reader believes from the proxy, so that refusing it says something."""
    headers = headers_for(reader.dialect, leaf(VICTIM))
    for ask in CARRIERS.values():
        assert_outcome(ask(authenticator(reader), Request(headers=headers)), VICTIM)


def folded(headers: Headers) -> Headers:
    """Return the headers as some WSGI servers hand them over: underscores are hyphens, values joined by commas."""
    fields: dict[str, str] = {}
    for name, value in headers:
        name = name.lower().replace("_", "-")
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return tuple(fields.items())


@every([reading for reading in FORGED if reading not in FORGED_EXACTLY])
def test_servers_that_fold_underscores(capture: Capture, reader: Reader) -> None:
    """A server that takes underscores for hyphens hands over the client's header where the proxy sends none itself."""
    name, names = reader.dialect.leaf, {name.lower() for name, _value in capture.headers()}
    own_header = not names.isdisjoint(reader.dialect.headers)
    headers = folded(armed(capture.headers(), reader.dialect))
    answer = CARRIERS["wsgi"](authenticator(reader), Request(headers=headers))
    if name.replace("-", "_") in capture.passed and not own_header:
        assert_outcome(answer, VICTIM)
    else:
        assert answer.fingerprint != sha256(leaf(VICTIM)).hexdigest()


EVERY_DIALECT = [
    Reader(name=f"built-in {name}", dialect=dialect, by_path=dialect.unverified) for name, dialect in BUILTIN.items()
]


@pytest.mark.parametrize(
    "capture", [capture for capture in INDEX if capture.family in OTHERS], ids=lambda capture: capture.file
)
def test_other_proxies(capture: Capture) -> None:
    """No built-in dialect makes an identity of what these send: whatever a client forges there is removed."""
    pem = dict(headers_for(NGINX_FOLDED, leaf(VICTIM)))[NGINX_FOLDED.leaf]
    headers = tuple((name, re.sub(r"FORGED-cert(-\d)?", pem, value)) for name, value in capture.headers())
    for reader in EVERY_DIALECT:
        for carrier in ("authenticator", "wsgi", "asgi"):
            for sent in (capture.headers(), headers):
                answer = CARRIERS[carrier](authenticator(reader), Request(headers=sent))
                assert answer.kind != "authenticated"
                assert_removed(capture.headers(), answer)


def test_index() -> None:
    """Every capture is in the index, and the other way round; every exception above is about one of them."""
    every = [*EVERY_DIALECT, *(reader for found in READERS.values() for reader in found)]
    assert all(one.dialect == other.dialect for one in every for other in every if one == other)
    files = {capture.file for capture in INDEX}
    assert len(files) == len(INDEX) == 453
    assert {path.name for path in CAPTURES.glob("*.http")} == files
    assert {f"{stem}.http" for stem, _reader in OWN} <= files
    assert {(capture.family, capture.mode) for capture in INDEX} >= {*SILENT, *FORGEABLE}
    assert {capture.family for capture in INDEX} == OTHERS | {name.split()[0] for name in READERS}
