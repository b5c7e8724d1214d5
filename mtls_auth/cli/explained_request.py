"""One request and what the authenticator decides about it, with the steps that led there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from mtls_auth.authenticator import Authenticator
from mtls_auth.cli.next_steps import next_step
from mtls_auth.cli.printable import printable
from mtls_auth.cli.request_head import RequestHead
from mtls_auth.connection import Connection
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.errors import CertificateRejected
from mtls_auth.evidence import digest_name
from mtls_auth.forwarded import Forwarded
from mtls_auth.identity import Identity
from mtls_auth.server_tls import StatedFacts
from mtls_auth.sources import TLSSocket

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
    def decide(
        cls,
        file: str,
        data: bytes,
        server: StatedFacts,
        sources: Sequence[Forwarded | TLSSocket],
        authenticator: Authenticator,
    ) -> Self:
        """Parse the head, and have the authenticator decide."""
        try:
            head = RequestHead.parse(data)
        except CertificateRejected as rejected:
            denied = Denied(rejected.reason, rejected.detail)
            steps = (("head", "refused: the application never sees this request"),)
            return cls(file=file, decision=denied, detail=denied.detail, stripped=(), steps=steps)
        connection = Connection.from_headers(head.headers, authenticator.known_headers, server)
        decision = authenticator.authenticate(connection)
        names = dict.fromkeys(name.decode("latin-1") for name, _ in head.headers)
        stripped = tuple(name for name in names if name in connection.received)
        return cls(
            file=file,
            decision=decision,
            detail=_detail(decision, connection, sources),
            stripped=stripped,
            steps=(
                ("head", f"{len(head.headers)} header lines, well-formed"),
                *_steps(connection, sources),
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
            "fingerprint_sha256": identity.fingerprint if identity else None,
            "subject_cn": identity.subject_cn if identity and identity.statement is None else None,
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
            if identity.fingerprint is not None:
                yield digest_name(identity.fingerprint), identity.fingerprint
            yield "vouched for", identity.assurance.value
        decision = self.decision
        if isinstance(decision, Denied):
            yield "decision", f"denied with HTTP {decision.reason.status}, {decision.reason.value}: {self.detail}"
            yield "what to do", next_step(decision.reason)
        else:
            yield "decision", f"{self.verdict}: {self.detail}" if self.detail else self.verdict


def _steps(connection: Connection, sources: Sequence[Forwarded | TLSSocket]) -> Iterator[tuple[str, str]]:
    peer = connection.server.stated_address()
    for source in sources:
        if isinstance(source, TLSSocket):
            yield "tls", "a certificate is on the socket" if connection.server.client_chain() else "no certificate"
            continue
        believed = source.believes(connection)
        yield "peer", f"{peer} is {'a trusted proxy' if believed else 'not a trusted proxy: it is not believed'}"
        if source.secret is not None and believed:
            yield "secret", "right" if source.secret.is_right(connection) else "missing or wrong: not proven"
        read = [name for name in source.dialect.headers if name in connection.fields]
        yield source.dialect.name, f"came: {', '.join(read) or 'none'} (of {', '.join(source.dialect.headers)})"
    if connection.aliases:
        yield "misspelled", f"other spellings came of {', '.join(sorted(connection.aliases))}"


def _detail(decision: Decision, connection: Connection, sources: Sequence[Forwarded | TLSSocket]) -> str:
    if isinstance(decision, Anonymous):
        forwarded = [source for source in sources if isinstance(source, Forwarded)]
        return _why_anonymous(connection, forwarded) if forwarded else "no certificate is on the socket"
    return decision.detail if isinstance(decision, Denied) else ""


def _why_anonymous(connection: Connection, sources: Sequence[Forwarded]) -> str:
    if not connection.received:
        return "no certificate header came"
    believed = [source for source in sources if source.believes(connection)]
    if not believed:
        peer = connection.server.stated_address()
        return (
            f"certificate headers came from {peer}, which is no trusted proxy: ignored (--trust or --proxy-certificate "
            "names the proxies)"
        )
    if all(connection.fields.keys().isdisjoint(source.dialect.headers) for source in believed):
        names = ", ".join(source.dialect.name for source in believed)
        headers = ", ".join(header for source in believed for header in source.dialect.headers)
        return (
            f"certificate headers came, but none of {names}'s ({headers}): ignored "
            "(--header tells how your proxy names them)"
        )
    return "the trusted proxy says that the client presented no certificate"
