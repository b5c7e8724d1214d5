"""One HTTP/2 request with fields that no client would send, and its answer. Needs the package `h2`."""

import socket
import ssl
import time
from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from mtls_auth.probing.answer import MAX_BYTES, NO_ANSWER, Answer
from mtls_auth.probing.http2_tricks import Field

ALPN = "h2"
_CONFIG = h2.config.H2Configuration(
    client_side=True,
    header_encoding=None,
    # What is to be seen is what the server makes of it.
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


def speaks_http2(connection: socket.socket) -> bool:
    """Whether the server chose HTTP/2 in the handshake. RFC 9113 §3.2"""
    return isinstance(connection, ssl.SSLSocket) and connection.selected_alpn_protocol() == ALPN


def exchange(connection: socket.socket, fields: Sequence[Field], trailers: Sequence[Field]) -> Answer:
    """Send one request and return the answer; one without a status for a stream that is reset."""
    stream = _Stream()
    deadline = time.monotonic() + (connection.gettimeout() or 0)
    try:
        stream.send(fields, trailers)
        connection.sendall(stream.connection.data_to_send())
        while stream.answer is None and time.monotonic() < deadline:
            received = connection.recv(MAX_BYTES)
            if not received:
                return Answer(fault="closed without an answer")
            stream.receive(received)
            connection.sendall(stream.connection.data_to_send())
    except TimeoutError:
        pass
    except (OSError, h2.exceptions.H2Error) as error:
        return stream.answer or Answer(fault=f"closed without an answer ({error or type(error).__name__})")
    return stream.answer or Answer(fault=NO_ANSWER)


class _Stream:
    """The only request of a connection, until its answer is there."""

    def __init__(self) -> None:
        self.connection = h2.connection.H2Connection(config=_CONFIG)
        self.answer: Answer | None = None
        self._status = 0
        self._body = b""

    def send(self, fields: Sequence[Field], trailers: Sequence[Field]) -> None:
        self.connection.initiate_connection()
        number = self.connection.get_next_available_stream_id()
        self.connection.send_headers(number, list(fields), end_stream=not trailers)
        if trailers:
            self.connection.send_data(number, b"hello")
            self.connection.send_headers(number, list(trailers), end_stream=True)

    def receive(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    self._status = int(dict(headers or ()).get(b":status", b"0"))
                case h2.events.DataReceived(data=data, flow_controlled_length=length, stream_id=number):
                    self._body = (self._body + (data or b""))[:MAX_BYTES]
                    if length and number:
                        self.connection.acknowledge_received_data(length, number)
                case h2.events.StreamEnded():
                    self.answer = Answer.of(self._status, self._body)
                case h2.events.StreamReset(error_code=code) | h2.events.ConnectionTerminated(error_code=code):
                    # Servers reset the rest of a request that they have answered already.
                    self.answer = self.answer or Answer(fault=f"stream reset ({code})")
