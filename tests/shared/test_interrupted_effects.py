"""Interrupted effects: looked up before they are repeated, never repeated when nobody can tell."""

import pytest

from fakes.troubled_desk import ProcessDiedError, Trouble, TroubledDesk
from gatebook.approvals.requests import Approvals
from gatebook.effects import Effects
from gatebook.errors import ConflictError, OutcomeUnknownError, UpstreamUnavailableError
from gatebook.intents import Intent
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.ports import open_desk
from suite import REPLY, Suite, approved_reply, the_effect, the_job

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

LEASE_AND_SETTLE_S = 91.0
UNAVAILABLE = UpstreamUnavailableError("no answer.", next_step="Wait.")


def troubled(suite: Suite, trouble: Trouble) -> Trouble:
    """Put the suite's process behind a bad line."""
    suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, trouble)
    return trouble


@pytest.mark.parametrize("outcome", ["reconciled", "executed"])
async def test_what_a_dead_process_left_is_looked_up_before_it_is_repeated(
    suite: Suite, mode: str, outcome: str
) -> None:
    send = await approved_reply(suite)
    died: list[Exception] = [ProcessDiedError()]
    trouble = troubled(suite, Trouble(after=died) if outcome == "reconciled" else Trouble(before=died))
    async with suite.agent("tickets", mode=mode) as agent:
        assert (await agent.call("send_reply", send)).code == "internal"
    async with suite.agent("tickets", mode=mode, runtime=suite.another_process()) as agent:
        for wait_s in (0.0, 59.0, 30.0):
            suite.clock.advance(wait_s)
            waiting = await agent.call("send_reply", send)
            assert waiting.code == "in_progress"
            assert 1 <= float(str(waiting.error["retry_after_s"])) <= LEASE_AND_SETTLE_S
        suite.clock.advance(1.0)
        assert (await agent.ok("send_reply", send))["outcome"] == outcome
        assert (await agent.ok("send_reply", send))["outcome"] == "replayed"
    assert len(suite.comments("AB-1")) == 1
    assert trouble.asked == 1
    assert [request.state for request in suite.requests("all")] == ["used"]


async def test_a_worker_takes_over_what_a_dead_worker_left(suite: Suite, caplog: pytest.LogCaptureFixture) -> None:
    await approved_reply(suite)
    troubled(suite, Trouble(after=[ProcessDiedError("a customer's words")]))
    await suite.execute()
    assert the_job(suite).error == "internal"
    assert "customer" not in "".join(record.getMessage() for record in caplog.records)
    heir = suite.another_process()
    for _ in range(4):
        suite.clock.advance(60)
        await suite.execute(runtime=heir)
    assert len(suite.comments("AB-1")) == 1
    assert (the_effect(suite).outcome, the_job(suite).state) == ("reconciled", "done")
    assert [request.state for request in suite.requests("all")] == ["used"]


async def test_what_a_dead_process_left_is_not_repeated_while_it_cannot_be_looked_up(suite: Suite) -> None:
    send = await approved_reply(suite)
    trouble = troubled(suite, Trouble(after=[ProcessDiedError()], looking=[UNAVAILABLE]))
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "internal"
        suite.clock.advance(LEASE_AND_SETTLE_S)
        assert (await agent.call("send_reply", send)).code == "in_progress"
        suite.clock.advance(LEASE_AND_SETTLE_S)
        assert (await agent.ok("send_reply", send))["outcome"] == "reconciled"
    assert trouble.asked == len(suite.comments("AB-1")) == 1


async def test_a_conflict_on_the_desk_itself_ends_the_approval(suite: Suite) -> None:
    send = await approved_reply(suite)
    troubled(suite, Trouble(before=[ConflictError("the customer wrote again.", next_step="Read it.")]))
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "conflict"
    assert [(one.state, one.state_reason) for one in suite.requests("all")] == [("lapsed", "conflict")]
    await suite.execute()
    assert (suite.comments("AB-1"), the_job(suite).state) == ([], "failed")


