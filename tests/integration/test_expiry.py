"""A certificate that ends while its connection stays open: refused on its next request, on every server.

It expires for real, or is revoked in the database: TLS looks at certificates in full handshakes only.
"""

import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import NamedTuple, TypeAlias

import pytest

from tests.integration.client import HandshakeRefused, tls_context
from tests.integration.lab import Lab
from tests.integration.tls_answers import Holder, ask, read, told
from tests.integration.tls_servers import CLIENTS, SERVERS, Protocol, Running

LIFETIME = timedelta(seconds=8)
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Case(NamedTuple):
    """One way to connect."""

    server: str
    protocol: Protocol
    version: str


CASES = [
    Case(server, protocol, version)
    for server, row in SERVERS.items()
    for protocol, version in product(row.protocols, VERSIONS)
]


class Held:
    """A connection that is used while its certificate is good, and after its end."""

    def __init__(self, lab: Lab, servers: Running, case: Case, holder: Holder) -> None:
        """Connect, ask who is there, and keep the session."""
        self.holder = holder
        self.resumes = SERVERS[case.server].resumes
        context = tls_context(lab.pki.root, holder.files, VERSIONS[case.version])
        self.connect = partial(CLIENTS[case.protocol], servers.port(case.server), context)
        self.kept = self.connect()
        # The connection of a WebSocket begins with a request, too.
        self.before = or_refused(lambda: read(self.kept.get(), holder))
        self.session = self.kept.session

    def ask_again(self) -> str:
        """Return who is there by now."""
        return or_refused(lambda: ask(self.kept, self.holder)) if self.kept.is_open else "closed"

    def resume(self) -> str:
        """Return who is there by now on a connection with the same session."""
        assert self.session is not None
        with self.connect(session=self.session) as client:
            assert client.tls.session_reused == self.resumes
            return ask(client, self.holder)


def or_refused(answer: Callable[[], str]) -> str:
    """Return an answer, or that the server ended the connection instead."""
    try:
        return answer()
    except HandshakeRefused:
        return "refused"


class Outcome(NamedTuple):
    """Whom one certificate is believed to be: at first, and after its end."""

    before: str
    kept: str
    resumed: str


def finish(held: Future[Held]) -> Outcome:
    """Use a connection and a session again."""
    found = held.result()
    return Outcome(found.before, found.ask_again(), or_refused(found.resume))


Outcomes: TypeAlias = Mapping[tuple[Case, str], Future[Outcome]]


@pytest.fixture(scope="module")
def outcomes(lab: Lab, tls_servers: Running) -> Outcomes:
    """Use three certificates everywhere, let one of them expire, revoke another, and use them again."""
    tls_servers.wait_for_all()
    expires = (datetime.now(UTC) + LIFETIME).replace(microsecond=0)
    issued = {
        "expires": lab.pki.ca.issue("expires", not_after=expires),
        "is revoked": lab.pki.ca.issue("is revoked"),
        "stays good": lab.pki.ca.issue("stays good"),
    }
    holders = {end: Holder(lab.enroll(end, certificate), end) for end, certificate in issued.items()}
    with ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        held = {
            (case, end): pool.submit(Held, lab, tls_servers, case, holders[end])
            for end, case in product(holders, CASES)
        }
        wait(held.values())
        for connection in held.values():
            if connection.exception() is None:
                stack.enter_context(connection.result().kept)
        lab.registrar.revoke(holders["is revoked"].fingerprint)
        time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 1.1)
        found = {key: pool.submit(finish, connection) for key, connection in held.items()}
        wait(found.values())
        return found


def by_end(outcomes: Outcomes, case: Case) -> dict[str, Outcome]:
    """Return what became of each certificate; raise what went wrong with its connections."""
    return {end: outcomes[case, end].result() for end in ("expires", "is revoked", "stays good")}


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_before_the_end(outcomes: Outcomes, case: Case) -> None:
    """Each of the certificates is its user's at first."""
    assert {end: outcome.before for end, outcome in by_end(outcomes, case).items()} == {
        "expires": "user",
        "is revoked": "user",
        "stays good": "user",
    }


@pytest.mark.parametrize("case", [case for case in CASES if SERVERS[case.server].keeps], ids="-".join)
def test_on_the_kept_connection(outcomes: Outcomes, case: Case) -> None:
    """The application refuses what has ended meanwhile, and goes on with what has not."""
    assert {end: outcome.kept for end, outcome in by_end(outcomes, case).items()} == {
        "expires": told("expired", case.protocol),
        "is revoked": told("revoked", case.protocol),
        "stays good": "user",
    }


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_on_a_resumed_connection(outcomes: Outcomes, case: Case) -> None:
    """TLS resumes the session of an expired certificate, which the application refuses; elsewhere the handshake is."""
    expired = told("expired", case.protocol) if SERVERS[case.server].resumes else "refused"
    assert {end: outcome.resumed for end, outcome in by_end(outcomes, case).items()} == {
        "expires": expired,
        "is revoked": told("revoked", case.protocol),
        "stays good": "user",
    }
