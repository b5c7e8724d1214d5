"""The page of an enrolled certificate, and who may do what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate
from mtls_auth.testing import CLIENT_AUTH, IssuedCertificate, distinguished_name, generate_key
from tests.django.operators import CA, address, enroll, forms_of, sign_in, text_of, user_named
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

LIST = "/admin/django_mtls/enrolledcertificate/"


class TestPage:
    def page(self, client: Client, issued: IssuedCertificate) -> str:
        """Enrol a certificate and return its page."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"), issued, label="laptop")
        response = client.get(address("change", row.pk))
        assert response.status_code == 200
        return text_of(response)

    def test_every_fact(self, client: Client) -> None:
        """Everything that was read from the certificate is on its page."""
        issued = BrokenLeaves(CA).through_intermediate
        page = self.page(client, issued)
        row = EnrolledCertificate.objects.get()
        forms = forms_of(row)
        serial = forms["serial_colons"]
        for fact in (
            "CN=alice,OU=Ops",
            "CN=Test Intermediate CA",
            "rfc822Name: alice@example.com",
            "dNSName: alice.example.com",
            "URI: spiffe://example.com/alice",
            row.serial_number,
            serial,
            row.fingerprint_sha256,
            forms["colons"],
            forms["base64url"],
            "SHA-1 fingerprint",
            forms["sha1"],
            forms["sha1_colons"],
            row.spki_sha256,
            "EC secp256r1, 256 bits",
            "digitalSignature",
            "clientAuth (1.3.6.1.5.5.7.3.2)",
            "sha256",
            issued.pem.decode(),
        ):
            assert fact in page, fact

    def test_other_usages(self, client: Client) -> None:
        """Usages without a name are shown as their number, and absent extensions as no restriction."""
        other = x509.ObjectIdentifier("1.2.3.4")
        assert "1.2.3.4, clientAuth (1.3.6.1.5.5.7.3.2)" in self.page(
            client, CA.issue("alice", eku=(CLIENT_AUTH, other))
        )

    def test_absent_extensions(self, client: Client) -> None:
        """A certificate without usages is good for anything, and without alternative names has none."""
        leaves = BrokenLeaves(CA)
        page = self.page(client, leaves.without_eku)
        assert "not restricted" in page
        assert '<div class="readonly">none</div>' in page

    def test_key_agreement(self, client: Client) -> None:
        """The two usages that qualify keyAgreement are shown with it."""
        key = generate_key()
        usages = dict.fromkeys(
            "digital_signature content_commitment key_encipherment data_encipherment key_cert_sign crl_sign "
            "decipher_only".split(),
            False,
        )
        usage = x509.KeyUsage(**usages, key_agreement=True, encipher_only=True)
        now = datetime.now(UTC)
        validity = (now - timedelta(days=1), now + timedelta(days=1))
        certificate = CA._sign(distinguished_name("alice"), key, validity, [(usage, True)])
        issued = IssuedCertificate(certificate=certificate, key=key, chain=(), root=CA.root)
        assert '<div class="readonly">keyAgreement, encipherOnly</div>' in self.page(client, issued)

    def test_unreadable(self, client: Client) -> None:
        """A certificate that the loader does not read any more still has its page, which says so."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"))
        EnrolledCertificate.objects.update(der=b"0\x00")
        page = text_of(client.get(address("change", row.pk)))
        assert "Refused: the certificate cannot be read" in page
        assert row.fingerprint_sha256 in page

    def test_query_count(self, client: Client) -> None:
        """The page costs session, operator, certificate, two users and the revocation."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"))
        EnrolledCertificate.objects.update(enrolled_by=user_named("operator"))
        client.get(address("change", row.pk))  # content types are read once a process
        with CaptureQueriesContext(connection) as queries:
            client.get(address("change", row.pk))
        assert len(queries) == 6

    def test_only_the_label_changes(self, client: Client) -> None:
        """Saving the page changes the label alone, whatever else is posted, even while the row changes elsewhere."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"))
        before = EnrolledCertificate.objects.values().get()
        posted = {"label": "phone", "user": user_named("bob").pk, "state": "pending", "subject_cn": "bob", "pem": "x"}
        with CaptureQueriesContext(connection) as queries:
            response = client.post(address("change", row.pk), posted)
        assert response.status_code == 302
        assert EnrolledCertificate.objects.values().get() == {**before, "label": "phone"}
        updates = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
        (update,) = [update for update in updates if "stateversion" not in update]
        assert "state" not in update.split("WHERE")[0]
        assert LogEntry.objects.get().get_change_message() == "Changed Label."

    def test_save_as_new(self, client: Client) -> None:
        """“Save as new” is not offered, and posting it enrols nothing."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"))
        client.post(address("change", row.pk), {"label": "x", "user": user_named("bob").pk, "_saveasnew": "1"})
        assert EnrolledCertificate.objects.count() == 1

    def test_deletion(self, client: Client) -> None:
        """No certificate is deleted, by nobody."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"))
        assert client.post(address("delete", row.pk), {"post": "yes"}).status_code == 403
        client.post(LIST, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
        assert EnrolledCertificate.objects.exists()


class TestPermissions:
    @pytest.mark.parametrize(
        ("permissions", "expected"),
        [
            ((), {"list": 403, "add": 403, "change": 403, "revoke": 403}),
            (("view_enrolledcertificate",), {"list": 200, "add": 403, "change": 200, "revoke": 403}),
            (("change_enrolledcertificate",), {"list": 200, "add": 403, "change": 200, "revoke": 403}),
            (("view_enrolledcertificate", "add_revocation"), {"list": 200, "add": 403, "change": 200, "revoke": 403}),
            (("change_enrolledcertificate", "add_revocation"), {"list": 200, "add": 403, "change": 200, "revoke": 200}),
            (("add_enrolledcertificate",), {"list": 403, "add": 200, "change": 403, "revoke": 403}),
        ],
        ids=str,
    )
    def test_pages(self, client: Client, permissions: tuple[str, ...], expected: dict[str, int]) -> None:
        """Each page asks for its permissions."""
        sign_in(client, *permissions)
        row = enroll(user_named("alice"))
        pages = {
            "list": address("changelist"),
            "add": address("add"),
            "change": address("change", row.pk),
            "revoke": address("revoke_one", row.pk),
        }
        assert {name: client.get(page).status_code for name, page in pages.items()} == expected

    def test_anonymous(self, client: Client) -> None:
        """Whoever is not signed in is sent to the login page."""
        row = enroll(user_named("alice"))
        for page in (LIST, address("revoke_one", row.pk), address("revoke")):
            assert client.get(page).headers["Location"].startswith("/admin/login/")

    def test_tools(self, client: Client) -> None:
        """The page offers the steps that are possible now, to those who may take them."""

        def offered(row: EnrolledCertificate) -> set[str]:
            context: Any = client.get(address("change", row.pk)).context
            return {str(label) for label, _url in context.get("transitions") or ()}

        sign_in(client, "view_enrolledcertificate")
        row = enroll(user_named("alice"))
        assert offered(row) == set()
        sign_in(client, superuser=True)
        sign_in(client, "change_enrolledcertificate", "add_revocation")
        assert offered(row) == {"Revoke…", "Suspend…"}
        lifecycle.suspend(row)
        assert offered(row) == {"Revoke…", "Reactivate…"}
        lifecycle.revoke([row], CRLReason.KEY_COMPROMISE)
        assert offered(row) == set()
