"""uvicorn's HTTP protocols with the client certificate: `uvicorn --http mtls_auth.servers.uvicorn:HTTPProtocol`.

WebSocket protocols need no option: the HTTP protocol hands its upgrades to a class derived here. Since
`loaded_app` contains uvicorn's `ProxyHeadersMiddleware`, the peer recorded here is the one before any rewriting.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtls_auth.servers.tls_extension import ConnectionApp

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = object


def _bind(protocol: Any, transport: Any) -> None:
    """Bind the application of one connection, and of the WebSocket that it may become, to what its TLS says."""
    try:
        protocol.app = ConnectionApp.on(protocol.app, transport)
    except BaseException:
        transport.abort()  # the protocol has the transport already, and would serve the bare application
        raise
    websocket = getattr(protocol, "ws_protocol_class", None)
    if websocket is not None:
        protocol.ws_protocol_class = with_client_certificate(websocket)


class _WithClientCertificate(_Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        _bind(self, transport)


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


def _handle_request(protocol: Any, handle: Callable[[Any], None], request: Any) -> None:
    """Let HTTP/2 requests end that are all head: uvicorn 0.54 waits for an event that zttp 0.0.35 leaves out then."""
    handle(request)
    cycle = protocol.cycles.get(request.stream_id)
    if cycle is not None and request.end_stream:
        cycle.more_body = False
        cycle.message_event.set()


def _http2_protocol() -> Any:
    from uvicorn.protocols.http.auto_zttp_impl import AutoZttpProtocol

    class HTTP2Protocol(AutoZttpProtocol):
        """HTTP/2 or HTTP/1.1, as ALPN has it: what `--http zttp --http2` is without client certificates."""

        def _switch(self, http2: bool, initial_data: bytes = b"") -> None:
            super()._switch(http2)
            protocol: Any = self.transport.get_protocol()
            _bind(protocol, self.transport)
            if http2:
                protocol.handle_request = partial(_handle_request, protocol, protocol.handle_request)
            if initial_data:
                protocol.data_received(initial_data)

    return HTTP2Protocol


def _plain(module: str, name: str) -> Any:
    return getattr(import_module(f"uvicorn.protocols.http.{module}"), name)


# What is there for whichever parser is installed.
_PROTOCOLS: Mapping[str, Callable[[], Any]] = {
    "HTTPProtocol": lambda: with_client_certificate(_plain("auto", "AutoHTTPProtocol")),
    "H11Protocol": lambda: with_client_certificate(_plain("h11_impl", "H11Protocol")),
    "HttpToolsProtocol": lambda: with_client_certificate(_plain("httptools_impl", "HttpToolsProtocol")),
    "ZttpProtocol": lambda: with_client_certificate(_plain("zttp_impl", "ZttpProtocol")),
    "HTTP2Protocol": _http2_protocol,
}


def __getattr__(name: str) -> Any:
    if name not in _PROTOCOLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = _PROTOCOLS[name]()
    return found
