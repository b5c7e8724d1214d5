"""Revocations in the admin: by issuer and serial number, or by the certificate, of those that were never enrolled."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_mtls import lifecycle
from django_mtls.admin import certificate_search
from django_mtls.models import CRLReason, Revocation
from mtls_auth import load_certificate
from tests.django.operators import CA, address, enroll, errors_of, sign_in, text_of, user_named

pytestmark = pytest.mark.django_db

LIST = "/admin/django_mtls/revocation/"
LEAF = CA.issue("mallory")
SERIAL = f"{LEAF.certificate.serial_number:x}"


@pytest.fixture
def operator(client: Client) -> Any:
    """An operator who may revoke."""
    return sign_in(client, "view_revocation", "add_revocation")


def send(client: Client, **fields: Any) -> Any:
    """Send the form."""
    return client.post(address("add", model="revocation"), {"reason": "keyCompromise", **fields}, follow=True)


class TestAdd:
    @pytest.mark.parametrize("serial", [SERIAL, SERIAL.upper(), f"0x{SERIAL}", f"00:{SERIAL}", f" {SERIAL} "])
    def test_by_serial(self, client: Client, operator: Any, serial: str) -> None:
        """Issuer and serial number revoke a certificate that was never enrolled."""
        response = send(client, issuer="cn=example  ca", serial_number=serial, comment="Stolen")
        row = Revocation.objects.get()
        assert (row.serial_number, row.reason, row.comment) == (SERIAL, "keyCompromise", "Stolen")
        assert row.revoked_by == operator
        assert row.certificate is None
        assert "No enrolled certificate has this number." in text_of(response)
        assert LogEntry.objects.get().object_id == str(row.pk)
        with pytest.raises(lifecycle.LifecycleError, match="was revoked"):
            enroll(user_named("alice"), LEAF)

    @pytest.mark.parametrize("how", ["pem", "file"])
    def test_by_certificate(self, client: Client, operator: Any, how: str) -> None:
        """So does the certificate, pasted or uploaded."""
        send(client, **{how: LEAF.pem.decode() if how == "pem" else SimpleUploadedFile("a.der", LEAF.der)})
        row = Revocation.objects.get()
        assert (row.issuer, row.serial_number) == ("CN=Example CA", SERIAL)

    def test_enrolled(self, client: Client, operator: Any) -> None:
        """An enrolled certificate of this number is revoked with it."""
        certificate = enroll(user_named("alice"), LEAF)
        response = send(client, issuer="CN=Example CA", serial_number=SERIAL)
        certificate.refresh_from_db()
        assert certificate.state == "revoked"
        assert Revocation.objects.get().certificate == certificate
        assert "No enrolled certificate" not in text_of(response)

    @pytest.mark.parametrize(
        ("fields", "errors"),
        [
            ({}, {"__all__": [None]}),
            ({"issuer": "CN=Example CA"}, {"serial_number": [None]}),
            ({"serial_number": "ab"}, {"issuer": [None]}),
            ({"issuer": "C = DE, CN = x", "serial_number": "ab"}, {"issuer": ["issuer"]}),
            ({"issuer": "/CN=x", "serial_number": "ab"}, {"issuer": ["issuer"]}),
            ({"issuer": "CN=x", "serial_number": "xyz"}, {"serial_number": ["serial"]}),
            ({"issuer": "CN=x", "serial_number": "0"}, {"serial_number": ["serial"]}),
            ({"issuer": "CN=x", "serial_number": "-1"}, {"serial_number": ["serial"]}),
            ({"issuer": "CN=x", "serial_number": "f" * 41}, {"serial_number": ["serial"]}),
            ({"issuer": "CN=x", "serial_number": "f" * 100}, {"serial_number": ["serial"]}),
            ({"issuer": "CN=x", "serial_number": "ab", "pem": LEAF.pem.decode()}, {"__all__": [None]}),
            ({"pem": LEAF.key_pem.decode()}, {"pem": ["private_key"]}),
            ({"pem": LEAF.pem.decode(), "reason": ""}, {"reason": ["required"]}),
            ({"pem": LEAF.pem.decode(), "reason": "certificateHold"}, {"reason": ["invalid_choice"]}),
        ],
        ids=str,
    )
    def test_refused(self, client: Client, operator: Any, fields: dict[str, str], errors: Any) -> None:
        """What names no certificate, or two, is refused with what to do."""
        response = send(client, **fields)
        assert errors_of(response) == errors
        assert not Revocation.objects.exists()
        for line in LEAF.key_pem.decode().splitlines()[1:-1]:
            assert line not in text_of(response)

    def test_backwards(self, client: Client, operator: Any) -> None:
        """An issuer typed from the least specific part is recognised where it can be: it would bind nobody."""
        leaf = CA.intermediate("Inner").issue("x", organizational_unit="y")
        ca = type(CA)("Example CA")
        ca.subject = leaf.certificate.subject
        issued = ca.issue("alice")
        enroll(user_named("alice"), issued)
        response = send(client, issuer="OU=y,CN=x", serial_number=f"{issued.certificate.serial_number:x}")
        assert errors_of(response) == {"issuer": ["backwards"]}
        assert "CN=x,OU=y" in text_of(response)

    def test_twice(self, client: Client, operator: Any) -> None:
        """A revocation is final: there is no second one."""
        send(client, pem=LEAF.pem.decode())
        assert errors_of(send(client, pem=LEAF.pem.decode())) == {"__all__": ["lifecycle"]}

    def test_somebody_was_faster(self, client: Client, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two operators at once both get an answer."""

        def overtaken(*arguments: Any, **keywords: Any) -> None:
            raise lifecycle.LifecycleError("overtaken")

        monkeypatch.setattr(lifecycle, "revoke_serial", overtaken)
        assert "Overtaken" in text_of(send(client, pem=LEAF.pem.decode()))