async def test_a_lost_answer_is_looked_up_at_once(suite: Suite) -> None:
    send = await approved_reply(suite)
    trouble = troubled(suite, Trouble(after=[AmbiguousError()]))
    async with suite.agent("tickets") as agent:
        assert (await agent.ok("send_reply", send))["outcome"] == "reconciled"
    assert len(suite.comments("AB-1")) == trouble.asked == 1


@pytest.mark.parametrize("looking", [[], [UNAVAILABLE]])
async def test_a_lost_answer_that_cannot_be_looked_up_yet_is_in_progress_and_ends_as_one(
    suite: Suite, looking: list[Exception]
) -> None:
    send = await approved_reply(suite)
    troubled(suite, Trouble(before=[AmbiguousError()], looking=looking))
    async with suite.agent("tickets") as agent:
        answer = await agent.call("send_reply", send)
        assert answer.code == "in_progress"
        assert answer.error["retry_after_s"] == 90
        assert (await agent.call("send_reply", send)).code == "in_progress"
        suite.clock.advance(LEASE_AND_SETTLE_S)
        assert (await agent.ok("send_reply", send))["outcome"] == "executed"
    assert len(suite.comments("AB-1")) == 1


async def test_what_nobody_can_tell_is_never_repeated_by_a_machine(suite: Suite, mode: str) -> None:
    send = await approved_reply(suite)
    unknown = OutcomeUnknownError("the desk cannot tell.", next_step="Look.")
    trouble = troubled(suite, Trouble(before=[AmbiguousError()], looking=[unknown]))
    async with suite.agent("tickets", mode=mode) as agent:
        for _ in range(3):
            assert (await agent.call("send_reply", send)).code == "outcome_unknown"
            suite.clock.advance(3_600)
    await suite.execute()
    assert trouble.asked == 1
    assert (the_effect(suite).state, the_job(suite).state) == ("in_doubt", "failed")
    with suite.runtime.database.transaction() as tx:
        assert [request.state for request in Approvals(tx).needing_attention(tenant="default")] == ["in_doubt"]
        assert len(Effects(tx).unsettled(tenant="default")) == 1
        assert Effects(tx).unsettled(tenant="another") == []


async def test_a_surely_refused_attempt_gives_the_approval_back(suite: Suite) -> None:
    await approved_reply(suite)
    trouble = troubled(suite, Trouble(before=[UNAVAILABLE]))
    await suite.execute()
    assert (suite.requests("all")[0].state, the_job(suite).state) == ("approved", "waiting")
    suite.clock.advance(5)
    await suite.execute()
    assert (suite.requests("all")[0].state, the_job(suite).state) == ("used", "done")
    assert (trouble.asked, len(suite.comments("AB-1"))) == (2, 1)


async def test_the_record_of_an_owner_that_lost_its_lease_does_not_count(suite: Suite) -> None:
    intent = Intent(target="local:AB-1", operation="reply", subject="drf_1", content={"body": REPLY})
    about = {"tenant": "default", "mode": "live", "server": "tickets", "tool": "send_reply", "principal": "agent:a"}
    with suite.runtime.database.transaction() as tx:
        first = Effects(tx).claim(intent, **about, run_id="", arguments="{}", owner="a", lease_s=60, approval_id="")
    row = the_effect(suite)
    with suite.runtime.database.transaction() as tx:
        assert Effects(tx).take_over(row, owner="b", lease_s=60) is None
    suite.clock.advance(61)
    with suite.runtime.database.transaction() as tx:
        second = Effects(tx).take_over(row, owner="b", lease_s=60)
        assert second is not None
        assert (second.fence, second.marker, second.takeover) == (first.fence + 1, first.marker, True)
        assert Effects(tx).take_over(row, owner="c", lease_s=60) is None
        assert not Effects(tx).finish(first, state="not_applied", result="", outcome="")
        assert Effects(tx).finish(second, state="done", result="{}", outcome="reconciled")
        assert not Effects(tx).finish(first, state="done", result='{"stale":1}', outcome="executed")
    assert (the_effect(suite).state, the_effect(suite).result, the_effect(suite).owner) == ("done", "{}", "b")
