"""SPIFFE IDs, after the SPIFFE-ID standard §2: strict, no normalisation."""

import re

from mtls_auth.names import unusable

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_MAX_LENGTH = 2048


def check_spiffe_id(uri: str) -> str:
    """Return *uri* if it is a SPIFFE ID; raise `unusable_name` otherwise. Does not say who may assert it."""
    scheme, _, rest = uri.partition("://")
    trust_domain, *segments = rest.split("/")
    if (
        scheme != "spiffe"
        or len(uri) > _MAX_LENGTH
        or not _TRUST_DOMAIN.fullmatch(trust_domain)
        or not all(_SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in segments)
    ):
        raise unusable("the URI does not have the form of a SPIFFE ID")
    return uri
