"""The lab of the Django tests: one PKI, people with certificates, and browsers that speak WSGI and ASGI.

A `Sent` is what reaches the server; a `Browser` hands it over as one kind of server would, and keeps cookies.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, cast

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core import checks
from django.db import OperationalError, connection
from django.test import AsyncClient, Client

from django_mtls import lifecycle
from django_mtls.conf import get_authenticator
from django_mtls.directory import Directory
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation, State
from mtls_auth import Connection, Identity, TLSSocket, VouchedFor, load_certificate
from mtls_auth.dialects import BUILTIN
from mtls_auth.server_tls import PEER_EXTENSION, StatedFacts
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, client_cert_field, escaped_pem
from mtls_auth.testing.headers import headers_for
from tests.pki import BrokenLeaves

PROXY = "10.0.0.1"
STRANGER = "203.0.113.9"
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
MIDDLEWARE = "django_mtls.middleware.ClientCertificateMiddleware"
NGINX_SETTINGS: dict[str, Any] = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["10.0.0.0/8"]}

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What reaches the server: header fields in order, the transport peer, the certificate on its own socket.

    `variables` are what the server itself puts beside the headers.
    """

    headers: Headers = ()
    peer: str | None = PROXY
    tls: bytes | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)


NOTHING = Sent()


def by_nginx(der: bytes, verdict: str = "SUCCESS") -> Sent:
    """What nginx forwards."""
    return Sent(headers=(("X-SSL-Client-Cert", escaped_pem(der)), ("X-SSL-Client-Verify", verdict)))


def by_rfc9440(der: bytes) -> Sent:
    """What a proxy of RFC 9440 forwards."""
    return Sent(headers=(("Client-Cert", client_cert_field(der)),))


def by_dialect(name: str, der: bytes) -> Sent:
    """What the terminator of a built-in dialect forwards, or states, of a certificate that it verified."""
    return Sent(headers=tuple(headers_for(BUILTIN[name], der)))


def by_alibaba(fingerprint: str, verdict: str = "SUCCESS") -> Sent:
    """What Alibaba's load balancers state: the fingerprint alone."""
    prefix = "X-Forwarded-Clientcert"
    return Sent(headers=((f"{prefix}-Fingerprint", fingerprint), (f"{prefix}-Clientverify", verdict)))


def by_linkerd(name: str) -> Sent:
    """What Linkerd states: the client's name alone."""
    return Sent(headers=(("l5d-client-id", name),))


def by_tls(der: bytes) -> Sent:
    """A certificate on the server's own TLS socket; the client is whoever connects."""
    return Sent(peer=STRANGER, tls=der)


class FakeSocket:
    """The socket of a connection as gunicorn puts it into the environ."""

    def __init__(self, sent: Sent) -> None:
        self.sent = sent

    def getpeername(self) -> object:
        return (self.sent.peer, 40000)

    def getsockname(self) -> object:
        return ("192.0.2.1", 443)

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        assert binary_form
        return self.sent.tls


@dataclass(frozen=True)
class Answer:
    """What came of a request: the status, and whom the view saw or why nobody came so far."""

    status: int
    user: str | None = None
    reason: str | None = None
    response: Any = field(default=None, compare=False, repr=False)
    request: Any = field(default=None, compare=False, repr=False)

    def json(self) -> Any:
        """Return the body."""
        return self.response.json()


def answer_of(response: Any, request: Any) -> Answer:
    """Read an answer of the test site."""
    body = response.json() if response.headers["Content-Type"] == "application/json" else {}
    return Answer(response.status_code, body.get("user"), body.get("reason"), response, request)


class Browser(ABC):
    """A client with cookies."""

    client: Any

    @abstractmethod
    def get(self, path: str, sent: Sent = NOTHING, *headers: tuple[str, str]) -> Answer:
        """Send a GET request."""

    @property
    def session_key(self) -> str | None:
        """The session cookie, None without one."""
        cookie = self.client.cookies.get("sessionid")
        return cookie.value or None if cookie else None


class SyncBrowser(Browser):
    """Through Django's WSGI path: a repeated field arrives joined by commas, `REMOTE_ADDR` is rewritten."""

    def __init__(self) -> None:
        self.client = Client()

    def get(self, path: str, sent: Sent = NOTHING, *headers: tuple[str, str]) -> Answer:
        environ: dict[str, Any] = {"REMOTE_ADDR": STRANGER, **sent.variables}
        for name, value in (*sent.headers, *headers):
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        if sent.peer is not None:
            environ["gunicorn.socket"] = FakeSocket(sent)
        if sent.tls is not None:
            environ["wsgi.url_scheme"] = "https"
        response = self.client.get(path, **environ)
        return answer_of(response, response.wsgi_request)


