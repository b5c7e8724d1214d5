"""What the answers of a server mean, in the terms of `tls_matrix.json`."""

from dataclasses import dataclass
from http import HTTPStatus

from mtls_auth import Assurance, Reason
from tests.integration.client import Reply
from tests.integration.http2_client import HTTP2WebSocketClient
from tests.integration.lab import Files
from tests.integration.tls_servers import AnyClient, Protocol
from tests.integration.websocket_client import WebSocketClient


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate, and the user that it was enrolled for."""

    files: Files | None
    user: str

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256."""
        assert self.files is not None
        return self.files.fingerprint


_FINE = {HTTPStatus.OK, HTTPStatus.SWITCHING_PROTOCOLS}
_DENIALS = frozenset(Reason) - {Reason.NO_CERTIFICATE}


def told(outcome: str, protocol: Protocol) -> str:
    """Return what a client can learn of an outcome: a WebSocket that is denied is not told why."""
    return "denied" if protocol.startswith("WebSocket") and outcome in _DENIALS else outcome


def read(reply: Reply, holder: Holder) -> str:
    """Return what an answer means in the terms of the table; check everything that it says besides."""
    if not reply.body.startswith("{"):
        return "denied" if reply.status == HTTPStatus.FORBIDDEN else f"answered with {reply.status}"
    answer = reply.json
    if answer["user"] is None:
        reason = Reason(answer["reason"])
        assert reply.status in _FINE if reason is Reason.NO_CERTIFICATE else reply.status == reason.status
        return reason.value
    assert reply.status in _FINE
    assert answer["fingerprint"] == holder.fingerprint
    assert answer["assurance"] == Assurance.TLS_SOCKET
    return "user" if answer["user"] == holder.user else f"somebody else: {answer['user']}"


def ask(client: AnyClient, holder: Holder) -> str:
    """Ask who is there, by the client's protocol."""
    return read(
        client.greeting() if isinstance(client, WebSocketClient | HTTP2WebSocketClient) else client.get(), holder
    )
