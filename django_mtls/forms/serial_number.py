"""A serial number as people copy it."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from mtls_auth.certificate import MAX_SERIAL_BITS


def parse_serial(text: str) -> int:
    """Read a hexadecimal serial number: colons, blanks, upper case and `0x` are ignored. RFC 5280 §4.1.2.2"""
    digits = "".join(text.split()).replace(":", "").lower().removeprefix("0x")
    if not digits or not set(digits) <= set("0123456789abcdef"):
        raise ValidationError(
            _("This is not a hexadecimal number: copy it as “openssl x509 -serial” prints it."), code="serial"
        )
    number = int(digits, 16) if len(digits) <= 2 * MAX_SERIAL_BITS else 0
    if number <= 0 or number.bit_length() > MAX_SERIAL_BITS:
        raise ValidationError(_("A serial number is positive and has at most 20 octets: copy it again."), code="serial")
    return number
