"""Resuming long runs: results of many steps page by page, checkpoints of every size, one driver."""

import json
from pathlib import Path
from typing import cast

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from pydantic import JsonValue

from fakes.troubled_desk import ProcessDiedError
from gatebook.ledger.checkpoints import MAX_STATE_BYTES
from gatebook_servers.tickets.desk import Applied, Patch
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.ports import open_desk
from programs.processes import COMMAND, environment
from suite import Agent, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]


class DyingDesk(LocalDesk):
    """The process ends once a change is there."""

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        await super().update(ref, patch, base_version=base_version, marker=marker)
        raise ProcessDiedError


async def start(agent: Agent, key: str = "night", **limits: JsonValue) -> str:
    return str((await agent.ok("start_run", key=key, **limits))["run_id"])


def of(content: Json, name: str) -> list[Json]:
    return cast("list[Json]", content[name])


async def test_two_agents_cannot_drive_one_run(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    other = suite.another_process()
    async with suite.agent("tickets", "runs", mode=mode) as first:
        mine: Json = {"run_id": await start(first)}
        await first.ok("draft_reply", mine, ref="local:AB-1", body="Hello.")
        async with suite.agent("tickets", "runs", mode=mode, runtime=other) as second:
            known = await second.ok("start_run", key="night")
            theirs: Json = {"run_id": (await second.ok("resume_run", run_id=known["run_id"]))["run_id"]}
            acts: list[tuple[str, Json]] = [
                ("list_tickets", {}), ("checkpoint", {"seq": 1, "state": {}}), ("finish_run", {"status": "paused"}),
                ("request_limit", {"steps": 300, "reason": "more"}),
            ]  # fmt: skip
            for tool, arguments in acts:
                assert (await first.call(tool, mine, **arguments)).code == "run_lease_lost", tool
            await second.ok("list_tickets", theirs)
            await second.ok("finish_run", theirs, status="completed")
    assert suite.count("steps") == 2


async def test_a_crash_after_the_checkpoint_of_a_long_run_is_told_page_by_page(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run: Json = {"run_id": await start(agent, max_steps=300)}
        nothing = await agent.ok("list_tickets", run, status="closed")
        for _ in range(229):
            await agent.ok("list_tickets", run, status="closed")
        resumed = await agent.ok("resume_run", run)
        run = {"run_id": resumed["run_id"]}
        told = of(resumed, "steps_since")
        assert ([step["number"] for step in told], resumed["next_step"]) == ([*range(1, 201)], 200)
        page = await agent.ok("get_run", run, steps_after=200)
        assert ([step["number"] for step in of(page, "steps_since")], page["next_step"]) == ([*range(201, 231)], None)
        assert of(page, "steps_since")[-1]["result"] == nothing
        first = await agent.ok("get_run", run, steps_after=0)
        assert ([step["number"] for step in of(first, "steps_since")], first["next_step"]) == ([*range(1, 51)], 50)
        assert (await agent.ok("get_run", run))["steps_since"] is None


async def test_a_step_that_was_not_over_when_the_checkpoint_was_saved_is_told_too(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run: Json = {"run_id": await start(agent)}
        suite.runtime.ports[open_desk] = DyingDesk(suite.runtime)
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"], **run}
        assert (await agent.call("update_ticket", update)).code == "internal"
        await agent.ok("checkpoint", run, seq=1, state={"sent": []})
        await agent.ok("list_tickets", run)
        resumed = await agent.ok("resume_run", run)
        told = [(step["tool"], step["status"]) for step in of(resumed, "steps_since")]
        assert told == [("update_ticket", "accepted"), ("list_tickets", "done")]


async def test_results_beyond_a_pages_length_are_cut_and_told_on_the_next(suite: Suite) -> None:
    suite.tickets([ticket(body="a" * 5_000)])
    async with suite.agent("tickets", "runs", "memory") as agent:
        run: Json = {"run_id": await start(agent)}
        for _ in range(6):
            await agent.ok("get_ticket", run, ref="local:AB-1")
        await agent.ok("memory_list", run)
        await agent.ok("finish_run", run, status="paused", summary="s" * 20_000)
        told = of(await agent.ok("resume_run", run), "steps_since")
        assert [step["cut"] for step in told] == [False] * 4 + [True] * 2 + [False]
        assert [step["result"] is None for step in told] == [False] * 4 + [True] * 2 + [False]
        page = await agent.ok("get_run", run, steps_after=4)
        assert [(step["number"], step["cut"]) for step in of(page, "steps_since")] == [
            (5, False),
            (6, False),
            (7, False),
        ]
        assert page["summary"] is None


async def test_a_run_is_resumed_though_the_key_of_its_recordings_is_lost(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run: Json = {"run_id": await start(agent)}
        await agent.ok("list_tickets", run)
        update = await agent.ok("update_ticket", run, ref="local:AB-1", version="1", add_tags=["seen"])
    (suite.home / "recordings.key").unlink()
    async with suite.agent("tickets", "runs", runtime=suite.another_process()) as agent:
        told = of(await agent.ok("resume_run", run), "steps_since")
        assert [(step["tool"], step["result"]) for step in told] == [("list_tickets", None), ("update_ticket", update)]


@pytest.mark.parametrize("text", ["x", "\u00e9", '"', "\u0001"])
async def test_the_largest_checkpoint_comes_back_whole(suite: Suite, mode: str, text: str) -> None:
    suite.tickets([ticket(body="a" * 5_000)])
    size = len(json.dumps(text, ensure_ascii=False).encode()) - 2
    state: Json = {"a": text * ((MAX_STATE_BYTES - len('{"a":""}')) // size)}
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        run: Json = {"run_id": await start(agent)}
        await agent.ok("checkpoint", run, seq=1, state=state)
        for _ in range(5):
            await agent.ok("get_ticket", run, ref="local:AB-1")
        await agent.ok("finish_run", run, status="paused", summary="s" * 20_000)
        resumed = await agent.ok("resume_run", run)
        assert resumed["state"] == state
        assert len(of(resumed, "steps_since")) == 5


async def test_the_largest_checkpoint_comes_back_from_another_process_over_stdio(tmp_path: Path) -> None:
    variables = environment(tmp_path / "home")
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "serve", "runs"], env=variables)
    state: Json = {"a": '"' * ((MAX_STATE_BYTES - len('{"a":""}')) // 2)}
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        async with Client(stdio_client(server, errlog=log)) as client:
            run: Json = {"run_id": await start(Agent(client))}
            await Agent(client).ok("checkpoint", run, seq=1, state=state)
        async with Client(stdio_client(server, errlog=log)) as client:
            assert (await Agent(client).ok("resume_run", run))["state"] == state


async def test_summaries_are_kept_whole_as_long_as_every_result_can_hold_them(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        for number in range(50):
            ended: Json = {"run_id": await start(agent, f"night {number}"), "status": "completed"}
            await agent.ok("finish_run", ended, summary='"quoted"' * 2_500)
        first = await agent.ok("start_run", key="night 0")
        assert first["summary"] == '"quoted"' * 2_500
        assert (await agent.ok("get_run", run_id=first["run_id"]))["summary"] == '"quoted"' * 2_500
        listed = of(await agent.ok("list_runs", limit=50), "runs")
        assert {len(str(one["summary"])) for one in listed} == {200}
        run: Json = {"run_id": await start(agent)}
        assert (await agent.call("finish_run", run, status="completed", summary="\u0001" * 20_000)).code == "too_large"
        assert (await agent.ok("get_run", run))["status"] == "running"