class TestList:
    def test_query_count(self, client: Client, operator: Any) -> None:
        """Fifty revocations cost session, operator, two of permissions, a count and one query of rows."""
        for _number in range(25):
            certificate = enroll(user_named("alice"))
            lifecycle.revoke([certificate], CRLReason.SUPERSEDED)
            other = load_certificate(CA.issue("x").der)
            lifecycle.revoke_serial(other.issuer, other.serial_number, CRLReason.CA_COMPROMISE)
        with CaptureQueriesContext(connection) as queries:
            response = client.get(LIST)
        assert len(response.context["cl"].result_list) == 50
        assert len(queries) == 6
        assert '"der"' not in queries[-1]["sql"]

    @pytest.mark.parametrize(
        ("term", "count"),
        [
            ("", 1),
            (SERIAL, 1),
            (SERIAL.upper(), 1),
            (f"00:{SERIAL}", 1),
            (str(int(SERIAL, 16)), 1),
            (SERIAL[:-1], 0),
            ("CN=Example CA", 0),
            ("f" * 200, 0),
        ],
        ids=["nothing", "serial", "upper case", "colons", "decimal", "part", "issuer", "too long"],
    )
    def test_search(self, client: Client, operator: Any, term: str, count: int) -> None:
        """A revocation is found by its serial number, hexadecimal or decimal."""
        send(client, pem=LEAF.pem.decode())
        assert client.get(LIST, {"q": term}).context["cl"].result_count == count

    def test_filter(self, client: Client, operator: Any) -> None:
        """Revocations are filtered by reason."""
        send(client, pem=LEAF.pem.decode())
        for reason, count in (("keyCompromise", 1), ("superseded", 0)):
            assert client.get(LIST, {"reason__exact": reason}).context["cl"].result_count == count

    def test_find_serial_alone(self) -> None:
        """The search of an empty term leaves the queryset as it is."""
        everything = Revocation.objects.all()
        assert certificate_search.find_serial(everything, "  ") is everything


class TestFinal:
    def test_page(self, client: Client) -> None:
        """A revocation is shown, and neither changed nor deleted, by nobody."""
        sign_in(client, superuser=True)
        certificate = enroll(user_named("alice"))
        lifecycle.revoke([certificate], CRLReason.KEY_COMPROMISE, comment="Stolen")
        row = Revocation.objects.get()
        url = address("change", row.pk, model="revocation")
        page = text_of(client.get(url))
        for fact in ("CN=Example CA", row.serial_number, "Stolen", str(certificate)):
            assert fact in page
        assert client.post(url, {"reason": "unspecified"}).status_code == 403
        assert client.post(address("delete", row.pk, model="revocation"), {"post": "yes"}).status_code == 403
        row.refresh_from_db()
        assert row.reason == "keyCompromise"

    def test_permissions(self, client: Client) -> None:
        """Revoking asks for its permission."""
        sign_in(client, "view_revocation")
        assert send(client, pem=LEAF.pem.decode()).status_code == 403
