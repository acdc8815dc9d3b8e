"""The worker: whose jobs it does, what it finds by itself, what it survives, how it ends."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import anyio
import pytest

from fakes.troubled_desk import Trouble, TroubledDesk
from gatebook import worker
from gatebook.clock import local_day
from gatebook.database.port import Database, Transaction
from gatebook.effects import Effects
from gatebook.errors import ConflictError, StorageFullError, StoreBusyError, UpstreamUnavailableError
from gatebook.guard import Guard
from gatebook.outbox import LEASE_S, Job, Outbox
from gatebook.retry import AmbiguousError
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches
from gatebook.toolset import merged
from gatebook.worker import Worker
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.tickets.ports import open_desk
from suite import Json, Suite, the_effect, the_job, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

DAY_S = 86_400.0
LEASE_AND_SETTLE_S = 91.0
UNAVAILABLE = UpstreamUnavailableError("no answer.", next_step="Wait.")


@dataclass
class FailingDatabase:
    """A database that fails as it is told."""

    database: Database
    failures: list[Exception]

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        if self.failures:
            raise self.failures.pop()
        return self.database.transaction(durable=durable)

    def at_once(self, *, writes: bool = False, durable: bool = True) -> AbstractContextManager[None]:
        del writes, durable
        return nullcontext()

    def runtime_of(self, suite: Suite) -> Runtime:
        """Return a process with this database, of which a worker needs nothing but transactions."""
        return Runtime(settings=suite.runtime.settings, database=cast("Database", self), clock=suite.clock)


def troubled(runtime: Runtime, trouble: Trouble) -> Trouble:
    runtime.ports[open_desk] = TroubledDesk(runtime, trouble)
    return trouble


def worker_of(runtime: Runtime, *rooms: str) -> Worker:
    return Worker(runtime, Guard(runtime, merged([SERVERS[room] for room in rooms]) if rooms else catalogue()))


async def asked(suite: Suite, ref: str = "local:AB-1") -> Json:
    """Ask for a reply; the arguments of the call."""
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=ref, body="Open the board menu.")
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
    return send


async def approved(suite: Suite, *tickets: str) -> Json:
    """Ask for a reply to each ticket and approve it; the arguments of the last call."""
    suite.tickets([ticket(one) for one in tickets or ("AB-1",)])
    send: Json = {}
    for one in tickets or ("AB-1",):
        send = await asked(suite, f"local:{one}")
        suite.approve(suite.requests()[0].approval_id)
        suite.clock.advance(1)
    return send


def states(suite: Suite) -> list[tuple[str, str]]:
    """The stored states of all requests; looking at them this way applies no clock."""
    with suite.runtime.database.transaction() as tx:
        rows = tx.all("SELECT state, state_reason FROM approvals ORDER BY created_at")
    return [(str(row["state"]), str(row["state_reason"])) for row in rows]


def texts_of(suite: Suite) -> int:
    """How many recordings still say what was said."""
    with suite.runtime.database.transaction() as tx:
        return len(tx.all("SELECT 1 FROM recordings WHERE said IS NOT NULL"))


def job_of(suite: Suite, kind: str) -> Job:
    with suite.runtime.database.transaction() as tx:
        row = tx.one("SELECT subject FROM outbox WHERE kind = :kind", kind=kind)
        assert row is not None, kind
        found = Outbox(tx).of_subject(kind, str(row["subject"]))  # pyright: ignore[reportArgumentType] - a JobKind
    assert found is not None
    return found


@contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let a worker look again at once; fail rather than wait for ever."""
    monkeypatch.setattr(worker, "POLL_S", 0.005)
    with anyio.fail_after(20):
        yield


async def test_a_job_is_left_to_a_process_that_loaded_its_room(suite: Suite) -> None:
    await approved(suite)
    elsewhere = worker_of(suite.another_process(), "memory", "classifier", "approvals", "runs")
    assert await elsewhere.run_one() is None
    assert await worker_of(suite.another_process(), "tickets").run_one() is not None
    assert len(suite.comments("AB-1")) == 1


async def test_a_request_expires_and_an_approval_lapses_although_nobody_looks(suite: Suite) -> None:
    suite.tickets([ticket(), ticket("AB-2")])
    await asked(suite)
    suite.approve(suite.requests()[0].approval_id)
    suite.clock.advance(1)
    await asked(suite, "local:AB-2")
    with suite.runtime.database.transaction() as tx:
        tx.execute("DELETE FROM outbox")
    chores = worker_of(suite.runtime, "memory")
    assert await chores.run_due() == 3
    suite.clock.advance(72 * 3_600)
    assert states(suite) == [("approved", ""), ("pending", "")]
    assert await chores.run_due() == 3
    assert states(suite) == [("lapsed", "not used in time"), ("expired", "nobody decided in time")]


