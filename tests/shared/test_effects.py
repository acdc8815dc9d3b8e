"""An approved reply leaves exactly once, whatever repeats, races, crashes or cannot be told."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import anyio
import pytest

from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from gatebook_servers.tickets.desk import Applied, Comment, Visibility
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from suite import Agent, Json, Suite, the_effect, the_job, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

REPLY = "Open the board menu and choose Rename.\n\nRobin from support"
LEASE_AND_SETTLE_S = 91.0


class MeetingDesk(LocalDesk):
    """Lets nobody read a ticket's messages before `expected` callers want to: they all have recalled nothing then."""

    def __init__(self, runtime: Runtime, arrived: list[str], everybody: anyio.Event, expected: int) -> None:
        super().__init__(runtime)
        self._arrived, self._everybody, self._expected = arrived, everybody, expected

    async def comments(self, ref: str) -> list[Comment]:
        self._arrived.append(ref)
        if len(self._arrived) == self._expected:
            self._everybody.set()
        await self._everybody.wait()
        return list(await super().comments(ref))


async def draft_and_ask(agent: Agent, body: str = REPLY) -> Json:
    """Draft a reply and call for its being sent once; the arguments of that call."""
    draft = await agent.ok("draft_reply", ref="local:AB-1", body=body)
    send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
    assert (await agent.call("send_reply", send)).code == "approval_required"
    return send


async def approved(suite: Suite) -> Json:
    """Ask for a reply and approve it; the arguments of the call."""
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await draft_and_ask(agent)
    suite.approve(suite.requests()[0].approval_id)
    return send


async def test_a_send_waits_for_a_person_and_then_happens_exactly_once(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", mode=mode) as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        first, second = await agent.call("send_reply", send), await agent.call("send_reply", send)
        assert first.code == second.code == "approval_required"
        [request] = suite.requests("all")
        assert first.error["approval_id"] == second.error["approval_id"] == request.approval_id
        assert first.error["rules"] == "always_review"
        assert suite.comments("AB-1") == []
        assert suite.count("effects") == 0

        suite.approve(request.approval_id)
        assert await suite.execute() is not None
        [comment] = suite.comments("AB-1")
        assert (comment["body"], comment["public"]) == (REPLY, 1)
        again = await agent.ok("send_reply", send)
        assert (again["outcome"], again["comment_id"]) == ("replayed", comment["comment_id"])
        assert await suite.execute() is None
    assert len(suite.comments("AB-1")) == 1
    assert [request.state for request in suite.requests("all")] == ["used"]


async def test_an_agent_that_repeats_the_call_before_the_worker_does_it_itself(suite: Suite) -> None:
    send = await approved(suite)
    async with suite.agent("tickets") as agent:
        assert (await agent.ok("send_reply", send))["outcome"] == "executed"
        assert (await agent.ok("send_reply", send))["outcome"] == "replayed"
    await suite.execute()
    assert the_job(suite).state == "done"
    assert len(suite.comments("AB-1")) == 1


async def test_a_sent_reply_is_replayed_in_any_run_without_one_and_by_any_process(suite: Suite, mode: str) -> None:
    send = await approved(suite)
    await suite.execute()
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        one = (await agent.ok("start_run", key="one"))["run_id"]
        assert (await agent.ok("send_reply", send, run_id=one))["outcome"] == "replayed"
        await agent.ok("finish_run", run_id=one, status="completed")
        two = (await agent.ok("start_run", key="two"))["run_id"]
        for run_id in (one, two, ""):
            assert (await agent.ok("send_reply", send, run_id=run_id))["outcome"] == "replayed"
    async with suite.agent("tickets", mode=mode, runtime=suite.another_process(principal="agent:other")) as agent:
        assert (await agent.ok("send_reply", send))["outcome"] == "replayed"
    assert len(suite.comments("AB-1")) == 1


async def test_a_sent_draft_cannot_be_sent_differently(suite: Suite) -> None:
    send = await approved(suite)
    await suite.execute()
    async with suite.agent("tickets", "approvals") as agent:
        internal: Json = {**send, "visibility": "internal"}
        assert (await agent.call("send_reply", internal)).code == "idempotency_conflict"
        for arguments in (send, internal):
            asked = await agent.call("request_approval", tool="send_reply", arguments=arguments)
            assert asked.code == "idempotency_conflict"
    assert len(suite.requests("all")) == 1
    assert len(suite.comments("AB-1")) == 1


async def test_agent_and_workers_that_race_for_one_approval_send_once(suite: Suite) -> None:
    send = await approved(suite)
    arrived: list[str] = []
    everybody = anyio.Event()
    processes = [suite.runtime, suite.another_process()]
    for runtime in processes:
        runtime.ports[open_desk] = MeetingDesk(runtime, arrived, everybody, expected=2)
    outcomes: list[str] = []

    async def call(runtime: Runtime) -> None:
        async with suite.agent("tickets", runtime=runtime) as agent:
            answer = await agent.call("send_reply", send)
            outcomes.append(answer.code or str(answer.content["outcome"]))

    async def work(runtime: Runtime) -> None:
        await suite.execute(runtime=runtime)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(call, processes[0])
            group.start_soon(work, processes[1])
    assert len(suite.comments("AB-1")) == 1
    assert outcomes[0] in {"executed", "replayed", "in_progress"}
    assert [request.state for request in suite.requests("all")] == ["used"]
    suite.clock.advance(LEASE_AND_SETTLE_S)
    await suite.execute()
    assert the_job(suite).state == "done"


async def test_equal_allowed_writes_that_race_are_one(suite: Suite) -> None:
    suite.tickets([ticket()])
    suite.runtime.ports[open_desk] = MeetingDesk(suite.runtime, [], anyio.Event(), expected=3)
    codes: list[str] = []
    async with suite.agent("tickets") as agent:

        async def update() -> None:
            answer = await agent.call("update_ticket", ref="local:AB-1", version="1", add_tags=["seen"])
            codes.append(answer.code or str(answer.content["outcome"]))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(update)
        assert codes.count("executed") == 1
        assert set(codes) <= {"executed", "replayed", "in_progress"}
        assert (await agent.ok("get_ticket", ref="local:AB-1"))["version"] == "2"


async def test_workers_of_two_processes_on_two_threads_send_once(suite: Suite) -> None:
    await approved(suite)
    together = Barrier(2, timeout=10)

    def work(runtime: Runtime) -> None:
        together.wait()
        anyio.run(Worker(runtime, Guard(runtime, catalogue())).run_one)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [suite.another_process(), suite.another_process()]))
    assert len(suite.comments("AB-1")) == 1
    assert the_job(suite).state == "done"


