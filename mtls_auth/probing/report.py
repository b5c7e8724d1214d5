"""The report for people: a line a trick, then what to do about each kind that got through, then the sum."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from mtls_auth.probing.judgement import Outcome
from mtls_auth.probing.probe import Examination, Result
from mtls_auth.probing.tricks import Kind

_WIDTH = 40

_DANGER: Mapping[Outcome, str] = {
    Outcome.BELIEVED: "Critical. Whoever knows a certificate, which is no secret, is let in as its holder.",
    Outcome.REACHED: "Critical all the same. The certificate forged here is known to nobody; one that is enrolled, or "
    "that the application's CA signed, would have been let in.",
    Outcome.HALF: "Serious. A header of the client's stands beside the proxy's: only their contradiction kept it out.",
}
_REMEDIES: Mapping[Kind, str] = {
    Kind.COPY: "Have the proxy set each of these headers on every request, whether there is a certificate or not, in "
    "every location, route and virtual host that leads to the application. In Nginx a location with one "
    "proxy_set_header of its own inherits none: repeat them all there. A proxy secret set in the same place makes such "
    "a gap fail closed.",
    Kind.SPELLING: "Have the proxy remove names with other characters than letters, digits and hyphens (Nginx: "
    "underscores_in_headers off, ignore_invalid_headers on; HAProxy: option http-restrict-req-hdr-names delete; Caddy "
    "from 2.11.4; Apache: RequestHeader unset for each spelling), or use a server that drops them: gunicorn, waitress, "
    "daphne.",
    Kind.BLANK: "Update the proxy and the Python server: both should refuse blanks and control characters in a name.",
    Kind.FOLD: "Update the proxy and the Python server: both should refuse folded lines, or join them the same way.",
    Kind.LINE_END: "Update the proxy and the Python server: they disagree about where a line ends.",
    Kind.NOMINATION: "Have the proxy drop the client's Connection header before it sets its own headers (Apache: "
    "RequestHeader unset Connection early), and remove names with underscores.",
    Kind.TRAILER: "Have the proxy drop trailers (HAProxy from 3.2: option http-drop-request-trailers), or run uvicorn "
    "with its h11 protocol: httptools adds trailers to the headers.",
    Kind.VARIANT: "Have the proxy set its headers on this kind of request too: look for a location, a route or a "
    "condition of its own.",
    Kind.ADDRESS: "Trust the transport peer, a Unix socket or a proxy secret, and no address that a header states: "
    "remove server_address_is_peer, --forwarded-allow-ips '*' and PROXY protocol from anybody.",
}
_DIRECTLY = (
    "The application believes whoever connects to it from {peer}. Have it listen where only the proxy can connect (a "
    "Unix socket that only the proxy may open, a network of its own), or demand a proxy secret or the proxy's "
    "certificate."
)


def as_text(examinations: Sequence[Examination], notes: Iterable[str]) -> str:
    """Return the whole report; values of the application are not escaped for a terminal."""
    groups = [list(group) for _role, group in groupby(examinations, lambda one: one.role)]
    blocks = ["\n".join(_examined(group)) for group in groups]
    blocks += [finding for group in groups for finding in _findings(group)]
    return "\n\n".join([*blocks, "\n".join([*(f"not tried: {note}" for note in notes), summary(examinations)])])


def as_json(examination: Examination, result: Result) -> dict[str, Any]:
    """Return one request's line of JSON."""
    report = result.answer.report or {}
    return {
        "role": examination.role,
        "url": examination.target.url,
        "client": result.client,
        "trick": result.trick,
        "dialects": list(result.forgery.dialects),
        "outcome": result.outcome.name.lower(),
        "got_through": result.outcome.got_through,
        "status": result.answer.status,
        "fault": result.answer.fault or None,
        "decision": report.get("decision"),
        "reason": report.get("reason"),
        "fingerprint_sha256": report.get("fingerprint_sha256"),
        "removed": report.get("removed"),
    }


def worst(results: Iterable[Result]) -> Result:
    """Return the result with the worst outcome."""
    return max(results, key=lambda result: result.outcome.severity)


def summary(examinations: Sequence[Examination]) -> str:
    """Return one line: how many tricks got through, and what was not tried."""
    by_trick: dict[tuple[str, str], list[Result]] = {}
    for examination in examinations:
        for result in examination.results:
            by_trick.setdefault((examination.role, result.trick), []).append(result)
    outcomes = [worst(results).outcome for results in by_trick.values()]
    through = sum(outcome.got_through for outcome in outcomes)
    unjudged = outcomes.count(Outcome.UNJUDGED)
    requests = sum(len(examination.results) for examination in examinations)
    text = f"{through} of {len(outcomes)} tricks got through, {unjudged} could not be judged ({requests} requests)"
    omitted = dict.fromkeys(f"{one.role}: {one.omitted}" for one in examinations if one.omitted)
    return f"{text}; no HTTP/2 ({'; '.join(omitted)})" if omitted else text


