"""Who waits for people is woken by what another process writes, and looks by itself where nothing is noticed."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from gatebook.database.changes import Changes
from gatebook.database.port import Watch
from suite import Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]


@asynccontextmanager
async def watched(suite: Suite) -> AsyncGenerator[Watch]:
    watch = await suite.runtime.database.watch()
    yield watch
    await watch.close()


@pytest.fixture
async def approval_id(suite: Suite) -> str:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Open the board menu.")
        answer = await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    return str(answer.error["approval_id"])


async def awaited(suite: Suite, approval_id: str, act: Callable[[], object]) -> Json:
    """Wait for a request, and act once the wait is on; what the wait comes back with."""
    answered: list[Json] = []
    async with suite.agent("approvals") as agent:

        async def wait() -> None:
            answered.append(await agent.ok("wait_for_approvals", approval_ids=[approval_id], timeout_s=30))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                act()
    return answered[0]


async def test_a_watch_notices_what_another_process_decides_and_nothing_before(suite: Suite, approval_id: str) -> None:
    elsewhere = Suite(suite.home, clock=suite.clock, overrides=suite.overrides)
    async with watched(suite) as watch:
        with anyio.move_on_after(0.2) as early:
            await watch.changed()
        assert early.cancelled_caught
        elsewhere.approve(approval_id)
        with anyio.fail_after(10):  # nobody looks beneath: it returns because it was noticed
            await watch.changed()
    elsewhere.close()


async def test_a_change_between_two_waits_is_not_missed(suite: Suite, approval_id: str) -> None:
    changes = suite.runtime.changes
    async with changes.followed():
        mark = changes.mark
        suite.approve(approval_id)
        with anyio.fail_after(10):
            while changes.mark == mark:
                await changes.after(mark, within_s=10)


async def test_who_waits_goes_on_watching_when_the_one_that_watched_for_all_leaves(
    suite: Suite, approval_id: str
) -> None:
    changes = suite.runtime.changes
    woken = anyio.Event()

    async def wait() -> None:
        async with changes.followed():
            mark = changes.mark
            while changes.mark == mark:
                await changes.after(mark, within_s=10)
        woken.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as others:
            async with anyio.create_task_group() as first:
                first.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                others.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
            assert not woken.is_set()
            suite.approve(approval_id)
            await woken.wait()


async def test_a_database_that_is_not_noticed_is_looked_at_all_the_same(suite: Suite, approval_id: str) -> None:
    class Deaf:
        async def changed(self) -> None:
            await anyio.sleep_forever()

        async def close(self) -> None: ...

        async def watch(self) -> "Deaf":
            return self

    suite.runtime.changes = Changes(Deaf())  # pyright: ignore[reportArgumentType] - a database that nobody hears
    answered = await awaited(suite, approval_id, lambda: suite.approve(approval_id))
    assert answered["pending"] == 0


async def test_a_request_that_nobody_decides_in_time_ends_the_wait(suite: Suite, approval_id: str) -> None:
    answered = await awaited(suite, approval_id, lambda: suite.clock.jump(80 * 3600))
    requests = answered["approvals"]
    assert isinstance(requests, list)
    assert [one["state"] for one in requests if isinstance(one, dict)] == ["expired"]
