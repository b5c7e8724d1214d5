"""What the tests of the admin share: an operator with exactly these permissions, certificates, and addresses."""

import base64
from html import unescape
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from django_mtls import lifecycle
from django_mtls.models import EnrolledCertificate
from mtls_auth import load_certificate
from mtls_auth.testing import CertificateAuthority, IssuedCertificate

CA = CertificateAuthority("Example CA")


def user_named(name: str, **attributes: Any) -> Any:
    """Return the user of this name, created if need be."""
    return get_user_model()._default_manager.get_or_create(username=name, defaults=attributes)[0]


def sign_in(client: Client, *permissions: str, superuser: bool = False) -> Any:
    """Sign an operator in who has these permissions of the app, as `view_enrolledcertificate`, and no others."""
    user = user_named("operator", is_staff=True, is_superuser=superuser)
    for permission in permissions:
        app, _, codename = permission.rpartition(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app or "django_mtls", codename=codename)
        )
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user


def enroll(user: Any, issued: IssuedCertificate | None = None, label: str = "") -> EnrolledCertificate:
    """Enrol a certificate, a new one of the user's name by default."""
    issued = issued or CA.issue(user.get_username())
    return lifecycle.enroll(load_certificate(issued.der), user, label=label)


def address(view: str, *args: object, model: str = "enrolledcertificate") -> str:
    """Return the address of a view of the admin."""
    return reverse(f"admin:django_mtls_{model}_{view}", args=args)


def text_of(response: Any) -> str:
    """Return the page with its entities resolved."""
    content: bytes = response.content
    return unescape(content.decode())


def errors_of(response: Any) -> dict[str, list[str]]:
    """Return the codes of the form's errors by field."""
    form = response.context["adminform"].form
    return {field: [error.code for error in errors] for field, errors in form.errors.as_data().items()}


def forms_of(row: EnrolledCertificate) -> dict[str, str]:
    """Return fingerprint and serial number as people copy them."""
    raw = bytes.fromhex(row.fingerprint_sha256)
    sha1 = bytes.fromhex(row.fingerprint_sha1)
    serial = row.serial_number.zfill(len(row.serial_number) + len(row.serial_number) % 2)
    return {
        "fingerprint": raw.hex(),
        "upper": raw.hex().upper(),
        "colons": raw.hex(":").upper(),
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "base64url": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "sha1": sha1.hex(),
        "sha1_upper": sha1.hex().upper(),
        "sha1_colons": sha1.hex(":").upper(),
        "beginning": raw.hex()[:16],
        "beginning_colons": raw[:6].hex(":"),
        "serial": row.serial_number,
        "serial_upper": serial.upper(),
        "serial_colons": bytes.fromhex(serial).hex(":").upper(),
        "serial_decimal": str(int(serial, 16)),
    }


def paste(client: Client, text: str, **fields: Any) -> Any:
    """Send the form with *text* in the field for PEM."""
    return client.post(address("add"), {"user": user_named("alice").pk, "label": "", "pem": text, **fields})


def upload(client: Client, content: bytes, name: str = "certificate.bin", **fields: Any) -> Any:
    """Send the form with a file."""
    return paste(client, "", file=SimpleUploadedFile(name, content), **fields)
