"""All tricks against one deployment: an honest request for each client, every forgery, an honest one again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from mtls_auth.dialect import Dialect
from mtls_auth.errors import ConfigurationError
from mtls_auth.probing.answer import NO_ANSWER, Answer
from mtls_auth.probing.forgeries import Forgery, Victim, forgeries
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS, Http2Trick
from mtls_auth.probing.judgement import Outcome, is_same, judge
from mtls_auth.probing.sender import Client, Sender
from mtls_auth.probing.target import Target, UnreachableError
from mtls_auth.probing.tricks import LOCALHOST, TRICKS, Kind, Trick

_ADVICE = (
    "Is it enabled, with this token and at this path? Does the proxy demand a certificate (--cert, --key)? Behind "
    "mod_wsgi, is WSGIPassAuthorization on?"
)
_HONEST = Trick(kind=Kind.COPY, lines=())
_HONEST_HTTP2 = Http2Trick(kind=Kind.COPY, fields=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One forged request, and what became of it."""

    client: str
    trick: str
    kind: Kind
    forgery: Forgery
    answer: Answer
    outcome: Outcome


@dataclass(slots=True, kw_only=True)
class Examination:
    """One client at one target: whom the application believes it to be without tricks, and what the tricks did.

    `omitted` says why tricks were not tried, if any were not.
    """

    role: str
    target: Target
    client: Client
    honest: Mapping[str, Any]
    forgeries: list[Forgery]
    omitted: str | None
    results: list[Result] = field(default_factory=list)

    @property
    def tricks(self) -> Mapping[str, Trick | Http2Trick]:
        """The tricks that this target can be asked."""
        return {**TRICKS, **({} if self.omitted else HTTP2_TRICKS)}


class Probe:
    """The tricks, a *sender* for them, a *victim* whose certificate is forged, and the clients that try.

    *dialects* are those to forge; None for all that are built in.
    """

    def __init__(
        self, sender: Sender, victim: Victim, clients: Sequence[Client], dialects: Sequence[Dialect] | None
    ) -> None:
        self.sender = sender
        self.victim = victim
        self.clients = clients
        self.dialects = dialects
        self.notes: list[str] = []

    def begin(self, role: str, target: Target) -> list[Examination]:
        """Send an honest request for each client. Raises `UnreachableError` where the endpoint answers none of them.

        A client that it does not answer, as where the proxy demands a certificate, is left out with a note.
        """
        made: list[Examination] = []
        faults: list[str] = []
        # Without TLS there is nobody to present a certificate to.
        for client in self.clients if target.is_tls else self.clients[:1]:
            try:
                answer = self.sender.send(target, client, _HONEST, ())
            except UnreachableError as error:
                faults.append(f"{client.name}: {error}")
                continue
            if answer.report is None:
                faults.append(f"{client.name}: {answer}, and not from the diagnostic endpoint. {_ADVICE}")
                continue
            if not self.victim.identifiers.isdisjoint(answer.report["presented"]):
                raise ConfigurationError("--victim is the client's own certificate: name somebody else's")
            forged = forgeries(self.dialects, self.victim, answer.report["reads"])
            omitted = self._why_no_http2(target, client, answer.report)
            made.append(
                Examination(
                    role=role, target=target, client=client, honest=answer.report, forgeries=forged, omitted=omitted
                )
            )
        if not made:
            raise UnreachableError(f"{target.url}: {'; '.join(faults)}")
        self.notes += [f"{target.url}, {fault}" for fault in faults]
        return made

    def run(self, examinations: Sequence[Examination], tell: Callable[[int, int, str], None]) -> None:
        """Try everything, telling how many of how many requests are done. Raises `UnreachableError`."""
        address = _believed_address(examinations)
        total = sum(len(examination.tricks) * len(examination.forgeries) for examination in examinations)
        done = 0
        for examination in examinations:
            for result in self._try_all(examination, address):
                examination.results.append(result)
                done += 1
                tell(done, total, result.trick)
            self._check(examination)

    def _try_all(self, examination: Examination, address: str) -> Iterator[Result]:
        for name, trick in examination.tricks.items():
            for forgery in examination.forgeries:
                answer = self._send(examination, trick, forgery, address)
                if answer.fault == NO_ANSWER:  # to this request, or to any?
                    self._check(examination)
                outcome = judge(examination.honest, answer, self.victim, kind=trick.kind, forges=trick.forges)
                yield Result(
                    client=examination.client.name,
                    trick=name,
                    kind=trick.kind,
                    forgery=forgery,
                    answer=answer,
                    outcome=outcome,
                )

    def _check(self, examination: Examination) -> None:
        """Raise `UnreachableError` unless an honest request is answered as in the beginning."""
        last = self.sender.send(examination.target, examination.client, _HONEST, ())
        if last.report is None or not is_same(examination.honest, last.report):
            raise UnreachableError(
                f"{examination.target.url}: an honest request ({examination.client.name}) is answered otherwise than "
                f"in the beginning ({last}), so nothing can be told: read the servers' logs, and probe again, perhaps "
                "with a lower --rate"
            )

    def _send(self, examination: Examination, trick: Trick | Http2Trick, forgery: Forgery, address: str) -> Answer:
        target, client = examination.target, examination.client
        if isinstance(trick, Trick):
            answer = self.sender.send(target, client, trick, forgery.headers, address)
            # Envoy takes the body away from an answer that does not upgrade.
            lost = trick.upgrades and answer.report is None and answer.status != HTTPStatus.SWITCHING_PROTOCOLS
            return Answer(fault=f"not upgraded ({answer})") if lost else answer
        by_http2 = self.sender.send_http2(target, client, trick, forgery.headers, address)
        return Answer(fault="no HTTP/2 any more") if by_http2 is None else by_http2

    def _why_no_http2(self, target: Target, client: Client, honest: Mapping[str, Any]) -> str | None:
        if not target.is_tls:
            return "HTTP/2 needs TLS"
        try:
            answer = self.sender.send_http2(target, client, _HONEST_HTTP2, ())
        except ImportError:
            return "the package h2 is not installed: pip install 'mtls-auth[probe]'"
        except UnreachableError as error:
            return str(error)
        if answer is None:
            return "the server does not speak HTTP/2"
        if answer.report is None or not is_same(honest, answer.report):
            return f"an honest request by HTTP/2 is answered otherwise ({answer})"
        return None


def _believed_address(examinations: Sequence[Examination]) -> str:
    """Return the address from which the application sees its proxy, which is worth claiming."""
    for examination in examinations:
        try:
            return str(ip_address(examination.honest["peer"] or ""))
        except ValueError:  # a Unix socket
            continue
    return LOCALHOST
