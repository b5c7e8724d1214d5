"""Trusted proxies: who is believed, and which lists cannot work."""

from typing import Any

import pytest

from mtls_auth import ConfigurationError, TrustedProxies
from mtls_auth.peers import Peer


@pytest.mark.parametrize(
    ("entries", "peer", "trusted"),
    [
        pytest.param(["10.0.0.0/8"], "10.255.255.255", True, id="last address"),
        pytest.param(["10.0.0.0/8"], "11.0.0.0", False, id="next address"),
        pytest.param(["192.0.2.7"], "192.0.2.7", True, id="single address"),
        pytest.param(["192.0.2.7"], "192.0.2.8", False, id="its neighbour"),
        pytest.param(["192.0.2.7"], "192.0.2.70", False, id="longer text"),
        pytest.param(["10.0.0.0/8", "192.0.2.7"], "192.0.2.7", True, id="second entry"),
        pytest.param(["2001:db8::/32"], "2001:db8::1", True, id="IPv6"),
        pytest.param(["2001:db8::/32"], "2001:0DB8:0:0::1", True, id="IPv6 in another spelling"),
        pytest.param(["2001:db8::/32"], "2001:db9::1", False, id="IPv6 elsewhere"),
        pytest.param(["10.0.0.0/8"], "::ffff:10.0.0.1", True, id="IPv4 on a dual-stack listener"),
        pytest.param(["10.0.0.0/8"], "::ffff:a00:1", True, id="the same in hex"),
        pytest.param(["10.0.0.0/8"], "::ffff:11.0.0.1", False, id="stranger on a dual-stack listener"),
        pytest.param(["10.0.0.0/8"], "::10.0.0.1", False, id="IPv4-compatible is not IPv4-mapped"),
        pytest.param(["10.0.0.0/8"], "64:ff9b::10.0.0.1", False, id="NAT64 is not IPv4"),
        pytest.param(["10.0.0.0/8"], "2002:a00:1::", False, id="6to4 is not IPv4"),
        pytest.param(["fe80::/10"], "fe80::1%eth0", True, id="link-local with its zone"),
        pytest.param(["::1"], "::1", True, id="loopback"),
        pytest.param(["127.0.0.1"], "::1", False, id="the other loopback"),
        pytest.param(["127.0.0.1"], "localhost", False, id="a name"),
        pytest.param(["10.0.0.0/8"], "", False, id="empty"),
        pytest.param(["10.0.0.0/8"], "010.0.0.1", False, id="leading zero"),
        pytest.param(["10.0.0.0/8"], "10.1", False, id="short form"),
        pytest.param(["10.0.0.0/8"], "167772161", False, id="decimal"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1 ", False, id="blank after"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1:80", False, id="port"),
        pytest.param(["10.0.0.0/8"], "10.0.0.0/8", False, id="the network itself"),
        pytest.param(["10.0.0.0/8"], "１０.0.0.1", False, id="full-width digits"),
        pytest.param(["10.0.0.0/8"], None, False, id="nobody"),
        pytest.param(["unix:/run/app.sock"], "unix:/run/app.sock", True, id="Unix socket"),
        pytest.param(["unix:/run/app.sock"], "unix:/run/app.sock2", False, id="other Unix socket"),
        pytest.param(["unix:/run/app.sock"], "/run/app.sock", False, id="path alone"),
        pytest.param(["unix:/run/app.sock"], "unix:/run/../run/app.sock", False, id="path in another spelling"),
        pytest.param(["unix:/run/app.sock"], "unix:", False, id="unnamed Unix socket"),
        pytest.param(["10.0.0.0/8"], "unix:/run/app.sock", False, id="no Unix socket is trusted"),
        pytest.param(["unix:/run/app.sock"], "10.0.0.1", False, id="no network is trusted"),
    ],
)
def test_trust(entries: list[str], peer: str | None, trusted: bool) -> None:
    """A peer is believed if it is in a network of the list, or is a Unix socket that the list names."""
    proxies = TrustedProxies.parse(entries)
    assert (peer in proxies) is trusted
    assert (peer in proxies) is trusted, "the second answer comes from memory"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("0.0.0.0/0", "whole Internet"),
        ("::/0", "whole Internet"),
        ("128.0.0.0/1", "large part of the Internet"),
        ("8.0.0.0/7", "large part of the Internet"),
        ("2000::/3", "large part of the Internet"),
        ("10.0.0.1/8", "host bits set"),
        ("2001:db8::1/32", "host bits set"),
        ("proxy.example.com", "does not appear to be"),
        ("10.0.0", "does not appear to be"),
        ("10.0.0.0/33", "does not appear to be"),
        ("10.0.0.*", "does not appear to be"),
        ("*", "does not appear to be"),
        ("", "does not appear to be"),
        (" 10.0.0.0/8", "does not appear to be"),
        ("010.0.0.0/8", "does not appear to be"),
        ("unix:", "absolute path"),
        ("unix:run/app.sock", "absolute path"),
        ("unix:*", "absolute path"),
    ],
)
def test_bad_entry(entry: str, problem: str) -> None:
    """An entry that trusts everybody, or that cannot be read, is an error that repeats it."""
    with pytest.raises(ConfigurationError, match=problem) as error:
        TrustedProxies.parse(["10.0.0.0/8", entry])
    assert repr(entry) in str(error.value)


