"""Tornado below gunicorn, for WSGI: `gunicorn -k mtls_auth.servers.gunicorn.TornadoWorker …`."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.workers import gtornado
from tornado.httputil import HTTPServerRequest
from tornado.wsgi import WSGIContainer

from mtls_auth.server_tls import SOCKET_KEY
from mtls_auth.servers.gunicorn.tls_first import TLSFirst


class _Container(WSGIContainer):
    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        # Tornado takes them for names with hyphens, and the last of the two for the only one.
        for name in [name for name in request.headers if "_" in name]:
            del request.headers[name]
        connection: Any = request.connection
        return {**super().environ(request), SOCKET_KEY: connection.stream.socket}


class TornadoWorker(TLSFirst, gtornado.TornadoWorker):
    """gunicorn's `tornado` worker with the connection's socket in each environ, for WSGI applications only.

    The application runs in `--threads` threads beside the event loop.
    """

    wsgi: Any

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # In the event loop's own thread Django would refuse to ask its database.
        self.wsgi = _Container(self.wsgi, ThreadPoolExecutor(self.cfg.threads))
