"""SPIFFE IDs, after the SPIFFE-ID standard §2: strict, no normalisation."""

import re

from mtls_auth.names import unusable

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_MAX_LENGTH = 2048


# RFC 3986 §3.3 without percent-encoding: what no reader takes for anything else.
_URI_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")


def check_spiffe_id(uri: str) -> str:
    """Return *uri* if it is a SPIFFE ID; raise `unusable_name` otherwise. Does not say who may assert it."""
    return _check(uri, _SEGMENT)


def check_spiffe_uri(uri: str) -> str:
    """Return *uri* if its scheme is `spiffe` and every reader finds the same trust domain and path in it.

    Wider than a SPIFFE ID, which no such URI becomes: a certificate that also carries one is not refused.
    """
    return _check(uri, _URI_SEGMENT)


def _check(uri: str, segment_form: re.Pattern[str]) -> str:
    scheme, _, rest = uri.partition("://")
    trust_domain, *segments = rest.split("/")
    if (
        scheme != "spiffe"
        or len(uri) > _MAX_LENGTH
        or not _TRUST_DOMAIN.fullmatch(trust_domain)
        or not all(segment_form.fullmatch(segment) and segment not in {".", ".."} for segment in segments)
    ):
        raise unusable("the URI does not have the form of a SPIFFE ID")
    return uri
