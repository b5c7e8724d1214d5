"""Packages that people use for this today, where they are installed: `pip install -r tests/benchmarks/peers.txt`.

None of the Django ones looks at the certificate itself: a verdict and a distinguished name are what they read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mtls_auth.testing import escaped_pem
from tests.benchmarks.leaves import mint
from tests.benchmarks.rounds import Case

if TYPE_CHECKING:
    from tests.benchmarks.asgi import Driver

# django-ssl-auth asks for the first two.
DJANGO_SETTINGS: Mapping[str, Any] = {
    "USER_DATA_FN": "tests.benchmarks.peers.user_of_dn",
    "AUTOCREATE_VALID_SSL_USERS": False,
    "LOGIN_URL": "/login/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoPeer:
    """A Django package: its middleware and backend, and what its proxy adds to the environ."""

    name: str
    module: str
    middleware: str
    backend: str
    facts: Mapping[str, str]
    needs_session: bool = False

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


_SSL_AUTH = "django_ssl_auth"
_TLS_AUTH = "django_tls_certificate_auth"
_DN = {"HTTP_X_SSL_AUTHENTICATED": "SUCCESS", "HTTP_X_SSL_USER_DN": "/OU=Benchmarks/CN=alice"}

DJANGO = (
    DjangoPeer(
        name="django-ssl-auth, X-REST-API: 1",
        module=_SSL_AUTH,
        middleware=f"{_SSL_AUTH}.SSLClientAuthMiddleware",
        backend=f"{_SSL_AUTH}.SSLClientAuthBackend",
        facts={**_DN, "HTTP_X_REST_API": "1"},
    ),
    DjangoPeer(
        name="django-ssl-auth, cookie kept",
        module=_SSL_AUTH,
        middleware=f"{_SSL_AUTH}.SSLClientAuthMiddleware",
        backend=f"{_SSL_AUTH}.SSLClientAuthBackend",
        facts=_DN,
        needs_session=True,
    ),
    DjangoPeer(
        name="django-tls-certificate-auth, cookie kept",
        module=_TLS_AUTH,
        middleware=f"{_TLS_AUTH}.TLSClientCertAuthenticationMiddleware",
        backend=f"{_TLS_AUTH}.TLSClientCertAuthenticationBackend",
        facts={"HTTP_X_CLIENT_CERT_VALID": "SUCCESS", "HTTP_X_CLIENT_CERT_DN": "OU=Benchmarks,CN=alice"},
        needs_session=True,
    ),
)


def django_backends() -> list[str]:
    """Return the authentication backends of the installed ones."""
    return list(dict.fromkeys(peer.backend for peer in DJANGO if peer.installed))


def user_of_dn(distinguished_name: str) -> dict[str, str]:
    """Return the fields of a user, as django-ssl-auth asks its sites to write it."""
    return {"username": distinguished_name.rpartition("CN=")[2]}


def x509_cases(drive: "Driver") -> list[Case]:
    """Return x509middleware over the bare ASGI application; raise `ImportError` if it is not installed."""
    from tests.benchmarks.asgi import bare, nginx_scopes  # here: that module imports this one

    package = import_module("x509middleware.asgi")
    scope = nginx_scopes(escaped_pem(mint("rsa", 1)[0]).encode())

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        certificate = scope["client_cert"]
        if certificate.subject.native["common_name"] != "alice" or not certificate.sha256_fingerprint:
            raise RuntimeError("x509middleware names somebody else")
        await bare(scope, receive, send)

    def case(name: str, app: Callable[..., Any], base: Case) -> Case:
        wrapped = package.ClientCertificateMiddleware(app, proxy_header="x-ssl-client-cert")
        return Case(name, drive(wrapped.__call__, scope), base)

    base = Case("bare application", drive(bare, scope))
    return [
        base,
        case("x509middleware, certificate not read", bare, base),
        case("x509middleware, CN and fingerprint read", reading, base),
    ]
