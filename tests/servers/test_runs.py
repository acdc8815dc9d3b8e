"""Runs: one driver, exact steps, a way to end cleanly, checkpoints that are saved once, budgets of the day."""

import json
from typing import cast

import anyio
import pytest
from pydantic import JsonValue

from gatebook.ledger.models import Step
from gatebook.ledger.runs import Runs
from gatebook.retry import Operation, TransientError, with_retries, without_waiting
from gatebook_servers.tickets.desk import Ticket
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from suite import Agent, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

DAY_S = 86_400.0


async def start(agent: Agent, key: str = "night", **limits: JsonValue) -> str:
    return str((await agent.ok("start_run", key=key, **limits))["run_id"])


def of(content: Json, name: str) -> list[Json]:
    return cast("list[Json]", content[name])


def recorded_result(suite: Suite, tool: str) -> JsonValue:
    """What is recorded of the one effect of a tool."""
    with suite.runtime.database.transaction() as tx:
        row = tx.one("SELECT result FROM effects WHERE tool = :tool", tool=tool)
    assert row is not None
    return json.loads(str(row["result"]))


def steps(suite: Suite, handle: str) -> list[Step]:
    with suite.runtime.database.transaction() as tx:
        return Runs(tx).steps(handle.partition(".")[0])


async def test_a_key_names_one_run_for_ever(suite: Suite, mode: str) -> None:
    async with suite.agent("runs", mode=mode) as agent:
        first = await agent.ok("start_run", key="night", goal="Read the queue", max_steps=20)
        again = await agent.ok("start_run", key="night", max_steps=99)
        assert (first["resumed"], again["resumed"]) == (False, True)
        assert again["run_id"] == first["run_id"]
        assert again["limits"] == first["limits"]
        done = await agent.ok("finish_run", run_id=first["run_id"], status="completed", summary="12 read")
        assert (await agent.ok("finish_run", run_id=first["run_id"], status="completed")) == done
        finished = await agent.ok("start_run", key="night")
        assert (finished["status"], finished["resumed"], finished["summary"]) == ("completed", False, "12 read")
        run: Json = {"run_id": first["run_id"]}
        assert (await agent.call("resume_run", run)).code == "run_not_active"
        assert (await agent.call("checkpoint", run, seq=1, state={})).code == "run_not_active"
        assert (await agent.call("finish_run", run, status="failed")).code == "run_not_active"
    assert suite.count("runs") == 1


async def test_only_the_newest_handle_drives_a_run(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        old = await start(agent)
        new = (await agent.ok("resume_run", run_id=old))["run_id"]
        assert new != old
        draft: Json = {"ref": "local:AB-1", "body": "Hello."}
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
        acts: list[tuple[str, Json]] = [
            ("list_tickets", {}), ("draft_reply", draft), ("update_ticket", update),
            ("checkpoint", {"seq": 1, "state": {}}), ("finish_run", {"status": "completed"}),
        ]  # fmt: skip
        for tool, arguments in acts:
            lost = await agent.call(tool, arguments, run_id=old)
            assert lost.code == "run_lease_lost", tool
        for tool, arguments in acts[:4]:
            bare = await agent.call(tool, arguments, run_id=old.partition(".")[0])
            assert bare.code == "invalid_arguments", tool
        for tool, arguments in acts:
            await agent.ok(tool, arguments, run_id=new)
        assert (await agent.call("update_ticket", update, run_id=old)).code == "run_lease_lost", "nor replays anything"
    assert (suite.count("drafts"), suite.count("effects")) == (1, 1)


async def test_steps_are_accepted_calls_and_nothing_else(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(), ticket("AB-2", body="I want a refund.")])
    async with suite.agent(mode=mode) as agent:
        run_id = await start(agent)
        run: Json = {"run_id": run_id}
        await agent.ok("list_tickets", run)
        draft = await agent.ok("draft_reply", run, ref="local:AB-1", body="Hello.")
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public", **run}
        assert (await agent.call("send_reply", send)).code == "approval_required"
        assert (await agent.call("send_reply", send)).code == "approval_required"
        assert (await agent.call("get_ticket", run, ref="local:ZZ-9")).code == "not_found"
        assert (await agent.call("draft_reply", run, ref="local:AB-2", body="Hello.")).code == "held"
        assert (await agent.call("draft_reply", run, ref="local:AB-1", body="")).code == "invalid_arguments"
        await agent.ok("checkpoint", run, seq=1, state={})
        await agent.ok("list_approvals", run=run_id)
        await agent.ok("record_usage", run, source_id="a", input_tokens=1, output_tokens=1)
        suite.approve(next(one.approval_id for one in suite.requests() if one.kind == "effect"))
        await suite.execute()
        assert (await agent.ok("send_reply", send))["outcome"] == "replayed"
        await agent.ok("update_ticket", run, ref="local:AB-1", version="2", add_tags=["seen"])
        assert (await agent.ok("get_run", run))["steps"] == 5
    seen = [(step.number, step.tool, step.status, step.error) for step in steps(suite, run_id)]
    assert seen == [
        (1, "list_tickets", "done", ""),
        (2, "draft_reply", "done", ""),
        (3, "send_reply", "executed", ""),
        (4, "get_ticket", "failed", "not_found"),
        (5, "update_ticket", "done", ""),
    ]
    assert all(step.output_size > 0 for step in steps(suite, run_id) if step.status == "done")


