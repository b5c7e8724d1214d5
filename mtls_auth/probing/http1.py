"""One HTTP/1.1 request in raw bytes and its answer; nothing is normalised, and nothing repeated."""

import http.client
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from mtls_auth.probing.answer import MAX_BYTES, NO_ANSWER, Answer

PAUSE = 0.1
"""Seconds between the parts of a request."""

_TEXT = 0x1
_LENGTHS = {126: 2, 127: 8}


def exchange(connection: socket.socket, parts: Sequence[bytes]) -> Answer:
    """Send these very bytes and return the answer; one without a status if the connection ended before it."""
    # Whoever has seen enough answers and closes, while the rest is still being sent.
    with suppress(OSError):
        for number, part in enumerate(parts):
            if number:
                time.sleep(PAUSE)
            connection.sendall(part)
    response = http.client.HTTPResponse(connection, method="GET")
    try:
        response.begin()
        if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return Answer.of(response.status, _first_message(response.fp))
        return Answer.of(response.status, response.read(MAX_BYTES))
    except TimeoutError:
        return Answer(fault=NO_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        return Answer(fault=f"closed without an answer ({error or type(error).__name__})")
    finally:
        response.close()


def _first_message(stream: BinaryIO) -> bytes:
    """Return the text of the first WebSocket frame, which servers send without a mask. RFC 6455 §5.2"""
    head = stream.read(2)
    if len(head) < 2 or head[0] & 0x0F != _TEXT:
        return b""
    length = head[1] & 0x7F
    if length in _LENGTHS:
        length = int.from_bytes(stream.read(_LENGTHS[length]), "big")
    return stream.read(min(length, MAX_BYTES))
