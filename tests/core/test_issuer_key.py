"""One key for one issuer name, however it was encoded or typed."""

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mtls_auth.issuer_key import issuer_key

BASE = x509.Name.from_rfc4514_string("CN=Example CA,O=Example")


def name(*values: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Return the name of these attributes, most general first."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values])


def example(common_name: str) -> x509.Name:
    """Return the example's name with another common name."""
    return name((NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, common_name))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(example("Example CA"), id="same"),
        pytest.param(example("EXAMPLE ca"), id="case"),
        pytest.param(example(" Example   CA "), id="blanks"),
        pytest.param(example("Ｅxample CA"), id="compatibility form"),
        pytest.param(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example", _ASN1Type.PrintableString),
                    x509.NameAttribute(NameOID.COMMON_NAME, "Example CA", _ASN1Type.BMPString),
                ]
            ),
            id="string types",
        ),
    ],
)
def test_equal(other: x509.Name) -> None:
    """Names that RFC 5280 §7.1 compares as equal have one key."""
    assert issuer_key(other) == issuer_key(BASE)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(name((NameOID.COMMON_NAME, "Example CA")), id="attribute missing"),
        pytest.param(
            name((NameOID.COMMON_NAME, "Example CA"), (NameOID.ORGANIZATION_NAME, "Example")), id="order of RDNs"
        ),
        pytest.param(
            name((NameOID.ORGANIZATIONAL_UNIT_NAME, "Example"), (NameOID.COMMON_NAME, "Example CA")), id="type"
        ),
        pytest.param(example("ExampleCA"), id="no blank"),
        pytest.param(name((NameOID.COMMON_NAME, "Example CA,O=Example")), id="text of another"),
        pytest.param(
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                            x509.NameAttribute(NameOID.COMMON_NAME, "Example CA"),
                        ]
                    )
                ]
            ),
            id="one RDN",
        ),
        pytest.param(x509.Name([]), id="empty"),
    ],
)
def test_different(other: x509.Name) -> None:
    """Other names have other keys."""
    assert issuer_key(other) != issuer_key(BASE)


def test_order_within_an_rdn() -> None:
    """An RDN is a set."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "b")]
    one, other = (x509.Name([x509.RelativeDistinguishedName(order)]) for order in (attributes, attributes[::-1]))
    assert issuer_key(one) == issuer_key(other)


def test_bytes() -> None:
    """An attribute that is no text has its bytes in the key."""
    keys = {
        issuer_key(x509.Name([x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, value, _type=_ASN1Type.BitString)]))
        for value in (b"\x00\x01", b"\x00\x02")
    }
    assert len(keys) == 2


def test_form() -> None:
    """A key fits its column."""
    assert len(issuer_key(BASE)) == 64
