"""A person can raise the limits of a run; nobody else can, and only what still fits is raised."""

import time

import pytest
from pydantic import JsonValue

from gatebook.approvals.requests import Approvals
from gatebook_servers.cli import main
from suite import Agent, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

HOUR_S = 3600.0
DRAFT: Json = {"ref": "local:AB-1", "body": "Hello."}


async def start(agent: Agent, key: str = "night", **limits: JsonValue) -> Json:
    return {"run_id": (await agent.ok("start_run", key=key, **limits))["run_id"]}


async def test_a_person_raises_the_limits_of_a_paused_run_and_it_goes_on(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", "approvals", mode=mode) as agent:
        run = await start(agent, max_steps=2, max_tokens=100)
        await agent.ok("record_usage", run, source_id="a", input_tokens=100, output_tokens=0)
        for _ in range(2 + 9):
            await agent.ok("list_tickets", run)
        used_up = await agent.call("draft_reply", DRAFT, **run)
        assert "request_limit" in used_up.text
        asked = await agent.ok("request_limit", run, steps=300, tokens=200, reason="40 tickets are left.")
        assert (asked["state"], asked["limits"]) == (
            "pending", {"steps": {"from": 2, "to": 300}, "tokens": {"from": 100, "to": 200}},
        )  # fmt: skip
        await agent.ok("finish_run", run, status="paused")
        [request] = suite.requests()
        assert (request.kind, request.tool, request.operation) == ("limit", "request_limit", "raise_limit")
        assert request.target == f"run:{str(run['run_id']).partition('.')[0]}"
        assert (request.reason, request.rules) == ("40 tickets are left.", ("limit",))
        assert suite.approve(request.approval_id).state == "used"
        assert await suite.execute() is None, "there is nothing left to do"
        assert (await agent.ok("get_approval", approval_id=request.approval_id))["state"] == "used"
        resumed = await agent.ok("resume_run", run, max_steps=1)
        assert resumed["limits"] == {"steps": 300, "steps_remaining": 298, "tokens_per_day": 200, "usd_per_day": None}
        await agent.ok("draft_reply", DRAFT, run_id=resumed["run_id"])


async def test_a_running_run_goes_on_with_raised_steps_and_a_new_grace(suite: Suite) -> None:
    async with suite.agent("tickets", "runs") as agent:
        run = await start(agent, max_steps=1)
        for _ in range(1 + 10):
            await agent.ok("list_tickets", run)
        assert (await agent.call("list_tickets", run)).code == "step_budget_exceeded"
        await agent.ok("request_limit", run, steps=2, reason="more")
        suite.approve(suite.requests()[0].approval_id)
        for _ in range(1 + 10):
            await agent.ok("list_tickets", run)
        assert (await agent.call("list_tickets", run)).code == "step_budget_exceeded"
        assert (await agent.ok("get_run", run))["steps"] == 2


async def test_the_same_request_is_one_and_a_newer_one_takes_its_place(suite: Suite, mode: str) -> None:
    async with suite.agent("runs", mode=mode) as agent:
        run = await start(agent, max_usd=1.0)
        first = await agent.ok("request_limit", run, steps=300, reason="more")
        assert await agent.ok("request_limit", run, steps=300, reason="much more") == first
        money = await agent.ok("request_limit", run, usd=2.5, reason="dear")
        newer = await agent.ok("request_limit", run, steps=400, reason="still more")
        waiting = [str(money["approval_id"]), str(newer["approval_id"])]
        assert sorted(one.approval_id for one in suite.requests()) == sorted(waiting)
        again = await agent.ok("request_limit", run, steps=300, reason="less will do")
        assert again["approval_id"] != first["approval_id"]
        assert [one.state_reason for one in suite.requests("cancelled")] == ["superseded", "superseded"]


async def test_only_a_higher_limit_within_the_operators_ceiling_can_be_asked_for(suite: Suite, mode: str) -> None:
    runtime = suite.another_process(max_steps_per_run=500, max_tokens_per_day=1_000, max_usd_per_day=3)
    async with suite.agent("runs", mode=mode, runtime=runtime) as agent:
        run = await start(agent, max_tokens=100)
        wrong: list[Json] = [
            {}, {"steps": 200}, {"steps": 10}, {"steps": 501}, {"tokens": 1_001}, {"tokens": 100}, {"usd": 2},
            {"steps": 300, "tokens": 5_000},
        ]  # fmt: skip
        for limits in wrong:
            assert (await agent.call("request_limit", run, **limits, reason="more")).code == "invalid_arguments", limits
        assert suite.requests("all") == []
        most = await agent.ok("request_limit", run, steps=500, tokens=1_000, reason="all there is")
        assert most["state"] == "pending"
        old, run = run, {"run_id": (await agent.ok("resume_run", run))["run_id"]}
        assert (await agent.call("request_limit", old, steps=300, reason="more")).code == "run_lease_lost"
        await agent.ok("finish_run", run, status="completed")
        assert (await agent.call("request_limit", run, steps=300, reason="more")).code == "run_not_active"


async def test_a_denial_sticks_to_exactly_what_was_asked(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run = await start(agent)
        await agent.ok("request_limit", run, steps=300, reason="more")
        suite.deny(suite.requests()[0].approval_id, reason="200 have to do")
        refused = await agent.call("request_limit", run, steps=300, reason="please")
        assert (refused.code, refused.error["reason"]) == ("approval_denied", "200 have to do")
        assert (await agent.ok("get_run", run))["limits"] == {
            "steps": 200, "steps_remaining": 200, "tokens_per_day": None, "usd_per_day": None,
        }  # fmt: skip
        await agent.ok("request_limit", run, steps=250, reason="less")


@pytest.mark.parametrize("happened", ["finished", "raised further", "ceiling lowered"])
async def test_a_yes_that_no_longer_fits_raises_nothing_and_says_so(
    suite: Suite, happened: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(suite, monkeypatch)
    async with suite.agent("runs") as agent:
        run = await start(agent)
        asked = await agent.ok("request_limit", run, steps=300, reason="more")
        match happened:
            case "finished":
                await agent.ok("finish_run", run, status="completed")
                why = "the run is completed"
            case "raised further":
                await agent.ok("finish_run", run, status="paused")
                run = {"run_id": (await agent.ok("resume_run", run, max_steps=900))["run_id"]}
                why = "the run's limits are this high already"
            case _:
                monkeypatch.setenv("GATEBOOK_MAX_STEPS_PER_RUN", "250")
                why = "the operator's ceiling is 250"
        before = (await agent.ok("get_run", run))["limits"]
        [request] = suite.requests()
        assert main(["approvals", "approve", request.approval_id, "--fingerprint", request.shown]) == 3
        assert why in capsys.readouterr().err
        [after] = suite.requests("all")
        assert (after.approval_id, after.state) == (asked["approval_id"], "lapsed")
        assert why in after.state_reason
        assert (await agent.ok("get_run", run))["limits"] == before


async def test_the_command_shows_what_would_be_raised_and_raises_it(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(suite, monkeypatch)
    async with suite.agent("runs") as agent:
        run = await start(agent, max_usd=1.5)
        await agent.ok("request_limit", run, steps=300, usd=2.25, reason="40 tickets are left.")
        [request] = suite.requests()
        assert main(["approvals", "show", request.approval_id]) == 0
        shown = capsys.readouterr().out
        for part in ("raise limits of a run", request.target, "200 -> 300", "1.5 -> 2.25", "40 tickets are left."):
            assert part in shown
        assert main(["approvals", "list"]) == 0
        assert "limit" in capsys.readouterr().out
        assert main(["approvals", "approve", request.approval_id, "--fingerprint", request.shown]) == 0
        assert "raised for" in capsys.readouterr().out
        assert main(["approvals", "approve", request.approval_id, "--fingerprint", request.shown]) == 1
        assert main(["attention"]) == 0
        limits = (await agent.ok("get_run", run))["limits"]
        assert limits == {"steps": 300, "steps_remaining": 300, "tokens_per_day": None, "usd_per_day": 2.25}


async def test_requests_for_limits_are_counted_apart_from_effects(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run = await start(agent, max_tokens=10)
        draft = await agent.ok("draft_reply", DRAFT, **run)
        await agent.call("send_reply", run, draft_id=draft["draft_id"], visibility="public")
        for limits in ({"steps": 300}, {"tokens": 20}):
            await agent.ok("request_limit", run, **limits, reason="more")
        suite.approve(next(one.approval_id for one in suite.requests() if "steps" in one.content))
        assert (await agent.ok("get_run", run))["approvals"] == {"pending": 1, "limit pending": 1, "limit used": 1}


async def test_an_undecided_request_expires_and_a_person_is_told(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run = await start(agent)
        await agent.ok("request_limit", run, steps=300, reason="more")
        suite.clock.advance(72 * HOUR_S)
        with suite.runtime.database.transaction() as tx:
            assert [one.state for one in Approvals(tx).needing_attention(tenant="default")] == ["expired"]
        await agent.ok("request_limit", run, steps=300, reason="more")
        assert [one.state for one in suite.requests("all")] == ["expired", "pending"]


def use_command(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command work with this installation; its clock is the system's."""
    suite.clock.seconds = time.time()
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    monkeypatch.setenv("GATEBOOK_DATABASE_URL", str(suite.overrides.get("database_url", "")))
