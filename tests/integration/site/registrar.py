"""Another process of the site, as the admin or a command would be: `python -m tests.integration.site.registrar`.

Reads one JSON object a line, does what it says through `django_mtls.lifecycle`, and answers `{"error": …}`
when that has been committed.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping

import django
from django.core.management import call_command


def main() -> None:
    """Prepare the database, then obey until the input ends."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.site.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.db import connection

    from django_mtls import lifecycle
    from django_mtls.models import CRLReason, EnrolledCertificate
    from mtls_auth.certificate_files import client_certificate_in

    def enroll(pem: str, user: str) -> None:
        certificate = client_certificate_in(pem.encode())
        lifecycle.enroll(certificate, User.objects.get_or_create(username=user)[0])

    def revoke(fingerprint: str) -> None:
        lifecycle.revoke(EnrolledCertificate.objects.filter(fingerprint_sha256=fingerprint), CRLReason.KEY_COMPROMISE)

    def activate(user: str, active: bool) -> None:
        found = User.objects.get(username=user)
        found.is_active = active
        found.save()

    commands: Mapping[str, Callable[..., None]] = {
        "enroll": enroll,
        "revoke": revoke,
        "activate": activate,
        "disconnect": connection.close,
    }
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            commands[order.pop("do")](**order)
            error = None
        except Exception:  # the test shows it
            error = traceback.format_exc()
        print(json.dumps({"error": error}), flush=True)


if __name__ == "__main__":
    main()
