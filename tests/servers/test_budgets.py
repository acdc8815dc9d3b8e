"""Budgets: what counts as usage, when a day begins anew, and warnings before the end."""

import json
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import JsonValue

from gatebook.clock import local_day
from gatebook.database.migrations import migrations, statements
from gatebook.ledger.budgets import STEPS_WITHOUT_USAGE, Budgets, next_midnight
from gatebook.ledger.usage import UsageReports
from gatebook.runtime import Runtime
from gatebook_servers.cli import main
from suite import Agent, Answer, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

HOUR_S = 3600.0
DRAFT: Json = {"ref": "local:AB-1", "body": "Hello."}


async def start(agent: Agent, key: str = "night", **limits: JsonValue) -> Json:
    return {"run_id": (await agent.ok("start_run", key=key, **limits))["run_id"]}


async def report(agent: Agent, run: Json, source_id: str, tokens: int, **more: JsonValue) -> Json:
    return await agent.ok("record_usage", run, source_id=source_id, input_tokens=tokens, output_tokens=0, **more)


def spent(runtime: Runtime, *, principal: str = "agent:local") -> tuple[float, float]:
    """The tokens and the money that are charged to today."""
    with runtime.database.transaction() as tx:
        budgets = Budgets.of(tx, runtime.settings, principal=principal)
        return budgets.spent("tokens"), budgets.spent("usd")


def at(suite: Suite, text: str) -> None:
    suite.clock.seconds = datetime.fromisoformat(text).timestamp()


# Usage


async def test_what_several_sources_counted_is_compared_and_not_added_up(suite: Suite, mode: str) -> None:
    async with suite.agent("runs", mode=mode) as agent:
        run = await start(agent)
        steps = [
            # source, id, tokens, money; then what the run used and what the day is charged
            ("agent", "a", 100, None, (100, None), (100, 0)),
            ("client", "a", 60, 0.5, (100, 0.5), (100, 0.5)),
            ("client", "b", 60, 0.25, (120, 0.75), (120, 0.75)),
            ("proxy", "x", 110, 0.5, (120, 0.75), (120, 0.75)),
            ("agent", "b", 30, 0.25, (130, 0.75), (130, 0.75)),
            ("agent", "b", 99, 9.0, (130, 0.75), (130, 0.75)),
        ]
        for source, source_id, tokens, usd, used, charged in steps:
            known: Json = {} if usd is None else {"usd": usd}
            answer = await report(agent, run, source_id, tokens, source=source, **known)
            assert (answer["input_tokens"], answer["usd"]) == used, (source, source_id)
            assert spent(suite.runtime) == charged, (source, source_id)
        assert (await report(agent, run, "b", 99, source="agent"))["recorded"] is False
        details = await agent.ok("get_run", run)
        assert (details["input_tokens"], details["output_tokens"], details["usd"]) == (130, 0, 0.75)
    with suite.runtime.database.transaction() as tx:
        sources = UsageReports(tx).by_source(str(run["run_id"]).partition(".")[0])
    assert {name: (usage.tokens, usage.usd) for name, usage in sources.items()} == {
        "agent": (130, 0.25), "client": (120, 0.75), "proxy": (110, 0.5),
    }  # fmt: skip


