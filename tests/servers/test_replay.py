"""The record of a run: everything that was said, readable by nobody else, served again without any effect."""

import json
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gatebook.ledger.recordings import MAX_ARGUMENTS_CHARS, Recording, Recordings
from gatebook.ledger.runs import Runs
from gatebook.runtime import Runtime
from gatebook.toolset import answered_by, merged
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.nightly.client import Servers
from gatebook_servers.nightly.shift import NightShift
from gatebook_servers.nightly.state import Order, Report
from gatebook_servers.runs.replay import Player
from programs.processes import COMMAND, environment, gatebook, gatebook_json
from suite import SINCE, UNTIL, Agent, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

Listed = dict[str, list[Json]]
SECRET = "the kingfisher is by the weir"


def record(suite: Suite, handle: str) -> list[Recording]:
    with suite.runtime.database.transaction() as tx:
        return Recordings(tx, suite.runtime.vault).select(handle.partition(".")[0])


def said(suite: Suite, message: Recording, runtime: Runtime | None = None) -> tuple[str | None, str | None]:
    chosen = runtime or suite.runtime
    with chosen.database.transaction() as tx:
        return Recordings(tx, chosen.vault).message(message.run_id, message.number)


def everything(suite: Suite) -> dict[str, int]:
    tables = (
        "effects",
        "drafts",
        "approvals",
        "desk_comments",
        "steps",
        "checkpoints",
        "memory_versions",
        "recordings",
    )
    return {table: suite.count(table) for table in tables}


@asynccontextmanager
async def replayed(suite: Suite, run_id: str) -> AsyncGenerator[tuple[Agent, Player]]:
    player = Player(suite.runtime, record(suite, run_id))
    toolsets = list(SERVERS.values())
    offered = list(merged(toolsets).values())
    server = answered_by(player, toolsets, offered=offered, state=suite.runtime, name="replay")
    async with Client(server) as client:
        yield Agent(client), player


async def a_run(agent: Agent) -> str:
    """A run with a read, a stage, an effect, its replay, a request to a person and a refusal."""
    run_id = str((await agent.ok("start_run", key="night"))["run_id"])
    run: Json = {"run_id": run_id}
    await agent.ok("get_ticket", run, ref="local:AB-1")
    draft = await agent.ok("draft_reply", run, ref="local:AB-1", body="Open the board menu.")
    update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"], **run}
    await agent.ok("update_ticket", update)
    assert (await agent.ok("update_ticket", update))["outcome"] == "replayed"
    assert (
        await agent.call("send_reply", run, draft_id=draft["draft_id"], visibility="public")
    ).code == "approval_required"
    assert (await agent.call("get_ticket", run, ref="local:NO-1")).code == "not_found"
    assert (await agent.call("get_ticket", run, number=1)).code == "invalid_arguments"
    await agent.ok("finish_run", run, status="completed")
    return run_id


async def test_everything_that_is_said_in_a_run_is_recorded(suite: Suite) -> None:
    suite.tickets([ticket(body=SECRET)])
    async with suite.agent() as agent:
        run_id = await a_run(agent)
        await agent.ok("get_ticket", ref="local:AB-1")
    messages = record(suite, run_id)
    assert [(message.number, message.tool, message.outcome, message.error, message.step) for message in messages] == [
        (1, "start_run", "executed", "", 0),
        (2, "get_ticket", "executed", "", 1),
        (3, "draft_reply", "executed", "", 2),
        (4, "update_ticket", "executed", "", 3),
        (5, "update_ticket", "replayed", "", 0),
        (6, "send_reply", "held", "approval_required", 4),
        (7, "get_ticket", "refused", "not_found", 5),
        (8, "get_ticket", "refused", "invalid_arguments", 0),
        (9, "finish_run", "executed", "", 0),
    ]
    arguments, result = said(suite, messages[1])
    assert json.loads(arguments or "") == {"ref": "local:AB-1", "run_id": run_id}
    assert SECRET in str(result)
    with suite.runtime.database.transaction() as tx:
        rows = tx.all("SELECT said FROM recordings")
    assert not any(SECRET.encode() in bytes(cell) for row in rows for cell in row.values() if isinstance(cell, bytes))


