"""manage.py mtls_list"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from django_mtls.management.user_argument import user_named
from django_mtls.models import EnrolledCertificate, State


class Command(BaseCommand):
    help = (
        "List enrolled client certificates, newest first, a line each: fingerprint, state, end, user, subject, label."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", metavar="USERNAME", help="those of this user")
        parser.add_argument("--state", choices=State.values, help="those in this state, expired or not")
        parser.add_argument(
            "--expires-within", type=int, metavar="DAYS", help="those that are valid now and end by then"
        )
        parser.add_argument("--json", action="store_true", help="write a JSON object a line")

    def handle(
        self, *, user: str | None, state: str | None, expires_within: int | None, json: bool, **options: Any
    ) -> None:
        rows = EnrolledCertificate.objects.select_related("user").defer("der")
        if user is not None:
            rows = rows.filter(user=user_named(user).pk)
        if state is not None:
            rows = rows.filter(state=state)
        if expires_within is not None:
            if not 0 <= expires_within <= 36_500:
                raise CommandError(_("Give --expires-within as a number of days from 0 to 36500."))
            now = timezone.now()
            rows = rows.filter(not_after__gte=now, not_after__lte=now + timedelta(days=expires_within))
        for line in _json_lines(rows) if json else _lines(rows):
            self.stdout.write(line)


def _lines(rows: QuerySet[EnrolledCertificate]) -> Iterator[str]:
    for row in rows.iterator(chunk_size=1000):
        end = row.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        user = row.user.get_username() if row.user is not None else "-"
        yield "\t".join((row.fingerprint_sha256, row.shown_state, end, user, row.subject or "-", row.label or "-"))


def _json_lines(rows: QuerySet[EnrolledCertificate]) -> Iterator[str]:
    for row in rows.iterator(chunk_size=1000):
        yield json.dumps(
            {
                "fingerprint_sha256": row.fingerprint_sha256,
                "state": row.state,
                "expired": row.has_expired,
                "user": row.user.get_username() if row.user is not None else None,
                "label": row.label,
                "subject": row.subject,
                "issuer": row.issuer,
                "serial_number": row.serial_number,
                "not_before": row.not_before.astimezone(UTC).isoformat(),
                "not_after": row.not_after.astimezone(UTC).isoformat(),
                "spki_sha256": row.spki_sha256,
                "enrolled_at": row.enrolled_at.astimezone(UTC).isoformat(),
            }
        )