async def test_input_and_output_are_of_the_source_that_counted_most(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run = await start(agent)
        await agent.ok("record_usage", run, source_id="a", input_tokens=90, output_tokens=1, source="agent")
        total = await agent.ok("record_usage", run, source_id="a", input_tokens=50, output_tokens=50, source="proxy")
        assert (total["input_tokens"], total["output_tokens"]) == (50, 50)


async def test_usage_is_charged_to_who_started_the_run(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        run = await start(agent)
    async with suite.agent("runs", runtime=suite.another_process(principal="agent:proxy")) as proxy:
        await report(proxy, run, "a", 100, source="proxy")
    assert spent(suite.runtime) == (100, 0)
    assert spent(suite.runtime, principal="agent:proxy") == (0, 0)


async def test_sums_of_money_carry_no_dust_over_a_limit(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs") as agent:
        run = await start(agent, max_usd=1.0)
        for number in range(10):
            await report(agent, run, str(number), 1, usd=0.1)
        assert spent(suite.runtime) == (10, 1.0)
        assert (await agent.call("draft_reply", DRAFT, **run)).code == "cost_budget_exceeded"


def test_reports_from_before_sources_were_told_apart_are_kept(suite: Suite) -> None:
    database = suite.runtime.database
    with database.transaction() as tx:
        scripts = dict(migrations(tx.dialect))
        [old] = [text for text in statements(scripts[1]) if "CREATE TABLE usage_records" in text]
        tx.execute("DROP TABLE usage_reports")
        tx.execute(old)
        tx.execute(
            """INSERT INTO runs (run_id, tenant, principal, key, goal, status, epoch, steps, step_limit, grace,
                 max_steps, summary, started_at, updated_at)
               VALUES ('run_1', 'default', 'agent:local', 'k', '', 'running', 1, 40, 200, 10, 200, '', 0, 0)"""
        )
        tx.execute("INSERT INTO usage_records VALUES ('run_1', 'a', 'agent', 100, 10, NULL, '', 0)")
        tx.execute("INSERT INTO usage_records VALUES ('run_1', 'b', 'claude', 70, 10, 0.5, 'claude', 0)")
        for text in statements(scripts[5]):
            tx.execute(text)
        reports = UsageReports(tx)
        assert {name: (usage.tokens, usage.usd) for name, usage in reports.by_source("run_1").items()} == {
            "agent": (110, None), "claude": (80, 0.5),
        }  # fmt: skip
        assert reports.last_step("run_1") == 40


@pytest.mark.parametrize(
    ("reports", "tokens", "cost"),
    [
        ([("agent", 100, None)], 100, "unknown"),
        ([("agent", 100, 0.5), ("agent", 20, None)], 120, "at least 0.5000 US dollars"),
        ([("agent", 100, 0.0), ("agent", 20, None)], 120, "unknown"),
        ([("agent", 100, 0.0)], 100, "0.0000 US dollars"),
        ([("agent", 100, 0.5), ("agent", 20, 0.25)], 120, "0.7500 US dollars"),
        ([("agent", 100, None), ("proxy", 60, 0.5)], 100, "at least 0.5000 US dollars"),
        ([("agent", 60, None), ("proxy", 100, 0.5)], 100, "0.5000 US dollars"),
        ([("agent", 100, None), ("proxy", 100, 0.5)], 100, "0.5000 US dollars"),
        ([("agent", 100, 0.25), ("proxy", 60, 0.5), ("proxy", 9, None)], 100, "at least 0.5000 US dollars"),
        ([("agent", 100, None), ("proxy", 60, 0.0)], 100, "unknown"),
    ],
)
async def test_a_cost_that_is_known_in_part_is_shown_as_the_least_it_was(
    suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reports: list[tuple[str, int, float | None]],
    tokens: int,
    cost: str,
) -> None:
    suite.clock.seconds = time.time()
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    monkeypatch.setenv("GATEBOOK_DATABASE_URL", str(suite.overrides.get("database_url", "")))
    async with suite.agent("runs") as agent:
        run = await start(agent)
        for number, (source, counted, usd) in enumerate(reports):
            known: Json = {} if usd is None else {"usd": usd}
            await report(agent, run, str(number), counted, source=source, **known)
    run_id = str(run["run_id"]).partition(".")[0]
    assert main(["runs", "usage", run_id]) == 0
    assert f"tokens: {tokens} in, 0 out; cost: {cost}\n" in capsys.readouterr().out
    assert main(["runs", "usage", run_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["usd_complete"] is (cost[0] == "0")


# Days


@pytest.mark.parametrize(
    ("zone", "now", "ends", "hours"),
    [
        ("UTC", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00+00:00", 24),
        ("Asia/Kolkata", "2026-11-22T18:29:00Z", "2026-11-23T00:00:00+05:30", 24),
        ("Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-30T00:00:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T00:30:00+02:00", "2026-10-26T00:00:00+01:00", 25),
        ("America/New_York", "2026-11-01T12:00:00-05:00", "2026-11-02T00:00:00-05:00", 25),
        # Clocks that go forward at midnight: the day begins at one o'clock.
        ("Africa/Cairo", "2026-04-23T12:00:00+02:00", "2026-04-24T01:00:00+03:00", 24),
        ("Africa/Cairo", "2026-04-24T12:00:00+03:00", "2026-04-25T00:00:00+03:00", 23),
    ],
)
def test_a_day_ends_at_the_next_local_midnight(zone: str, now: str, ends: str, hours: int) -> None:
    local, moment = ZoneInfo(zone), datetime.fromisoformat(now).timestamp()
    assert next_midnight(moment, local) == ends
    end = datetime.fromisoformat(ends).timestamp()
    assert local_day(end - 0.001, local) == local_day(moment, local) < local_day(end, local)
    assert (
        local_day(end - hours * HOUR_S, local) == local_day(moment, local) > local_day(end - hours * HOUR_S - 1, local)
    )


@pytest.mark.parametrize(("first", "hours"), [("2026-03-29T00:00:00+01:00", 23), ("2026-10-25T00:00:00+02:00", 25)])
async def test_budgets_and_ceilings_begin_anew_at_midnight_where_the_operator_is(
    suite: Suite, first: str, hours: int
) -> None:
    suite.tickets([ticket()])
    at(suite, first)
    runtime = suite.another_process(tz="Europe/Berlin", max_tokens_per_day=100, max_runs_per_day=1)
    ends = next_midnight(suite.clock.now(), runtime.settings.zone)
    async with suite.agent("tickets", "runs", runtime=runtime) as agent:
        run = await start(agent)
        await report(agent, run, "a", 100)
        suite.clock.advance(hours * HOUR_S - 1)
        tokens = await agent.call("draft_reply", DRAFT, **run)
        runs = await agent.call("start_run", key="other")
        assert (tokens.code, runs.code) == ("token_budget_exceeded", "ceiling_reached")
        for refused, limit, used in ((tokens, 100, 100), (runs, 1, 1)):
            details = {name: refused.error[name] for name in ("limit", "spent", "remaining", "resets_at")}
            assert details == {"limit": limit, "spent": used, "remaining": 0, "resets_at": ends}
        suite.clock.advance(1)
        await agent.ok("draft_reply", DRAFT, **run)
        await start(agent, "other")


# Warnings


async def test_results_warn_from_80_percent_of_a_limit_on(suite: Suite, mode: str) -> None:
    at(suite, "2026-11-22T12:00:00Z")
    runtime = suite.another_process(tz="Europe/Berlin", max_usd_per_day=10, max_calls_per_day=1_000)
    until = "until 2026-11-23T00:00:00+01:00"
    async with suite.agent("runs", mode=mode, runtime=runtime) as agent:
        run = await start(agent, max_tokens=1_000, max_steps=10)
        assert (await report(agent, run, "a", 799, usd=7.99))["warning"] is None
        tokens = await report(agent, run, "b", 1)
        assert tokens["warning"] == f"nearly used up: today 800 of 1000 tokens, {until}"
        both = f"nearly used up: today 801 of 1000 tokens, 8.0 of 10.0 US dollars, {until}"
        assert (await report(agent, run, "c", 1, usd=0.01))["warning"] == both
        assert (await agent.ok("checkpoint", run, seq=1, state={}))["warning"] == both
        assert (await agent.ok("get_run", run))["warning"] == both
        assert (await agent.ok("start_run", key="night"))["warning"] == both
        run = {"run_id": (await agent.ok("resume_run", run))["run_id"]}
        other = await agent.ok("start_run", key="other")
        assert other["warning"] == f"nearly used up: today 8.0 of 10.0 US dollars, {until}", (
            "it has no limit of its own"
        )


async def test_steps_calls_and_runs_are_warned_of_as_well(suite: Suite) -> None:
    at(suite, "2026-11-22T12:00:00Z")
    runtime = suite.another_process(max_calls_per_day=10, max_runs_per_day=2)
    until = "until 2026-11-23T00:00:00+00:00"
    async with suite.agent("tickets", "runs", runtime=runtime) as agent:
        run = await start(agent, max_steps=5)
        for _ in range(3):
            await agent.ok("list_tickets", run)
        assert (await agent.ok("get_run", run))["warning"] is None
        await agent.ok("list_tickets", run)
        assert (await agent.ok("get_run", run))["warning"] == "nearly used up: 4 of 5 steps of this run"
        await agent.ok("finish_run", run, status="completed")
        assert (await agent.ok("get_run", run))["warning"] == f"nearly used up: today 9 of 10 calls, {until}"
        last = await agent.ok("start_run", key="other")
        assert last["warning"] == f"nearly used up: today 10 of 10 calls, 2 of 2 runs, {until}"


# Unknown usage


async def test_a_run_that_must_report_its_usage_waits_for_the_report(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    runtime = suite.another_process(require_usage=True)
    async with suite.agent("tickets", "runs", mode=mode, runtime=runtime) as agent:
        run = await start(agent)

        async def read(times: int) -> None:
            for _ in range(times):
                await agent.ok("list_tickets", run)

        async def draft() -> Answer:
            return await agent.call("draft_reply", DRAFT, **run)

        await read(STEPS_WITHOUT_USAGE)
        assert (await draft()).code == ""
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"], **run}
        for refused in (await draft(), await agent.call("update_ticket", update)):
            assert refused.code == "token_budget_exceeded"
            assert refused.text.startswith("token_budget_exceeded: the usage of this run is unknown")
            assert "call record_usage" in refused.text.lower()
            assert (refused.error["spent"], refused.error["steps_without_usage"]) == (None, STEPS_WITHOUT_USAGE + 1)
        await read(5)
        await agent.ok("checkpoint", run, seq=1, state={})
        await report(agent, run, "a", 0, source="proxy")
        await agent.ok("update_ticket", update)
        await read(STEPS_WITHOUT_USAGE)
        assert (await draft()).code == "token_budget_exceeded"
        assert (await agent.ok("update_ticket", update))["outcome"] == "replayed", "what is done is no new work"
        await agent.ok("draft_reply", DRAFT)
        await agent.ok("finish_run", run, status="paused")


@pytest.mark.parametrize("whose", ["run", "operator"])
async def test_where_money_is_limited_a_report_without_usd_leaves_the_cost_unknown(suite: Suite, whose: str) -> None:
    suite.tickets([ticket()])
    operator: dict[str, object] = {"max_usd_per_day": 5} if whose == "operator" else {}
    max_usd = 1 if whose == "run" else None
    async with suite.agent("tickets", "runs", runtime=suite.another_process(require_usage=True, **operator)) as agent:
        run = await start(agent, max_usd=max_usd)
        for _ in range(STEPS_WITHOUT_USAGE + 1):
            await agent.ok("list_tickets", run)
        unreported = await agent.call("draft_reply", DRAFT, **run)
        assert unreported.code == "token_budget_exceeded"
        assert "with usd" in unreported.text
        await report(agent, run, "a", 100)
        refused = await agent.call("draft_reply", DRAFT, **run)
        assert refused.code == "cost_budget_exceeded"
        assert "usd is missing" in refused.text
        assert (refused.error["spent"], refused.error["steps_without_usage"]) == (None, STEPS_WITHOUT_USAGE + 1)
        await agent.ok("checkpoint", run, seq=1, state={})
        await report(agent, run, "b", 0, usd=0.0)
        await agent.ok("draft_reply", DRAFT, **run)


async def test_where_no_money_is_limited_a_report_of_tokens_is_enough(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", runtime=suite.another_process(require_usage=True)) as agent:
        run = await start(agent, max_tokens=1_000)
        for _ in range(STEPS_WITHOUT_USAGE + 1):
            await agent.ok("list_tickets", run)
        await report(agent, run, "a", 100)
        await agent.ok("draft_reply", DRAFT, **run)
