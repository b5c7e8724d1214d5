"""System checks: text apart from logic, every id once. `conf.problems_of` finds what is wrong with `MTLS_AUTH`."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import connections, router

from django_mtls.conf import get_authenticator, get_settings
from django_mtls.configured import parts_of
from django_mtls.directory import BACKEND
from django_mtls.models import EnrolledCertificate
from django_mtls.problems import problems_of
from mtls_auth import PathVerifier
from mtls_auth.silent_servers import Silence, hides_peer, keeps_certificate, needs_certificate, needs_peer
from mtls_auth.sources import Source

CERTIFICATE_MIDDLEWARE = "django_mtls.middleware.ClientCertificateMiddleware"
LOGIN_MIDDLEWARE = "django_mtls.middleware.CertificateLoginMiddleware"
AUTHENTICATION_MIDDLEWARE = "django.contrib.auth.middleware.AuthenticationMiddleware"
SESSION_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"

E007 = checks.Error(
    "CertificateLoginMiddleware is not below both AuthenticationMiddleware and ClientCertificateMiddleware.",
    hint="Order MIDDLEWARE: AuthenticationMiddleware, ClientCertificateMiddleware, CertificateLoginMiddleware.",
    id="django_mtls.E007",
)
E008 = checks.Error(
    "CertificateLoginMiddleware is installed without its authentication backend.",
    hint=f"Add {BACKEND!r} to AUTHENTICATION_BACKENDS.",
    id="django_mtls.E008",
)
E011 = checks.Error(
    "A middleware of django_mtls is in MIDDLEWARE more than once.",
    hint="Keep the first ClientCertificateMiddleware and the first CertificateLoginMiddleware.",
    id="django_mtls.E011",
)
E012 = checks.Error(
    "MTLS_AUTH['SESSION'] is set without Django's SessionMiddleware.",
    hint=f"Add {SESSION_MIDDLEWARE!r} above the others, or set SESSION = None.",
    id="django_mtls.E012",
)
W001 = checks.Warning(
    "ClientCertificateMiddleware is not in MIDDLEWARE: certificate headers reach the views as clients wrote them.",
    hint=f"Add {CERTIFICATE_MIDDLEWARE!r} to MIDDLEWARE.",
    id="django_mtls.W001",
)
W002 = checks.Warning(
    "A trust anchor of MTLS_AUTH has expired or expires within 30 days.",
    hint="Add the CA's new certificate to TRUST_ANCHORS before the old one ends.",
    id="django_mtls.W002",
)
W003 = checks.Warning(
    "A trust anchor of MTLS_AUTH cannot verify anybody: it is X.509 v1, or its key is too weak or of a kind unknown.",
    hint="The log names it. Make the CA again: X.509 v3, CA:TRUE, RSA of 2048 bits or more, or P-256.",
    id="django_mtls.W003",
)
W004 = checks.Warning(
    "Each request with a certificate opens a new PostgreSQL connection, which costs milliseconds.",
    hint="Set CONN_MAX_AGE, or OPTIONS['pool'] (needed under ASGI), or MTLS_AUTH['MAX_STALENESS'].",
    id="django_mtls.W004",
)
W005 = checks.Warning(
    "MTLS_AUTH['SERVER_ADDRESS_IS_PEER'] believes REMOTE_ADDR, which servers rewrite from X-Forwarded-For.",
    hint=(
        "Use gunicorn, or uvicorn with --http mtls_auth.servers.uvicorn:HTTPProtocol, and remove it; or make sure "
        "that nothing rewrites the address, and silence this check."
    ),
    id="django_mtls.W005",
)
W007 = checks.Warning(
    "The server of this process does not tell who connected, and MTLS_AUTH['TRUSTED_PROXIES'] believes nobody.",
    hint=(
        "{instead}; or set PROXY_SECRET instead of TRUSTED_PROXIES; or, if nothing at all rewrites REMOTE_ADDR, as "
        "under runserver, set SERVER_ADDRESS_IS_PEER = True: where something does, every client can be the proxy."
    ),
    id="django_mtls.W007",
)
W008 = checks.Warning(
    "The server of this process keeps client certificates to itself, which MTLS_AUTH has to read from its TLS layer.",
    hint="{instead}.",
    id="django_mtls.W008",
)

W006 = checks.Warning(
    "MTLS_AUTH['DIAGNOSTICS_TOKEN'] is set: whoever knows it is told whom the site believes a request to be from.",
    hint="Remove it when mtls-auth probe is done.",
    id="django_mtls.W006",
)


def register() -> None:
    """Register every check; called when the app is ready."""
    checks.register(check_settings, checks.Tags.security)
    checks.register(check_middleware, checks.Tags.security)
    checks.register(check_trust_anchors, checks.Tags.security)
    checks.register(check_server, checks.Tags.security)
    checks.register(check_server_address, checks.Tags.security, deploy=True)
    checks.register(check_diagnostics, checks.Tags.security, deploy=True)
    # Not tagged as a database check: it asks no database, and those run only when one is named.
    checks.register(check_connections, checks.Tags.security, deploy=True)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Report every problem of `MTLS_AUTH` at once."""
    problems = problems_of(getattr(settings, "MTLS_AUTH", None))
    return [checks.Error(problem.message, hint=problem.hint, id=f"django_mtls.{problem.id}") for problem in problems]


