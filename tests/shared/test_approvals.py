"""Requests and decisions: what sticks, what expires, what is void."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gatebook.approvals.models import Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.errors import ConflictError, ForbiddenError, NotFoundError
from gatebook.guard import Guard
from gatebook.outbox import Outbox
from gatebook.worker import Worker
from gatebook_servers.catalogue import SERVERS, catalogue
from suite import ADA, Agent, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

HOUR_S = 3_600.0


async def ask(agent: Agent, body: str = "Open the board menu.", *, run_id: str = "") -> Json:
    """Draft a reply and ask for its being sent; the arguments of the call."""
    draft = await agent.ok("draft_reply", ref="local:AB-1", body=body)
    send: Json = {"draft_id": draft["draft_id"], "visibility": "public", "run_id": run_id}
    assert (await agent.call("send_reply", send)).code == "approval_required"
    return send


def message(body: str, *, role: str) -> Json:
    author: Json = {"name": "Kim", "role": role}
    return {"id": "c1", "author": author, "public": True, "body": body, "created_at": "2026-11-21T22:00:00Z"}


@contextmanager
def approvals(suite: Suite) -> Generator[Approvals]:
    with suite.runtime.database.transaction() as tx:
        yield Approvals(tx)


def attention(suite: Suite) -> tuple[list[str], list[str]]:
    """The states and the failed jobs that a person is shown."""
    with suite.runtime.database.transaction() as tx:
        requests = Approvals(tx).needing_attention(tenant="default")
        return [f"{one.state}: {one.state_reason}" for one in requests], [
            job.error for job in Outbox(tx).failed(tenant="default")
        ]


async def test_a_denial_sticks_to_the_content_and_its_reason_reaches_the_agent(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", "approvals", mode=mode) as agent:
        send = await ask(agent)
        [request] = suite.requests()
        suite.deny(request.approval_id, reason="the tone is too cold")
        run_id = (await agent.ok("start_run", key="another"))["run_id"]
        for more in ({}, {"run_id": run_id}):
            denied = await agent.call("send_reply", {**send, **more})
            assert (denied.code, denied.error["reason"]) == ("approval_denied", "the tone is too cold")
        asked = await agent.call("request_approval", tool="send_reply", arguments={**send, "run_id": ""})
        assert asked.code == "invalid_arguments"
        del send["run_id"]
        assert (await agent.call("request_approval", tool="send_reply", arguments=send)).code == "approval_denied"
        suite.clock.advance(1)
        again = await agent.ok("draft_reply", ref="local:AB-1", body="Open the board menu.")
        assert again["draft_id"] == send["draft_id"]
        other = suite.another_process(principal="agent:other")
        async with suite.agent("tickets", mode=mode, runtime=other) as stranger:
            assert (await stranger.call("send_reply", send)).code == "approval_denied"
        await ask(agent, "Dear Robin, do open the board menu.")
    assert [one.state for one in suite.requests("all")] == ["denied", "pending"]


@pytest.mark.parametrize("reason", ["", "superseded", "conflict"])
async def test_a_withdrawal_sticks_to_the_content_whatever_its_reason(suite: Suite, reason: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals") as agent:
        send = await ask(agent)
        await agent.ok("cancel_approval", approval_id=suite.requests()[0].approval_id, reason=reason)
        assert (await agent.call("send_reply", send)).code == "approval_denied"
        await ask(agent, "Other words.")


async def test_a_denied_ticket_is_not_asked_for_again_as_a_distinct_one(suite: Suite) -> None:
    new: Json = {"project": "AB", "title": "A new board", "description": "For the archive."}
    async with suite.agent("tickets", "approvals") as agent:
        assert (await agent.call("create_ticket", new)).code == "approval_required"
        suite.deny(suite.requests()[0].approval_id)
        twin: Json = {**new, "distinct": "another"}
        assert (await agent.call("create_ticket", twin)).code == "approval_denied"
        assert (await agent.call("request_approval", tool="create_ticket", arguments=twin)).code == "approval_denied"
    assert suite.requests() == []


async def test_an_undecided_request_expires_and_can_be_asked_again(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", mode=mode) as agent:
        send = await ask(agent)
        [first] = suite.requests()
        suite.clock.advance(72 * HOUR_S)
        assert suite.requests("expired")[0].approval_id == first.approval_id
        for decide in (suite.approve, suite.deny):
            with pytest.raises(ConflictError):
                decide(first.approval_id)
        assert attention(suite)[0] == ["expired: nobody decided in time"]
        again = await agent.call("send_reply", send)
        assert again.code == "approval_required"
        assert again.error["approval_id"] != first.approval_id
    with approvals(suite) as stored:
        assert stored.decisions(first.approval_id) == []
    assert await suite.execute() is None
    assert suite.comments("AB-1") == []


async def test_an_approval_that_is_not_used_in_time_lapses_and_executes_nothing(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await ask(agent)
        suite.approve(suite.requests()[0].approval_id)
        suite.clock.advance(72 * HOUR_S)
        await suite.execute()
        assert attention(suite) == (["lapsed: not used in time"], ["approval_invalid"])
        assert (await agent.call("send_reply", send)).code == "approval_required"
    assert suite.comments("AB-1") == []


async def test_the_job_of_a_lapsed_approval_does_not_use_up_a_newer_one(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await ask(agent)
        suite.approve(suite.requests()[0].approval_id)
        suite.clock.advance(72 * HOUR_S)
        assert (await agent.call("send_reply", send)).code == "approval_required"
    suite.approve(suite.requests()[0].approval_id)
    while await suite.execute() is not None:
        pass
    assert len(suite.comments("AB-1")) == 1
    assert [one.state for one in suite.requests("all")] == ["lapsed", "used"]
    assert attention(suite) == (["lapsed: not used in time"], ["approval_invalid"])


async def test_people_decide_once_and_only_on_what_they_were_shown(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        await ask(agent)
    [request] = suite.requests()
    flipped = ("0" if request.shown[0] != "0" else "1") + request.shown[1:]
    with approvals(suite) as stored:
        for shown in ("", request.shown[:5], flipped, request.fingerprint + "0"):
            with pytest.raises(ConflictError):
                stored.approve(request.approval_id, reviewer=ADA, channel="test", shown=shown, use_within_s=60)
            with pytest.raises(ConflictError):
                stored.deny(request.approval_id, reviewer=ADA, channel="test", shown=shown, reason="")
        with pytest.raises(NotFoundError):
            stored.approve("apr_none", reviewer=ADA, channel="test", shown=request.shown, use_within_s=60)
        with pytest.raises(ForbiddenError):
            stored.cancel(request.approval_id, principal="agent:other", reason="")
        stored.approve(request.approval_id, reviewer=ADA, channel="test", shown=request.shown.upper(), use_within_s=60)
        for person in ("person:ada", "person:ben"):
            with pytest.raises(ConflictError):
                stored.approve(
                    request.approval_id,
                    reviewer=Reviewer(person=person),
                    channel="test",
                    shown=request.shown,
                    use_within_s=60,
                )
        with pytest.raises(ConflictError):
            stored.deny(
                request.approval_id, reviewer=ADA, channel="test", shown=request.shown, reason="changed my mind"
            )
        assert [decision.verdict for decision in stored.decisions(request.approval_id)] == ["approve"]


async def test_a_new_draft_withdraws_the_older_request_and_voids_its_approval(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", mode=mode) as agent:
        await ask(agent, "First words.")
        suite.clock.advance(1)
        second = await ask(agent, "Second words.")
        assert [one.state for one in suite.requests("all")] == ["cancelled", "pending"]
        suite.approve(suite.requests()[0].approval_id)
        await agent.ok("draft_reply", ref="local:AB-1", body="Third words.")
        await suite.execute()
        assert (await agent.call("send_reply", second)).code == "conflict"
    assert suite.comments("AB-1") == []
    assert [one.state for one in suite.requests("all")] == ["cancelled", "lapsed"]
    assert attention(suite) == ([], ["conflict"])


async def test_a_new_message_of_the_customer_voids_what_was_approved(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", mode=mode) as agent:
        send = await ask(agent)
        suite.approve(suite.requests()[0].approval_id)
        suite.tickets([ticket(comments=[message("Found it, thanks!", role="customer")])])
        assert (await agent.call("send_reply", send)).code == "conflict"
        await suite.execute()
    assert len(suite.comments("AB-1")) == 1
    assert attention(suite) == (["lapsed: conflict"], ["conflict"])


async def test_what_moved_on_meanwhile_is_not_voided_by_an_old_view_of_it(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        await ask(agent)
    seen = suite.approve(suite.requests()[0].approval_id)
    await suite.execute()
    with approvals(suite) as stored:
        stored.void(seen, reason="superseded")
        assert stored.get(seen.approval_id).state == "used"


async def test_our_own_tags_and_messages_do_not_void_an_approval(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        await ask(agent)
        suite.approve(suite.requests()[0].approval_id)
        await agent.ok("update_ticket", ref="local:AB-1", version="1", add_tags=["rename"], priority="High")
        suite.tickets([ticket(comments=[message("We look into it.", role="agent")])])
    await suite.execute()
    assert {comment["body"] for comment in suite.comments("AB-1")} == {"We look into it.", "Open the board menu."}


async def test_a_tool_that_changed_since_voids_and_asks_again(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await ask(agent)
    suite.approve(suite.requests()[0].approval_id)
    specs = catalogue()
    changed = {**specs, "send_reply": replace(specs["send_reply"], description="Sends it somewhere else.")}
    await Worker(suite.runtime, Guard(suite.runtime, changed)).run_one()
    assert suite.comments("AB-1") == []
    assert attention(suite) == (["lapsed: tool_changed"], ["approval_invalid"])
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "approval_required"


async def test_an_agent_learns_that_the_tool_changed_and_its_repetition_asks_again(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await ask(agent)
    suite.approve(suite.requests()[0].approval_id)
    specs = catalogue()
    changed = replace(specs["send_reply"], description="Sends it somewhere else.")
    monkeypatch.setitem(SERVERS["tickets"].specs, "send_reply", changed)
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "approval_invalid"
        assert (await agent.call("send_reply", send)).code == "approval_required"
