"""manage.py runserver_mtls"""

import getpass
import re
import shlex
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.core.management import CommandError, CommandParser
from django.core.servers.basehttp import WSGIServer
from django.utils.translation import gettext as _

from django_mtls.development_pki import PASSWORD, ClientFiles, DevelopmentPKI
from mtls_auth import ConfigurationError, ServerTLS
from mtls_auth.servers.wsgiref import with_tls

FOLDER = Path(".mtls")
_FILES = ("certificate", "key", "client_ca")
# A file's name and a common name (64 characters, RFC 5280 Appendix A.1) besides what Django takes for a username.
_USER = re.compile(r"[\w@+-][\w.@+-]{0,63}")


class Command(RunserverCommand):
    help = (
        "Starts Django's server for development with mutual TLS. Without files it makes certificates for localhost, "
        f"and a client's, in {FOLDER}/."
    )

    # runserver keeps its port, and no browser is sent to https:// on 8000 by what it remembers of 8443.
    default_port = "8443"
    protocol = "https"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--certificate", metavar="FILE", help="the server's, in PEM, with its intermediates")
        parser.add_argument("--key", metavar="FILE", help="its private key")
        parser.add_argument("--client-ca", metavar="FILE", help="the CAs whose clients are welcome")
        parser.add_argument("--crl", metavar="FILE", help="revocation lists of every CA that issues to clients")
        parser.add_argument("--required", action="store_true", help="refuse clients without a certificate")
        parser.add_argument(
            "--user", help="whom the client's certificate names that is made without files; you, if left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # In the process that only watches the files, too: it is the one that says what is wrong, and ends.
        self.client: ClientFiles | None = None
        given = [name for name in _FILES if options[name] is not None]  # "" is a variable that is not set
        if not given and not options["crl"]:
            options |= self._make_files(options["user"])
        elif len(given) < len(_FILES):
            raise CommandError(_("Give all of --certificate, --key and --client-ca, or none of them and no --crl."))
        elif options["user"]:
            raise CommandError(_("--user names a certificate that is made: leave it out with files of your own."))
        try:
            tls = ServerTLS(**{name: options[name] for name in (*_FILES, "crl", "required")})
        except ConfigurationError as error:
            raise CommandError("\n".join(error.problems)) from error
        self.server_cls = with_tls(WSGIServer, tls)
        super().handle(*args, **options)

    def get_handler(self, *args: Any, **options: Any) -> Any:
        # This command's parent is of an app that need not be there.
        options["use_static_handler"] &= apps.is_installed("django.contrib.staticfiles")
        return super().get_handler(*args, **options)

    def on_bind(self, server_port: int) -> None:
        super().on_bind(server_port)
        if self.client is not None:
            self.stdout.write(self._what_next(self.client, server_port))

    def _make_files(self, user: str | None) -> dict[str, Path]:
        if user is None:
            try:
                user = getpass.getuser()
            except (OSError, KeyError):  # the latter until Python 3.13
                raise CommandError(_("This computer does not know your name: give --user.")) from None
        if not _USER.fullmatch(user):
            raise CommandError(_("%(user)r cannot name a client: give another --user.") % {"user": user})
        self.pki = DevelopmentPKI(FOLDER)
        self.pki.ensure_server()
        self.client = self.pki.ensure_client(user)
        return {"certificate": self.pki.certificate, "key": self.pki.key, "client_ca": self.pki.client_ca}

    def _what_next(self, client: ClientFiles, port: int) -> str:
        certificate, key, ca = (shlex.quote(str(path)) for path in (client.certificate, client.key, self.pki.server_ca))
        user = shlex.quote(client.certificate.stem)
        return _(
            "\nAsk with a client certificate, from this folder:\n"
            "  curl --cacert %(ca)s --cert %(certificate)s --key %(key)s https://localhost:%(port)s/\n"
            "In a browser, import %(p12)s; its password is %(password)s\n"
            "It stands for nobody until it is enrolled:\n"
            "  python manage.py mtls_enroll %(user)s %(certificate)s\n"
        ) % {
            "ca": ca,
            "certificate": certificate,
            "key": key,
            "port": port,
            "p12": client.p12,
            "password": PASSWORD,
            "user": user,
        }
