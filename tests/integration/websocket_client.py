"""A WebSocket on a connection that the test made itself: resumed, or used for HTTP before."""

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame
from websockets.uri import parse_uri

from tests.integration.client import Client, HandshakeRefused, Reply

CHUNK = 65536


class WebSocketClient(Client):
    """One connection, which turns into a WebSocket once asked to."""

    def greeting(self, path: str = "/ws") -> Reply:
        """Upgrade, and return the first message under status 101, or the status that refuses the upgrade."""
        protocol = ClientProtocol(parse_uri(f"wss://localhost{path}"))
        protocol.send_request(protocol.connect())
        tls = self.tls
        try:
            while True:
                for data in protocol.data_to_send():
                    tls.sendall(data)
                received = tls.recv(CHUNK)
                protocol.receive_data(received) if received else protocol.receive_eof()
                self.session = tls.session
                if isinstance(protocol.handshake_exc, InvalidStatus):
                    return Reply(protocol.handshake_exc.response.status_code, "")
                for event in protocol.events_received():
                    if isinstance(event, Frame):
                        return Reply(101, bytes(event.data).decode())
                if not received:
                    raise ConnectionError("closed without an answer")
        except OSError as error:
            raise HandshakeRefused(repr(error)) from error
