"""How a probe goes: who is asked first, what is left out, whose address is claimed; and what the report makes of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mtls_auth import NGINX, ConfigurationError
from mtls_auth.probing import report
from mtls_auth.probing.answer import NO_ANSWER, Answer
from mtls_auth.probing.forgeries import Forgery, Victim
from mtls_auth.probing.http2_tricks import HTTP2_TRICKS, Http2Trick
from mtls_auth.probing.judgement import Outcome
from mtls_auth.probing.probe import Examination, Probe, Result
from mtls_auth.probing.sender import Client, Sender
from mtls_auth.probing.target import Target, UnreachableError
from mtls_auth.probing.tricks import TRICKS, Headers, Kind, Trick

VICTIM = Victim.mint()
PROXY, DIRECT = Target.parse("https://localhost"), Target.parse("unix:/run/app.sock")
HONEST: Mapping[str, Any] = {
    **{"decision": "anonymous", "reason": "no_certificate", "fingerprint_sha256": None, "subject_cn": None},
    **{"presented": [], "peer": "10.0.0.1", "peer_believed": True, "removed": []},
    "reads": [{"name": "nginx", "headers": list(NGINX.headers)}],
}


def said(**values: object) -> Answer:
    """Return the endpoint's answer."""
    return Answer(status=200, report={**HONEST, **values})


@pytest.fixture(scope="module")
def clients() -> list[Client]:
    """Two who could present certificates."""
    return [Client.of(name, ca=None) for name in ("nobody", "somebody")]


Asked = tuple[str, str, str, Trick | Http2Trick, Headers, str]