def _examined(examinations: Sequence[Examination]) -> Iterator[str]:
    first = examinations[0]
    yield f"{first.role}: {first.target.url}"
    believed = {True: "believed", False: "not believed", None: "no proxy is believed"}[first.honest["peer_believed"]]
    yield f"  peer       {first.honest['peer'] or 'unknown'}: {believed}"
    reads = "; ".join(f"{row['name']} ({', '.join(row['headers'])})" for row in first.honest["reads"])
    yield f"  reads      {reads or 'no headers'}"
    forged = sum(len(forgery.dialects) for forgery in first.forgeries)
    yield f"  forged     {forged} dialects in {len(first.forgeries)} requests a trick"
    for examination in examinations:
        yield f"  client     {examination.client.name}: {_whom(examination.honest)}"
    yield ""
    yield f"  {'':<{_WIDTH}}" + "".join(f"{one.client.name:<30}" for one in examinations).rstrip()
    by_trick = [{name: list(found) for name, found in _by_trick(one.results)} for one in examinations]
    kind = None
    for name, trick in sorted(first.tricks.items(), key=lambda item: list(Kind).index(item[1].kind)):
        if trick.kind is not kind:
            kind = trick.kind
            yield f"  {kind}"
        cells = "".join(f"{_cell(found.get(name, [])):<30}" for found in by_trick).rstrip()
        yield f"    {name:<{_WIDTH - 2}}{cells}"


def _by_trick(results: Iterable[Result]) -> Iterator[tuple[str, Iterator[Result]]]:
    return groupby(results, lambda result: result.trick)


def _cell(results: Sequence[Result]) -> str:
    if not results:
        return "not tried"
    found = worst(results)
    if found.outcome is Outcome.UNJUDGED:
        return f"{found.outcome.value} ({found.answer})"
    return found.outcome.value


def _whom(report: Mapping[str, Any]) -> str:
    names = [report["subject_cn"], report["fingerprint_sha256"], report["reason"]]
    return ", ".join([report["decision"], *(str(name) for name in names if name)])


def _findings(examinations: Sequence[Examination]) -> Iterator[str]:
    """Yield a paragraph for each kind of trick that got through, and one for what could not be judged."""
    role = examinations[0].role
    results = [result for one in examinations for result in one.results]
    through = [result for result in results if result.outcome.got_through]
    plainly = any(_is_plain(result) for result in through)
    for kind in Kind:
        found = [result for result in through if result.kind is kind]
        # What passes as it is passes in every other form too.
        if found and (kind is Kind.COPY or not plainly):
            yield _paragraph(f"GOT THROUGH: {role}, by {kind}", found, _finding(examinations[0], worst(found)))
    rest = {result.trick for result in through if result.kind is not Kind.COPY}
    if plainly and rest:
        yield f"So did {len(rest)} tricks of other kinds: mend the above, and probe again."
    unjudged = [result for result in results if result.outcome is Outcome.UNJUDGED]
    if unjudged:
        answers = ", ".join(dict.fromkeys(str(result.answer) for result in unjudged))
        advice = "Find out what answered, and why the request did not arrive at the endpoint."
        yield _paragraph(f"NOT JUDGED: {role}", unjudged, {"answer": answers, "what to do": advice})


def _is_plain(result: Result) -> bool:
    return result.trick.endswith("exact")


def _finding(examination: Examination, result: Result) -> dict[str, str]:
    report = result.answer.report or {}
    directly = _DIRECTLY.format(peer=examination.honest["peer"] or "there")
    return {
        "answer": _whom(report),
        "headers": ", ".join(report["removed"]) or "none",
        "danger": _DANGER[result.outcome],
        "what to do": directly if examination.role == "direct" else _REMEDIES[result.kind],
    }


def _paragraph(title: str, results: Sequence[Result], rows: Mapping[str, str]) -> str:
    worst_ones = [result for result in results if result.outcome is worst(results).outcome]
    first = {
        "clients": dict.fromkeys(result.client for result in results),
        "tricks": dict.fromkeys(result.trick for result in results),
        "dialects": dict.fromkeys(name for result in worst_ones for name in result.forgery.dialects),
    }
    lines = {**{label: ", ".join(texts) for label, texts in first.items()}, **rows}
    return "\n".join([title, *(f"  {label:<11}{text}" for label, text in lines.items())])
