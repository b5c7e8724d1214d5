"""Several gunicorn workers on PostgreSQL: how soon each knows of a change, and what they do without the database."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from tests.integration.client import Client, Reply, tls_context
from tests.integration.lab import App, Backend, Files, Lab
from tests.integration.postgresql import Cluster

WORKERS = 2
# MAX_STALENESS, and how many seconds later each worker knows of a change.
MODES: dict[str, tuple[tuple[tuple[str, str], ...], float]] = {
    "immediate": ((), 0.0),
    "0 seconds": ((("MTLS_SITE_MAX_STALENESS", "0"),), 0.0),
    "1 second": ((("MTLS_SITE_MAX_STALENESS", "1"),), 1.0),
}
LONG = (("MTLS_SITE_MAX_STALENESS", "20"),)
INTERVAL = 0.05
PATIENCE = 5.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One cluster for the file."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def postgres_lab(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The site on it. What changes it runs with MAX_STALENESS, as every process of a site does that uses it."""
    lab = Lab(tmp_path_factory.mktemp("pg"), database=cluster.url, environment={"MTLS_SITE_MAX_STALENESS": "1"})
    yield lab
    lab.close()


def backend_of(mode: str) -> Backend:
    """Return the server of this mode; an empty MAX_STALENESS is none."""
    environment = LONG if mode == "20 seconds" else MODES[mode][0]
    return Backend(
        program="gunicorn-gthread",
        app="wsgi",
        transport="tls",
        options=("--workers", str(WORKERS), "--threads", "1"),
        environment=environment or (("MTLS_SITE_MAX_STALENESS", ""),),
    )


class Workers:
    """One connection, kept open, to each of the workers."""

    def __init__(self, clients: Mapping[int, Client]) -> None:
        """Keep the connections by process id."""
        self._clients = clients

    def ask(self) -> list[Reply]:
        """Ask every worker who is there."""
        replies = [client.get() for client in self._clients.values()]
        assert [reply.json["pid"] for reply in replies] == list(self._clients)
        return replies

    def users(self) -> list[str | None]:
        """Return whom every worker believes to be there."""
        return [reply.json["user"] for reply in self.ask()]

    def outcomes(self) -> list[tuple[int, str | None]]:
        """Return status and reason of every worker's answer."""
        return [(reply.status, reply.json["reason"]) for reply in self.ask()]


@contextmanager
def workers_of(lab: Lab, mode: str, files: Files | None) -> Iterator[Workers]:
    """Connect with a certificate until every worker has a connection."""
    port = lab.backend(backend_of(mode)).port
    context = tls_context(lab.pki.root, files)
    clients: dict[int, Client] = {}
    with ExitStack() as stack:
        deadline = time.monotonic() + 20
        while len(clients) < WORKERS:
            assert time.monotonic() < deadline, "one worker took every connection"
            # All open at once: an idle worker takes the next.
            client = stack.enter_context(Client(port, context))
            clients.setdefault(client.get().json["pid"], client)
        settle(Workers(clients))
        yield Workers(clients)


def settle(workers: Workers) -> None:
    """Ask until no worker has a connection that died with the database in an earlier test."""
    deadline = time.monotonic() + PATIENCE
    while any(status == 503 for status, _reason in workers.outcomes()):
        assert time.monotonic() < deadline, "did not recover"
        time.sleep(INTERVAL)


def check_within(seconds: float, since: float, ask: Callable[[], list[bool]]) -> None:
    """Ask at intervals; every answer to a request sent later than *seconds* after *since* must be true."""
    while True:
        sent = time.monotonic()
        answers = ask()
        if sent > since + seconds:
            assert all(answers), f"not yet, {sent - since:.3f} s later"
            if sent > since + seconds + 4 * INTERVAL:
                return
        time.sleep(INTERVAL)


@pytest.mark.parametrize("mode", MODES)
def test_a_revocation_reaches_every_worker(postgres_lab: Lab, mode: str) -> None:
    """A revoked certificate is refused by every worker: on the next request, or N seconds later."""
    files = postgres_lab.enroll(f"revoked {mode}")
    with workers_of(postgres_lab, mode, files) as workers:
        assert workers.users() == [f"revoked {mode}"] * WORKERS
        postgres_lab.registrar.revoke(files.fingerprint)
        committed = time.monotonic()
        check_within(MODES[mode][1], committed, lambda: [outcome == (403, "revoked") for outcome in workers.outcomes()])


@pytest.mark.parametrize("mode", MODES)
def test_an_inactive_user_is_refused_by_every_worker(postgres_lab: Lab, mode: str) -> None:
    """A user who is made inactive by a save is refused by every worker, and let in again when active."""
    user = f"inactive {mode}"
    files = postgres_lab.enroll(user)
    with workers_of(postgres_lab, mode, files) as workers:
        assert workers.users() == [user] * WORKERS
        for active, expected in ((False, (403, "inactive_user")), (True, (200, None))):
            postgres_lab.registrar.set_active(user, active)
            committed = time.monotonic()
            check_within(
                MODES[mode][1],
                committed,
                lambda expected=expected: [outcome == expected for outcome in workers.outcomes()],  # type: ignore[misc]
            )