async def test_the_key_of_the_record_is_its_owners_alone(suite: Suite, tmp_path: Path) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        run_id = await a_run(agent)
    key = suite.home / "recordings.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    another = tmp_path / "another.key"
    another.write_bytes(b"x" * 32)
    stranger = suite.another_process(record_key_file=another)
    with pytest.raises(Exception, match="sealed with another key"):
        said(suite, record(suite, run_id)[0], stranger)


async def test_long_arguments_and_an_unreadable_key_cost_the_text_and_not_the_call(suite: Suite) -> None:
    suite.home.mkdir(exist_ok=True)
    (suite.home / "recordings.key").write_bytes(b"short")
    broken = suite.another_process()
    async with suite.agent(runtime=broken) as agent:
        run_id = str((await agent.ok("start_run", key="unreadable"))["run_id"])
    assert said(suite, record(suite, run_id)[0]) == (None, None)
    (suite.home / "recordings.key").unlink()
    async with suite.agent() as agent:
        run_id = str((await agent.ok("start_run", key="long"))["run_id"])
        await agent.ok("checkpoint", run_id=run_id, seq=1, state={"text": "x" * MAX_ARGUMENTS_CHARS})
    arguments, result = said(suite, record(suite, run_id)[1])
    assert arguments is None
    assert result is not None


