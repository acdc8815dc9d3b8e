"""Many processes execute what people approved, and are killed at it: each grant is used for one execution."""

import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from fakes.remote_desk import RemoteDesk, running_service
from gatebook.approvals.requests import Approvals
from gatebook.deciding import decide_batch
from gatebook.guard import Guard
from gatebook.injection import Caller
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook_servers.catalogue import catalogue
from gatebook_servers.tickets.ports import DESKS
from programs.processes import environment
from suite import ADA

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROGRAM = Path(__file__).parents[1] / "programs" / "grant_worker.py"
GRANTS = 1_000
WORKERS = (3, 3, 2)
"""Eight workers in three processes."""
KILLS = 4
PATIENCE_S = 240.0
SHORT_LEASE = {"GATEBOOK_LEASE_S": "5", "GATEBOOK_SETTLE_S": "1"}


@pytest.fixture(params=["sqlite", "postgres"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Runtime]:
    """The database, in which everybody's requests fit."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    more = 2 * GRANTS
    settings = Settings.model_validate(
        {
            "home": tmp_path,
            "database_url": url,
            "desk": "remote",
            "ceiling": "send",
            "max_pending_per_principal": more,
            "max_pending_per_tool": more,
        }
    )
    with closing(open_runtime(settings)) as opened:
        yield opened


@contextmanager
def working(runtime: Runtime, workers: int, desk_url: str) -> Generator[subprocess.Popen[str]]:
    """Start a process of workers, and kill it at the end."""
    own = {"GATEBOOK_DESK": "remote", "GATEBOOK_CEILING": "send", "GATEBOOK_TEST_DESK_URL": desk_url, **SHORT_LEASE}
    if runtime.settings.database_url is not None:
        own["GATEBOOK_DATABASE_URL"] = runtime.settings.database_url.get_secret_value()
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(workers)],
        env=environment(runtime.settings.home, **own),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def states(runtime: Runtime) -> Counter[str]:
    with runtime.database.transaction() as tx:
        rows = tx.all("SELECT state, COUNT(*) AS n FROM approvals GROUP BY state")
    return Counter({str(row["state"]): int(row["n"] or 0) for row in rows})


def until_used(runtime: Runtime, count: int) -> None:
    """Look at what the processes do until so many grants are used; the database has no bell."""
    deadline, pause = monotonic() + PATIENCE_S, Event()
    while states(runtime)["used"] < count:
        assert monotonic() < deadline, states(runtime)
        pause.wait(0.1)


async def grant(runtime: Runtime) -> None:
    """Have an agent ask for each new ticket, and a person approve them all on one card."""
    guard, lines = Guard(runtime, catalogue()), dict[str, str]()
    for number in range(GRANTS):
        new = {"project": "OPS", "title": f"Disk {number} is full"}
        asked = await guard.ask("create_ticket", new, caller=Caller("agent:local"), reason="")
        lines[asked.approval_id] = asked.shown
    with runtime.database.transaction() as tx:
        assert {one.approval_id for one in Approvals(tx).batches(tenant="default")[0]} == lines.keys()
        decide_batch(tx, runtime.settings, lines, reviewer=ADA, channel="test")


@pytest.mark.timeout(600)
async def test_a_thousand_grants_raced_by_killed_workers_are_a_thousand_executions(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_service() as service, ExitStack() as stack:
        monkeypatch.setitem(DESKS, "remote", lambda _: RemoteDesk(service.url))
        await grant(runtime)
        processes = [stack.enter_context(working(runtime, workers, service.url)) for workers in WORKERS]
        for kill in range(KILLS):
            until_used(runtime, (kill + 1) * GRANTS // (KILLS + 2))
            processes[kill % len(WORKERS)].kill()
            replaced = working(runtime, WORKERS[kill % len(WORKERS)], service.url)
            processes[kill % len(WORKERS)] = stack.enter_context(replaced)
        until_used(runtime, GRANTS)
        assert Counter(service.applied().values()) == {1: GRANTS}
    assert states(runtime) == {"used": GRANTS}
    with runtime.database.transaction() as tx:
        assert [dict(row) for row in tx.all("SELECT state, COUNT(*) AS n FROM effects GROUP BY state")] == [
            {"state": "done", "n": GRANTS}
        ]