@pytest.mark.parametrize("mode", MODES)
def test_an_enrolment_is_effective_at_once(postgres_lab: Lab, mode: str) -> None:
    """No worker remembers that a certificate was unknown: enrolled, it is its user on the next request."""
    user = f"late {mode}"
    files = postgres_lab.pki.write(user, postgres_lab.pki.ca.issue(user))
    with workers_of(postgres_lab, mode, files) as workers:
        for _repeated in range(2):
            assert workers.outcomes() == [(403, "not_enrolled")] * WORKERS
        postgres_lab.registrar.enroll(files.certificate, user)
        assert workers.users() == [user] * WORKERS


def test_a_fresh_state_needs_no_database(cluster: Cluster, postgres_lab: Lab) -> None:
    """While what it remembers is younger than MAX_STALENESS, a worker answers without the database; else 503."""
    files = postgres_lab.enroll("remembered")
    other = postgres_lab.enroll("not asked for yet")
    with workers_of(postgres_lab, "20 seconds", files) as workers:
        assert workers.users() == ["remembered"] * WORKERS
        postgres_lab.registrar.disconnect()
        cluster.stop()
        try:
            assert workers.users() == ["remembered"] * WORKERS
            port = postgres_lab.backend(backend_of("20 seconds")).port
            with Client(port, tls_context(postgres_lab.pki.root, other)) as client:
                assert client.get().json["reason"] == "store_unavailable"
        finally:
            cluster.start()
        settle(workers)


@pytest.mark.parametrize("mode", MODES)
def test_without_the_database(cluster: Cluster, postgres_lab: Lab, mode: str) -> None:
    """Without the database a certificate is refused with 503 within N, known or not; with it all is as before."""
    known = postgres_lab.enroll(f"stopped {mode}")
    unknown = postgres_lab.pki.write(f"stranger {mode}", postgres_lab.pki.ca.issue("stranger"))
    with ExitStack() as stack:
        of_known = stack.enter_context(workers_of(postgres_lab, mode, known))
        of_unknown = stack.enter_context(workers_of(postgres_lab, mode, unknown))
        of_nobody = stack.enter_context(workers_of(postgres_lab, mode, None))
        assert of_known.users() == [f"stopped {mode}"] * WORKERS
        postgres_lab.registrar.disconnect()
        cluster.stop()
        stopped = time.monotonic()
        try:
            unavailable = (503, "store_unavailable")

            def known_is_refused() -> list[bool]:
                outcomes = of_known.outcomes()
                assert {*outcomes} <= {unavailable, (200, None)}, "anonymous, or refused for a wrong reason"
                return [outcome == unavailable for outcome in outcomes]

            check_within(MODES[mode][1], stopped, known_is_refused)
            assert of_unknown.outcomes() == [unavailable] * WORKERS
            assert of_nobody.outcomes() == [(200, "no_certificate")] * WORKERS
        finally:
            cluster.start()
        settle(of_known)
        assert of_known.users() == [f"stopped {mode}"] * WORKERS
        assert of_unknown.outcomes() == [(403, "not_enrolled")] * WORKERS


@pytest.mark.parametrize("app", ["starlette_app", "asgi"])
def test_uvicorn_without_the_database(cluster: Cluster, postgres_lab: Lab, app: App) -> None:
    """On uvicorn too a certificate is refused with 503 without the database, and let in when it is back."""
    backend = Backend(
        program="uvicorn-httptools", app=app, transport="tls", environment=(("MTLS_SITE_MAX_STALENESS", ""),)
    )
    user = f"asynchronous {app}"
    context = tls_context(postgres_lab.pki.root, postgres_lab.enroll(user))
    with Client(postgres_lab.backend(backend).port, context) as client:
        assert client.get().json["user"] == user
        postgres_lab.registrar.disconnect()
        cluster.stop()
        try:
            replies = [client.get() for _repeated in range(3)]
        finally:
            cluster.start()
        assert [(reply.status, reply.json["reason"]) for reply in replies] == [(503, "store_unavailable")] * 3
        deadline = time.monotonic() + PATIENCE
        while client.get().status == 503:
            assert time.monotonic() < deadline, "did not recover"
        assert client.get().json["user"] == user


@pytest.mark.parametrize("mode", MODES)
def test_revoked_right_after_an_outage(cluster: Cluster, postgres_lab: Lab, mode: str) -> None:
    """What a worker remembered before an outage is not served after it: a certificate revoked meanwhile is refused."""
    files = postgres_lab.enroll(f"meanwhile {mode}")
    with workers_of(postgres_lab, mode, files) as workers:
        assert workers.users() == [f"meanwhile {mode}"] * WORKERS
        postgres_lab.registrar.disconnect()
        cluster.stop()
        stopped = time.monotonic()
        try:
            check_within(MODES[mode][1], stopped, lambda: [reply.status == 503 for reply in workers.ask()])
        finally:
            cluster.start()
        postgres_lab.registrar.revoke(files.fingerprint)
        deadline = time.monotonic() + PATIENCE
        while True:
            outcomes = workers.outcomes()
            # 503 from a connection that died with the database; never the remembered user.
            assert {*outcomes} <= {(503, "store_unavailable"), (403, "revoked")}
            if outcomes == [(403, "revoked")] * WORKERS:
                break
            assert time.monotonic() < deadline, "did not recover"
