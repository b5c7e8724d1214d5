"""Enrolment in the admin: by paste and by upload, in every form, and what is refused."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    pkcs7,
)
from django.contrib import admin
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.test import Client
from django.utils import timezone

from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate
from mtls_auth import CertificateRejected, load_certificate
from tests.django.operators import CA, address, enroll, errors_of, paste, sign_in, text_of, upload, user_named
from tests.integration.servers import requires
from tests.pki import HOSTILE_NAMES, BrokenLeaves

pytestmark = pytest.mark.django_db

HOSTILE = Path(__file__).parents[1] / "vectors" / "hostile"
# Chains are for those who build paths.
CASES = [
    case for case in json.loads((HOSTILE / "index.json").read_text())["cases"] if not case["file"].endswith(".pem")
]
LEAVES = BrokenLeaves(CA)
GOOD = LEAVES.good


@pytest.fixture
def operator(client: Client) -> Any:
    """An operator who may do everything."""
    return sign_in(client, superuser=True)


class TestAccepted:
    def test_pasted(self, client: Client, operator: Any) -> None:
        """A pasted certificate is enrolled for the user, by the operator, with an entry in the history."""
        assert paste(client, GOOD.pem.decode(), label="laptop").status_code == 302
        row = EnrolledCertificate.objects.get()
        assert (row.fingerprint_sha256, row.label, row.state) == (GOOD.fingerprint_sha256, "laptop", "active")
        assert (row.user, row.enrolled_by) == (user_named("alice"), operator)
        entry = LogEntry.objects.get()
        assert (entry.action_flag, entry.object_id, entry.get_change_message()) == (ADDITION, str(row.pk), "Added.")

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(GOOD.pem, id="PEM"),
            pytest.param(GOOD.der, id="DER"),
            pytest.param(
                pkcs7.serialize_certificates([GOOD.certificate, CA.certificate], Encoding.PEM), id="PKCS#7 PEM"
            ),
            pytest.param(
                pkcs7.serialize_certificates([GOOD.certificate, CA.certificate], Encoding.DER), id="PKCS#7 DER"
            ),
            pytest.param(GOOD.pem + CA.pem, id="with its CA"),
            pytest.param(
                b"Bag Attributes\n    friendlyName: alice\n" + GOOD.pem.replace(b"\n", b"\r\n"), id="text around"
            ),
        ],
    )
    @pytest.mark.usefixtures("operator")
    def test_uploaded(self, client: Client, content: bytes) -> None:
        """PEM, DER and PKCS#7 are accepted, with the CA's certificate beside or without."""
        assert upload(client, content).status_code == 302
        assert EnrolledCertificate.objects.get().fingerprint_sha256 == GOOD.fingerprint_sha256

    @pytest.mark.usefixtures("operator")
    def test_several_of_one_user(self, client: Client) -> None:
        """A user may have several certificates."""
        for _number in range(2):
            paste(client, CA.issue("alice").pem.decode())
        assert user_named("alice").client_certificates.count() == 2

    @pytest.mark.usefixtures("operator")
    def test_inactive_user(self, client: Client) -> None:
        """A certificate of an inactive user is enrolled with a warning."""
        user_named("carol", is_active=False)
        response = client.post(address("add"), {"user": user_named("carol").pk, "pem": GOOD.pem.decode()}, follow=True)
        assert "The user carol is not active" in text_of(response)
        assert EnrolledCertificate.objects.exists()

    @pytest.mark.usefixtures("operator")
    def test_prefilled(self, client: Client) -> None:
        """The link of a user's page names the user."""
        alice = user_named("alice")
        page = text_of(client.get(address("add"), {"user": alice.pk}))
        assert f'<option value="{alice.pk}" selected>alice</option>' in page


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            pytest.param("", "required", id="nothing"),
            pytest.param("   ", "required", id="blanks"),
            pytest.param("hello", "malformed_certificate", id="text"),
            pytest.param(LEAVES.expired.pem.decode(), "expired", id="expired"),
            pytest.param(LEAVES.not_yet_valid.pem.decode(), "not_yet_valid", id="not yet valid"),
            pytest.param(LEAVES.server_only.pem.decode(), "wrong_key_usage", id="server"),
            pytest.param(LEAVES.two_common_names.pem.decode(), "unusable_name", id="two common names"),
            pytest.param(LEAVES.without_name.pem.decode(), "unusable_name", id="nobody"),
            pytest.param((GOOD.pem + CA.issue("bob").pem).decode(), "malformed_certificate", id="two people"),
            pytest.param(CA.pem.decode(), "wrong_key_usage", id="CA"),
            *(
                pytest.param(CA.issue(name).pem.decode(), "unusable_name", id=f"name with {what}")
                for what, name in HOSTILE_NAMES.items()
            ),
        ],
    )
    @pytest.mark.usefixtures("operator")
    def test_pasted(self, client: Client, text: str, code: str) -> None:
        """What may not authenticate anybody is refused with the reason and what to do."""
        response = paste(client, text)
        assert errors_of(response) == {"pem": [code]}
        assert not EnrolledCertificate.objects.exists()
        (message,) = response.context["adminform"].form.errors["pem"]
        assert message.endswith(".")

    @pytest.mark.usefixtures("operator")
    def test_both(self, client: Client) -> None:
        """One certificate at a time: pasted or uploaded."""
        assert errors_of(upload(client, GOOD.der, pem=GOOD.pem.decode())) == {"file": ["both"]}

    @pytest.mark.usefixtures("operator")
    def test_empty_file(self, client: Client) -> None:
        """An empty file is said to be empty."""
        assert errors_of(upload(client, b"")) == {"file": ["empty"]}

    @pytest.mark.usefixtures("operator")
    def test_large(self, client: Client) -> None:
        """A large file is read no further than a certificate can be."""
        assert errors_of(upload(client, GOOD.pem * 1000)) == {"file": ["malformed_certificate"]}
        assert errors_of(paste(client, GOOD.pem.decode() * 1000)) == {"pem": ["max_length"]}

    @pytest.mark.usefixtures("operator")
    def test_enrolled_already(self, client: Client) -> None:
        """A certificate is enrolled once; the error names for whom and in which state."""
        enroll(user_named("bob"), GOOD)
        response = upload(client, GOOD.der)
        assert errors_of(response) == {"file": ["lifecycle"]}
        assert "This certificate is enrolled already, for bob: active." in text_of(response)

    @pytest.mark.usefixtures("operator")
    def test_revoked(self, client: Client) -> None:
        """A certificate that was revoked by its serial number is not enrolled."""
        certificate = load_certificate(GOOD.der)
        lifecycle.revoke_serial(certificate.issuer, certificate.serial_number, CRLReason.KEY_COMPROMISE)
        assert errors_of(upload(client, GOOD.der)) == {"file": ["lifecycle"]}

    @pytest.mark.usefixtures("operator")
    def test_somebody_was_faster(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two operators who enrol the same certificate at once both get an answer."""
        enroll(user_named("bob"), GOOD)
        monkeypatch.setattr(lifecycle, "check_enrollable", lambda certificate: None)
        response = upload(client, GOOD.der)
        assert response.headers["Location"] == address("add")
        assert "was enrolled by somebody else a moment ago" in text_of(client.get(address("add")))
        assert EnrolledCertificate.objects.count() == 1

    @pytest.mark.parametrize("file", [case["file"] for case in CASES])
    @pytest.mark.usefixtures("operator")
    def test_hostile(self, client: Client, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hostile certificates are refused with a reason wherever the certificate alone tells, and never crash."""
        judged_at = datetime(2026, 6, 1, tzinfo=UTC)
        monkeypatch.setattr(timezone, "now", lambda: judged_at)
        content = (HOSTILE / file).read_bytes()
        try:
            certificate = load_certificate(content)
            certificate.check_client_usage()
            certificate.check_validity(judged_at)
            expected = None
        except CertificateRejected as rejected:
            expected = rejected.reason.value
        response = upload(client, content)
        if response.status_code == 302:
            assert expected is None
            page = client.get(address("change", EnrolledCertificate.objects.get().pk))
            assert page.status_code == 200
            assert client.get(address("changelist")).status_code == 200
        else:
            assert not EnrolledCertificate.objects.exists()
            (code,) = errors_of(response)["file"]
            assert code == ("empty" if file == "empty.der" else expected)

    def test_every_rejected_case_is_known(self) -> None:
        """Of the hostile certificates that must not authenticate, only those pass that need a signature or a policy."""
        passing = set()
        for case in CASES:
            if case["safe"] != "reject":
                continue
            try:
                certificate = load_certificate((HOSTILE / case["file"]).read_bytes())
                certificate.check_client_usage()
                certificate.check_validity(datetime(2026, 6, 1, tzinfo=UTC))
            except CertificateRejected:
                continue
            passing.add(case["file"])
        assert passing == {"ok_v1.der", "sig_flipped.der", "sig_other_ca.der", "same_subject_other_ca.der"}

    @pytest.mark.usefixtures("operator")
    def test_openssl_pkcs7(self, client: Client, tmp_path: Path) -> None:
        """PKCS#7 in BER, as `openssl cms -stream` writes it, is read like DER."""
        openssl = requires("openssl")
        certificate, key = GOOD.write(tmp_path, "alice")
        command: list[str | Path] = [
            openssl,
            *"cms -sign -nodetach -stream -outform DER -signer".split(),
            certificate,
            "-inkey",
            key,
        ]
        signed = subprocess.run(command, check=True, capture_output=True, input=b"text").stdout
        assert signed.startswith(b"0\x80")
        assert upload(client, signed).status_code == 302


class TestWhoMayEnrol:
    def test_superusers_certificate(self, client: Client) -> None:
        """Only a superuser enrols for a superuser: whoever holds the certificate is that user."""
        sign_in(client, "add_enrolledcertificate", "auth.view_user")
        root = user_named("root", is_superuser=True)
        assert errors_of(upload(client, GOOD.der, user=root.pk)) == {"user": ["superuser"]}
        assert upload(client, GOOD.der).status_code == 302

    def test_user_is_required(self, client: Client, operator: Any) -> None:
        """A certificate is enrolled for somebody."""
        assert errors_of(upload(client, GOOD.der, user="")) == {"user": ["required"]}
        assert errors_of(upload(client, GOOD.der, user="99999")) == {"user": ["invalid_choice"]}

    def test_autocomplete(self, client: Client, operator: Any) -> None:
        """Users are found while typing; the page lists none of them."""
        for number in range(30):
            user_named(f"user{number}")
        page = text_of(client.get(address("add")))
        assert "admin-autocomplete" in page
        assert "user7" not in page
        for icon in ("Add another user", "Change selected user", "Delete selected user"):
            assert icon not in page

    def test_no_autocomplete(self, client: Client) -> None:
        """Whoever may not see users gives an id; so it is where the users' admin does not search."""
        sign_in(client, "add_enrolledcertificate")
        page = text_of(client.get(address("add")))
        assert "admin-autocomplete" not in page
        assert re.search(r'<input type="text" name="user"[^>]*vForeignKeyRawIdAdminField', page)
        assert upload(client, GOOD.der).status_code == 302

    def test_users_not_registered(self, client: Client, operator: Any) -> None:
        """A project whose users are not in the admin enrols by id."""
        user_admin = admin.site.get_model_admin(get_user_model())
        admin.site.unregister(get_user_model())
        try:
            page = text_of(client.get(address("add")))
        finally:
            admin.site.register(get_user_model(), type(user_admin))
        assert isinstance(user_admin, UserAdmin)
        assert 'name="user"' in page
        assert "admin-autocomplete" not in page
