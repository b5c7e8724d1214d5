"""Everything that a certificate says, as read-only fields of its page. Read by the same loader as on a request."""

import base64
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_mtls.advice import advise
from django_mtls.models import EnrolledCertificate
from mtls_auth import Certificate, CertificateRejected, load_certificate
from mtls_auth.certificate import signature_hash_name

Fact = Callable[[EnrolledCertificate], str]

_KEY_USAGES = (
    ("digitalSignature", "digital_signature"),
    ("contentCommitment", "content_commitment"),
    ("keyEncipherment", "key_encipherment"),
    ("dataEncipherment", "data_encipherment"),
    ("keyAgreement", "key_agreement"),
    ("keyCertSign", "key_cert_sign"),
    ("cRLSign", "crl_sign"),
)
_EXTENDED_KEY_USAGES = {
    oid.dotted_string: name
    for oid, name in (
        (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"),
        (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, "anyExtendedKeyUsage"),
        (ExtendedKeyUsageOID.EMAIL_PROTECTION, "emailProtection"),
        (ExtendedKeyUsageOID.CODE_SIGNING, "codeSigning"),
        (ExtendedKeyUsageOID.TIME_STAMPING, "timeStamping"),
        (ExtendedKeyUsageOID.OCSP_SIGNING, "OCSPSigning"),
        (ExtendedKeyUsageOID.SMARTCARD_LOGON, "Microsoft smart card logon"),
        (ExtendedKeyUsageOID.KERBEROS_PKINIT_KDC, "Kerberos PKINIT KDC"),
        (ExtendedKeyUsageOID.IPSEC_IKE, "IPsec IKE"),
    )
}
_KINDS = {"email": "rfc822Name", "dns": "dNSName", "uri": "URI", "ip": "iPAddress", "upn": "UPN", "other": "otherName"}


@lru_cache(maxsize=32)
def _load(der: bytes) -> Certificate | CertificateRejected:
    try:
        return load_certificate(der)
    except CertificateRejected as rejected:  # enrolled before the loader became stricter
        return rejected


def certificate_fact(label: Any) -> Callable[[Callable[[Certificate], str]], Fact]:
    """Make a read-only field of the admin out of a description of a certificate."""

    def decorate(describe: Callable[[Certificate], str]) -> Fact:
        def fact(row: EnrolledCertificate) -> str:
            certificate = _load(bytes(row.der))
            return describe(certificate) if isinstance(certificate, Certificate) else advise(certificate)

        fact.__name__ = describe.__name__
        return admin.display(description=label)(fact)

    return decorate


def code(*values: str) -> SafeString:
    """Return each value on a line of its own, in a monospaced font, free to break anywhere."""
    return format_html_join(mark_safe("<br>"), '<code class="mtls-value">{}</code>', ((value,) for value in values))


def with_colons(digits: str) -> str:
    """Return hex digits as `openssl` writes them: pairs, upper case, colons between."""
    digits = digits.zfill(len(digits) + len(digits) % 2).upper()
    return ":".join(digits[index : index + 2] for index in range(0, len(digits), 2))


@certificate_fact(gettext_lazy("Subject alternative names"))
def alternative_names(certificate: Certificate) -> str:
    names = list(certificate.alternative_names)
    return format_html_join(mark_safe("<br>"), "{}: {}", ((_KINDS[kind], name) for kind, name in names)) or _("none")


@certificate_fact(gettext_lazy("Serial number"))
def serial_number(certificate: Certificate) -> str:
    return code(certificate.serial_hex, with_colons(certificate.serial_hex))


@admin.display(description=gettext_lazy("SHA-256 fingerprint"))
def fingerprint(row: EnrolledCertificate) -> str:
    return code(row.fingerprint_sha256, with_colons(row.fingerprint_sha256))


@admin.display(description=gettext_lazy("SHA-1 fingerprint"))
def fingerprint_sha1(row: EnrolledCertificate) -> str:
    return code(row.fingerprint_sha1, with_colons(row.fingerprint_sha1))


@admin.display(description=gettext_lazy("SHA-256 in base64url (x5t#S256)"))
def x5t_s256(row: EnrolledCertificate) -> str:
    """RFC 8705 §3.1"""
    return code(base64.urlsafe_b64encode(bytes.fromhex(row.fingerprint_sha256)).decode().rstrip("="))


@admin.display(description=gettext_lazy("Public key pin (SPKI SHA-256)"))
def spki_pin(row: EnrolledCertificate) -> str:
    return code(row.spki_sha256, base64.b64encode(bytes.fromhex(row.spki_sha256)).decode())


@certificate_fact(gettext_lazy("Public key"))
def public_key(certificate: Certificate) -> str:
    return _("%(type)s, %(bits)d bits") % {"type": certificate.key_type, "bits": certificate.key_bits}


@certificate_fact(gettext_lazy("Key usage"))
def key_usage(certificate: Certificate) -> str:
    return _("not restricted") if certificate.key_usage is None else ", ".join(_names(certificate.key_usage))


@certificate_fact(gettext_lazy("Extended key usage"))
def extended_key_usage(certificate: Certificate) -> str:
    if certificate.extended_key_usage is None:
        return _("not restricted")
    oids = sorted(certificate.extended_key_usage)
    return ", ".join(f"{_EXTENDED_KEY_USAGES[oid]} ({oid})" if oid in _EXTENDED_KEY_USAGES else oid for oid in oids)


@certificate_fact(gettext_lazy("Certificate authority"))
def authority(certificate: Certificate) -> str:
    return _("yes") if certificate.is_ca else _("no")


@certificate_fact(gettext_lazy("Signature hash"))
def signature_hash(certificate: Certificate) -> str:
    return signature_hash_name(certificate) or _("none: the algorithm hashes by itself")


@certificate_fact(gettext_lazy("X.509 version"))
def version(certificate: Certificate) -> str:
    return str(certificate.version)


@admin.display(description=gettext_lazy("Certificate in PEM"))
def pem(row: EnrolledCertificate) -> str:
    text = ssl.DER_cert_to_PEM_cert(bytes(row.der))
    return format_html(
        '<textarea class="vLargeTextField mtls-pem" id="mtls-pem" rows="{}" cols="66" readonly aria-label="{}"'
        ' data-copy="{}" data-copied="{}">{}</textarea>',
        min(text.count("\n") + 1, 24),
        _("Certificate in PEM"),
        _("Copy"),
        _("Copied"),
        text,
    )


def _names(usage: x509.KeyUsage) -> list[str]:
    names = [name for name, attribute in _KEY_USAGES if getattr(usage, attribute)]
    if usage.key_agreement:  # the other two have no meaning without it
        names += [
            name for name, on in (("encipherOnly", usage.encipher_only), ("decipherOnly", usage.decipher_only)) if on
        ]
    return names


FACTS = (
    alternative_names,
    serial_number,
    fingerprint,
    fingerprint_sha1,
    x5t_s256,
    spki_pin,
    public_key,
    key_usage,
    extended_key_usage,
    authority,
    signature_hash,
    version,
    pem,
)
