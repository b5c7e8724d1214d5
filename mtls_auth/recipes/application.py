"""The application's side of a recipe: Python text that asks for everything that the terminator offers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mtls_auth import dialects

Format: TypeAlias = Literal["wsgi", "asgi", "django"]
FORMATS: tuple[Format, ...] = ("wsgi", "asgi", "django")

_BOTH = "Both have to hold."
_ADDRESS = "Nobody else is believed."
_SECRET = "The server hides who connected: whoever knows this is believed."  # noqa: S105
_VERIFIES = "The terminator gives no verdict: as configured, it forwards only what it verified."
_ANCHORS = "The terminator does not verify: the application does, up to this CA."
_NAMES = "The terminator forwards a name and no certificate: it is the name of a user."
_SERVERS = {
    "wsgi": "gunicorn tells who connected.",
    "asgi": "uvicorn tells who connected with --http mtls_auth.servers.uvicorn:HTTPProtocol.",
    "django": "gunicorn tells who connected, and uvicorn with --http mtls_auth.servers.uvicorn:HTTPProtocol.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What the application is told: whose word it takes, and what has to hold for that.

    `address` is a Python expression, the others are text that `Places` let through.
    """

    dialect: str | None = None
    server_source: str | None = None
    address: str | None = None
    secret: str | None = None
    proxy_verifies: bool = False
    trust_anchors: str | None = None
    stated_names: bool = False

    @property
    def reason(self) -> str:
        """Why exactly these are believed."""
        if self.address is not None:
            return _ADDRESS if self.secret is None else _BOTH
        return _SECRET


def settings_text(format: Format, trusted: Trusted) -> str:
    """Return the settings as Python text; for WSGI and ASGI they wrap an `application` or `app` that exists."""
    lines = _django(trusted) if format == "django" else _middleware(format, trusted)
    return "\n".join(lines) + "\n"


def _django(trusted: Trusted) -> Iterator[str]:
    yield "# At the end of settings.py."
    yield from _head("django", trusted)
    yield 'INSTALLED_APPS += ["django_mtls"]'
    yield "MIDDLEWARE += ["
    yield '    "django_mtls.middleware.ClientCertificateMiddleware",'
    yield '    "django_mtls.middleware.CertificateLoginMiddleware",'
    yield "]"
    yield "AUTHENTICATION_BACKENDS = ["
    yield '    "django_mtls.backends.ClientCertificateBackend",'
    yield '    "django.contrib.auth.backends.ModelBackend",'
    yield "]"
    yield "MTLS_AUTH = {"
    yield f'    "SOURCE": {_quoted(trusted.dialect or trusted.server_source)},'
    if trusted.dialect is not None:
        yield f"    # {trusted.reason}"
    if trusted.address is not None:
        yield f'    "TRUSTED_PROXIES": [{trusted.address}],'
    if trusted.secret is not None:
        yield f'    "PROXY_SECRET": {_quoted(trusted.secret)},'
    if trusted.proxy_verifies:
        yield f"    # {_VERIFIES}"
        yield '    "PROXY_VERIFIES": True,'
    if trusted.trust_anchors is not None:
        yield f"    # {_ANCHORS}"
        yield f'    "TRUST_ANCHORS": [{_quoted(trusted.trust_anchors)}],'
    if trusted.stated_names:
        yield f"    # {_NAMES}"
        yield '    "MAPPING": "stated_name",'
    yield "}"


def _middleware(format: Format, trusted: Trusted) -> Iterator[str]:
    names = {"AnyVerifiedCertificate", "Authenticator"}
    source = list(_source(trusted, names))
    if trusted.trust_anchors is not None:
        names.add("PathVerifier")
    name = "application" if format == "wsgi" else "app"
    imports = [
        f"from mtls_auth import {', '.join(sorted(names))}",
        f"from mtls_auth.{format} import ClientCertificateMiddleware",
    ]
    if trusted.dialect is not None:
        imports.append(f"from mtls_auth.dialects import {_constant(trusted.dialect)}")
    elif trusted.server_source != "tls":
        imports.append(f"from mtls_auth.server_environ import {_variables(trusted.server_source)}")
    yield f"# Below the definition of {name}, which must exist already."
    yield from _head(format, trusted)
    yield from sorted(imports)
    yield ""
    yield "authenticator = Authenticator("
    yield from (f"    {line}" for line in source)
    yield "    # Whom the site admits at all."
    yield "    policy=AnyVerifiedCertificate(),"
    if trusted.trust_anchors is not None:
        yield f"    # {_ANCHORS}"
        yield f"    verifier=PathVerifier.from_files({_quoted(trusted.trust_anchors)}),"
    yield ")"
    yield "# Outside everything that reads headers."
    yield f"{name} = ClientCertificateMiddleware({name}, authenticator)"


def _source(trusted: Trusted, names: set[str]) -> Iterator[str]:
    """Yield the source's lines, and put what they use into *names*."""
    if trusted.dialect is None:
        tls = trusted.server_source == "tls"
        names.add("TLSSocket" if tls else "ServerEnviron")
        yield "TLSSocket()," if tls else f"ServerEnviron({_variables(trusted.server_source)}),"
        return
    names.add("Forwarded")
    yield "Forwarded("
    yield f"    dialect={_constant(trusted.dialect)},"
    yield f"    # {trusted.reason}"
    if trusted.address is not None:
        names.add("TrustedProxies")
        yield f"    proxies=TrustedProxies.parse([{trusted.address}]),"
    if trusted.secret is not None:
        names.add("ProxySecret")
        yield f"    secret=ProxySecret({_quoted(trusted.secret)}),"
    if trusted.proxy_verifies:
        yield f"    # {_VERIFIES}"
        yield "    proxy_verifies=True,"
    yield "),"


def _head(format: Format, trusted: Trusted) -> Iterator[str]:
    if trusted.address is not None:
        yield f"# {_SERVERS[format]}"
    if trusted.address is not None and trusted.address.startswith("os."):
        yield "import os"
        yield ""


def _quoted(value: str | None) -> str:
    return f'"{value}"'  # without quotes and backslashes, which `Places` refuses


def _constant(dialect: str) -> str:
    return next(name for name, row in vars(dialects).items() if row is dialects.BUILTIN[dialect])


def _variables(server_source: str | None) -> str:
    return str(server_source).upper().replace("-", "_")
