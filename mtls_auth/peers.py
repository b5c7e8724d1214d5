"""Who may speak for a client: the trusted proxies, by network and by named Unix socket."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from mtls_auth.errors import ConfigurationError

_SHORTEST_PREFIX = {4: 8, 6: 7}  # 10.0.0.0/8 and fc00::/7, the private networks


class Peer(str):
    """The transport peer of a connection: an IP address in text, or `unix:` and the listening socket's path.

    Not `REMOTE_ADDR` or `scope["client"]` after somebody rewrote it: see `server_tls`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, socket: Any) -> Self | None:
        """Ask an accepted socket; None where it says nothing, as when the client is gone."""
        peername = _asked(socket.getpeername)
        # The second system call is for Unix sockets, whose peers have no names.
        return cls.from_socket(peername, None if isinstance(peername, tuple) else _asked(socket.getsockname))

    @classmethod
    def from_socket(cls, peername: object, sockname: object) -> Self | None:
        """Read what `getpeername()` and `getsockname()` returned; None where they say nothing.

        The peer of a Unix socket has no name of its own: the path that the server listens on stands for it.
        """
        if isinstance(peername, tuple) and peername and isinstance(peername[0], str):
            return cls(peername[0])
        if isinstance(sockname, bytes):
            sockname = sockname.decode("utf-8", "surrogateescape")
        return cls(f"unix:{sockname}") if isinstance(sockname, str) and sockname else None


def _asked(question: Callable[[], object]) -> object:
    try:
        return question()
    except OSError:
        return None


class TrustedProxies:
    """The peers that are believed: IP networks and Unix sockets by path, as `parse` reads them."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network], unix_sockets: Iterable[str] = ()) -> None:
        self.networks = tuple(networks)
        self.unix_sockets = frozenset(unix_sockets)
        # Peers are few; the cache is bounded all the same, since anybody can be one.
        self._trusts = lru_cache(maxsize=4096)(self._decide)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read `"10.0.0.0/8"`, `"192.0.2.7"`, `"2001:db8::/32"`, `"unix:/run/app.sock"`.

        Raises `ConfigurationError` naming every entry that cannot work, and for an empty list.
        """
        networks: list[IPv4Network | IPv6Network] = []
        unix_sockets: set[str] = set()
        problems: list[str] = []
        if isinstance(entries, str):
            raise ConfigurationError(f"trusted proxies are a list of strings, not one string: [{entries!r}]")
        for entry in entries:
            try:
                if not isinstance(entry, str):
                    raise ValueError("write it as text")
                if entry.startswith("unix:"):
                    unix_sockets.add(_socket_path(entry))
                else:
                    networks.append(_network(entry))
            except ValueError as error:
                problems.append(f"trusted proxy {entry!r}: {error}")
        if not networks and not unix_sockets and not problems:
            problems.append("no trusted proxy is named: list the networks or Unix sockets of your proxy")
        if problems:
            raise ConfigurationError(*problems)
        return cls(networks, unix_sockets)

    def __contains__(self, peer: str | None) -> bool:
        return peer is not None and self._trusts(peer)

    def overlaps(self, other: "TrustedProxies") -> bool:
        """Whether some peer is among both."""
        return not self.unix_sockets.isdisjoint(other.unix_sockets) or any(
            one.version == two.version and one.overlaps(two) for one in self.networks for two in other.networks
        )

    def __repr__(self) -> str:
        return f"TrustedProxies.parse({[*map(str, self.networks), *sorted(self.unix_sockets)]})"

    def _decide(self, peer: str) -> bool:
        if peer.startswith("unix:"):
            return peer in self.unix_sockets
        try:
            address: IPv4Address | IPv6Address = ip_address(peer)
        except ValueError:
            return False
        # A dual-stack listener reports an IPv4 peer as ::ffff:192.0.2.7.
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


def _socket_path(entry: str) -> str:
    path = entry.removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError("name the socket by its absolute path, as in unix:/run/app.sock")
    return f"unix:{path}"


def _network(entry: str) -> IPv4Network | IPv6Network:
    network = ip_network(entry, strict=False)
    if network.prefixlen == 0:
        raise ValueError("this is the whole Internet: name the networks of your proxy")
    if network.prefixlen < _SHORTEST_PREFIX[network.version]:
        raise ValueError("this is a large part of the Internet: name the networks of your proxy")
    if "/" in entry and str(network.network_address) != str(ip_address(entry.partition("/")[0])):
        raise ValueError(f"has host bits set; write {network}")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("write the IPv4 network itself: a mapped peer is compared as IPv4")
    return network
