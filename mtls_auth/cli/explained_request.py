"""One request and what the authenticator decides about it, with the steps that led there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from mtls_auth.authenticator import Authenticator
from mtls_auth.cli.next_steps import next_step
from mtls_auth.cli.printable import printable
from mtls_auth.cli.request_head import RequestHead
from mtls_auth.connection import Connection
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.errors import CertificateRejected
from mtls_auth.identity import Identity
from mtls_auth.peers import Peer
from mtls_auth.server_tls import StatedFacts
from mtls_auth.sources import Forwarded

_LABEL_WIDTH = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRequest:
    """The decision on one request. `detail` says of `Anonymous` too why, and `stripped` is in order as received."""

    file: str
    decision: Decision
    detail: str
    stripped: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]

    @classmethod
    def decide(cls, file: str, data: bytes, peer: Peer, source: Forwarded, authenticator: Authenticator) -> Self:
        """Parse the head, and have the authenticator decide."""
        try:
            head = RequestHead.parse(data)
        except CertificateRejected as rejected:
            denied = Denied(rejected.reason, rejected.detail)
            steps = (("head", "refused: the application never sees this request"),)
            return cls(file=file, decision=denied, detail=denied.detail, stripped=(), steps=steps)
        connection = Connection.from_headers(
            head.headers, authenticator.known_headers, StatedFacts(transport_peer=peer)
        )
        decision = authenticator.authenticate(connection)
        names = dict.fromkeys(name.decode("latin-1") for name, _ in head.headers)
        stripped = tuple(name for name in names if name in connection.received)
        return cls(
            file=file,
            decision=decision,
            detail=_detail(decision, connection, peer, source),
            stripped=stripped,
            steps=(
                ("head", f"{len(head.headers)} header lines, well-formed"),
                *_steps(connection, peer, source),
                ("removed", ", ".join(stripped) or "nothing: no known certificate header came"),
            ),
        )

    @property
    def identity(self) -> Identity | None:
        """The identity behind the decision, also of a denial, where the certificate could be verified."""
        return None if isinstance(self.decision, Anonymous) else self.decision.identity

    @property
    def verdict(self) -> str:
        """`anonymous`, `authenticated` or `denied`."""
        return type(self.decision).__name__.lower()

    def as_json(self) -> dict[str, str | list[str] | None]:
        """Return the values of one JSON line."""
        identity = self.identity
        return {
            "file": self.file,
            "decision": self.verdict,
            "reason": None if isinstance(self.decision, Authenticated) else self.decision.reason.value,
            "detail": self.detail,
            "fingerprint_sha256": identity.fingerprint_sha256 if identity else None,
            "subject_cn": identity.subject_cn if identity else None,
            "assurance": identity.assurance.value if identity else None,
            "stripped": list(self.stripped),
        }

    def as_text(self) -> str:
        """Return the steps in lines, each value printable."""
        rows = "\n".join(f"  {label:<{_LABEL_WIDTH}}{printable(value)}" for label, value in self._rows())
        return f"{printable(self.file)}: {self.verdict}\n{rows}"

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield from self.steps
        identity = self.identity
        if identity is not None:
            yield "certificate", str(identity)
            yield "SHA-256", identity.fingerprint_sha256
            yield "vouched for", identity.assurance.value
        decision = self.decision
        if isinstance(decision, Denied):
            yield "decision", f"denied with HTTP {decision.reason.status}, {decision.reason.value}: {self.detail}"
            yield "what to do", next_step(decision.reason)
        else:
            yield "decision", f"{self.verdict}: {self.detail}" if self.detail else self.verdict


def _steps(connection: Connection, peer: Peer, source: Forwarded) -> Iterator[tuple[str, str]]:
    believed = source.believes(connection)
    yield "peer", f"{peer} is {'a trusted proxy' if believed else 'not a trusted proxy: it is not believed'}"
    read = [name for name in source.dialect.headers if name in connection.fields]
    yield f"{source.dialect.name}", f"came: {', '.join(read) or 'none'} (of {', '.join(source.dialect.headers)})"
    if connection.aliases:
        yield "misspelled", f"other spellings came of {', '.join(sorted(connection.aliases))}"


def _detail(decision: Decision, connection: Connection, peer: Peer, source: Forwarded) -> str:
    if isinstance(decision, Anonymous):
        return _why_anonymous(connection, peer, source)
    return decision.detail if isinstance(decision, Denied) else ""


def _why_anonymous(connection: Connection, peer: Peer, source: Forwarded) -> str:
    dialect = source.dialect
    if not connection.received:
        return "no certificate header came"
    if not source.believes(connection):
        return f"certificate headers came from {peer}, which is no trusted proxy: ignored (--trust names the proxies)"
    if connection.fields.keys().isdisjoint(dialect.headers):
        return (
            f"certificate headers came, but none of {dialect.name}'s ({', '.join(dialect.headers)}): ignored "
            "(--header tells how your proxy names them)"
        )
    return "the trusted proxy says that the client presented no certificate"
