"""daphne with the client certificate, which neither daphne nor Twisted can ask for: with all of daphne's options,

    python -m mtls_auth.servers.daphne -e mtls:8443:certificate=server.pem:key=server.key:client_ca=client-ca.pem \
        mysite.asgi:application

The parameters of the endpoint `mtls` are those of `ServerTLS`, and `interface`; a colon or a backslash in a value is
written with a backslash before it. A key's password, which a command line would show to every user of the machine, is
for Python:

    from mtls_auth import ServerTLS
    from mtls_auth.servers.daphne import Endpoint, Server

    tls = ServerTLS(certificate="server.pem", key="server.key", client_ca="client-ca.pem", key_password="…")
    Server(application, endpoints=[Endpoint(port=8443, tls=tls)]).run()

Every scope, of HTTP/1.1, HTTP/2 and WebSocket, has the TLS extension and the transport peer. daphne's other endpoints
tell the peer only.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from daphne.cli import CommandLineInterface as PlainCommandLineInterface
from daphne.server import Server as PlainServer
from twisted.internet import reactor
from twisted.internet.defer import execute
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import H2_ENABLED
from zope.interface import implementer

from mtls_auth.errors import ConfigurationError
from mtls_auth.peers import Peer
from mtls_auth.server_context import ServerTLS
from mtls_auth.server_tls import PEER_EXTENSION
from mtls_auth.servers.pyopenssl_context import Connection, PyOpenSSLContext

_reactor: Any = reactor  # its module is replaced by an object

_ALPN = (b"h2", b"http/1.1") if H2_ENABLED else (b"http/1.1",)
_PREFIX = "mtls:"
_FILES = ("certificate", "key", "client_ca")
_SWITCHES: Mapping[str, object] = {"0": False, "1": True}
_CHOICES: Mapping[str, Mapping[str, object]] = {
    "required": _SWITCHES,
    "log_failures": _SWITCHES,
    "minimum_version": {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3},
}
_PARAMETERS = ("port", "interface", *_FILES, "crl", "ciphers", *_CHOICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where daphne listens for TLS with client certificates: on every IPv4 interface, unless one is given."""

    tls: ServerTLS
    port: int
    interface: str = ""

    @classmethod
    def parse(cls, description: str) -> Self:
        """Read `mtls:PORT:certificate=…:key=…:client_ca=…`. Raises `ConfigurationError` with everything wrong."""
        values, problems = _split(description[len(_PREFIX) :])
        parameters: dict[str, Any] = {}
        for name, value in values.items():
            if name not in _PARAMETERS:
                problems.append(f"unknown parameter {name!r}: an mtls endpoint has {', '.join(_PARAMETERS)}")
            elif value not in (choices := _CHOICES.get(name, {value: value})):
                problems.append(f"{name}={value}: give {' or '.join(choices)}")
            else:
                parameters[name] = choices[value]
        port, interface = parameters.pop("port", ""), parameters.pop("interface", "")
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            problems.append("begin with mtls:PORT")
        problems += [f"{name} is missing" for name in _FILES if name not in values]
        try:
            if all(name in values for name in _FILES):
                tls = ServerTLS(**parameters)
        except ConfigurationError as error:
            problems += error.problems
        if problems:
            raise ConfigurationError(*(f"endpoint mtls:{port}: {problem}" for problem in problems))
        return cls(tls=tls, port=int(port), interface=interface)


class Server(PlainServer):
    """daphne's server, whose endpoints may be of type `Endpoint`, and `mtls:…` in text.

    Raises `ConfigurationError` with everything that is wrong with them.
    """

    def __init__(self, application: Any, endpoints: Iterable[str | Endpoint] | None = None, **options: Any) -> None:
        given = list(endpoints or ())
        super().__init__(application, endpoints=given, **options)
        self.endpoints = [endpoint for endpoint in given if not _is_ours(endpoint)]
        self._ours = _loaded(endpoint for endpoint in given if _is_ours(endpoint))

    def run(self) -> None:
        _reactor.callWhenRunning(self._listen)  # daphne makes the factory for it first
        super().run()

    def listen_error(self, failure: Any) -> None:
        super().listen_error(failure)
        self.abort_start = True  # what daphne's command makes an exit status of

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        transport = _transport_of(protocol)
        connection = transport.getHandle()
        extensions: dict[str, Any] = {**(scope.get("extensions") or {})}
        if isinstance(connection, Connection):  # what clients send to other endpoints of Twisted, nobody verifies
            peer = connection.peer
            extensions["tls"] = connection.extension()
            # daphne says nothing of a WebSocket's, and of a request's what anybody writes into X-Forwarded-Proto.
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        else:
            peer = Peer.of(_socket_below(transport))
        if peer is not None:
            extensions[PEER_EXTENSION] = str(peer)
        scope["extensions"] = extensions
        return super().create_application(protocol, scope)

    def _listen(self) -> None:
        for endpoint, creator in self._ours:
            listener = execute(
                _reactor.listenSSL, endpoint.port, self.http_factory, creator, interface=endpoint.interface
            )
            listener.addCallback(self.listen_success)
            listener.addErrback(self.listen_error)
            self.listeners.append(listener)


class CommandLineInterface(PlainCommandLineInterface):
    """daphne's command."""

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m mtls_auth.servers.daphne"

    def server_class(self, **options: Any) -> Server:
        try:
            return Server(**options)
        except ConfigurationError as error:
            lines = [f"{self.parser.prog}: error: {problem}" for problem in error.problems]
            raise SystemExit("\n".join(lines)) from error


@implementer(IOpenSSLServerConnectionCreator)
class _ConnectionCreator:
    def __init__(self, context: PyOpenSSLContext) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> Connection:
        return self._context.connection(lambda: Peer.of(_socket_below(protocol)))


def _is_ours(endpoint: str | Endpoint) -> bool:
    return isinstance(endpoint, Endpoint) or endpoint[: len(_PREFIX)].lower() == _PREFIX


def _loaded(endpoints: Iterable[str | Endpoint]) -> list[tuple[Endpoint, _ConnectionCreator]]:
    found: list[tuple[Endpoint, _ConnectionCreator]] = []
    problems: list[str] = []
    for endpoint in endpoints:
        try:
            parsed = Endpoint.parse(endpoint) if isinstance(endpoint, str) else endpoint
            found.append((parsed, _ConnectionCreator(PyOpenSSLContext(parsed.tls, _ALPN))))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    return found


def _split(text: str) -> tuple[dict[str, str], list[str]]:
    """Read `PORT:name=value:…`, written as for Twisted's own endpoints; return the values, and what is wrong."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, part in enumerate(re.findall(r"(?:[^:\\]|\\.|\\$)+", text)):
        name, equals, value = part.partition("=")
        if not equals and number == 0:
            name, equals, value = "port", "=", part
        if not equals or name in values:
            problems.append(f"{part!r}: write each parameter once, as name=value")
        else:
            values[name] = re.sub(r"\\(.)", r"\1", value)
    return values, problems


def _transport_of(protocol: Any) -> Any:
    """Find the transport of daphne's protocols, which are a WebSocket and a request of HTTP/1.1 or HTTP/2."""
    channel = getattr(protocol, "channel", protocol)
    return getattr(channel, "_conn", channel).transport


def _socket_below(transport: Any) -> Any:
    while isinstance(transport, ProtocolWrapper):  # TLS is one
        transport = transport.transport
    return transport.getHandle()


if __name__ == "__main__":
    CommandLineInterface.entrypoint()
