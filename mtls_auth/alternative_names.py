"""The subjectAltName of a certificate, under the name policy. RFC 5280 §4.2.1.6."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from cryptography import x509

from mtls_auth.names import check_dns_name, check_email, check_name, check_uri, unusable
from mtls_auth.spiffe import check_spiffe_uri

# Microsoft's userPrincipalName, as smart cards carry it in an otherName.
UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_UTF8_STRING = 0x0C


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternativeNames:
    """The alternative names by kind, each value checked. Kinds that nobody maps are kept as OIDs in `other`."""

    email: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    upn: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @classmethod
    def read(cls, extension: x509.SubjectAlternativeName) -> "AlternativeNames":
        """Read the extension; raise `unusable_name` for a hostile value, or for two of a kind that must be one."""
        found: dict[str, list[str]] = {}
        for general_name in extension:
            kind, value = _read(general_name)
            found.setdefault(kind, []).append(value)
        if not found:
            raise unusable("subjectAltName is empty")
        names = cls(**{kind: tuple(values) for kind, values in found.items()})
        if len(names.spiffe_ids) > 1:
            raise unusable("there is more than one SPIFFE ID")
        for kind in ("email", "upn"):
            if len(found.get(kind, ())) > 1:
                raise unusable(f"there is more than one {kind} name")
        return names

    @property
    def spiffe_ids(self) -> tuple[str, ...]:
        """The URIs of the scheme `spiffe`; at most one."""
        return tuple(uri for uri in self.uri if uri[:7].lower() == "spiffe:")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            for value in getattr(self, field.name):
                yield field.name, value


def _read(name: x509.GeneralName) -> tuple[str, str]:
    match name:
        case x509.RFC822Name():
            return "email", check_email(name.value)
        case x509.DNSName():
            return "dns", check_dns_name(name.value)
        case x509.UniformResourceIdentifier():
            uri = name.value
            return "uri", check_spiffe_uri(uri) if uri[:7].lower() == "spiffe:" else check_uri(uri)
        case x509.IPAddress():
            return "ip", str(name.value)
        case x509.OtherName() if name.type_id == UPN:
            return "upn", check_name(_utf8_string(name.value), "userPrincipalName")
        case x509.OtherName() | x509.RegisteredID():
            return "other", (name.type_id if isinstance(name, x509.OtherName) else name.value).dotted_string
        case _:
            return "other", type(name).__name__


def _utf8_string(der: bytes) -> str:
    # A short-form length is enough: MAX_NAME_LENGTH characters that are longer are refused anyway.
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] != len(der) - 2 or der[1] > 127:
        raise unusable("userPrincipalName is not a UTF8String of at most 127 bytes")
    try:
        return der[2:].decode()
    except UnicodeDecodeError as error:
        raise unusable("userPrincipalName is not UTF-8") from error
