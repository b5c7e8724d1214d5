"""Header names: every spelling that some server folds into a known name is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_auth.header_names import MAX_REMEMBERED, MAX_REMEMBERED_LENGTH, HeaderNames, environ_key
from mtls_auth.known_headers import OTHER_HEADERS, known_headers

NAMES = HeaderNames({"client-cert", "client-cert-chain"})
KNOWN = known_headers()


@pytest.mark.parametrize(
    ("received", "name", "exact"),
    [
        (b"client-cert", "client-cert", True),
        (b"Client-Cert", "client-cert", True),
        (b"CLIENT-CERT-CHAIN", "client-cert-chain", True),
        (b"client_cert", "client-cert", False),
        (b"Client_Cert-CHAIN", "client-cert-chain", False),
        (b"client.cert", "client-cert", False),
        (b"client cert", "client-cert", False),
        (b"client\xe9cert", "client-cert", False),
        (b"client\0cert", "client-cert", False),
    ],
)
def test_spelling(received: bytes, name: str, exact: bool) -> None:
    """A known name is recognised in every case, and told from its other spellings."""
    assert NAMES.spelling(received) == (name, exact)


@pytest.mark.parametrize("received", [b"", b"client", b"clientcert", b"x-client-cert", b"client-certs", b"accept"])
def test_unknown(received: bytes) -> None:
    """Other names are left alone."""
    assert NAMES.spelling(received) is None


@pytest.mark.parametrize("separator", range(256))
def test_byte_walk(separator: int) -> None:
    """Whatever is neither letter nor digit between the words makes a spelling of the name; only `-` the name."""
    spelling = NAMES.spelling(b"client" + bytes([separator]) + b"cert")
    if chr(separator).isascii() and chr(separator).isalnum():
        assert spelling is None
    elif chr(separator) == "ß":  # two letters, where Django makes upper case of it
        assert spelling is None
        assert KNOWN.spelling(b"x-\xdfl-client-cert") == ("x-ssl-client-cert", False)
    else:
        assert spelling == ("client-cert", separator == ord("-"))


def test_environ_keys() -> None:
    """In an environ the known names are found by the key that a server makes of them."""
    assert environ_key("client-cert") == "HTTP_CLIENT_CERT"
    assert NAMES.in_environ({"HTTP_CLIENT_CERT": "", "HTTP_ACCEPT": "", "CLIENT_CERT": ""}) == {"HTTP_CLIENT_CERT"}
    assert NAMES.in_environ({}) == frozenset()


@given(st.sampled_from(sorted(KNOWN.names)), st.data())
def test_no_spelling_escapes(name: str, data: st.DataObject) -> None:
    """However case and separators of a known name are changed, it is found."""
    spelled = "".join(data.draw(st.sampled_from("-_. ~" if char == "-" else (char, char.upper()))) for char in name)
    found = KNOWN.spelling(spelled.encode())
    assert found is not None
    assert found.name == name
    assert found.exact == (spelled.lower() == name)


# By product, as their documentation names them.
DOCUMENTED = """
    nginx: x-ssl-client-cert x-ssl-client-verify ssl-client-cert ssl-client-verify ssl-client-subject-dn
    Apache: ssl-client-cert ssl-client-s-dn ssl-client-cert-chain-0 x-ssl-client-cert
    HAProxy: x-ssl-client-der x-ssl-client-verify x-ssl-client-used x-ssl-client-cn x-ssl-client-sha1
    RFC9440: client-cert client-cert-chain
    Huawei: x-forwarded-clientcert x-forwarded-clientcert-subjectdn x-forwarded-clientcert-clientverify
    Envoy: x-forwarded-client-cert
    Traefik: x-forwarded-tls-client-cert x-forwarded-tls-client-cert-info
    AWS: x-amzn-mtls-clientcert x-amzn-mtls-clientcert-leaf x-amzn-mtls-clientcert-subject
    CloudFront: cloudfront-viewer-cert-pem cloudfront-viewer-cert-sha256 cloudfront-viewer-cert-present
    Azure: x-arr-clientcert
    Kong: x-client-cert x-client-cert-serial x-client-cert-subject-dn x-client-cert-fingerprint
    Google: x-client-cert-present x-client-cert-chain-verified x-client-cert-valid-not-before x-client-cert-spiffe
    Linkerd: l5d-client-id
    Cloudflare: cf-cert-verified cf-cert-presented cf-cert-revoked cf-cert-subject-dn cf-cert-issuer-dn cf-cert-serial
    Akamai: akamai-cc-der
    Traefik 1.7: x-forwarded-ssl-client-cert x-forwarded-ssl-client-cert-infos
    WebLogic: wl-proxy-client-cert
"""


def by_product(text: str) -> list[object]:
    """Return the names of each product as a parameter that goes by the product."""
    rows = (line.partition(":") for line in text.strip().splitlines())
    return [pytest.param(names.split(), id=product.strip()) for product, _colon, names in rows]


@pytest.mark.parametrize("names", by_product(DOCUMENTED))
def test_documented_names(names: list[str]) -> None:
    """The names that products document are known."""
    assert not [name for name in names if name not in KNOWN.names]


def test_known_headers() -> None:
    """The known names are those of every built-in dialect, of every configured one, and the list of others."""
    known = known_headers()
    assert {"client-cert", "client-cert-chain", "x-ssl-client-cert", "x-ssl-client-verify"} <= known.names
    assert known.names >= set(OTHER_HEADERS)
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in known.names)


def test_ordinary_headers_are_not_known() -> None:
    """No header that an application needs for something else is removed."""
    ordinary = "accept authorization connection cookie forwarded host x-forwarded-for x-forwarded-proto x-request-id"
    assert not known_headers().names.intersection(ordinary.split())


def test_made_up_names_do_not_stay() -> None:
    """However many names clients invent, the names of the next request are remembered again."""
    names = HeaderNames(["client-cert"])
    names.split([(b"x-%d" % number, b"") for number in range(MAX_REMEMBERED + 1)])
    names.split([(b"accept", b""), (b"y" * MAX_REMEMBERED_LENGTH, b""), (b"client_cert", b"")])
    assert len(names._remembered) <= MAX_REMEMBERED
    assert {b"accept", b"client_cert"} <= set(names._remembered)
    assert b"y" * MAX_REMEMBERED_LENGTH not in names._remembered
