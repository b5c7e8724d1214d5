"""gunicorn's own ASGI worker: `gunicorn -k mtls_auth.servers.gunicorn.ASGIWorker …`."""

import ssl
from typing import Any

from gunicorn import sock
from gunicorn.workers import gasgi

from mtls_auth.servers.gunicorn.tls_first import TLSFirst
from mtls_auth.servers.tls_extension import ConnectionApp

# What is replaced below has to be there, or gunicorn's own would be used, which serves plain HTTP without a context.
_ = gasgi.ASGIWorker._get_ssl_context


class _Protocol(gasgi.ASGIProtocol):
    app: Any

    def connection_made(self, transport: Any) -> None:
        if self.cfg.is_ssl and transport.get_extra_info("ssl_object") is None:
            self._refuse(transport)
            return
        try:
            self.app = ConnectionApp.on(self.app, transport)
        except BaseException:
            self._refuse(transport)
            raise
        super().connection_made(transport)

    def _refuse(self, transport: Any) -> None:
        self.worker.nr_conns += 1  # `connection_lost` counts it down
        transport.abort()


class ASGIWorker(TLSFirst, gasgi.ASGIWorker):
    """gunicorn's `asgi` worker, with the ASGI TLS extension and the transport peer in each scope."""

    def init_process(self) -> None:
        gasgi.ASGIProtocol = _Protocol  # in this process, where the server looks it up when it starts
        super().init_process()

    def _get_ssl_context(self) -> ssl.SSLContext | None:
        return sock.ssl_context(self.cfg) if self.cfg.is_ssl else None
