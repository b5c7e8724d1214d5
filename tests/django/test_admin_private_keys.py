"""Private keys in the admin: refused, and nothing of them is kept, shown or logged."""

import logging
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, RequestFactory
from django.views.debug import SafeExceptionReporterFilter

from django_mtls.admin import EnrolledCertificateAdmin
from django_mtls.models import EnrolledCertificate
from tests.django.operators import CA, errors_of, paste, sign_in, text_of, upload, user_named
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

GOOD = BrokenLeaves(CA).good


@pytest.fixture
def operator(client: Client) -> Any:
    """An operator who may do everything."""
    return sign_in(client, superuser=True)


def key_files() -> list[Any]:
    """Return files that hold a private key, and the text that must not come back."""
    plain = GOOD.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = BestAvailableEncryption(b"password")
    contents = {
        "PKCS#8": plain,
        "certificate and key": GOOD.pem + plain,
        "EC key": GOOD.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "encrypted": GOOD.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked),
        "OpenSSH": GOOD.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "DER": GOOD.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "encrypted DER": GOOD.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, locked),
        "EC key in DER": GOOD.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "PKCS#12": GOOD.p12("password", "alice"),
        "PuTTY": b"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA\n",
        "Java key store": b"\xfe\xed\xfe\xed\x00\x00\x00\x02",
    }
    return [pytest.param(content, id=name) for name, content in contents.items()]


class TestPrivateKeys:
    @pytest.mark.parametrize("content", key_files())
    @pytest.mark.usefixtures("operator")
    def test_uploaded(self, client: Client, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
        """An upload that holds a private key is refused with the reason; nothing of it is kept, shown or logged."""
        with caplog.at_level(logging.DEBUG, logger="django"):
            response = upload(client, content, "alice.p12")
        assert errors_of(response) == {"file": ["private_key"]}
        assert "Nothing of it was kept." in text_of(response)
        assert not EnrolledCertificate.objects.exists()
        assert not LogEntry.objects.exists()
        for line in body_lines(content):
            assert line not in text_of(response)
            assert line not in caplog.text

    @pytest.mark.parametrize("content", [item for item in key_files() if item.values[0].isascii()])
    @pytest.mark.usefixtures("operator")
    def test_pasted(self, client: Client, content: bytes) -> None:
        """What was pasted does not come back when it held a private key; the other fields do."""
        response = paste(client, content.decode(), label="laptop")
        assert errors_of(response) == {"pem": ["private_key"]}
        assert 'value="laptop"' in text_of(response)
        for line in body_lines(content):
            assert line not in text_of(response)

    @pytest.mark.parametrize(
        "text",
        [
            GOOD.key_pem.decode().replace("PRIVATE KEY", "PRIVAT KEY"),
            "".join(GOOD.key_pem.decode().splitlines()[1:-1]),
            GOOD.key_pem.decode()[10:].replace("PRIVATE", ""),
        ],
        ids=["misspelt", "without its lines", "cut"],
    )
    @pytest.mark.usefixtures("operator")
    def test_unrecognised(self, client: Client, text: str) -> None:
        """What is not known as a key does not come back either, unless it is a certificate."""
        response = paste(client, text)
        assert errors_of(response) == {"pem": ["malformed_certificate"]}
        for line in body_lines(text.encode()):
            assert line not in text_of(response)

    @pytest.mark.usefixtures("operator")
    def test_certificate_comes_back(self, client: Client) -> None:
        """A pasted certificate stays in the form while another field is corrected."""
        response = paste(client, GOOD.pem.decode(), user="")
        assert errors_of(response) == {"user": ["required"]}
        assert GOOD.pem.decode() in text_of(response)

    def test_error_reports(self) -> None:
        """An error report of this page hides everything that was posted."""
        request = RequestFactory().post("/", {"pem": "secret"})
        request.user = user_named("operator")
        EnrolledCertificateAdmin(EnrolledCertificate, admin.site).add_view(request)
        assert request.sensitive_post_parameters == "__ALL__"  # type: ignore[attr-defined]
        shown = SafeExceptionReporterFilter().get_post_parameters(request)
        assert "secret" not in str(shown)


def body_lines(content: bytes) -> list[str]:
    """Return the lines of a text that are secret: long base64 ones that no certificate of the test has."""
    known = set(GOOD.pem.decode().splitlines())
    return [line for line in re.findall(r"[A-Za-z0-9+/=]{20,}", content.decode("latin-1")) if line not in known]
