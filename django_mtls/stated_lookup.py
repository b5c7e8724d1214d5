"""What the database says of a certificate that the terminator keeps to itself: by stated fingerprint, or by name."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, Value
from django.utils import timezone

from django_mtls.lookup import CommonNameLookup, FingerprintLookup, Row
from mtls_auth import CertificateRejected, Identity, Reason
from mtls_auth.evidence import without_certificate
from mtls_auth.mapping import stated_name


class StatedFingerprintLookup(FingerprintLookup):
    """The enrolled certificate with this fingerprint, SHA-256 or SHA-1. Only the row tells its validity."""

    columns = ("not_before", "not_after")

    def condition(self) -> Q:
        return Q(fingerprint_sha256="%fingerprint%") | Q(fingerprint_sha1="%fingerprint%")

    def parameters(self, identity: Identity) -> Mapping[str, str]:
        if identity.fingerprint is None:
            raise without_certificate("a fingerprint")
        return {"fingerprint": identity.fingerprint}

    def row(self, row: tuple[Any, ...], identity: Identity) -> Row:
        not_before, not_after, *rest = row
        now = timezone.now()
        if now < not_before:
            raise CertificateRejected(Reason.NOT_YET_VALID, f"valid from {not_before:%Y-%m-%d %H:%M:%S} UTC")
        if now > not_after:
            raise CertificateRejected(Reason.EXPIRED, f"expired {not_after:%Y-%m-%d %H:%M:%S} UTC")
        return super().row(tuple(rest), identity)


class StatedNameLookup(CommonNameLookup):
    """The user whose name is the one that a mesh's terminator states."""

    def enrolled(self) -> Q:
        return Q(fingerprint_sha256=Value("%fingerprint%")) | Q(fingerprint_sha1=Value("%fingerprint%"))

    def name(self, identity: Identity) -> str:
        return stated_name(identity)

    def parameters(self, identity: Identity) -> Mapping[str, str]:
        # Without a certificate there is no issuer and no serial number: none is the empty one.
        return {
            "common_name": self.name(identity),
            "fingerprint": identity.fingerprint or "none",  # the empty one would be every row without a SHA-1
            "issuer_key": "",
            "serial_number": "",
        }
