"""The site's state: PKI, database, users and their enrolled certificates."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from example_project.pki import USERS, ensure_pki


class CannotStart(Exception):
    """What keeps the example from starting, in one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Site:
    """The folder that holds everything: delete it to start again."""

    directory: Path

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def socket(self) -> Path:
        return self.directory / "app.sock"

    def prepare(self) -> None:
        """Make what is not there yet: the PKI, the database, alice and bob. Keeps what is there."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            ensure_pki(self.pki)
            _ensure_secret(self.directory / "secret-key")
            self._prepare_database()
        except OSError as error:
            raise CannotStart(
                f"Cannot write to {self.directory} ({error.strerror}): choose another folder with --directory."
            ) from error
        except Exception as error:
            if not isinstance(error, (ValueError, _database_error())):
                raise
            raise CannotStart(
                f"The state in {self.directory} cannot be used ({error}): delete the folder to start again, or choose "
                "another one with --directory."
            ) from error

    def _prepare_database(self) -> None:
        # Django can be imported only once it knows which settings and which folder.
        os.environ["MTLS_EXAMPLE_DIRECTORY"] = str(self.directory)
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        import django
        from django.core.management import call_command

        django.setup()
        from django.contrib.auth.models import User

        from django_mtls import lifecycle
        from django_mtls.models import EnrolledCertificate
        from mtls_auth.certificate_files import client_certificate_in

        call_command("migrate", verbosity=0)
        for name in USERS:
            is_admin = name == "alice"
            user, _created = User.objects.get_or_create(
                username=name, defaults={"is_staff": is_admin, "is_superuser": is_admin}
            )
            certificate = client_certificate_in((self.pki / f"{name}.pem").read_bytes())
            # A certificate that is known stays as it is: one that was revoked, above all.
            if not EnrolledCertificate.objects.filter(fingerprint_sha256=certificate.fingerprint_sha256).exists():
                lifecycle.enroll(certificate, user, label="example")


def _ensure_secret(file: Path) -> None:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48))


def _database_error() -> type[Exception]:
    from django.db import Error

    return Error
