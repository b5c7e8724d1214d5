"""The subjectAltName under the name policy."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_auth import Reason
from mtls_auth.alternative_names import UPN, AlternativeNames
from tests.core.conftest import reason_of

UNUSABLE = Reason.UNUSABLE_NAME
OTHER = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")


def read(*names: x509.GeneralName) -> AlternativeNames:
    """Read an extension of these names."""
    return AlternativeNames.read(x509.SubjectAlternativeName(names))


def email(text: str) -> x509.RFC822Name:
    """Return an e-mail name without the checks that cryptography makes for issuers."""
    return x509.RFC822Name._init_without_validation(text)


def dns(text: str) -> x509.DNSName:
    """Return a DNS name in the same way."""
    return x509.DNSName._init_without_validation(text)


def uri(text: str) -> x509.UniformResourceIdentifier:
    """Return a URI in the same way."""
    return x509.UniformResourceIdentifier._init_without_validation(text)


def upn(der: bytes) -> x509.OtherName:
    """Return a userPrincipalName of this DER."""
    return x509.OtherName(UPN, der)


def test_every_kind() -> None:
    """Names come out by their kind, in order."""
    names = read(
        email("alice@example.com"),
        dns("a.example.com"),
        dns("b.example.com"),
        uri("urn:x:1"),
        uri("spiffe://example.com/alice"),
        x509.IPAddress(ip_address("2001:db8::1")),
        upn(b"\x0c\x05a@b.c"),
        x509.OtherName(OTHER, b"\x05\x00"),
        x509.RegisteredID(OTHER),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])),
    )
    assert list(names) == [
        ("email", "alice@example.com"),
        ("dns", "a.example.com"),
        ("dns", "b.example.com"),
        ("uri", "urn:x:1"),
        ("uri", "spiffe://example.com/alice"),
        ("ip", "2001:db8::1"),
        ("upn", "a@b.c"),
        ("other", OTHER.dotted_string),
        ("other", OTHER.dotted_string),
        ("other", "DirectoryName"),
    ]
    assert names.spiffe_ids == ("spiffe://example.com/alice",)


def test_no_spiffe_id() -> None:
    """A URI of another scheme is no SPIFFE ID."""
    assert read(uri("urn:x:1")).spiffe_ids == ()
    assert list(AlternativeNames()) == []


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([], id="empty"),
        pytest.param([email("a@b.c"), email("d@b.c")], id="two e-mail names"),
        pytest.param([email("a@b.c"), email("a@b.c")], id="one e-mail name twice"),
        pytest.param([upn(b"\x0c\x01a"), upn(b"\x0c\x01b")], id="two UPNs"),
        pytest.param([uri("spiffe://a/b"), uri("spiffe://a/c")], id="two SPIFFE IDs"),
        pytest.param([uri("spiffe://a/b"), uri("spiffe://a/b")], id="one SPIFFE ID twice"),
        pytest.param([uri("SPIFFE://a/b")], id="scheme in upper case"),
        pytest.param([uri("spiffe:a/b")], id="no authority"),
        pytest.param([uri("spiffe://a/b%2Fc")], id="percent-encoding in a SPIFFE URI"),
        pytest.param([uri("urn:a b")], id="URI with a blank"),
        pytest.param([uri("/relative")], id="relative reference"),
        pytest.param([email("admin@example.org\0@evil.example")], id="NUL in e-mail"),
        pytest.param([email("Admin <admin@example.org>")], id="display name"),
        pytest.param([email("")], id="empty e-mail"),
        pytest.param([dns("a\0.example.com")], id="NUL in DNS"),
        pytest.param([dns("")], id="empty DNS"),
        pytest.param([dns("a b")], id="blank in DNS"),
        pytest.param([dns("a.example.com"), dns("b\n")], id="second name hostile"),
    ],
)
def test_refused(names: list[x509.GeneralName]) -> None:
    """One hostile name, or two where there must be one, spoils the certificate."""
    assert reason_of(read, *names) is UNUSABLE


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x0c", id="no length"),
        pytest.param(b"\x0c\x00", id="empty"),
        pytest.param(b"\x0c\x02a", id="too short"),
        pytest.param(b"\x0c\x01ab", id="bytes behind"),
        pytest.param(b"\x02\x01a", id="INTEGER"),
        pytest.param(b"\x16\x01a", id="IA5String"),
        pytest.param(b"\x0c\x81\x01a", id="length not minimal"),
        pytest.param(b"\x0c\x80a\x00\x00", id="length not definite"),
        pytest.param(b"\x0c\x81\x80" + b"a" * 128, id="long form"),
        pytest.param(b"\x0c\x82" + b"a" * 130, id="130 bytes after a length that says so"),
        pytest.param(b"\x0c\x01\xff", id="not UTF-8"),
        pytest.param(b"\x0c\x02\xc0\x80", id="overlong NUL"),
        pytest.param(b"\x0c\x03\xed\xa0\x80", id="surrogate"),
        pytest.param(b"\x0c\x03a\x00b", id="NUL"),
        pytest.param(b"\x0c\x02a ", id="blank after"),
        pytest.param(b"\x0c\x05a\xe2\x80\xaeb", id="bidi override"),
    ],
)
def test_upn_refused(der: bytes) -> None:
    """A userPrincipalName is one UTF8String in DER that passes for a name, or the certificate is refused."""
    assert reason_of(read, upn(der)) is UNUSABLE


@pytest.mark.parametrize("text", ["alice@corp.example", "太郎@corp.example", "a" * 127])
def test_upn(text: str) -> None:
    """A userPrincipalName of up to 127 bytes comes out as text."""
    encoded = text.encode()
    assert read(upn(bytes([0x0C, len(encoded)]) + encoded)).upn == (text,)


def test_long_spiffe_id() -> None:
    """A SPIFFE ID of up to 2048 bytes is read. SPIFFE-ID §2.3."""
    long = f"spiffe://example.com/{'a' * 300}"
    assert read(uri(long)).spiffe_ids == (long,)
