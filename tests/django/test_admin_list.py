"""The list of enrolled certificates: columns, filters, search."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_mtls import lifecycle
from django_mtls.admin import EnrolledCertificateAdmin, bounded_paginator
from django_mtls.admin.object_link import object_link
from django_mtls.models import CRLReason, EnrolledCertificate, State, StateVersion
from tests.django.operators import CA, address, enroll, forms_of, sign_in, text_of, user_named
from tests.pki import AWKWARD_NAMES

pytestmark = pytest.mark.django_db

LIST = "/admin/django_mtls/enrolledcertificate/"


def listed(client: Client, **query: str) -> set[str]:
    """Return the labels of the certificates that the list shows."""
    response = client.get(LIST, query)
    assert response.status_code == 200
    return {row.label for row in response.context["cl"].result_list}


class TestList:
    def test_query_count(self, client: Client) -> None:
        """Fifty certificates of fifty users cost the session, the operator, a count and one query of rows."""
        sign_in(client, superuser=True)
        for number in range(50):
            enroll(user_named(f"user{number}"))
        with CaptureQueriesContext(connection) as queries:
            response = client.get(LIST)
        assert len(response.context["cl"].result_list) == 50
        assert len(queries) == 4
        rows = queries[3]["sql"]
        assert '"der"' not in rows
        assert "user49" in text_of(response)

    def test_columns(self, client: Client) -> None:
        """A row shows the subject, a link to the user, the state, the label and the short fingerprint."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        row = enroll(alice, label="laptop")
        page = text_of(client.get(LIST))
        assert f'<a href="{address("change", row.pk)}">alice</a>' in page
        assert f'<a href="/admin/auth/user/{alice.pk}/change/">alice</a>' in page
        assert f"{row.fingerprint_sha256[:16]}…" in page
        assert '<td class="field-shown_state">active</td>' in page
        assert '<td class="field-label">laptop</td>' in page

    def test_expired_is_shown(self, client: Client) -> None:
        """What the clock ended is shown as expired; what was revoked stays revoked."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        ended, revoked = enroll(alice), enroll(alice)
        lifecycle.revoke([revoked], CRLReason.SUPERSEDED)
        EnrolledCertificate.objects.update(not_after=datetime.now(UTC) - timedelta(hours=1))
        page = text_of(client.get(LIST))
        assert page.count('<td class="field-shown_state">expired</td>') == 1
        assert page.count('<td class="field-shown_state">revoked</td>') == 1
        ended.refresh_from_db()
        assert ended.state == State.ACTIVE

    def test_deleted_user(self, client: Client) -> None:
        """A certificate outlives its user, and stands for nobody."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        enroll(alice)
        alice.delete()
        assert '<td class="field-user_link">nobody</td>' in text_of(client.get(LIST))

    def test_objects_elsewhere(self) -> None:
        """What has no page in the admin is no link."""
        assert object_link(admin.site, StateVersion(pk=1, version=7)) == "7"
        assert object_link(admin.site, StateVersion(pk=1), "text") == "text"

    @pytest.mark.parametrize("name", AWKWARD_NAMES.values(), ids=AWKWARD_NAMES.keys())
    def test_awkward_names(self, client: Client, name: str) -> None:
        """A name is shown as it is, escaped."""
        sign_in(client, superuser=True)
        enroll(user_named("alice"), CA.issue(name))
        response = client.get(LIST)
        assert name in text_of(response)
        assert b"<b>alice" not in response.content

    def test_bounded(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """The list counts no further than its bound, and says that it ends."""
        monkeypatch.setattr(bounded_paginator, "MAX_LISTED", 2)
        monkeypatch.setattr(EnrolledCertificateAdmin, "list_per_page", 1)
        sign_in(client, superuser=True)
        alice = user_named("alice")
        for label in ("a", "b", "c"):
            enroll(alice, label=label)
        response = client.get(LIST)
        assert response.context["cl"].result_count == 2
        assert "Only the newest are listed." in text_of(response)
        assert response.context["cl"].paginator.num_pages == 2
        EnrolledCertificate.objects.filter(label="a").update(user=None)
        assert "Only the newest" not in text_of(client.get(LIST, {"q": "user:alice"}))


class TestFilters:
    @pytest.fixture
    def _rows(self, client: Client) -> None:
        sign_in(client, superuser=True)
        now, alice = datetime.now(UTC), user_named("alice")
        for label, days in (("long", 90), ("soon", 10), ("ended", -1)):
            row = enroll(alice, label=label)
            EnrolledCertificate.objects.filter(pk=row.pk).update(not_after=now + timedelta(days=days))
        lifecycle.suspend(EnrolledCertificate.objects.get(label="long"))

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, {"long", "soon", "ended"}),
            ({"validity": "valid"}, {"long", "soon"}),
            ({"validity": "soon"}, {"soon"}),
            ({"validity": "expired"}, {"ended"}),
            ({"validity": "nonsense"}, {"long", "soon", "ended"}),
            ({"state__exact": "suspended"}, {"long"}),
            ({"state__exact": "active", "validity": "valid"}, {"soon"}),
        ],
        ids=str,
    )
    @pytest.mark.usefixtures("_rows")
    def test_filter(self, client: Client, query: dict[str, str], expected: set[str]) -> None:
        """Certificates are filtered by stored state and by the clock."""
        assert listed(client, **query) == expected


