"""uvicorn below gunicorn: `gunicorn -k mtls_auth.servers.gunicorn.UvicornWorker …`."""

import ssl
from collections.abc import Callable
from typing import Any

import uvicorn_worker
from gunicorn.sock import ssl_context

from mtls_auth.servers.gunicorn.tls_first import TLSFirst


class UvicornWorker(TLSFirst, uvicorn_worker.UvicornWorker):
    """`uvicorn_worker.UvicornWorker` with the ASGI TLS extension and the transport peer in each scope.

    Heeds gunicorn's `ssl_context` hook and `--http-protocols`, which that one does not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        protocol = "HTTP2Protocol" if "h2" in self.cfg.http_protocols else "HTTPProtocol"
        self.config.http = f"mtls_auth.servers.uvicorn:{protocol}"
        if self.cfg.is_ssl:
            self.config.ssl_context_factory = self._context

    def _context(self, config: object, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context: ssl.SSLContext = ssl_context(self.cfg)
        return context
