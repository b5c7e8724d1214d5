"""TLS handshakes of asyncio's servers, made where the peer is known.

asyncio and uvloop drop a failed handshake without a word to the log or to the client, and nothing tells the TLS object
whose connection it is. Here a connection is accepted first, and upgraded to TLS then.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mtls_auth.handshakes import Logged
from mtls_auth.peers import Peer

_MAX_IDLE = 64
_TIMEOUTS = {"ssl_handshake_timeout", "ssl_shutdown_timeout"}


class ConnectionContext(ssl.SSLContext):
    """A server's context for the handshake of one connection: what it makes knows the peer."""

    _server: ssl.SSLContext
    _transport: asyncio.Transport | None = None

    def __new__(cls, server: ssl.SSLContext) -> "ConnectionContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, server: ssl.SSLContext) -> None:
        self._server = server

    def of(self, transport: asyncio.Transport | None) -> "ConnectionContext":
        """Turn to another connection; to none when the handshake is done."""
        self._transport = transport
        return self

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        tls = self._server.wrap_bio(incoming, outgoing, *args, **kwargs)
        logged: Any = tls
        if isinstance(logged, Logged) and self._transport is not None:
            logged.peer = Peer.of(self._transport.get_extra_info("socket"))
            logged.send_alert = partial(_send_alert, self._transport, outgoing)
        return tls


def _send_alert(transport: asyncio.Transport, outgoing: ssl.MemoryBIO) -> None:
    """Send what OpenSSL has to say of a handshake that failed, past a transport that will not. RFC 8446 §6.2."""
    if transport.get_write_buffer_size() == 0:
        with suppress(OSError):
            os.write(transport.get_extra_info("socket").fileno(), outgoing.read())


class AcceptedConnection(asyncio.Protocol):
    """One accepted connection until its handshake is done, and no longer: the server's own protocol takes over."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self._is_done = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as servers call it
        self._accepted = transport
        # Not as a task, which would start after the first bytes may have come: uvloop reads at once.
        handshake = self._handshake()
        waiter = handshake.send(None)
        waiter.add_done_callback(partial(_resume, handshake))

    def data_received(self, data: bytes) -> None:
        upgraded, protocol = self._at_once()
        if not upgraded.is_closing():
            _feed(protocol, data)

    def eof_received(self) -> bool | None:
        _upgraded, protocol = self._at_once()
        keeps_open: bool | None = protocol.eof_received()
        return keeps_open

    async def _handshake(self) -> None:
        server = self._server
        context = server.idle.pop() if server.idle else ConnectionContext(server.context)
        try:
            upgraded: Any = await server.loop.start_tls(
                self._accepted, self, context.of(self._accepted), server_side=True, **server.timeouts
            )
        except OSError:  # what failed has been logged, and the connection is closed
            return
        finally:
            if len(server.idle) < _MAX_IDLE:
                server.idle.append(context.of(None))
        if upgraded is not None and not upgraded.is_closing() and not self._is_done:  # else the client left meanwhile
            self._hand_over(upgraded)

    def _at_once(self) -> tuple[Any, Any]:
        # asyncio passes on what has come with the end of the handshake before `start_tls` returns.
        tls: Any = self._accepted.get_protocol()
        return tls._app_transport, self._hand_over(tls._app_transport)

    def _hand_over(self, upgraded: Any) -> Any:
        self._is_done = True
        try:
            protocol: Any = self._server.protocol_factory()
            upgraded.set_protocol(protocol)
            protocol.connection_made(upgraded)
        except BaseException:
            upgraded.abort()  # nobody has the connection
            raise
        return upgraded.get_protocol()  # it may have chosen another one, by ALPN


def _feed(protocol: Any, data: bytes) -> None:
    if isinstance(protocol, asyncio.BufferedProtocol):
        while data:
            buffer = memoryview(protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size], data = data[:size], data[size:]
            protocol.buffer_updated(size)
    else:
        protocol.data_received(data)


def _resume(handshake: Coroutine[Any, Any, None], waiter: object) -> None:
    with suppress(StopIteration):
        handshake.send(None)


@dataclass(slots=True, kw_only=True)
class _Server:
    loop: asyncio.AbstractEventLoop
    context: ssl.SSLContext
    protocol_factory: Callable[[], asyncio.BaseProtocol]
    timeouts: dict[str, Any]
    idle: list[ConnectionContext] = field(default_factory=list)  # making one costs a tenth of a handshake


def accept_first(kind: type[ssl.SSLContext]) -> None:
    """Have the servers that the running loop creates with a context of this *kind* make their handshakes here.

    Does nothing where no loop runs.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if getattr(loop.create_server, "func", None) is not _create_server:
        create_server = partial(_create_server, loop, loop.create_server, kind)
        loop.create_server = create_server  # type: ignore[assignment, method-assign]  # asyncio has no other place


async def _create_server(
    loop: asyncio.AbstractEventLoop,
    create_server: Callable[..., Any],
    kind: type[ssl.SSLContext],
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    *args: Any,
    **options: Any,
) -> asyncio.AbstractServer:
    context = options.get("ssl")
    if isinstance(context, kind):
        del options["ssl"]
        timeouts = {name: options.pop(name) for name in _TIMEOUTS & options.keys()}
        server = _Server(loop=loop, context=context, protocol_factory=protocol_factory, timeouts=timeouts)
        protocol_factory = partial(AcceptedConnection, server)
    created: asyncio.AbstractServer = await create_server(protocol_factory, *args, **options)
    return created