async def test_old_recordings_counters_and_done_jobs_are_forgotten_once_a_day_and_nothing_else(suite: Suite) -> None:
    await approved(suite)
    async with suite.agent("runs", "memory") as agent:
        run_id = (await agent.ok("start_run", key="one"))["run_id"]
        await agent.ok("memory_put", key="a/b", value="c", run_id=run_id)
    assert await worker_of(suite.runtime).run_due() == 4
    kept = {name: suite.count(name) for name in ("effects", "approvals", "decisions", "runs", "steps", "recordings")}
    assert all(kept.values())
    for days, (jobs, texts, counters) in {29: (4, 2, 2), 2: (3, 0, 2), 400: (3, 0, 0)}.items():
        suite.clock.advance(days * DAY_S)
        await worker_of(suite.runtime).run_due()
        assert (suite.count("outbox"), texts_of(suite), suite.count("counters")) == (jobs, texts, counters)
    assert {name: suite.count(name) for name in kept} == kept


async def test_the_days_counters_stay_while_they_count(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        await agent.ok("get_ticket", ref="local:AB-1")
    suite.clock.advance(399 * DAY_S)
    await worker_of(suite.runtime).run_due()
    with suite.runtime.database.transaction() as tx:
        [row] = tx.all("SELECT day FROM counters")
    assert row["day"] == local_day(suite.clock.now() - 399 * DAY_S, suite.runtime.settings.zone)


async def test_one_installation_prunes_once_a_day_however_many_processes_it_has(suite: Suite) -> None:
    done = [await worker_of(suite.another_process()).run_due() for _ in range(3)]
    assert done == [3, 0, 0]
    suite.clock.advance(DAY_S)
    done = [await worker_of(suite.another_process()).run_due() for _ in range(3)]
    assert done == [3, 0, 0]


@pytest.mark.parametrize("outcome", ["done", "not_applied"])
async def test_what_a_dead_process_left_is_settled_though_no_agent_comes_back(suite: Suite, outcome: str) -> None:
    await approved(suite)
    dying = suite.another_process()
    trouble = troubled(dying, Trouble(after=[AmbiguousError()]) if outcome == "done" else Trouble([AmbiguousError()]))
    trouble.looking.append(UNAVAILABLE)
    await suite.execute(runtime=dying)
    with suite.runtime.database.transaction() as tx:
        tx.execute("DELETE FROM outbox WHERE kind = 'execute_approved'")  # as if the agent had called
    heir = worker_of(suite.another_process(), "tickets")
    await heir.run_due()
    suite.clock.advance(LEASE_AND_SETTLE_S - 2)
    await heir.run_due()
    assert the_effect(suite).state == "claimed", "a late request may still land"
    suite.clock.advance(7)
    await heir.run_due()
    assert the_effect(suite).state == outcome
    assert job_of(suite, "reconcile").state == "done"
    assert states(suite)[0][0] == ("used" if outcome == "done" else "approved")
    assert len(suite.comments("AB-1")) == len(trouble.sent)


async def test_an_approved_effect_that_was_interrupted_is_left_to_its_own_job(suite: Suite) -> None:
    await approved(suite)
    troubled(suite.runtime, Trouble(before=[AmbiguousError()], looking=[UNAVAILABLE]))
    await suite.execute()
    suite.clock.advance(LEASE_AND_SETTLE_S)
    await worker_of(suite.another_process(), "tickets").run_due()
    assert suite.count("outbox") == 4, "no job of kind reconcile beside it"
    assert (the_effect(suite).state, the_job(suite).state) == ("done", "done")
    assert len(suite.comments("AB-1")) == 1


async def test_an_effect_interrupted_once_more_is_settled_once_more(suite: Suite) -> None:
    suite.tickets([ticket()])
    heir = worker_of(suite.another_process(), "tickets")
    for _ in range(2):
        with suite.runtime.database.transaction() as tx:
            tx.execute("DELETE FROM effects")
        async with suite.agent("tickets") as agent:
            await agent.call("update_ticket", ref="local:AB-1", version="1", add_tags=["seen"])
        with suite.runtime.database.transaction() as tx:
            tx.execute("UPDATE effects SET state = 'claimed', owner = 'gone'")
        suite.clock.advance(LEASE_AND_SETTLE_S)
        await heir.run_due()
        assert (the_effect(suite).state, the_effect(suite).outcome) == ("done", "reconciled")
    assert job_of(suite, "reconcile").state == "done"


async def test_an_effect_that_cannot_be_looked_up_is_tried_again_and_then_left_to_a_person(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        await agent.ok("update_ticket", ref="local:AB-1", version="1", add_tags=["seen"])
    with suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE effects SET state = 'claimed', owner = 'gone'")
    suite.clock.advance(LEASE_AND_SETTLE_S)
    trouble = troubled(suite.runtime, Trouble(looking=[UNAVAILABLE] * 3))
    working = worker_of(suite.runtime)
    while trouble.looking:
        await working.run_due()
        assert job_of(suite, "reconcile").state == "waiting"
        suite.clock.advance(LEASE_AND_SETTLE_S)
    trouble.looking.extend([UNAVAILABLE] * 10)
    suite.clock.advance(7 * DAY_S)
    await working.run_due()
    suite.clock.advance(LEASE_S)
    with suite.runtime.database.transaction() as tx:
        assert [job.kind for job in Outbox(tx).failed(tenant="default")] == ["reconcile"]
        assert len(Effects(tx).unsettled(tenant="default")) == 1


async def test_a_pause_stops_the_outbox_whole(suite: Suite) -> None:
    await approved(suite)
    with suite.runtime.database.transaction() as tx:
        Switches(tx).set(PAUSE, reason="", person="person:ada")
    assert await worker_of(suite.runtime).run_due() == 0
    with suite.runtime.database.transaction() as tx:
        Switches(tx).clear(PAUSE)
    assert await worker_of(suite.runtime).run_due() == 4
    assert len(suite.comments("AB-1")) == 1


async def test_who_lost_its_lease_voids_nothing_any_more(suite: Suite) -> None:
    await approved(suite)
    slow = suite.another_process()
    conflict = ConflictError("the customer wrote again.", next_step="Read it.")
    trouble = troubled(slow, Trouble(before=[conflict], reading=anyio.Event()))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(worker_of(slow).run_one)
            await trouble.begun.wait()
            suite.clock.advance(LEASE_S)
            taken_over = await worker_of(suite.runtime).run_one()
            assert taken_over is not None
            assert taken_over.attempts == 2
            assert trouble.reading is not None
            trouble.reading.set()
    assert states(suite) == [("used", "")]
    assert the_job(suite).state == "done"
    assert len(suite.comments("AB-1")) == 1


async def test_a_job_ends_within_its_lease_and_is_tried_again(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    await approved(suite)
    trouble = troubled(suite.runtime, Trouble(reading=anyio.Event()))
    monkeypatch.setattr(worker, "ACT_S", 0.01)
    assert worker.ACT_S < LEASE_S
    await suite.execute()
    assert (the_job(suite).state, the_job(suite).error) == ("waiting", "upstream_unavailable")
    monkeypatch.undo()
    assert trouble.reading is not None
    trouble.reading.set()
    suite.clock.advance(5)
    await suite.execute()
    assert (the_job(suite).state, trouble.sent) == ("done", ["local:AB-1"])


async def test_nothing_is_begun_once_the_end_has_begun_and_what_is_begun_is_finished(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await approved(suite, "AB-1", "AB-2")
    trouble = troubled(suite.runtime, Trouble(reading=anyio.Event()))
    ended = anyio.Event()
    with quick(monkeypatch):
        async with anyio.create_task_group() as group:
            group.start_soon(worker_of(suite.runtime, "tickets").run, ended)
            await trouble.begun.wait()
            ended.set()
            assert trouble.reading is not None
            trouble.reading.set()
    assert trouble.sent == ["local:AB-1"]
    assert sorted(states(suite)) == [("approved", ""), ("used", "")]


async def test_a_job_that_is_abandoned_is_taken_over_when_its_lease_ends(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await approved(suite)
    dying = suite.another_process()
    trouble = troubled(dying, Trouble(reading=anyio.Event()))
    with quick(monkeypatch):
        async with anyio.create_task_group() as group:
            group.start_soon(worker_of(dying, "tickets").run, anyio.Event())
            await trouble.begun.wait()
            group.cancel_scope.cancel()
    heir = worker_of(suite.runtime)
    await heir.run_due()
    assert the_job(suite).state == "leased"
    suite.clock.advance(LEASE_S)
    await heir.run_due()
    assert (the_job(suite).state, the_job(suite).attempts) == ("done", 2)
    assert len(suite.comments("AB-1")) == 1


@pytest.mark.parametrize(
    "failure",
    [
        StoreBusyError("the database is busy.", next_step="Wait.", retry_after_s=1),
        StorageFullError("there is no room.", next_step="Free some."),
        OSError("the disk is gone"),
    ],
    ids=["busy", "full", "lost"],
)
async def test_a_worker_survives_a_database_that_fails(
    suite: Suite, failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await approved(suite)
    failing = FailingDatabase(suite.runtime.database, [failure] * 3)
    ended = anyio.Event()
    with quick(monkeypatch):
        async with anyio.create_task_group() as group:
            group.start_soon(worker_of(failing.runtime_of(suite), "tickets").run, ended)
            while the_job(suite).state != "done":  # noqa: ASYNC110 - the database is what tells
                await anyio.sleep(0.001)
            ended.set()
    assert len([record for record in caplog.records if record.name == "gatebook.worker"]) == 3
    assert len(suite.comments("AB-1")) == 1


def test_a_worker_whose_database_fails_asks_ever_less_often() -> None:
    waits = [worker._pause(failures) for failures in range(12)]
    assert all(0.75 * wait <= real <= 1.25 * wait for wait, real in zip((1, 2, 4, 8, 16, 32, 60), waits, strict=False))
    assert max(waits) <= 75


async def test_a_worker_asks_a_database_without_work_for_one_short_transaction(suite: Suite) -> None:
    begun: list[bool] = []

    class CountingDatabase(FailingDatabase):
        def transaction(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
            begun.append(durable)
            return self.database.transaction(durable=durable)

    counting = CountingDatabase(suite.runtime.database, [])
    idle = worker_of(counting.runtime_of(suite))
    await idle.run_due()
    begun.clear()
    assert await idle.run_one(finding=True) is None
    assert len(begun) == 1
