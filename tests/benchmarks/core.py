"""The core WSGI middleware over a bare application, hot and cold."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle, repeat
from typing import Any

from mtls_auth import (
    NGINX,
    RFC9440,
    AnyVerifiedCertificate,
    Authenticated,
    Authenticator,
    Dialect,
    Forwarded,
    Source,
    TLSSocket,
    TrustedProxies,
)
from mtls_auth.testing import client_cert_field, escaped_pem
from mtls_auth.wsgi import DECISION_KEY, ClientCertificateMiddleware
from tests.benchmarks import traffic
from tests.benchmarks.leaves import mint
from tests.benchmarks.report import Table, row
from tests.benchmarks.rounds import Batch, Case, Pace, measure, repeated

HOT_TARGET = 5.0
SOCKET_TARGET = 3.0
COLD_TARGET = 60.0
COLD_CERTIFICATES = 256

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def tables(pace: Pace) -> list[Table]:
    with traffic.tcp_socket() as tcp, traffic.tls_socket() as tls:
        rsa, ec = ([escaped_pem(der).encode() for der in mint(kind, COLD_CERTIFICATES)] for kind in ("rsa", "ec"))
        structured = client_cert_field(mint("rsa", 1)[0]).encode()
        peer = {"gunicorn.socket": tcp}
        cases = [
            *hot(f"header, RSA-2048, {len(rsa[0])} characters", rsa[0], {}),
            *hot(f"header, P-256, {len(ec[0])} characters", ec[0], {}),
            *hot("header, peer from gunicorn's socket", rsa[0], peer),
            *_pair("RFC 9440 header", forwarded(RFC9440), {"client-cert": repeat(structured).__next__}, {}),
            *_pair("TLS socket", TLSSocket(), {}, {"gunicorn.socket": tls}, target=SOCKET_TARGET),
            *_pair("no certificate", forwarded(NGINX), {}, {}, decides=False),
            *cold("header, RSA-2048", rsa),
            *cold("header, P-256", ec),
        ]
        measured = measure(cases, pace)
    rows = [row(case, measured[case]) for case in cases if case.baseline]
    return [
        Table(
            "Core, WSGI",
            rows,
            [
                f"Cold: {COLD_CERTIFICATES} distinct certificates, each seen once by an authenticator that is new in "
                "each round; no chain verification. The bare application gets the same environ."
            ],
        )
    ]


def forwarded(dialect: Dialect) -> Source:
    """Return a source that trusts the loopback."""
    return Forwarded(
        dialect=dialect,
        proxies=TrustedProxies.parse(["127.0.0.1"]),
        proxy_verifies=not dialect.has_verdict,
        server_address_is_peer=True,
    )


def authenticator(source: Source) -> Authenticator:
    return Authenticator(source, policy=AnyVerifiedCertificate())


def nginx_fields(leaf: Iterator[bytes]) -> dict[str, traffic.Field]:
    """Return what nginx adds to a request, with the next certificate of *leaf*."""
    return {"x-ssl-client-cert": leaf.__next__, "x-ssl-client-verify": repeat(b"SUCCESS").__next__}


def hot(name: str, leaf: bytes, facts: dict[str, Any]) -> list[Case]:
    """Return the bare application, and the middleware that knows the certificate."""
    return _pair(name, forwarded(NGINX), nginx_fields(repeat(leaf)), facts)


def _pair(
    name: str,
    source: Source,
    fields: dict[str, traffic.Field],
    facts: dict[str, Any],
    decides: bool = True,
    target: float = HOT_TARGET,
) -> list[Case]:
    environ = traffic.environs(fields, **facts)
    application = ClientCertificateMiddleware(bare, authenticator(source))
    probe = environ()
    application(probe, _start_response)
    if isinstance(probe[DECISION_KEY], Authenticated) is not decides:
        raise RuntimeError(f"{name}: {probe[DECISION_KEY]}")
    base = Case("bare application", _requests(bare, environ))
    return [base, Case(f"hot: {name}", _requests(application, environ), base, target)]


def cold(name: str, leaves: list[bytes]) -> list[Case]:
    """Return the bare application, and the middleware that never saw any of *leaves*."""
    base = Case("bare application", _requests(bare, traffic.environs(nginx_fields(cycle(leaves)))))
    batch, around = unseen(
        leaves,
        lambda leaf: _requests(
            ClientCertificateMiddleware(bare, authenticator(forwarded(NGINX))), traffic.environs(nginx_fields(leaf))
        ),
    )
    # One certificate goes to the request that warms up.
    return [base, Case(f"cold: {name}", batch, base, COLD_TARGET, len(leaves) - 1, around)]


def unseen(
    leaves: list[bytes], build: Callable[[Iterator[bytes]], Batch]
) -> tuple[Batch, Callable[[], AbstractContextManager[object]]]:
    """Return a batch that is built anew, with all of *leaves* before it, each time that its context is entered."""
    current = build(iter(leaves))

    @contextmanager
    def around() -> Iterator[None]:
        nonlocal current
        current = build(iter(leaves))
        yield

    return lambda count: current(count), around


def bare(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer like an application that does nothing."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _requests(application: Application, environ: Callable[[], dict[str, Any]]) -> Batch:
    return repeated(lambda: application(environ(), _start_response))


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
    return bytes