async def test_nothing_is_kept_where_the_operator_says_so(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent(runtime=suite.another_process(record_days=0)) as agent:
        run_id = await a_run(agent)
    messages = record(suite, run_id)
    assert len(messages) == 9, "that there were calls is known"
    assert {said(suite, message) for message in messages} == {(None, None)}
    assert not (suite.home / "recordings.key").exists()


async def test_a_night_replays_call_by_call_with_no_effect_at_all(suite: Suite) -> None:
    suite.tickets([ticket(), ticket("AB-2", subject="Refund", body="I want a refund."), ticket("AB-3")])
    report = await suite.night()
    before = everything(suite)
    async with replayed(suite, report.run_id) as (agent, player):
        offered = {tool.name: "suite" for tool in (await agent.client.list_tools()).tools}
        order = Order.model_validate(
            {"since": SINCE, "until": UNTIL, "key": f"nightly/{SINCE}/{UNTIL}", "day": UNTIL[:10]}
        )
        servers = Servers({"suite": agent.client}, offered)
        again = await NightShift(servers, order, lambda _done, _total, _ref: None).work()
    assert player.report() == f"{player.served} of {player.served} calls replayed, each as recorded"
    assert player.served == before["recordings"] > 10
    assert _without_time(again) == _without_time(report)
    assert everything(suite) == before


def _without_time(report: Report) -> dict[str, object]:
    return report.model_dump(exclude={"duration_s"})


def one_behind_the_other(suite: Suite) -> None:
    """The tests' clock stands still, so that all calls look as if they had overlapped."""
    with suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE recordings SET started_at = number * 10, finished_at = number * 10 + 1")


async def test_the_first_call_that_differs_is_named_and_nothing_is_answered_behind_it(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        run_id = await a_run(agent)
    async with replayed(suite, run_id) as (agent, player):
        await agent.ok("start_run", key="night")
        assert (await agent.call("list_runs")).code == "unsupported", "it names no run, so it says nothing of it"
        differs = await agent.call("get_ticket", run_id=run_id, ref="local:AB-2")
        assert differs.code == "replay_diverged"
        assert "call 2: get_ticket was called with other arguments" in differs.text
        assert (await agent.call("get_ticket", run_id=run_id, ref="local:AB-1")).code == "replay_diverged"
    assert player.report().startswith("1 of 9 calls replayed, diverged at call 2")
    one_behind_the_other(suite)
    async with replayed(suite, run_id) as (agent, player):
        await agent.ok("start_run", key="night")
        assert "get_ticket was recorded, send_reply was called" in (await agent.call("send_reply", run_id=run_id)).text


async def test_calls_that_overlapped_may_come_in_any_order(suite: Suite) -> None:
    suite.tickets([ticket(f"AB-{number}") for number in range(1, 6)])
    async with suite.agent() as agent:
        run_id = str((await agent.ok("start_run", key="many"))["run_id"])
    with suite.runtime.database.transaction() as tx:
        # As calls leave them that were all under way at once.
        for number in range(2, 5):
            tx.execute(
                """INSERT INTO recordings SELECT run_id, :n, server, tool, step, outcome, error, attempts, :sha,
                     said, started_at, finished_at FROM recordings WHERE number = 1""",
                n=number,
                sha=f"{number}",
            )
        tx.execute("UPDATE recordings SET started_at = 10, finished_at = 20 + number WHERE number > 1")
        tx.execute("UPDATE recordings SET started_at = 0, finished_at = 5 WHERE number = 1")
    player = Player(suite.runtime, record(suite, run_id))
    expected = [message.number for message in player.expected()]
    assert expected == [1]
    player.served_numbers.add(1)
    assert [message.number for message in player.expected()] == [2, 3, 4]


async def test_what_was_pruned_is_said_to_be_gone(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        run_id = await a_run(agent)
    with suite.runtime.database.transaction() as tx:
        assert Recordings(tx, suite.runtime.vault).prune(before=tx.now + 1) == 9
        assert Recordings(tx, suite.runtime.vault).prune(before=tx.now + 1) == 0
    async with replayed(suite, run_id) as (agent, _):
        gone = await agent.call("start_run", key="night")
    assert (gone.code, "not kept any more" in gone.text) == ("not_found", True)


async def test_the_record_of_an_unknown_run_is_not_begun(suite: Suite) -> None:
    async with suite.agent() as agent:
        assert (await agent.call("get_run", run_id="run_unknown.1")).code == "not_found"
    assert suite.count("recordings") == 0


def test_the_commands_show_a_run_and_serve_it_again_over_stdio(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = tmp_path / "tickets.jsonl"
    file.write_text(json.dumps(ticket(body=SECRET)) + "\n", encoding="utf-8")
    gatebook(home, "tickets", "import", str(file))
    run_id = anyio.run(_driven, home, ["serve", "all"], "")
    shown = gatebook(home, "runs", "show", run_id)
    assert "get_ticket" in shown
    assert SECRET not in shown
    assert SECRET in gatebook(home, "runs", "show", run_id, "--call", "2")
    said = cast("Json", gatebook_json(home, "runs", "show", run_id, "--call", "2"))
    assert (said["call"], cast("Json", said["arguments"])["ref"]) == (2, "local:AB-1")
    assert SECRET in json.dumps(said["result"])
    gatebook(home, "runs", "show", run_id, "--call", "99", code=1)
    assert len(cast("Listed", gatebook_json(home, "runs", "show", run_id))["calls"]) == 9
    usage = cast("Listed", gatebook_json(home, "runs", "usage", run_id))
    tools = {str(tool["tool"]): tool for tool in usage["tools"]}
    assert (tools["get_ticket"]["calls"], tools["get_ticket"]["refused"], tools["get_ticket"]["success"]) == (3, 2, 1.0)
    assert tools["update_ticket"]["replayed"] == 1
    assert usage["usage"] is None, "unknown is not zero"
    assert "unknown" in gatebook(home, "runs", "usage", run_id)
    assert anyio.run(_driven, home, ["runs", "replay", run_id], "9 of 9 calls replayed, each as recorded") == run_id


async def _driven(home: Path, command: list[str], report: str) -> str:
    log = home / "stderr.txt"
    with log.open("w", encoding="utf-8") as stderr:
        parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *command], env=environment(home))
        async with Client(stdio_client(parameters, errlog=stderr)) as client:
            handle = await a_run(Agent(client))
    assert report in log.read_text(encoding="utf-8")
    return handle.partition(".")[0] + handle[handle.index(".") :]


async def test_steps_come_with_what_was_answered(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        run_id = await a_run(agent)
    with suite.runtime.database.transaction() as tx:
        numbers = [step.number for step in Runs(tx).steps(run_id.partition(".")[0])]
        results = Recordings(tx, suite.runtime.vault).results(run_id.partition(".")[0], steps=numbers)
    assert sorted(results) == [1, 2, 3, 4, 5]
    assert isinstance(results[1], dict)
    assert str(results[4]).startswith("approval_required")
