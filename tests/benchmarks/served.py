"""What the servers of `throughput` serve: the bare applications behind the middleware, made where they are served."""

from mtls_auth import TLSSocket, asgi, wsgi
from tests.benchmarks import asgi as bare_asgi
from tests.benchmarks import core as bare_wsgi


def wsgi_protected() -> wsgi.ClientCertificateMiddleware:
    return wsgi.ClientCertificateMiddleware(bare_wsgi.bare, bare_wsgi.authenticator(TLSSocket()))


def asgi_protected() -> asgi.ClientCertificateMiddleware:
    return asgi.ClientCertificateMiddleware(bare_asgi.bare, bare_wsgi.authenticator(TLSSocket()))