class Recorder(Sender):
    """A sender without a network: remembers what is sent, and answers as it is told."""

    def __init__(self, answer: Callable[[Asked], Answer | None]) -> None:
        super().__init__("", rate=1, timeout=1)
        self.answer = answer
        self.asked: list[Asked] = []

    def send(self, target: Target, client: Client, trick: Trick, forged: Headers, address: str = "127.0.0.1") -> Answer:
        answer = self._answer(("HTTP/1.1", target.url, client.name, trick, forged, address))
        assert answer is not None
        return answer

    def send_http2(
        self, target: Target, client: Client, trick: Http2Trick, forged: Headers, address: str = "127.0.0.1"
    ) -> Answer | None:
        return self._answer(("HTTP/2", target.url, client.name, trick, forged, address))

    def _answer(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        return self.answer(asked)


def run(probe: Probe, *targets: tuple[str, Target]) -> list[Examination]:
    """Run a whole probe."""
    examinations = [examination for role, target in targets for examination in probe.begin(role, target)]
    probe.run(examinations, lambda done, total, trick: None)
    return examinations


def test_everything_is_tried(clients: Sequence[Client]) -> None:
    """Each client tries each trick through the proxy, by HTTP/2 too; past it there is nobody to present anything to."""
    recorder = Recorder(lambda asked: said())
    told: list[tuple[int, int, str]] = []
    probe = Probe(recorder, VICTIM, clients, [NGINX])
    examinations = [*probe.begin("proxy", PROXY), *probe.begin("direct", DIRECT)]
    probe.run(examinations, lambda *progress: told.append(progress))
    tried = [(one.role, one.client.name, [result.trick for result in one.results]) for one in examinations]
    assert tried == [
        ("proxy", "nobody", [*TRICKS, *HTTP2_TRICKS]),
        ("proxy", "somebody", [*TRICKS, *HTTP2_TRICKS]),
        ("direct", "nobody", [*TRICKS]),
    ]
    total = sum(len(tricks) for _role, _client, tricks in tried)
    assert [(done, of) for done, of, _trick in told] == [(number, total) for number in range(1, total + 1)]
    forged = [(protocol, trick) for protocol, _url, _client, trick, headers, _address in recorder.asked if headers]
    assert {protocol for protocol, trick in forged if isinstance(trick, Http2Trick)} == {"HTTP/2"}
    assert {protocol for protocol, trick in forged if isinstance(trick, Trick)} == {"HTTP/1.1"}
    assert len(forged) == total
    # An honest one for each client by each protocol, and one in the end.
    assert len(recorder.asked) - total == 2 * 2 + 1 + 3


@pytest.mark.parametrize(
    ("peer", "directly", "claimed"),
    [
        ("10.0.0.1", "192.0.2.7", "10.0.0.1"),
        ("unix:/run/app.sock", "192.0.2.7", "192.0.2.7"),
        (None, None, "127.0.0.1"),
    ],
)
def test_whose_address_is_claimed(
    clients: Sequence[Client], peer: str | None, directly: str | None, claimed: str
) -> None:
    """Tricks claim the address from which the application sees its proxy, also past it."""

    def answer(asked: Asked) -> Answer:
        return said(peer=peer if asked[1] == PROXY.url else directly)

    recorder = Recorder(answer)
    run(Probe(recorder, VICTIM, clients[:1], [NGINX]), ("proxy", PROXY), ("direct", DIRECT))
    assert {address for *_rest, headers, address in recorder.asked if headers} == {claimed}


@pytest.mark.parametrize(
    ("http2", "why"),
    [
        (None, "the server does not speak HTTP/2"),
        (Answer(fault="stream reset (1)"), "an honest request by HTTP/2 is answered otherwise (stream reset (1))"),
        (Answer(status=404), "an honest request by HTTP/2 is answered otherwise (HTTP 404)"),
        (said(decision="denied"), "an honest request by HTTP/2 is answered otherwise (HTTP 200)"),
    ],
)
def test_why_not_by_http2(clients: Sequence[Client], http2: Answer | None, why: str) -> None:
    """Tricks of HTTP/2 are left out where an honest request does not come through by it, and that is said."""
    recorder = Recorder(lambda asked: http2 if asked[0] == "HTTP/2" else said())
    (examination,) = run(Probe(recorder, VICTIM, clients[:1], [NGINX]), ("proxy", PROXY))
    assert examination.omitted == why
    assert [result.trick for result in examination.results] == [*TRICKS]
    assert f"no HTTP/2 (proxy: {why})" in report.summary([examination])


def test_no_connection_by_http2(clients: Sequence[Client]) -> None:
    """A server that breaks off the handshake of HTTP/2 alone is probed without it."""

    def answer(asked: Asked) -> Answer:
        if asked[0] == "HTTP/2":
            raise UnreachableError("no handshake")
        return said()

    (examination,) = run(Probe(Recorder(answer), VICTIM, clients[:1], [NGINX]), ("proxy", PROXY))
    assert examination.omitted == "no handshake"


def test_http2_that_ends(clients: Sequence[Client]) -> None:
    """A server that stops to speak HTTP/2 has refused a trick."""
    recorder = Recorder(lambda asked: None if asked[0] == "HTTP/2" and asked[4] else said())
    (examination,) = run(Probe(recorder, VICTIM, clients[:1], [NGINX]), ("proxy", PROXY))
    assert {str(result.answer) for result in examination.results if result.trick in HTTP2_TRICKS} == {
        "no HTTP/2 any more"
    }


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=200), Outcome.REFUSED),
        (Answer(status=404), Outcome.REFUSED),
        (Answer(status=101), Outcome.UNJUDGED),
        (said(), Outcome.BLOCKED),
    ],
)
def test_upgrades(clients: Sequence[Client], answer: Answer, outcome: Outcome) -> None:
    """An upgrade that does not take place has not got through, even if nobody tells who was believed."""
    recorder = Recorder(lambda asked: answer if asked[3] is TRICKS["WebSocket upgrade"] else said())
    (examination,) = run(Probe(recorder, VICTIM, clients[:1], [NGINX]), ("proxy", PROXY))
    found = {result.trick: result.outcome for result in examination.results}
    assert found["WebSocket upgrade"] is outcome
    assert set(found.values()) == {Outcome.BLOCKED, outcome}