async def test_concurrent_calls_never_exceed_the_steps(suite: Suite) -> None:
    suite.tickets([ticket()])
    codes: list[str] = []
    async with suite.agent("tickets", "runs") as agent:
        run_id = await start(agent, max_steps=6)

        async def stage() -> None:
            codes.append((await agent.call("draft_reply", ref="local:AB-1", body="Hello.", run_id=run_id)).code)

        async with anyio.create_task_group() as group:
            for _ in range(15):
                group.start_soon(stage)
    assert sorted(codes) == [""] * 6 + ["step_budget_exceeded"] * 9
    assert [step.number for step in steps(suite, run_id)] == [1, 2, 3, 4, 5, 6]


async def test_a_run_without_steps_can_still_be_ended_cleanly(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", "memory", mode=mode) as agent:
        run: Json = {"run_id": await start(agent, max_steps=2)}
        await agent.ok("list_tickets", run)
        draft = await agent.ok("draft_reply", run, ref="local:AB-1", body="Hello.")
        refused = await agent.call("send_reply", run, draft_id=draft["draft_id"], visibility="public")
        assert refused.code == "step_budget_exceeded"
        assert (refused.error["limit"], refused.error["spent"], refused.error["remaining"]) == (2, 2, 0)
        assert suite.requests("all") == [], "a refused call leaves no request behind"
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
        for tool, arguments in (("update_ticket", update), ("draft_reply", {"ref": "local:AB-1", "body": "Other."})):
            assert (await agent.call(tool, arguments, **run)).code == "step_budget_exceeded"
        await agent.ok("memory_put", run, key="tickets/2026-11-22", value="two read")
        for _ in range(9):
            await agent.ok("list_tickets", run)
        assert (await agent.call("list_tickets", run)).code == "step_budget_exceeded"
        await agent.ok("checkpoint", run, seq=1, state={"read": 2})
        assert (await agent.ok("finish_run", run, status="paused"))["steps"] == 2


async def test_a_paused_run_goes_on_with_new_steps_within_the_operators_ceiling(suite: Suite, mode: str) -> None:
    runtime = suite.another_process(max_steps_per_run=5)
    async with suite.agent("tickets", "runs", mode=mode, runtime=runtime) as agent:
        first = await agent.ok("start_run", key="night", max_steps=2)
        for _ in range(2):
            await agent.ok("list_tickets", run_id=first["run_id"])
        await agent.ok("checkpoint", run_id=first["run_id"], seq=1, state={"read": 2})
        await agent.ok("list_tickets", run_id=first["run_id"])
        await agent.ok("finish_run", run_id=first["run_id"], status="paused")
        assert (await agent.call("list_tickets", run_id=first["run_id"])).code == "run_not_active"
        again = await agent.ok("start_run", key="night")
        assert (again["status"], again["resumed"]) == ("paused", True)
        resumed = await agent.ok("resume_run", run_id=again["run_id"], max_steps=2)
        assert (resumed["status"], resumed["seq"], resumed["state"]) == ("running", 1, {"read": 2})
        assert resumed["limits"] == {"steps": 4, "steps_remaining": 2, "tokens_per_day": None, "usd_per_day": None}
        await agent.ok("finish_run", run_id=resumed["run_id"], status="paused")
        most = await agent.ok("resume_run", run_id=resumed["run_id"], max_steps=100)
        assert most["limits"] == {"steps": 5, "steps_remaining": 3, "tokens_per_day": None, "usd_per_day": None}


async def test_resuming_returns_the_last_checkpoint_and_what_came_after_it(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run: Json = {"run_id": await start(agent)}
        empty = await agent.ok("resume_run", run)
        assert (empty["seq"], empty["checkpoint_step"], empty["state"], empty["steps_since"]) == (0, 0, None, [])
        run = {"run_id": empty["run_id"]}
        await agent.ok("list_tickets", run)
        await agent.ok("checkpoint", run, seq=1, state={"position": "a"})
        draft = await agent.ok("draft_reply", run, ref="local:AB-1", body="Hello.")
        held = await agent.call("send_reply", run, draft_id=draft["draft_id"], visibility="public")
        update = await agent.ok("update_ticket", run, ref="local:AB-1", version="1", add_tags=["seen"])
        missing = await agent.call("get_ticket", run, ref="local:ZZ-9")
        resumed = await agent.ok("resume_run", run)
        assert (resumed["seq"], resumed["checkpoint_step"], resumed["state"]) == (1, 1, {"position": "a"})
        done: Json = {"status": "done", "error": None, "cut": False}
        assert resumed["steps_since"] == [
            {"number": 2, "tool": "draft_reply", "result": draft} | done,
            {"number": 3, "tool": "send_reply", "result": held.text} | done | {"status": "held"},
            {"number": 4, "tool": "update_ticket", "result": update} | done,
            {"number": 5, "tool": "get_ticket", "result": missing.text, "status": "failed", "error": "not_found"}
            | {"cut": False},
        ]
        [request] = suite.requests()
        waiting: Json = {"approval_id": request.approval_id, "tool": "send_reply", "target": "local:AB-1"}
        assert resumed["open_approvals"] == [waiting | {"state": "pending"}]
        assert (resumed["more_approvals"], resumed["next_step"]) == (0, None)
        suite.approve(request.approval_id)
        again = await agent.ok("resume_run", run)
        assert again["open_approvals"] == [waiting | {"state": "approved"}]
        await suite.execute()
        last = await agent.ok("resume_run", run)
        assert last["open_approvals"] == []
        [sent] = [step for step in of(last, "steps_since") if step["number"] == 3]
        assert sent["status"] == "executed"
        # What became of it, not what the call was answered at first.
        assert sent["result"] == recorded_result(suite, "send_reply")


async def test_a_checkpoint_is_saved_once_and_never_rewritten(suite: Suite, mode: str) -> None:
    async with suite.agent("runs", mode=mode) as agent:
        run: Json = {"run_id": await start(agent)}
        state: Json = {"a": 1, "b": ["\u00e9\u2713", None, 1.5]}
        assert (await agent.ok("checkpoint", run, seq=1, state=state))["saved"] is True
        assert (await agent.ok("checkpoint", run, seq=1, state=dict(reversed(state.items()))))["saved"] is False
        assert (await agent.call("checkpoint", run, seq=1, state={"a": 2})).code == "idempotency_conflict"
        await agent.ok("checkpoint", run, seq=4, state={})
        behind = await agent.call("checkpoint", run, seq=1, state=state)
        assert (behind.code, behind.error["newest"]) == ("idempotency_conflict", 4)
        assert (await agent.call("checkpoint", run, seq=5, state={"a": "x" * 262_144})).code == "too_large"
        assert (await agent.call("checkpoint", run, seq=5, state={"a": "\u00e9" * 140_000})).code == "too_large"
        assert (await agent.call("checkpoint", run, seq=5, state={"a": "\ud800"})).code == "invalid_arguments"
        whole: Json = {"a": "x" * (262_144 - len('{"a":""}'))}
        assert (await agent.ok("checkpoint", run, seq=5, state=whole))["saved"] is True
        assert (await agent.ok("get_run", run))["checkpoint_seq"] == 5


async def test_old_checkpoints_are_pruned_to_the_last_three_and_every_hundredth(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run: Json = {"run_id": await start(agent)}
        for seq in (1, 2, 98, 99, 100, 101, 102, 103, 200, 201, 202, 203, 210):
            await agent.ok("checkpoint", run, seq=seq, state={"seq": seq})
        assert (await agent.ok("resume_run", run))["state"] == {"seq": 210}
    with suite.runtime.database.transaction() as tx:
        kept = [row["seq"] for row in tx.all("SELECT seq FROM checkpoints ORDER BY seq")]
    assert kept == [100, 200, 202, 203, 210]


async def test_at_the_end_of_every_budget_ten_calls_are_left_to_end_cleanly(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", "memory", mode=mode) as agent:
        run: Json = {"run_id": await start(agent, max_steps=1, max_tokens=10, max_usd=0.5)}
        await agent.ok("list_tickets", run)
        await agent.ok("record_usage", run, source_id="a", input_tokens=10, output_tokens=0, usd=0.5)
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
        for tool, arguments in (("update_ticket", update), ("draft_reply", {"ref": "local:AB-1", "body": "Hello."})):
            assert (await agent.call(tool, arguments, **run)).code == "token_budget_exceeded"
        for number in range(10):
            await agent.ok("memory_put", run, key=f"tickets/2026-11-{number + 10}", value="one read")
        assert (await agent.call("memory_get", run, key="tickets/2026-11-10")).code == "step_budget_exceeded"
        await agent.ok("checkpoint", run, seq=1, state={"read": 1})
        assert (await agent.ok("finish_run", run, status="paused"))["steps"] == 1


async def test_used_up_tokens_refuse_new_work_but_let_the_run_end(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    draft: Json = {"ref": "local:AB-1", "body": "Hello."}
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        run: Json = {"run_id": await start(agent, max_tokens=1_000)}
        await agent.ok("record_usage", run, source_id="a", input_tokens=600, output_tokens=399)
        await agent.ok("draft_reply", draft, **run)
        await agent.ok("record_usage", run, source_id="b", input_tokens=1, output_tokens=0)
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
        for tool, arguments in (("draft_reply", draft), ("update_ticket", update)):
            refused = await agent.call(tool, arguments, **run)
            assert refused.code == "token_budget_exceeded"
            assert (refused.error["limit"], refused.error["spent"]) == (1_000, 1_000)
        await agent.ok("list_tickets", run)
        await agent.ok("checkpoint", run, seq=1, state={})
        suite.clock.advance(DAY_S)
        await agent.ok("draft_reply", draft, **run)
        await agent.ok("finish_run", run, status="paused")


async def test_the_operators_money_binds_every_run_of_the_day(suite: Suite) -> None:
    suite.tickets([ticket()])
    runtime = suite.another_process(max_usd_per_day=2.0)
    async with suite.agent("tickets", "runs", runtime=runtime) as agent:
        one, two = await start(agent, "one", max_usd=50), await start(agent, "two")
        await agent.ok("record_usage", run_id=one, source_id="a", input_tokens=1, output_tokens=1, usd=2.5)
        for run_id in (one, two, ""):
            refused = await agent.call("draft_reply", ref="local:AB-1", body="Hello.", run_id=run_id)
            assert refused.code == "cost_budget_exceeded"
            assert (refused.error["limit"], refused.error["spent"]) == (2.0, 2.5)
        await agent.ok("finish_run", run_id=two, status="paused")


async def test_usage_counts_once_and_unknown_is_not_zero(suite: Suite, mode: str) -> None:
    async with suite.agent("runs", mode=mode) as agent:
        run: Json = {"run_id": await start(agent)}
        unknown = await agent.ok("get_run", run)
        assert (unknown["input_tokens"], unknown["output_tokens"], unknown["usd"]) == (None, None, None)
        usage: Json = {**run, "source_id": "a", "input_tokens": 10, "output_tokens": 5}
        assert (await agent.ok("record_usage", usage))["recorded"] is True
        assert (await agent.ok("record_usage", usage, usd=1.0)) == {
            "recorded": False, "input_tokens": 10, "output_tokens": 5, "usd": None, "warning": None,
        }  # fmt: skip
        await agent.ok("record_usage", {**usage, "source_id": "b"}, usd=0.25)
        total = await agent.ok("get_run", run)
        assert (total["input_tokens"], total["output_tokens"], total["usd"]) == (20, 10, 0.25)


async def test_the_ceiling_of_calls_counts_refusals_and_starts_anew_the_next_day(suite: Suite, mode: str) -> None:
    runtime = suite.another_process(max_calls_per_day=4)
    async with suite.agent("tickets", mode=mode, runtime=runtime) as agent:
        assert (await agent.call("list_tickets", limit=0)).code == "invalid_arguments"
        assert (await agent.call("nope")).code == "not_found"
        assert (await agent.call("get_ticket", ref="local:ZZ-1")).code == "not_found"
        await agent.ok("list_tickets")
        for tool, arguments in (("list_tickets", None), ("nope", None), ("list_tickets", {"limit": 0})):
            assert (await agent.call(tool, arguments)).code == "ceiling_reached"
        suite.clock.advance(DAY_S)
        await agent.ok("list_tickets")
    async with suite.agent("tickets", mode=mode) as agent:
        await agent.ok("list_tickets")


async def test_beyond_the_calls_of_the_day_a_run_can_still_be_ended_cleanly(suite: Suite, mode: str) -> None:
    runtime = suite.another_process(max_calls_per_day=2)
    async with suite.agent("tickets", "runs", "memory", mode=mode, runtime=runtime) as agent:
        run: Json = {"run_id": await start(agent)}
        await agent.ok("list_tickets", run)
        for _ in range(20):
            assert (await agent.call("list_tickets", run)).code == "ceiling_reached"
        await agent.ok("checkpoint", run, seq=1, state={"done": 1})
        await agent.ok("memory_put", run, key="notes/night", value="Half of it is done.")
        await agent.ok("finish_run", run, status="paused")
        codes = [(await agent.call("start_run", key="night")).code for _ in range(8)]
        assert codes == [""] * 7 + ["ceiling_reached"]


async def test_the_ceiling_of_runs_stops_new_ones_and_finds_old_ones(suite: Suite) -> None:
    runtime = suite.another_process(max_runs_per_day=2)
    async with suite.agent("runs", runtime=runtime) as agent:
        for key in ("one", "two", "one"):
            await start(agent, key)
        assert (await agent.call("start_run", key="three")).code == "ceiling_reached"
        assert len(str((await agent.ok("start_run", key="two"))["run_id"])) > 0
        suite.clock.advance(DAY_S)
        await start(agent, "three")
        newest = (await agent.ok("list_runs", limit=1))["runs"]
        assert isinstance(newest, list)
        assert isinstance(newest[0], dict)
        assert newest[0]["key"] == "three"


async def test_a_run_of_another_tenant_is_not_found(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run: Json = {"run_id": await start(agent)}
    usage: Json = {"source_id": "a", "input_tokens": 1, "output_tokens": 1}
    async with suite.agent("runs", runtime=suite.another_process(tenant="other")) as stranger:
        for tool, arguments in (("get_run", {"steps_after": 0}), ("resume_run", {}), ("record_usage", usage)):
            assert (await stranger.call(tool, run, **arguments)).code == "not_found", tool
        assert (await stranger.ok("list_runs"))["runs"] == []


async def test_a_run_counts_the_retries_of_its_steps(suite: Suite) -> None:
    suite.tickets([ticket()])
    faults = 2

    class ShakyDesk(LocalDesk):
        async def get(self, ref: str) -> Ticket:
            async def attempt() -> Ticket:
                nonlocal faults
                faults -= 1
                if faults >= 0:
                    raise TransientError(applied=False)
                return await LocalDesk.get(self, ref)

            return await with_retries(attempt, operation=Operation.READ)

    suite.runtime.ports[open_desk] = ShakyDesk(suite.runtime)
    with without_waiting():
        async with suite.agent("tickets", "runs") as agent:
            run: Json = {"run_id": await start(agent)}
            await agent.ok("get_ticket", run, ref="local:AB-1")
            assert (await agent.ok("get_run", run))["retries"] == 2
    assert [step.attempts for step in steps(suite, str(run["run_id"]))] == [3]