def test_all_bad_entries_at_once() -> None:
    """Every bad entry is reported, not just the first."""
    with pytest.raises(ConfigurationError) as error:
        TrustedProxies.parse(["0.0.0.0/0", "10.0.0.0/8", "10.0.0.1/8", "unix:app.sock", 7, None])  # type: ignore[list-item]
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "trusted proxy '0.0.0.0/0'",
        "trusted proxy '10.0.0.1/8'",
        "trusted proxy 'unix",
        "trusted proxy 7",
        "trusted proxy None",
    ]


def test_empty_list() -> None:
    """An empty list is an error: it would believe nobody."""
    with pytest.raises(ConfigurationError, match="no trusted proxy is named"):
        TrustedProxies.parse([])


def test_one_string() -> None:
    """One string is an error, not a list of its characters."""
    with pytest.raises(ConfigurationError, match=r"not one string: \['10.0.0.0/8'\]"):
        TrustedProxies.parse("10.0.0.0/8")


def test_repr() -> None:
    """The list shows what it trusts."""
    assert repr(TrustedProxies.parse(["unix:/run/app.sock", "10.0.0.0/8"])).endswith(
        "(['10.0.0.0/8', 'unix:/run/app.sock'])"
    )


@pytest.mark.parametrize(
    ("peername", "sockname", "peer"),
    [
        pytest.param(("10.0.0.1", 40000), ("192.0.2.1", 443), "10.0.0.1", id="IPv4"),
        pytest.param(("2001:db8::1", 40000, 0, 0), ("::", 443, 0, 0), "2001:db8::1", id="IPv6"),
        pytest.param("", "/run/app.sock", "unix:/run/app.sock", id="Unix socket"),
        pytest.param("/run/client.sock", "/run/app.sock", "unix:/run/app.sock", id="Unix socket, client bound"),
        pytest.param(b"", b"/run/app.sock", "unix:/run/app.sock", id="Unix socket in bytes"),
        pytest.param(None, "/run/app.sock", "unix:/run/app.sock", id="Unix socket, peer unknown"),
        pytest.param("", b"\0app", "unix:\0app", id="abstract socket"),
        pytest.param("", "", None, id="unnamed pair"),
        pytest.param(None, None, None, id="nothing"),
        pytest.param(None, ("192.0.2.1", 443), None, id="TCP, peer gone"),
        pytest.param((), ("192.0.2.1", 443), None, id="empty tuple"),
        pytest.param((2, 1234), (1, 80), None, id="vsock"),
    ],
)
def test_peer_from_socket(peername: object, sockname: object, peer: str | None) -> None:
    """The peer is its address, or the listening path of a Unix socket, or unknown."""
    assert Peer.from_socket(peername, sockname) == peer


@pytest.mark.parametrize("entry", ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1", b"10.0.0.0/8", None])
def test_entries_that_never_match(entry: Any) -> None:
    """A mapped network, which is compared as IPv4, and what is no text are errors that repeat them."""
    with pytest.raises(ConfigurationError) as error:
        TrustedProxies.parse([entry])
    assert repr(entry) in str(error.value)