def test_a_client_that_is_not_let_in(clients: Sequence[Client]) -> None:
    """A client that the proxy does not let through to the endpoint is left out with a note, the other is not."""

    def answer(asked: Asked) -> Answer:
        if asked[2] == "nobody":
            raise UnreachableError("no handshake")
        return said()

    probe = Probe(Recorder(answer), VICTIM, clients, [NGINX])
    (examination,) = run(probe, ("proxy", PROXY))
    assert examination.client.name == "somebody"
    assert probe.notes == ["https://localhost, nobody: no handshake"]
    assert "not tried: https://localhost, nobody: no handshake" in report.as_text([examination], probe.notes)


@pytest.mark.parametrize("answer", [Answer(status=404), Answer(fault="closed without an answer ()")])
def test_no_endpoint(clients: Sequence[Client], answer: Answer) -> None:
    """Where no client reaches the endpoint there is nothing to probe."""
    probe = Probe(Recorder(lambda asked: answer), VICTIM, clients, None)
    with pytest.raises(UnreachableError) as raised:
        probe.begin("proxy", PROXY)
    text = str(raised.value)
    assert f"nobody: {answer}, and not from the diagnostic endpoint. Is it enabled" in text
    assert "somebody: " in text


@pytest.mark.parametrize("last", [Answer(status=502), said(decision="denied"), said(presented=["x"])])
@pytest.mark.parametrize("when", ["in the end", "after waiting in vain"])
def test_a_change_meanwhile(clients: Sequence[Client], last: Answer, when: str) -> None:
    """Where an honest request is answered otherwise than before, the probe breaks off."""
    honest = 0

    def answer(asked: Asked) -> Answer:
        nonlocal honest
        if asked[4]:
            return said() if when == "in the end" else Answer(fault=NO_ANSWER)
        honest += 1
        return said() if honest < 3 else last

    recorder = Recorder(answer)
    with pytest.raises(UnreachableError, match=r"answered otherwise than in the beginning \(HTTP \d+\)"):
        run(Probe(recorder, VICTIM, clients[:1], [NGINX]), ("proxy", PROXY))
    tried = sum(1 for asked in recorder.asked if asked[4])
    assert tried == (1 if when == "after waiting in vain" else len(TRICKS) + len(HTTP2_TRICKS))


def test_the_victim_is_the_client(clients: Sequence[Client]) -> None:
    """A victim whom the application sees without any trick cannot be told from the client."""
    answer = said(presented=[next(iter(VICTIM.identifiers))])
    with pytest.raises(ConfigurationError, match="the client's own certificate"):
        Probe(Recorder(lambda asked: answer), VICTIM, clients, None).begin("proxy", PROXY)


def examined(outcomes: Mapping[str, Outcome], clients: Sequence[Client]) -> Examination:
    """Return an examination in which these tricks had these outcomes, and all the others were blocked."""
    forgery = Forgery(dialects=("nginx",), headers=(("x-ssl-client-cert", "x"),))
    other = Forgery(dialects=("caddy",), headers=(("x-ssl-client-cert", "y"),))
    examination = Examination(
        role="proxy", target=PROXY, client=clients[0], honest=HONEST, forgeries=[forgery, other], omitted=None
    )
    for name, trick in examination.tricks.items():
        for forged, outcome in ((forgery, outcomes.get(name, Outcome.BLOCKED)), (other, Outcome.BLOCKED)):
            answer = Answer(status=503) if outcome is Outcome.UNJUDGED else said(decision="denied", reason="untrusted")
            examination.results.append(
                Result(client="nobody", trick=name, kind=trick.kind, forgery=forged, answer=answer, outcome=outcome)
            )
    return examination


