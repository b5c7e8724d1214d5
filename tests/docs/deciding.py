"""Decisions about requests as a proxy sends them, without any server."""

from mtls_auth import AnyVerifiedCertificate, Authenticator, Connection, Decision, Dialect, Forwarded, TrustedProxies
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts


def decide(authenticator: Authenticator, headers: dict[str, str], peer: str) -> Decision:
    """Return the decision about a request from *peer* with these headers."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    facts = StatedFacts(transport_peer=Peer(peer))
    return authenticator.authenticate(Connection.from_headers(raw, authenticator.known_headers, facts))


def of(dialect: Dialect) -> Authenticator:
    """Return an authenticator of this dialect, whose proxy verifies what it forwards."""
    proxies = TrustedProxies.parse(["10.0.0.7"])
    silent = not dialect.has_verdict
    source = Forwarded(dialect=dialect, proxies=proxies, proxy_verifies=silent)
    return Authenticator(source, policy=AnyVerifiedCertificate())
