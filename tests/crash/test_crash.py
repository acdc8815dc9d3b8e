"""Crashes of real processes: whatever is killed and wherever, each effect reaches the desk exactly once."""

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from pydantic import JsonValue

from programs.failpoints import Failpoint, Point
from programs.processes import rows
from programs.trials.installation import DATABASES, SERVE, Database, Installation, installed
from programs.trials.killing import TRANSPORTS, Kind
from programs.trials.trial import KINDS, Trial, deal, run_all
from suite import Agent, Answer, Json, under_way

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 56
STOPS = 8
SEED = 20261122
AGAIN = {"in_progress", "store_busy"}
THE_EFFECT = "SELECT state, outcome, result, owner, fence FROM effects"


@asynccontextmanager
async def connected(installation: Installation, **settings: str) -> AsyncGenerator[tuple[Agent, int]]:
    """Start a server over stdio; a client of it, and its process."""
    pid_file = installation.home / "server.pid"
    pid_file.unlink(missing_ok=True)
    environment = {**installation.environment, **settings, "GATEBOOK_TEST_PID_FILE": str(pid_file)}
    parameters = StdioServerParameters(command=SERVE[0], args=list(SERVE[1:]), env=environment)
    with (installation.home / "server.log").open("a", encoding="utf-8") as log:
        async with Client(stdio_client(parameters, errlog=log)) as client:
            yield Agent(client), int(pid_file.read_text(encoding="utf-8"))


async def insisted(agent: Agent, tool: str, arguments: Json) -> Answer:
    """Issue a call anew for as long as the answer is to wait."""
    with anyio.fail_after(60):
        while True:
            answer = await agent.call(tool, arguments)
            if answer.code not in AGAIN:
                return answer
            await anyio.sleep(0.1)