class TestSearch:
    @pytest.fixture
    def row(self, client: Client) -> EnrolledCertificate:
        """A certificate among others."""
        sign_in(client, superuser=True)
        row = enroll(user_named("alice"), label="wanted")
        enroll(user_named("bob"), label="other")
        return row

    @pytest.mark.parametrize(
        "form",
        [
            "{fingerprint}",
            "  {fingerprint} ",
            "{upper}",
            "{colons}",
            "sha256 Fingerprint={colons}",
            "SHA256:{base64}",
            "{base64}",
            "{base64}=",
            "{base64url}",
            "{sha1}",
            " {sha1_upper} ",
            "{sha1_colons}",
            "sha1 Fingerprint={sha1_colons}",
            "SHA1 Fingerprint={sha1_colons}",
            "SHA-1: {sha1}",
            "{beginning}",
            "{beginning_colons}",
            "{serial}",
            "{serial_colons}",
            "serial=00{serial_upper}",
            "0x{serial}",
            "{serial_decimal}",
            "alice",
            "ali",
            "user:alice",
            "USER: alice ",
        ],
    )
    def test_found(self, client: Client, row: EnrolledCertificate, form: str) -> None:
        """A certificate is found by its fingerprint, serial number, common name and user, in the usual forms."""
        assert listed(client, q=form.format(**forms_of(row))) == {"wanted"}

    @pytest.mark.parametrize(
        "term",
        [
            "lice",
            "user:ALICE",
            "user:",
            "user:nobody",
            "f" * 64,
            "f" * 63,
            "f" * 40,
            "f" * 39,
            "deadbeef",
            "zzz",
            "%",
            "0",
            "A" * 43,
            "!" * 43,
        ],
    )
    @pytest.mark.usefixtures("row")
    def test_not_found(self, client: Client, term: str) -> None:
        """What matches nothing finds nothing: names are compared from their beginning, users letter by letter."""
        assert listed(client, q=term) == set()

    @pytest.mark.parametrize("digits", [8, 20, 39])
    def test_beginning_of_sha1(self, client: Client, row: EnrolledCertificate, digits: int) -> None:
        """A SHA-1 fingerprint is found whole: nothing is guessed from its beginning."""
        EnrolledCertificate.objects.filter(pk=row.pk).update(fingerprint_sha1="f" * 40)
        assert listed(client, q="f" * digits) == set()
        assert listed(client, q="f" * 40) == {"wanted"}

    def test_forty_digits(self, client: Client, row: EnrolledCertificate) -> None:
        """Forty digits may be a SHA-1 fingerprint, a serial number, or the beginning of a SHA-256 fingerprint."""
        digits = row.fingerprint_sha256[:40]
        assert listed(client, q=digits) == {"wanted"}
        EnrolledCertificate.objects.filter(label="other").update(fingerprint_sha1=digits)
        third = enroll(user_named("carol"), label="third")
        EnrolledCertificate.objects.filter(pk=third.pk).update(serial_number=digits.lstrip("0"))
        assert listed(client, q=digits) == {"wanted", "other", "third"}

    @pytest.mark.parametrize("term", ["", "   "])
    @pytest.mark.usefixtures("row")
    def test_blank(self, client: Client, term: str) -> None:
        """A blank search is none."""
        assert listed(client, q=term) == {"wanted", "other"}

    @pytest.mark.usefixtures("row")
    def test_user_without_join_under_or(self, client: Client) -> None:
        """The ids of the user come first: the certificates are found by their own columns alone."""
        with CaptureQueriesContext(connection) as queries:
            listed(client, q="user:alice")
        assert len(queries) == 5
        assert " OR " not in queries[-1]["sql"].upper()


@pytest.mark.parametrize("term", ["0" * 4400, "0" * 4400 + "7", "9" * 4400])
def test_endless_numbers(client: Client, term: str) -> None:
    """A search for thousands of digits finds nothing, in both lists."""
    sign_in(client, superuser=True)
    for model in ("enrolledcertificate", "revocation"):
        assert client.get(address("changelist", model=model), {"q": term}).status_code == 200
