"""The user's page shows the user's certificates, whoever's admin it is."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import clear_url_caches

from django_mtls import lifecycle
from django_mtls.admin import EnrolledCertificateAdmin, UserCertificates, user_certificates
from django_mtls.models import EnrolledCertificate
from tests.django.operators import CA, address, enroll, sign_in, text_of, user_named

pytestmark = pytest.mark.django_db


def page_of(user: Any) -> str:
    """Return the address of a user's page."""
    return f"/admin/auth/user/{user.pk}/change/"


def fields_of(client: Client, user: Any) -> dict[str, Any]:
    """Return what the form of the user's page would send, without any inline."""
    form = client.get(page_of(user)).context["adminform"].form
    values = {name: value for name, value in form.initial.items() if value not in (None, False) and name != "password"}
    joined = values.pop("date_joined")
    return {
        **values,
        "date_joined_0": joined.date(),
        "date_joined_1": joined.time(),
        "groups": (),
        "user_permissions": (),
    }


class TestPage:
    def test_certificates(self, client: Client) -> None:
        """The page lists the certificates with their states, each linked, and links to enrolment and to all."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        row, suspended = enroll(alice, label="laptop"), enroll(alice, label="phone")
        lifecycle.suspend(suspended)
        enroll(user_named("bob"), label="elsewhere")
        page = text_of(client.get(page_of(alice)))
        assert "client certificates" in page.lower()
        for text in ("laptop", "phone", "suspended", f'href="{address("change", row.pk)}"'):
            assert text in page
        assert "elsewhere" not in page
        assert f'href="{address("add")}?user={alice.pk}"' in page
        assert f'href="{address("changelist")}?q=user:alice"' in page

    def test_bounded(self, client: Client) -> None:
        """The page shows the newest twenty, in one query."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        for number in range(25):
            enroll(alice, label=f"number-{number}-")
        with CaptureQueriesContext(connection) as queries:
            page = text_of(client.get(page_of(alice)))
        assert page.count('class="field-label"') == 20
        assert "number-24-" in page
        assert "number-4-" not in page
        ours = [query["sql"] for query in queries if "django_mtls_enrolledcertificate" in query["sql"]]
        assert len(ours) == 1
        assert "LIMIT 20" in ours[0]
        assert '"der"' not in ours[0]

    @pytest.mark.parametrize("permission", ["view_enrolledcertificate", "change_enrolledcertificate", None])
    def test_permissions(self, client: Client, permission: str | None) -> None:
        """Whoever may see certificates sees them here; nobody changes them here."""
        permissions = ["auth.change_user", *([permission] if permission else [])]
        sign_in(client, *permissions)
        alice = user_named("alice")
        enroll(alice, label="laptop")
        page = text_of(client.get(page_of(alice)))
        assert ("laptop" in page) is (permission is not None)
        assert f'href="{address("add")}' not in page

    def test_saving(self, client: Client) -> None:
        """The user's page is saved with or without what belongs to the list, and no certificate changes."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        row = enroll(alice, label="laptop")
        before = EnrolledCertificate.objects.values().get()
        fields = fields_of(client, alice)
        forged = {
            "client_certificates-TOTAL_FORMS": "2",
            "client_certificates-INITIAL_FORMS": "1",
            "client_certificates-0-id": row.pk,
            "client_certificates-0-label": "forged",
            "client_certificates-0-state": "pending",
            "client_certificates-0-DELETE": "on",
            "client_certificates-1-label": "forged",
        }
        for number, extra in enumerate(({}, forged)):
            response = client.post(page_of(alice), {**fields, "first_name": f"Alice {number}", **extra})
            assert response.status_code == 302, response.context["errors"]
            alice.refresh_from_db()
            assert alice.first_name == f"Alice {number}"
        assert EnrolledCertificate.objects.values().get() == before

    def test_errors(self, client: Client) -> None:
        """A user's page with errors still shows the certificates."""
        sign_in(client, superuser=True)
        alice = user_named("alice")
        enroll(alice, label="laptop")
        assert "laptop" in text_of(client.post(page_of(alice), {"username": ""}))

    def test_new_user(self, client: Client) -> None:
        """A user who is being added has no certificates."""
        sign_in(client, superuser=True)
        assert "client certificates" not in text_of(client.get("/admin/auth/user/add/")).lower().split("</nav>")[-1]


class OwnUserAdmin(UserAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """A project's own admin, which chooses its inlines by itself."""

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """Return none, without asking the parent."""
        return []


class ShowingUserAdmin(UserAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """A project's own admin that shows the certificates already."""

    inlines = (UserCertificates,)


class TestAnyUserAdmin:
    @pytest.fixture
    def site(self) -> Iterator[admin.AdminSite]:
        """A site of the project's own, with our admin registered first."""
        site = admin.AdminSite(name="own")
        site.register(EnrolledCertificate, EnrolledCertificateAdmin)
        yield site
        clear_url_caches()

    def inlines(self, site: admin.AdminSite, obj: Any) -> list[Any]:
        """Return the inlines of the user's page on *site*."""
        return list(site.get_model_admin(get_user_model()).get_inlines(RequestFactory().get("/"), obj))

    @pytest.mark.parametrize("user_admin", [UserAdmin, OwnUserAdmin, ShowingUserAdmin, admin.ModelAdmin])
    def test_registered_later(self, site: admin.AdminSite, user_admin: Any) -> None:
        """Whatever admin the users have, and whenever it was registered, the page shows the certificates once."""
        site.register(get_user_model(), user_admin)
        for _time in range(2):
            assert site.urls
        assert self.inlines(site, user_named("alice")) == [UserCertificates]
        assert self.inlines(site, None) == list(user_admin.inlines)
        # Another site with the same class has its own instance.
        assert UserCertificates not in getattr(OwnUserAdmin, "inlines", ())

    def test_no_user_admin(self, site: admin.AdminSite) -> None:
        """A site without users has no page to show them on."""
        assert site.urls
        assert not site.is_registered(get_user_model())

    def test_rendered_by_own_admin(self, client: Client) -> None:
        """The class that the project registered is not changed."""
        assert user_certificates.UserCertificates not in UserAdmin.inlines
        enroll(user_named("alice"), CA.issue("alice"))
        sign_in(client, superuser=True)
        assert client.get(page_of(user_named("alice"))).status_code == 200
