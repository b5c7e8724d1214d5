"""Revocation, suspension and reactivation through their confirmation pages."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_mtls import lifecycle
from django_mtls.admin import EnrolledCertificateAdmin, confirmation
from django_mtls.admin import certificate_admin as certificate_admin_module
from django_mtls.admin.transition import REACTIVATE, REVOKE, TRANSITIONS
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from tests.django.operators import address, enroll, sign_in, text_of, user_named

pytestmark = pytest.mark.django_db

LIST = "/admin/django_mtls/enrolledcertificate/"


@pytest.fixture
def operator(client: Client) -> Any:
    """An operator who may revoke, and nothing else."""
    return sign_in(client, "change_enrolledcertificate", "add_revocation")


@pytest.fixture
def rows() -> list[EnrolledCertificate]:
    """Three certificates of alice."""
    return [enroll(user_named("alice"), label=label) for label in ("a", "b", "c")]


def states() -> list[str]:
    """Return the stored states in the order of enrolment."""
    return list(EnrolledCertificate.objects.order_by("pk").values_list("state", flat=True))


def pks(rows: list[EnrolledCertificate]) -> str:
    """Return what the hidden field holds."""
    return ",".join(str(row.pk) for row in rows)


def confirm(client: Client, rows: list[EnrolledCertificate], name: str = "revoke", **fields: str) -> Any:
    """Confirm a step."""
    posted = {"certificates": pks(rows), "revocation_reason": "keyCompromise", "comment": "", **fields}
    return client.post(address(name), posted, follow=True)


class TestOne:
    def test_page(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """The page names the certificate, asks for one of RFC 5280's reasons, and changes nothing."""
        response = client.get(address("revoke_one", rows[0].pk))
        page = text_of(response)
        assert "Are you sure you want to revoke this certificate?" in page
        assert str(rows[0]) in page
        for reason in CRLReason:
            assert f'<option value="{reason.value}">{reason.label}</option>' in page
        assert 'role="alert"' not in page
        assert states() == ["active"] * 3

    def test_confirmed(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """A confirmed revocation is final, says who, why and when, and is in the history."""
        response = confirm(client, rows[:1], comment="Lost on a train")
        assert response.redirect_chain == [(address("change", rows[0].pk), 302)]
        assert "1 certificate was revoked." in text_of(response)
        assert states() == ["revoked", "active", "active"]
        revocation = Revocation.objects.get()
        assert (revocation.reason, revocation.comment, revocation.revoked_by) == (
            "keyCompromise",
            "Lost on a train",
            operator,
        )
        entry = LogEntry.objects.get()
        assert (entry.action_flag, entry.object_id, entry.user) == (CHANGE, str(rows[0].pk), operator)
        history = text_of(client.get(address("history", rows[0].pk)))
        assert "Revoked. Reason: Key compromise: somebody else may have the key. Lost on a train" in history
        page = text_of(response)
        assert "Key compromise: somebody else may have the key" in page
        assert "Lost on a train" in page

    def test_no_reason(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """Without a reason nothing is revoked; the page comes back with the comment and the error."""
        response = confirm(client, rows[:1], revocation_reason="", comment="Lost")
        assert response.context["form"].errors.as_data()["revocation_reason"][0].code == "required"
        page = text_of(response)
        assert "<title>Error: " in page
        assert "Lost</textarea>" in page
        assert states() == ["active"] * 3

    def test_suspended_and_reactivated(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """A suspension is lifted again; both are in the history."""
        assert "until somebody reactivates it" in text_of(client.get(address("suspend_one", rows[0].pk)))
        assert "1 certificate was suspended." in text_of(confirm(client, rows[:1], "suspend", comment="Sick leave"))
        assert states()[0] == "suspended"
        assert "stands for its user again" in text_of(client.get(address("reactivate_one", rows[0].pk)))
        assert "1 certificate was reactivated." in text_of(confirm(client, rows[:1], "reactivate"))
        assert states()[0] == "active"
        messages = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
        assert list(messages) == ["Suspended. Sick leave", "Reactivated."]

    def test_certificate_hold(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """The reason `certificateHold` suspends."""
        response = confirm(client, rows[:1], revocation_reason="certificateHold")
        assert "1 certificate was suspended." in text_of(response)
        assert states()[0] == "suspended"

    @pytest.mark.parametrize("name", ["revoke", "suspend", "reactivate"])
    def test_nothing_to_do(self, client: Client, operator: Any, rows: list[EnrolledCertificate], name: str) -> None:
        """A page of a step that cannot be taken says so, and leads back."""
        lifecycle.revoke(rows[:1], CRLReason.SUPERSEDED)
        response = client.get(address(f"{name}_one", rows[0].pk), follow=True)
        assert response.redirect_chain == [(address("change", rows[0].pk), 302)]
        assert "Nothing to do: this certificate is revoked." in text_of(response)

    def test_unknown(self, client: Client, operator: Any) -> None:
        """A certificate that is not there is said not to be there."""
        response = client.get(address("revoke_one", 99999), follow=True)
        assert "doesn’t exist" in text_of(response)


class TestMany:
    def choose(self, client: Client, rows: list[EnrolledCertificate], **fields: str) -> Any:
        """Choose the action for these rows in the list."""
        posted = {"action": "revoke_selected", "_selected_action": [row.pk for row in rows], **fields}
        return client.post(LIST, posted, follow=True)

    def test_page_and_confirmation(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """Selected certificates are listed, and revoked in one step, each with its entry in the history."""
        response = self.choose(client, rows[:2])
        page = text_of(response)
        assert "Are you sure you want to revoke these 2 certificates?" in page
        assert str(rows[0]) in page
        assert str(rows[2]) not in page
        assert response.context["form"].initial["certificates"].split(",") == [str(rows[1].pk), str(rows[0].pk)]
        response = confirm(client, rows[:2])
        assert response.redirect_chain == [(LIST, 302)]
        assert "2 certificates were revoked." in text_of(response)
        assert states() == ["revoked", "revoked", "active"]
        assert set(LogEntry.objects.values_list("object_id", flat=True)) == {str(row.pk) for row in rows[:2]}

    def test_select_across(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """“Select all” takes everything that the list shows, filtered and searched."""
        enroll(user_named("bob"))
        posted = {"action": "revoke_selected", "_selected_action": rows[0].pk, "select_across": "1"}
        response = client.post(f"{LIST}?q=user:alice", posted)
        assert "these 3 certificates" in text_of(response)
        assert response.context["action_url"].endswith("revoke/?_changelist_filters=q%3Duser%253Aalice")

    def test_filters_are_kept(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """After the step the list is filtered as before."""
        url = f"{address('revoke')}?_changelist_filters=q%3Duser%253Aalice"
        posted = {"certificates": pks(rows), "revocation_reason": "superseded"}
        assert client.post(url, posted).headers["Location"] == f"{LIST}?q=user%3Aalice"

    def test_some_are_revoked(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """What is revoked already stays as it is, and the page and the message say so."""
        lifecycle.revoke(rows[:1], CRLReason.SUPERSEDED)
        assert "1 certificate is revoked already and stays as it is." in text_of(self.choose(client, rows))
        page = text_of(confirm(client, rows))
        assert "2 certificates were revoked." in page
        assert "1 certificate is revoked already and stays as it is." in page
        assert sorted(Revocation.objects.values_list("reason", flat=True)) == ["keyCompromise"] * 2 + ["superseded"]

    def test_long_lists(
        self, client: Client, operator: Any, rows: list[EnrolledCertificate], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The page lists so many and counts the rest."""
        monkeypatch.setattr(confirmation, "MAX_SHOWN", 2)
        assert "and 1 more" in text_of(self.choose(client, rows))

    def test_too_many(
        self, client: Client, operator: Any, rows: list[EnrolledCertificate], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """More than a request can take are refused, with what to do."""
        monkeypatch.setattr(certificate_admin_module, "MAX_CERTIFICATES", 2)
        assert "At most 2 certificates can be revoked at once" in text_of(self.choose(client, rows))

    def test_none(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """An empty selection is no error."""
        posted = {"action": "revoke_selected", "select_across": "1", "_selected_action": rows[0].pk}
        assert client.post(f"{LIST}?q=nobody", posted).status_code == 302

    def test_query_count(self, client: Client, operator: Any) -> None:
        """The page of fifty certificates costs no query for each."""
        rows = [enroll(user_named(f"user{number}")) for number in range(50)]
        with CaptureQueriesContext(connection) as queries:
            self.choose(client, rows)
        # Session, operator, two of permissions, the list's count, the rows with their users.
        assert len(queries) == 6


class TestRefused:
    @pytest.mark.parametrize("permission", ["change_enrolledcertificate", "add_revocation", "view_enrolledcertificate"])
    @pytest.mark.parametrize("name", ["revoke", "suspend", "reactivate"])
    def test_permissions(self, client: Client, rows: list[EnrolledCertificate], permission: str, name: str) -> None:
        """Both permissions are needed, for the pages and for what they do."""
        sign_in(client, permission)
        assert confirm(client, rows, name).status_code == 403
        assert client.get(address(f"{name}_one", rows[0].pk)).status_code == 403
        client.post(LIST, {"action": "revoke_selected", "_selected_action": rows[0].pk})
        assert states() == ["active"] * 3

    def test_permission_for_one(
        self, client: Client, operator: Any, rows: list[EnrolledCertificate], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A project may withhold single certificates: then a selection with one of them is refused as a whole."""

        def may_change(self: Any, request: Any, obj: EnrolledCertificate | None = None) -> bool:
            return obj is None or obj.label != "b"

        monkeypatch.setattr(EnrolledCertificateAdmin, "has_change_permission", may_change)
        assert confirm(client, rows).status_code == 403
        assert states() == ["active"] * 3
        confirm(client, rows[:1])
        assert states() == ["revoked", "active", "active"]

    def test_nothing_left_to_do(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """A suspension of what was revoked meanwhile changes nothing, and says so."""
        lifecycle.revoke(rows[:1], CRLReason.KEY_COMPROMISE)
        page = text_of(confirm(client, rows[:1], "suspend"))
        assert "1 certificate is revoked already and stays as it is." in page
        assert "suspended." not in page
        assert not LogEntry.objects.exists()

    def test_get_changes_nothing(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """An address alone revokes nothing."""
        query = {"certificates": pks(rows), "revocation_reason": "keyCompromise"}
        assert client.get(address("revoke"), query).headers["Location"] == LIST
        assert states() == ["active"] * 3

    def test_csrf(self, rows: list[EnrolledCertificate]) -> None:
        """Another site's form revokes nothing."""
        client = Client(enforce_csrf_checks=True)
        sign_in(client, superuser=True)
        assert confirm(client, rows).status_code == 403
        assert states() == ["active"] * 3

    @pytest.mark.parametrize("value", ["", "x", "1;2", "-1", "1,", "9" * 30, ",".join(["1"] * 1001)])
    def test_forged_selection(self, client: Client, operator: Any, rows: list[EnrolledCertificate], value: str) -> None:
        """A selection that no page made is refused, without a crash."""
        response = confirm(client, [], certificates=value)
        assert "No certificate was selected" in text_of(response)

    def test_overtaken(self, client: Client, operator: Any, rows: list[EnrolledCertificate]) -> None:
        """A reactivation of what was revoked meanwhile is refused, all or nothing."""
        for row in rows[:2]:
            lifecycle.suspend(row)
        lifecycle.revoke(rows[1:2], CRLReason.KEY_COMPROMISE)
        page = text_of(confirm(client, rows[:2], "reactivate"))
        assert "Only a suspended certificate can be reactivated; this one is revoked." in page
        assert states() == ["suspended", "revoked", "active"]
        assert not LogEntry.objects.exists()


class TestOwnCertificate:
    @pytest.mark.parametrize(
        ("transition", "own", "warned"), [(REVOKE, True, True), (REVOKE, False, False), (REACTIVATE, True, False)]
    )
    def test_warning(self, rows: list[EnrolledCertificate], transition: Any, own: bool, warned: bool) -> None:
        """Whoever is about to revoke the certificate that they are signed in with is warned."""
        request: Any = RequestFactory().get("/")
        request.user = user_named("operator", is_staff=True, is_superuser=True)
        fingerprint = rows[0].fingerprint_sha256 if own else "0" * 64
        request.client_certificate = SimpleNamespace(fingerprint_sha256=fingerprint)
        model_admin = EnrolledCertificateAdmin(EnrolledCertificate, admin.site)
        request.resolver_match = None
        page = text_of(confirmation.ask(model_admin, request, transition, rows).render())
        assert ("You are signed in with this very certificate." in page) is warned

    def test_states_of_transitions(self) -> None:
        """What is revoked stays revoked: no step starts there."""
        for transition in TRANSITIONS.values():
            assert State.REVOKED not in transition.starts_from


class TestSuperusers:
    @pytest.fixture
    def suspended(self) -> EnrolledCertificate:
        """A suspended certificate that signs in as a superuser."""
        row = enroll(user_named("root", is_superuser=True))
        lifecycle.suspend(row)
        return row

    def test_only_superusers_let_one_in(self, client: Client, operator: Any, suspended: EnrolledCertificate) -> None:
        """Who is none can suspend a superuser's certificate, and not reactivate it: neither page nor step is there."""
        assert address("reactivate_one", suspended.pk) not in text_of(client.get(address("change", suspended.pk)))
        assert client.get(address("reactivate_one", suspended.pk)).status_code == 403
        assert confirm(client, [suspended], "reactivate").status_code == 403
        assert states() == [State.SUSPENDED]

    def test_superusers_can(self, client: Client, suspended: EnrolledCertificate) -> None:
        """A superuser reactivates it."""
        sign_in(client, superuser=True)
        assert confirm(client, [suspended], "reactivate").status_code == 200
        assert states() == [State.ACTIVE]

    def test_impossible_numbers(self, client: Client, operator: Any) -> None:
        """A number that no database has is no certificate."""
        posted = {"certificates": "9" * 19, "revocation_reason": "keyCompromise", "comment": ""}
        assert "No certificate was selected" in text_of(client.post(address("revoke"), posted, follow=True))
