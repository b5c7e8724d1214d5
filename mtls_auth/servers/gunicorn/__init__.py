"""gunicorn's workers with the client certificate: `gunicorn -k mtls_auth.servers.gunicorn.ASGIWorker …`.

`sync`, `gthread`, `gevent` and `gevent_pywsgi` need none of these: their environ has the connection's socket.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtls_auth.servers.gunicorn.asgi_worker import ASGIWorker as ASGIWorker
    from mtls_auth.servers.gunicorn.tornado_worker import TornadoWorker as TornadoWorker
    from mtls_auth.servers.gunicorn.uvicorn_worker import UvicornWorker as UvicornWorker

_MODULES = {"ASGIWorker": "asgi_worker", "TornadoWorker": "tornado_worker", "UvicornWorker": "uvicorn_worker"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)  # tornado only where it is used
