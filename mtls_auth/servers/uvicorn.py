"""uvicorn's HTTP protocols with the client certificate: `uvicorn --http mtls_auth.servers.uvicorn:HTTPProtocol`.

WebSocket protocols need no option: the HTTP protocol hands its upgrades to a class derived here. Since
`loaded_app` contains uvicorn's `ProxyHeadersMiddleware`, the peer recorded here is the one before any rewriting.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol as PlainH11Protocol

from mtls_auth.servers.tls_extension import ConnectionApp

if TYPE_CHECKING:
    _Protocol = PlainH11Protocol
else:
    _Protocol = object


class _WithClientCertificate(_Protocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        websocket: Any = getattr(self, "ws_protocol_class", None)
        if websocket is not None:
            self.ws_protocol_class = with_client_certificate(websocket)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app = ConnectionApp(self.app, transport)


class _WithoutTrailers(_WithClientCertificate):
    def on_headers_complete(self) -> None:
        # The httptools protocol appends the trailers of the body to the list of headers that it hands out, where a
        # client could add the certificate that the proxy in front did not send.
        self.scope["headers"] = list(self.headers)
        super().on_headers_complete()  # type: ignore[misc]  # of the httptools protocol


@cache
def with_client_certificate(protocol: Any) -> Any:
    """Derive a class from one of uvicorn's protocol classes that adds the TLS extension and the peer."""
    if issubclass(protocol, _WithClientCertificate):
        return protocol
    ours = _WithoutTrailers if hasattr(protocol, "on_headers_complete") else _WithClientCertificate
    return type(protocol.__name__, (ours, protocol), {})


_auto: Any = AutoHTTPProtocol
HTTPProtocol = with_client_certificate(_auto)
H11Protocol = with_client_certificate(PlainH11Protocol)


def __getattr__(name: str) -> Any:
    if name == "HttpToolsProtocol":  # only where httptools is installed
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as PlainHttpToolsProtocol

        return with_client_certificate(PlainHttpToolsProtocol)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
