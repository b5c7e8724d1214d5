"""What the search field of the certificates understands. Every answer comes from an index."""

import base64
import binascii
import re
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from django_mtls.models import EnrolledCertificate

HELP = _("A fingerprint or its beginning, a serial number, the beginning of a common name, or user:NAME.")

_HEX = re.compile(r"[0-9a-f]+")
# What openssl and OpenSSH print in front of a fingerprint.
_PREFIX = re.compile(r"(?:sha-?(?:256|1)(?: fingerprint)?|serial)\s*[=:]\s*|0x(?=[0-9a-f:\s-]+$)", re.IGNORECASE)
_MIN_PREFIX = 8
_MAX_SERIAL_DIGITS = 40
_SHA1_DIGITS = 40


def find_certificates(queryset: QuerySet[EnrolledCertificate], term: str) -> QuerySet[EnrolledCertificate]:
    """Narrow *queryset* to what *term* may mean; unchanged for a blank term."""
    term = term.strip()
    if not term:
        return queryset
    if term.lower().startswith("user:"):
        return queryset.filter(user__in=_users_named(term[5:].strip()))
    bare = _PREFIX.sub("", term, count=1) if _PREFIX.match(term) else term
    fingerprint = _sha256(bare)
    if fingerprint is not None:
        return queryset.filter(fingerprint_sha256=fingerprint)
    return queryset.filter(Q(subject_cn__startswith=term) | _by_digits(_digits(bare)))


def find_serial(queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Narrow *queryset* to a serial number in hexadecimal or decimal; unchanged for a blank term."""
    if not term.strip():
        return queryset
    digits = _digits(_PREFIX.sub("", term.strip(), count=1))
    return queryset.filter(serial_number__in=_serials(digits))


def _users_named(name: str) -> list[Any]:
    # Ids first: a join under an OR keeps the database from its indexes.
    model = get_user_model()
    return list(model._default_manager.filter(**{model.USERNAME_FIELD: name}).values_list("pk", flat=True))


def _digits(text: str) -> str:
    digits = re.sub(r"[\s:-]", "", text).lower()
    return digits if _HEX.fullmatch(digits) else ""


def _sha256(text: str) -> str | None:
    """Return a whole fingerprint in hex, from hex or base64 (x5t#S256); None if *text* is none."""
    digits = _digits(text)
    if len(digits) == 64:
        return digits
    body = text.rstrip("=")
    if len(body) != 43:
        return None
    try:
        raw = base64.b64decode(body + "=", altchars=b"-_" if set(body) & set("-_") else None, validate=True)
    except binascii.Error:
        return None
    return raw.hex()


def _by_digits(digits: str) -> Q:
    condition = Q(serial_number__in=_serials(digits))
    if _MIN_PREFIX <= len(digits) < 64:
        # A range: LIKE 'prefix%' would need an operator class of its own. "g" sorts after every hex digit.
        condition |= Q(fingerprint_sha256__gte=digits, fingerprint_sha256__lt=f"{digits}g")
    if len(digits) == _SHA1_DIGITS:
        condition |= Q(fingerprint_sha1=digits)
    return condition


def _serials(digits: str) -> list[str]:
    digits = digits.lstrip("0")
    if not digits or len(digits) > _MAX_SERIAL_DIGITS + 10:
        return []
    found = {digits}
    if digits.isdecimal():
        found.add(f"{int(digits):x}")
    return sorted(found)