def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the middlewares are there once and in order, with backend and sessions where needed."""
    installed = list(settings.MIDDLEWARE)
    found: list[checks.CheckMessage] = []
    if max(installed.count(CERTIFICATE_MIDDLEWARE), installed.count(LOGIN_MIDDLEWARE)) > 1:
        found.append(E011)
    if CERTIFICATE_MIDDLEWARE not in installed:
        found.append(W001)
    if LOGIN_MIDDLEWARE in installed:
        above = installed[: installed.index(LOGIN_MIDDLEWARE)]
        if CERTIFICATE_MIDDLEWARE not in above or AUTHENTICATION_MIDDLEWARE not in above:
            found.append(E007)
        if BACKEND not in settings.AUTHENTICATION_BACKENDS:
            found.append(E008)
        if _is_valid() and get_settings().session is not None and SESSION_MIDDLEWARE not in above:
            found.append(E012)
    return found


def check_trust_anchors(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of trust anchors that end soon, or that verify nobody."""
    if not _is_valid():
        return []
    soon = datetime.now(UTC) + timedelta(days=30)
    anchors = [
        anchor
        for file in get_settings().trust_anchors
        for anchor in x509.load_pem_x509_certificates(Path(file).read_bytes())
    ]
    found: list[checks.CheckMessage] = []
    if any(anchor.not_valid_after_utc < soon for anchor in anchors):
        found.append(W002)
    if anchors and PathVerifier(anchors).useless:
        found.append(W003)
    return found


def check_server(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn where the server that runs the checks is known to keep to itself what is needed."""
    if not _is_valid():
        return []
    source = get_authenticator().source
    if sys.argv[1:2] != ["runserver"]:
        return silence_messages(source)
    # It starts all the same: much of a site can be developed without certificates.
    silence = Silence("runserver", "Develop with manage.py runserver_mtls")
    return _messages(silence if needs_peer(source) else None, silence if needs_certificate(source) else None)


def silence_messages(source: Source) -> list[checks.CheckMessage]:
    """Return what is wrong where the server of this process is known to keep what *source* needs."""
    return _messages(hides_peer(source), keeps_certificate(source))


def _messages(peer: Silence | None, certificate: Silence | None) -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    for silence, row in ((peer, W007), (certificate, W008)):
        if silence is not None:
            instead = silence.instead[0].upper() + silence.instead[1:]
            hint = (row.hint or "").format(instead=instead)
            found.append(checks.Warning(row.msg, hint=hint, obj=silence.server, id=row.id))
    return found


def check_server_address(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn where trust rests on an address that others can write."""
    if not _is_valid():
        return []
    return [W005] if any(part.get("SERVER_ADDRESS_IS_PEER") for part in parts_of(settings.MTLS_AUTH)) else []


def check_diagnostics(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn that the diagnostic endpoint is on."""
    return [W006] if _is_valid() and get_settings().diagnostics is not None else []


def check_connections(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of a new database connection for each request."""
    if not _is_valid() or get_settings().max_staleness:  # zero asks each time as well
        return []
    connection = connections[router.db_for_read(EnrolledCertificate)]
    options = connection.settings_dict
    pooled = options.get("OPTIONS", {}).get("pool")
    return [W004] if connection.vendor == "postgresql" and options.get("CONN_MAX_AGE") == 0 and not pooled else []


def _is_valid() -> bool:
    return not problems_of(getattr(settings, "MTLS_AUTH", None))