async def until(found: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    with anyio.fail_after(30):
        while True:
            if found():
                return
            await anyio.sleep(0.01)


def tag(effect: int, run_id: JsonValue = "") -> Json:
    """The arguments of an effect with an odd number, as the scripted agent has them."""
    return {"ref": f"remote:T-{effect}", "version": "v1", "add_tags": ["seen"], "run_id": run_id}


@pytest.mark.timeout(600)
def test_kills_at_every_point_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    # Without a fence the desk applies whatever it is sent, so that nothing but the suite keeps effects single.
    dying: list[Kind] = [kind for kind in KINDS if kind != "stop"]
    outcomes = run_all(deal(KILLS, DATABASES, TRANSPORTS, dying), tmp_path / "dying", fenced=False, seed=SEED)
    # What stands still while it sends may send late; against that only the desk's fence helps.
    outcomes += run_all(
        deal(STOPS, DATABASES, TRANSPORTS, ["stop"]), tmp_path / "stopped", fenced=True, seed=SEED, at_once=4
    )
    found = [row for outcome in outcomes for row in outcome.rows]
    assert [row for row in found if row.lost or row.duplicated] == []
    assert sum(row.kills for row in found) == KILLS + STOPS
    assert {row.kind for row in found} == set(KINDS)
    for outcome in outcomes:
        assert outcome.unsettled == 0
        assert set(outcome.answers) <= {"executed", "reconciled", "replayed"}
        assert set(outcome.delays) <= AGAIN


@pytest.mark.timeout(300)
def test_without_the_recall_the_same_kills_duplicate(tmp_path: Path) -> None:
    """The control: the same agent, kills and counting, with effects forgotten at once."""
    trial = Trial("sqlite", "stdio", {"after_effect": 3, "before_complete": 3})
    outcome = trial.run(tmp_path / "trial", fenced=False, seed=SEED, recall=False)
    assert sum(row.duplicated for row in outcome.rows) > 0
    assert sum(row.lost for row in outcome.rows) == 0


@pytest.mark.parametrize("database", DATABASES)
async def test_a_run_of_200_steps_killed_at_150_goes_on_at_140_and_repeats_nothing(
    tmp_path: Path, database: Database
) -> None:
    with installed(tmp_path / "here", database, fenced=False) as installation:
        # Every effect is a change of a ticket: one step.
        installation.plan(range(402))
        async with connected(installation) as (agent, pid):
            run = await agent.ok("start_run", key="the night", max_steps=200)
            for step in range(1, 151):
                await agent.ok("update_ticket", tag(2 * step - 1, run["run_id"]))
                if step % 10 == 0 and step < 150:
                    state: Json = {"step": step}
                    await agent.ok("checkpoint", run_id=run["run_id"], seq=step // 10, state=state)
            os.kill(pid, signal.SIGKILL)
        assert installation.service.requests("PATCH") == 150
        async with connected(installation) as (agent, _):
            again = await agent.ok("start_run", key="the night", max_steps=200)
            assert again["resumed"] is True
            resumed = await agent.ok("resume_run", run_id=again["run_id"])
            assert (resumed["checkpoint_step"], resumed["state"]) == (140, {"step": 140})
            for step in range(141, 151):
                assert (await agent.ok("update_ticket", tag(2 * step - 1, resumed["run_id"])))["outcome"] == "replayed"
            assert installation.service.requests("PATCH") == 150
            for step in range(151, 201):
                assert (await agent.ok("update_ticket", tag(2 * step - 1, resumed["run_id"])))["outcome"] == "executed"
            ended = await agent.call("update_ticket", tag(401, resumed["run_id"]))
            assert ended.code == "step_budget_exceeded"
        assert sum(installation.done()) == 200


async def test_of_two_agents_on_one_run_the_older_loses_it(tmp_path: Path) -> None:
    with installed(tmp_path / "here", "sqlite", fenced=False) as installation:
        installation.plan(range(6))
        async with connected(installation) as (older, _), connected(installation) as (newer, _):
            held = await older.ok("start_run", key="the night")
            await older.ok("update_ticket", tag(1, held["run_id"]))
            assert (await newer.ok("start_run", key="the night"))["resumed"] is True
            taken = await newer.ok("resume_run", run_id=held["run_id"])
            for tool, arguments in (
                ("update_ticket", tag(3, held["run_id"])),
                ("checkpoint", {"run_id": held["run_id"], "seq": 1, "state": {}}),
            ):
                assert (await older.call(tool, arguments)).code == "run_lease_lost"
            assert (await newer.ok("update_ticket", tag(1, taken["run_id"])))["outcome"] == "replayed"
            assert (await newer.ok("update_ticket", tag(5, taken["run_id"])))["outcome"] == "executed"
        assert installation.done() == [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("point", "found"), [("after_claim", "executed"), ("after_effect", "reconciled")], ids=["before", "behind"]
)
async def test_an_owner_that_stood_still_beyond_its_lease_neither_acts_nor_records(
    tmp_path: Path, point: Point, found: Literal["executed", "reconciled"]
) -> None:
    with installed(tmp_path / "here", "sqlite", fenced=False) as installation:
        installation.plan(range(2))
        async with connected(installation) as (owner, pid), connected(installation) as (heir, _):
            draft = await owner.ok("draft_reply", ref="remote:T-0", body="Reply to 0")
            reply: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
            installation.failpoints.arm(Failpoint(point=point, stops=True))
            async with under_way(partial(owner.call, "send_reply", reply)) as late:
                await until(installation.failpoints.stopped)
                try:
                    assert (await insisted(heir, "send_reply", reply)).content["outcome"] == found
                    recorded = rows(installation.home, THE_EFFECT)
                finally:
                    os.kill(pid, signal.SIGCONT)
                await until(lambda: late)
                assert late[0].code == ("in_progress" if point == "after_claim" else "")
                assert rows(installation.home, THE_EFFECT) == recorded
            assert (await owner.ok("send_reply", reply))["outcome"] == "replayed"
        assert installation.service.requests("POST") == 1
        assert installation.done() == [1, 0]


async def test_an_owner_that_stood_still_amid_its_claim_has_no_more_time_than_the_claim_says(tmp_path: Path) -> None:
    with installed(tmp_path / "here", "sqlite", fenced=False) as installation:
        installation.plan(range(2))
        # Longer than it takes the other one to act: the owner must not have another lease's time after that.
        lease = {"GATEBOOK_LEASE_S": "4"}
        async with connected(installation, **lease) as (owner, pid), connected(installation, **lease) as (heir, _):
            draft = await owner.ok("draft_reply", ref="remote:T-0", body="Reply to 0")
            reply: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
            installation.failpoints.arm(Failpoint(point="mid_claim", stops=True))
            async with under_way(partial(owner.call, "send_reply", reply)) as late:
                await until(installation.failpoints.stopped)
                # It holds the database: nothing tells when lease and settle time are over.
                await anyio.sleep(4.5)
                installation.failpoints.arm(Failpoint(point="after_claim", stops=True))
                os.kill(pid, signal.SIGCONT)
                try:
                    await until(installation.failpoints.stopped)
                    assert (await insisted(heir, "send_reply", reply)).content["outcome"] == "executed"
                finally:
                    os.kill(pid, signal.SIGCONT)
            assert late[0].code == "in_progress"
        assert installation.done() == [1, 0]


async def test_a_database_that_crashes_under_way_keeps_what_was_answered_and_repeats_nothing(tmp_path: Path) -> None:
    with installed(tmp_path / "here", "postgres", fenced=False) as installation:
        installation.plan(range(60))
        installation.service.faults({"kind": "slow", "seconds": 0.1, "times": None})
        async with connected(installation) as (agent, _):
            run = await agent.ok("start_run", key="the night")
            before = [await agent.ok("update_ticket", tag(effect, run["run_id"])) for effect in (1, 3)]
            await agent.ok("checkpoint", run_id=run["run_id"], seq=1, state={"done": 2})
            answers: list[Answer] = []

            async def change(effect: int) -> None:
                answers.append(await insisted(agent, "update_ticket", tag(effect, run["run_id"])))

            async with anyio.create_task_group() as group:
                for effect in range(5, 60, 2):
                    group.start_soon(change, effect)
                await until(lambda: installation.done()[5:].count(1))
                assert installation.postgres is not None
                await anyio.to_thread.run_sync(installation.postgres.crash)
            assert {answer.code for answer in answers} == {""}
            assert {str(answer.content["outcome"]) for answer in answers} <= {"executed", "reconciled", "replayed"}
            for effect, answered in zip((1, 3), before, strict=True):
                again = await agent.ok("update_ticket", tag(effect, run["run_id"]))
                assert again == {**answered, "outcome": "replayed"}
            resumed = await agent.ok("resume_run", run_id=run["run_id"])
            assert resumed["state"] == {"done": 2}
        assert installation.done()[1::2] == [1] * 30
