"""A clock that is set an hour ahead or back: no lease ends by it, no lease lasts for it, and nothing is repeated."""

from dataclasses import dataclass, field

import anyio
import pytest

from fakes.troubled_desk import ProcessDiedError
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import Applied, Visibility
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from suite import Agent, Json, Suite, approved_reply, the_effect, the_job, under_way

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.any_database,
    pytest.mark.parametrize("jump", [3_600.0, -3_600.0], ids=["ahead", "back"]),
]

LEASE_AND_SETTLE_S = 91.0


@dataclass
class Barrier:
    """Where a process waits until the test lets it go on."""

    reached: anyio.Event = field(default_factory=anyio.Event)
    opened: anyio.Event = field(default_factory=anyio.Event)

    async def wait(self) -> None:
        self.reached.set()
        with anyio.fail_after(5):
            await self.opened.wait()


class BarredDesk(LocalDesk):
    """The local desk behind barriers; with `dies` the process ends once the reply is there."""

    def __init__(
        self, runtime: Runtime, *, acting: Barrier | None = None, looking: Barrier | None = None, dies: bool = False
    ) -> None:
        super().__init__(runtime)
        self._acting = acting
        self._looking = looking
        self._dies = dies

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        if self._acting:
            await self._acting.wait()
        applied = await super().comment(ref, body, visibility=visibility, head=head, marker=marker)
        if self._dies:
            raise ProcessDiedError
        return applied

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        if self._looking:
            await self._looking.wait()
        return await super().find_operation(ref, marker)


async def outcome(agent: Agent, send: Json) -> object:
    answer = await agent.call("send_reply", send)
    return answer.code or answer.content["outcome"]


def only_once(suite: Suite) -> bool:
    """Whether the reply reached the customer once, and its approval was used."""
    return len(suite.comments("AB-1")) == 1 and [request.state for request in suite.requests("all")] == ["used"]


async def test_an_effect_in_flight_stays_its_owners(suite: Suite, jump: float) -> None:
    send = await approved_reply(suite)
    acting, heir = Barrier(), suite.another_process()
    suite.runtime.ports[open_desk] = BarredDesk(suite.runtime, acting=acting)
    async with suite.agent("tickets") as agent, suite.agent("tickets", runtime=heir) as other:
        async with under_way(lambda: outcome(agent, send)) as outcomes:
            await acting.reached.wait()
            suite.clock.jump(jump)
            assert await outcome(other, send) == "in_progress"
            acting.opened.set()
        assert outcomes == ["executed"]
        assert await outcome(other, send) == "replayed"
    assert only_once(suite)


async def test_what_a_dead_process_left_is_taken_over_after_its_lease_and_not_by_the_calendar(
    suite: Suite, jump: float
) -> None:
    send = await approved_reply(suite)
    suite.runtime.ports[open_desk] = BarredDesk(suite.runtime, dies=True)
    async with suite.agent("tickets") as agent, suite.agent("tickets", runtime=suite.another_process()) as other:
        assert await outcome(agent, send) == "internal"
        suite.clock.jump(jump)
        for wait_s in (0.0, 59.0, 30.0):
            suite.clock.advance(wait_s)
            assert await outcome(other, send) == "in_progress"
        suite.clock.advance(2)
        assert await outcome(other, send) == "reconciled"
    assert only_once(suite)


async def test_a_takeover_in_flight_is_not_taken_over(suite: Suite, jump: float) -> None:
    send = await approved_reply(suite)
    suite.runtime.ports[open_desk] = BarredDesk(suite.runtime, dies=True)
    looking, heir = Barrier(), suite.another_process()
    heir.ports[open_desk] = BarredDesk(heir, looking=looking)
    async with (
        suite.agent("tickets") as agent,
        suite.agent("tickets", runtime=heir) as second,
        suite.agent("tickets", runtime=suite.another_process()) as third,
    ):
        assert await outcome(agent, send) == "internal"
        suite.clock.advance(LEASE_AND_SETTLE_S)

        async with under_way(lambda: outcome(second, send)) as outcomes:
            await looking.reached.wait()
            suite.clock.jump(jump)
            assert await outcome(third, send) == "in_progress"
            looking.opened.set()
        assert outcomes == ["reconciled"]
        assert await outcome(third, send) == "replayed"
    assert only_once(suite)
    assert the_effect(suite).owner == heir.owner


async def test_a_job_under_way_is_done_by_its_worker_only(suite: Suite, jump: float) -> None:
    await approved_reply(suite)
    acting = Barrier()
    suite.runtime.ports[open_desk] = BarredDesk(suite.runtime, acting=acting)
    async with under_way(suite.execute):
        await acting.reached.wait()
        suite.clock.jump(jump)
        assert await suite.execute(runtime=suite.another_process()) is None
        acting.opened.set()
    assert the_job(suite).state == "done"
    assert only_once(suite)


async def test_a_job_of_a_dead_worker_is_taken_over_after_its_lease_and_sends_nothing_again(
    suite: Suite, jump: float
) -> None:
    await approved_reply(suite)
    suite.runtime.ports[open_desk] = BarredDesk(suite.runtime, dies=True)
    await suite.execute()
    heir = suite.another_process()
    suite.clock.jump(jump)
    assert the_effect(suite).state == "claimed"
    for _ in range(60):
        suite.clock.advance(60)
        await suite.execute(runtime=heir)
    suite.clock.advance(3_600)
    await suite.execute(runtime=heir)
    assert (the_effect(suite).outcome, the_job(suite).state) == ("reconciled", "done")
    assert only_once(suite)
