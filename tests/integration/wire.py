"""Requests to a terminator, byte by byte: HTTP/1.1 in parts, HTTP/2 with fields that no client would send."""

import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from mtls_auth.probing.http2_tricks import Field
from tests.integration.client import Reply, raw_connection, tls_context
from tests.integration.lab import Files

TIMEOUT = 5
PAUSE = 0.05
NONE = Reply(0, "")


@cache
def context(ca: Path, files: Files | None, protocol: str) -> ssl.SSLContext:
    """Return a context that trusts *ca*, presents *files*, and offers one protocol; it resumes no session."""
    made = tls_context(ca, files)
    made.set_alpn_protocols([protocol])
    return made


def _connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    raw = raw_connection(port)
    raw.settimeout(TIMEOUT)
    # Or the request waits until the end of the handshake has been acknowledged, which takes 40 ms.
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="localhost")


def ask(port: int, ca: Path, files: Files | None, *parts: bytes) -> Reply:
    """Send a request over TLS, its parts a moment apart; status 0 stands for no answer."""
    try:
        with _connect(port, context(ca, files, "http/1.1")) as connection:
            return exchange(connection, *parts)
    except OSError:
        return NONE


def converse(port: int, ca: Path, files: Files | None, *parts: bytes) -> bytes:
    """Send all parts over TLS, a moment apart, and return everything that comes until nothing does for a second."""
    received = b""
    with suppress(OSError), _connect(port, context(ca, files, "http/1.1")) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(PAUSE)
        connection.settimeout(1)
        while more := connection.recv(65536):
            received += more
    return received


def exchange(connection: socket.socket, *parts: bytes) -> Reply:
    """Send all parts, a moment apart, and return the answer; of a WebSocket its first message."""
    try:
        for number, part in enumerate(parts):
            if number:
                time.sleep(PAUSE)
            connection.sendall(part)
        response = http.client.HTTPResponse(connection, method="GET")
        response.begin()
        if response.status == 101:
            return Reply(101, _first_message(response.fp))
        return Reply(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return NONE


def _first_message(stream: IO[bytes]) -> str:
    """Read one frame of a server: final, text, unmasked. RFC 6455 §5.2."""
    _opcode, length = stream.read(2)
    if length == 126:
        length = int.from_bytes(stream.read(2))
    return stream.read(length).decode()


def ask_http2(port: int, ca: Path, files: Files | None, fields: Sequence[Field], trailers: Sequence[Field]) -> Reply:
    """Send a request with these *fields* over HTTP/2, as they are; status 0 stands for a reset or no answer."""
    try:
        with _connect(port, context(ca, files, "h2")) as connection:
            assert connection.selected_alpn_protocol() == "h2", "the terminator does not speak HTTP/2"
            return _exchange_http2(connection, fields, trailers)
    except (OSError, ProtocolError):
        return NONE


def _exchange_http2(connection: socket.socket, fields: Sequence[Field], trailers: Sequence[Field]) -> Reply:
    http2 = H2Connection(
        H2Configuration(
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
    )
    http2.initiate_connection()
    http2.send_headers(1, list(fields), end_stream=not trailers)
    if trailers:
        http2.send_data(1, b"hello")
        http2.send_headers(1, list(trailers), end_stream=True)
    connection.sendall(http2.data_to_send())
    status, body = 0, b""
    while received := connection.recv(65536):
        for event in http2.receive_data(received):
            match event:
                case ResponseReceived(headers=headers):
                    status = int(dict(headers or ())[b":status"])
                case DataReceived():
                    body += event.data
                    http2.acknowledge_received_data(event.flow_controlled_length, 1)
                case StreamEnded():
                    return Reply(status, body.decode(errors="replace"))
                case StreamReset() | ConnectionTerminated():
                    return NONE
        connection.sendall(http2.data_to_send())
    return NONE
