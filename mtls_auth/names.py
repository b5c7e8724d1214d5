"""The name policy: which text of a certificate may ever stand for somebody.

A certificate whose names cannot be read in one way only is refused as a whole: another layer may read them
the other way. Nothing here parses a distinguished name from text.
"""

import re
import unicodedata

from mtls_auth.errors import CertificateRejected, Reason

MAX_NAME_LENGTH = 255
MAX_ATTRIBUTES = 64

# Control, format (bidi, zero width), surrogate and line or paragraph separators: invisible, or read as an end.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# RFC 5321 §4.1.2 dot-string form: no display name, no quoted local part, no comment.
_ADDR_SPEC = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")
_DNS_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")


def check_text(value: str, what: str) -> str:
    """Return *value* if it is visible text of bounded length; raise `unusable_name` otherwise."""
    if len(value) > MAX_NAME_LENGTH:
        raise unusable(f"{what} is longer than {MAX_NAME_LENGTH} characters")
    # What is printable has none of these; not everything that has none is printable.
    if not value.isprintable() and any(unicodedata.category(char) in _INVISIBLE for char in value):
        raise unusable(f"{what} holds control, bidi or zero-width characters")
    return value


def check_name(value: str, what: str) -> str:
    """Return *value* if it may be a name: `check_text`, not blank, no blanks around it."""
    check_text(value, what)
    if not value or value != value.strip():
        raise unusable(f"{what} is blank or has blanks around it")
    return value


def check_email(value: str) -> str:
    """Return *value* if it is one plain addr-spec. RFC 5280 §4.2.1.6, RFC 5321 §4.1.2."""
    return _check_form(value, _ADDR_SPEC, "rfc822Name")


def check_dns_name(value: str) -> str:
    """Return *value* if it has the form of a DNS name, a leading wildcard label included."""
    return _check_form(value, _DNS_NAME, "dNSName")


def check_uri(value: str) -> str:
    """Return *value* if it is an absolute URI in ASCII. RFC 5280 §4.2.1.6; not a check of its scheme's rules."""
    return _check_form(value, _URI, "uniformResourceIdentifier")


def check_stable(value: str, what: str) -> str:
    """Return *value* if no common normalisation changes it: a name that becomes another one is refused.

    Django's `UsernameField` normalises to NFKC, databases to NFC; two certificates could meet in one account.
    """
    if unicodedata.normalize("NFKC", value) != value:
        raise unusable(f"{what} changes under Unicode normalisation (NFKC)")
    return value


def _check_form(value: str, form: re.Pattern[str], what: str) -> str:
    if len(value) > MAX_NAME_LENGTH or not form.fullmatch(value):
        raise unusable(f"{what} does not have the form of one")
    return value


def unusable(detail: str) -> CertificateRejected:
    return CertificateRejected(Reason.UNUSABLE_NAME, detail)