class AsyncBrowser(Browser):
    """Through Django's ASGI path: every field by itself, facts of the connection in the scope's extensions."""

    def __init__(self) -> None:
        self.client = AsyncClient()

    def get(self, path: str, sent: Sent = NOTHING, *headers: tuple[str, str]) -> Answer:
        response = async_to_sync(self.client.request)(**scope_of(path, sent, *headers))
        return answer_of(response, response.asgi_request)


def scope_of(path: str, sent: Sent = NOTHING, *headers: tuple[str, str]) -> dict[str, Any]:
    """Return the parts of an ASGI scope that tell one request from another."""
    extensions: dict[str, Any] = {} if sent.peer is None else {PEER_EXTENSION: sent.peer}
    if sent.tls is not None:
        extensions["tls"] = {"client_cert": sent.tls, "client_cert_chain": ()}
    path, _, query = path.partition("?")
    fields = (("host", "testserver"), *sent.headers, *headers)
    return {
        "method": "GET",
        "path": path,
        "query_string": query,
        "scheme": "https" if sent.tls is not None else "http",
        "client": [STRANGER, 50000],
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields],
        "extensions": extensions,
        **sent.variables,
    }


BROWSERS: dict[str, type[Browser]] = {"wsgi": SyncBrowser, "asgi": AsyncBrowser}


@pytest.fixture(params=BROWSERS)
def browser(request: pytest.FixtureRequest) -> Browser:
    """A browser on either path."""
    return BROWSERS[request.param]()


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The root that signs everything."""
    return CertificateAuthority()


@pytest.fixture(scope="session")
def leaves(ca: CertificateAuthority) -> BrokenLeaves:
    """Its leaves, good and broken."""
    return BrokenLeaves(ca)


class Issue(Protocol):
    """Returns one leaf for each name and unit, however often it is asked."""

    def __call__(self, name: str, unit: str | None = None) -> IssuedCertificate: ...


@pytest.fixture(scope="session")
def issue(ca: CertificateAuthority) -> Issue:
    """Issue leaves by name."""
    return cache(lambda name, unit=None: ca.issue(name, organizational_unit=unit))


Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Any) -> Configure:
    """Set `MTLS_AUTH` to nginx's settings with changes; a SOURCE among them replaces the whole."""

    def change(**changes: Any) -> None:
        base = {} if "SOURCE" in changes else NGINX_SETTINGS
        settings.MTLS_AUTH = {**base, **changes}

    change()
    return change


def person(name: str, **values: Any) -> User:
    """Create a user without a password that anybody could type."""
    return User.objects.create_user(name, **values)


def enroll(issued: IssuedCertificate, user: User | None) -> EnrolledCertificate:
    """Enrol a leaf, in force or not."""
    facts = lifecycle.facts(load_certificate(issued.der))
    return EnrolledCertificate.objects.create(user=user, **facts)


def put(row: EnrolledCertificate, state: State) -> None:
    """Write a state behind the back of every signal."""
    EnrolledCertificate.objects.filter(pk=row.pk).update(state=state)


def revoke_serial(issued: IssuedCertificate) -> Revocation:
    """Revoke by issuer and serial number."""
    certificate = issued.certificate
    return lifecycle.revoke_serial(certificate.issuer, certificate.serial_number, CRLReason.KEY_COMPROMISE)


def identity_of(issued: IssuedCertificate) -> Identity:
    """Return the identity that the TLS layer vouches for."""
    evidence = TLSSocket().read(Connection(StatedFacts(chain=(issued.der,))))
    assert evidence is not None
    return Identity.from_verified(VouchedFor().verify(evidence, at=datetime.now(UTC)))


def directory() -> Directory:
    """Return the directory that answers requests."""
    return cast(Directory, get_authenticator().mapper)


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the directory."""
    fake = Clock()
    monkeypatch.setattr("django_mtls.directory.monotonic", fake)
    return fake


@contextmanager
def database_down() -> Iterator[None]:
    """Let every query fail as it does when the server is gone."""

    def fail(*args: Any) -> Any:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(fail):
        yield


def our_ids(**options: Any) -> list[str]:
    """Run Django's system checks; return the ids of this app's, sorted, without their prefix."""
    found = [str(message.id) for message in checks.run_checks(**options)]
    return sorted(id.removeprefix("django_mtls.") for id in found if id.startswith("django_mtls."))


def texts(messages: Sequence[checks.CheckMessage]) -> str:
    """Return all that messages say."""
    return "\n".join(f"{message.id} {message.msg} {message.hint}" for message in messages)


is_postgresql = bool(os.environ.get("MTLS_TEST_POSTGRESQL"))
