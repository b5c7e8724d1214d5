"""An issuer's name as people type it."""

from cryptography import x509
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

# RFC 4514 §3 names nine types, in any case; openssl prints more of them by name.
_TYPES = {
    "CN": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "title": NameOID.TITLE,
}
_SPELLINGS = {spelling: oid for name, oid in _TYPES.items() for spelling in (name, name.lower(), name.upper())}


def parse_issuer(text: str) -> x509.Name:
    """Read a distinguished name in RFC 4514 form: the most specific part first."""
    try:
        name = x509.Name.from_rfc4514_string(text.strip(), _SPELLINGS)
    except (ValueError, TypeError):
        name = x509.Name([])
    if not name.rdns:
        raise ValidationError(
            _("This is not a name in RFC 4514 form: copy it as “openssl x509 -issuer -nameopt RFC2253” prints it."),
            code="issuer",
        )
    return name