async def test_a_call_that_its_client_cancels_is_finished_once_it_has_begun(suite: Suite) -> None:
    send = await approved(suite)
    begun, go_on = anyio.Event(), anyio.Event()

    class SlowDesk(LocalDesk):
        async def comment(
            self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str
        ) -> Applied:
            begun.set()
            await go_on.wait()
            return await super().comment(ref, body, visibility=visibility, head=head, marker=marker)

    suite.runtime.ports[open_desk] = SlowDesk(suite.runtime)
    with anyio.fail_after(10):
        async with suite.agent("tickets") as agent, anyio.create_task_group() as group:
            group.start_soon(agent.call, "send_reply", send)
            await begun.wait()
            group.cancel_scope.cancel()
            go_on.set()
    assert len(suite.comments("AB-1")) == 1
    assert the_effect(suite).state == "done"


async def test_two_approvals_of_one_effect_send_once_and_leave_nothing_open(suite: Suite) -> None:
    send = await approved(suite)
    async with suite.agent("tickets", runtime=suite.another_process(principal="agent:other")) as stranger:
        assert (await stranger.call("send_reply", send)).code == "approval_required"
    suite.approve(suite.requests()[0].approval_id)
    while await suite.execute() is not None:
        pass
    assert len(suite.comments("AB-1")) == 1
    assert sorted((one.state, one.state_reason) for one in suite.requests("all")) == [
        ("lapsed", "superseded"),
        ("used", ""),
    ]


async def test_a_worker_leaves_what_was_approved_for_another_tenant_alone(suite: Suite) -> None:
    await approved(suite)
    assert await suite.execute(runtime=suite.another_process(tenant="other")) is None
    await suite.execute()
    assert len(suite.comments("AB-1")) == 1


async def test_a_dry_run_reaches_no_desk_and_the_live_send_still_happens_once(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    rehearsal = suite.another_process(mode="dry-run")
    async with suite.agent("tickets", mode=mode, runtime=rehearsal) as agent:
        send = await draft_and_ask(agent)
        [request] = suite.requests()
        suite.approve(request.approval_id)
        assert await suite.execute() is None, "a live worker leaves it alone"
        await suite.execute(runtime=rehearsal)
        assert (await agent.ok("send_reply", send))["mode"] == "dry-run"
        await agent.ok("update_ticket", ref="local:AB-1", version="1", add_tags=["seen"])
    assert suite.comments("AB-1") == []
    async with suite.agent("tickets", mode=mode) as agent:
        assert (await agent.ok("get_ticket", ref="local:AB-1"))["version"] == "1"
        assert (await agent.call("send_reply", send)).code == "approval_required"
        [live] = suite.requests()
        assert live.fingerprint != request.fingerprint
        suite.approve(live.approval_id)
        assert await suite.execute(runtime=rehearsal) is None
        assert (await agent.ok("send_reply", send))["mode"] == "live"
    assert len(suite.comments("AB-1")) == 1
