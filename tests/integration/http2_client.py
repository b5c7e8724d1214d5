"""An HTTP/2 client of few lines, which can resume a TLS session: one connection, one request at a time."""

import ssl
from collections.abc import Iterator
from http import HTTPStatus
from types import TracebackType
from typing import Self

import h2.connection
import h2.events
import h2.exceptions
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from tests.integration.client import HandshakeRefused, Reply, tls_connection

CHUNK = 65536
FIELDS = ((":scheme", "https"), (":authority", "localhost"))


class HTTP2Client:
    """One connection, over TLS with a *context*; asks as often as the server keeps it open."""

    def __init__(self, port: int, context: ssl.SSLContext, *, session: ssl.SSLSession | None = None) -> None:
        """Connect, resuming *session*; raise HandshakeRefused where the server refuses that early."""
        context.set_alpn_protocols(["h2"])
        self.tls = tls_connection(port, context, session)
        self.is_open = True
        self._http = h2.connection.H2Connection()
        self._http.initiate_connection()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.tls.close()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What resumes this connection, once it was asked."""
        return self.tls.session

    def get(self, path: str = "/whoami") -> Reply:
        """Ask for *path*; raise HandshakeRefused for no answer: TLS 1.3 refuses at the first read."""
        fields = [(":method", "GET"), *FIELDS, (":path", path), ("accept", "application/json")]
        try:
            return self._answer(self._request(fields, end_stream=True))
        except (OSError, h2.exceptions.H2Error) as error:
            raise HandshakeRefused(repr(error)) from error

    def _request(self, fields: list[tuple[str, str]], *, end_stream: bool) -> int:
        assert self.tls.selected_alpn_protocol() == "h2"
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(stream, fields, end_stream=end_stream)
        return stream

    def _answer(self, stream: int) -> Reply:
        status, body = 0, b""
        for event in self._events():
            match event:
                case h2.events.ResponseReceived(stream_id=number, headers=headers) if number == stream:
                    status = int(dict(headers)[b":status"])
                case h2.events.DataReceived(stream_id=number, data=data) if number == stream:
                    body += data
                case h2.events.StreamEnded(stream_id=number) if number == stream:
                    break
                case h2.events.StreamReset(stream_id=number) if number == stream:
                    raise ConnectionError(str(event))
        return Reply(status, body.decode())

    def _events(self) -> Iterator[h2.events.Event]:
        """Send what is to be sent, and yield what comes, until the server ends the connection."""
        while True:
            self.tls.sendall(self._http.data_to_send())
            received = self.tls.recv(CHUNK)
            if not received:
                raise ConnectionError("closed without an answer")
            for event in self._http.receive_data(received):
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise ConnectionError(str(event))
                yield event


class HTTP2WebSocketClient(HTTP2Client):
    """One connection, one of whose streams turns into a WebSocket. RFC 8441"""

    def greeting(self, path: str = "/ws") -> Reply:
        """Return the first message, or the status that refuses the WebSocket."""
        try:
            while not self._http.remote_settings.enable_connect_protocol:
                next(self._events())
            fields = [(":method", "CONNECT"), (":protocol", "websocket"), *FIELDS, (":path", path)]
            return self._greeting(self._request([*fields, ("sec-websocket-version", "13")], end_stream=False))
        except (OSError, h2.exceptions.H2Error) as error:
            raise HandshakeRefused(repr(error)) from error

    def _greeting(self, stream: int) -> Reply:
        messages = Connection(ConnectionType.CLIENT)
        for event in self._events():
            match event:
                case h2.events.ResponseReceived(stream_id=number, headers=headers) if number == stream:
                    status = int(dict(headers)[b":status"])
                    if status != HTTPStatus.OK:
                        return Reply(status, "")
                case h2.events.DataReceived(stream_id=number, data=data) if number == stream:
                    messages.receive_data(data)
                    for message in messages.events():
                        if isinstance(message, TextMessage):
                            return Reply(HTTPStatus.SWITCHING_PROTOCOLS, message.data)
                case h2.events.StreamReset(stream_id=number) | h2.events.StreamEnded(stream_id=number):
                    raise ConnectionError(str(event))
        raise AssertionError("unreachable")