@pytest.mark.parametrize("outcome", [Outcome.HALF, Outcome.REACHED, Outcome.BELIEVED])
@pytest.mark.parametrize("trick", ["underscores", "folded", "trailers", "nomination and underscores", "a PROXY line"])
def test_findings(clients: Sequence[Client], trick: str, outcome: Outcome) -> None:
    """Whatever got through is named with how dangerous it is and what helps against its kind."""
    text = report.as_text([examined({trick: outcome}, clients)], [])
    finding = text.partition(f"GOT THROUGH: proxy, by {TRICKS[trick].kind}\n")[2].partition("\n\n")[0]
    lines = [line[2:13].strip() for line in finding.splitlines()]
    assert lines == ["clients", "tricks", "dialects", "answer", "headers", "danger", "what to do"]
    assert f"  tricks     {trick}\n" in finding
    assert "  dialects   nginx\n" in finding
    assert "  answer     denied, untrusted\n" in finding
    assert {Outcome.HALF: "Serious.", Outcome.REACHED: "all the same", Outcome.BELIEVED: "no secret"}[
        outcome
    ] in finding
    assert text.count("GOT THROUGH: ") == 1
    assert f"1 of {len(TRICKS) + len(HTTP2_TRICKS)} tricks got through, 0 could not be judged" in text


def test_every_kind_has_a_remedy(clients: Sequence[Client]) -> None:
    """For every kind of trick the report says something else to do."""
    every = {trick.kind: name for name, trick in TRICKS.items() if trick.kind is not Kind.COPY}
    text = report.as_text([examined(dict.fromkeys(every.values(), Outcome.BELIEVED), clients)], [])
    remedies = [line for line in text.splitlines() if line.startswith("  what to do ")]
    assert len(set(remedies)) == len(remedies) == len(Kind) - 1


@pytest.mark.parametrize("exact", ["exact", "HTTP/2: exact"])
def test_what_passes_as_it_is(clients: Sequence[Client], exact: str) -> None:
    """Where headers pass as they are, every other way is only counted."""
    outcomes = {exact: Outcome.BELIEVED, "HTTP/1.0": Outcome.BELIEVED, "trailers": Outcome.BELIEVED}
    text = report.as_text([examined(outcomes, clients)], [])
    assert text.count("GOT THROUGH: ") == 1
    assert "GOT THROUGH: proxy, by copy" in text
    assert "So did 2 tricks of other kinds" in text


def test_unjudged(clients: Sequence[Client]) -> None:
    """What could not be judged is told with its answers."""
    text = report.as_text([examined({"dots": Outcome.UNJUDGED}, clients)], [])
    assert "    dots                                  not judged (HTTP 503)" in text
    finding = text.partition("NOT JUDGED: proxy\n")[2]
    assert "  tricks     dots\n" in finding
    assert "  answer     HTTP 503\n" in finding
    assert f"0 of {len(TRICKS) + len(HTTP2_TRICKS)} tricks got through, 1 could not be judged" in text


def test_the_worst_of_all_is_shown(clients: Sequence[Client]) -> None:
    """A trick's line shows the worst that became of it with any dialect, and a trick that was not tried says so."""
    first = examined({"dots": Outcome.LOST}, clients)
    second = Examination(
        role="proxy", target=PROXY, client=clients[1], honest=HONEST, forgeries=first.forgeries, omitted="no"
    )
    text = report.as_text([first, second], [])
    assert "    dots                                  own identity lost             not tried" in text


def test_the_head_of_the_report(clients: Sequence[Client]) -> None:
    """The report begins with the target, the peer, what is read, and who the clients are without tricks."""
    first = examined({}, clients)
    assert report.as_text([first], []).splitlines()[:5] == [
        "proxy: https://localhost",
        "  peer       10.0.0.1: believed",
        "  reads      nginx (x-ssl-client-cert, x-ssl-client-verify)",
        "  forged     2 dialects in 2 requests a trick",
        "  client     nobody: anonymous, no_certificate",
    ]
    silent = Examination(
        role="proxy",
        target=PROXY,
        client=clients[0],
        honest={**HONEST, "peer": None, "peer_believed": None, "reads": []},
        forgeries=[],
        omitted=None,
    )
    lines = report.as_text([silent], []).splitlines()
    assert lines[1:3] == ["  peer       unknown: no proxy is believed", "  reads      no headers"]


def test_clients_of_the_system_s_authorities(tmp_path: Path) -> None:
    """Without a CA the system's are trusted, and names are checked."""
    client = Client.of("nobody", ca=None)
    assert client.http1.check_hostname
    assert client.http2.check_hostname
