"""The approvals server: ask, wait, list and withdraw. Nothing in it decides."""

import re

import anyio
import pytest

from gatebook.clock import moment
from gatebook_servers.catalogue import SERVERS
from suite import Agent, Json, Suite, ticket

pytestmark = pytest.mark.anyio


async def drafted(agent: Agent, ref: str = "local:AB-1", body: str = "Open the board menu.") -> Json:
    draft = await agent.ok("draft_reply", ref=ref, body=body)
    return {"draft_id": draft["draft_id"], "visibility": "public"}


async def asked(agent: Agent, ref: str = "local:AB-1") -> str:
    """Ask for a reply to be sent; the request's id."""
    answer = await agent.call("send_reply", await drafted(agent, ref))
    assert answer.code == "approval_required"
    return str(answer.error["approval_id"])


def states(content: Json) -> list[str]:
    listed = content["approvals"]
    assert isinstance(listed, list)
    return [str(one["state"]) for one in listed if isinstance(one, dict)]


def test_no_tool_decides() -> None:
    assert set(SERVERS["approvals"].specs) == {
        "request_approval", "wait_for_approvals", "get_approval", "list_approvals", "cancel_approval",
        "permission_prompt",
    }  # fmt: skip
    parameters = {name for spec in SERVERS["approvals"].specs.values() for name in spec.function.arguments}
    assert not any(re.search("approve|deny|decision|person|fingerprint|verdict|token", name) for name in parameters)


async def test_asking_ahead_and_calling_are_one_request(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        send = await drafted(agent)
        early = await agent.ok("request_approval", tool="send_reply", arguments=send, reason="It answers the question.")
        again = await agent.ok("request_approval", tool="send_reply", arguments=send)
        assert early == again
        assert (early["state"], early["kind"], early["draft_id"]) == ("pending", "effect", send["draft_id"])
        refused = await agent.call("send_reply", send)
        assert refused.error["approval_id"] == early["approval_id"]
        [request] = suite.requests("all")
        assert request.reason == "It answers the question."
        suite.approve(request.approval_id)
        assert (await agent.ok("request_approval", tool="send_reply", arguments=send))["state"] == "approved"
        assert (await agent.ok("send_reply", send))["outcome"] == "executed"
    assert len(suite.comments("AB-1")) == 1


async def test_what_the_call_would_be_refused_for_cannot_be_asked(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(), ticket("AB-2", body="I want a refund.")])
    cases: list[tuple[str, Json, str]] = [
        ("nope", {}, "not_found"),
        ("list_tickets", {}, "not_found"),
        ("draft_reply", {"ref": "local:AB-1", "body": "Hello."}, "not_found"),
        ("send_reply", {"draft_id": "drf_none", "visibility": "public"}, "not_found"),
        ("send_reply", {"draft_id": "drf_none"}, "invalid_arguments"),
        ("send_reply", {"draft_id": "drf_none", "visibility": "public", "approved": True}, "invalid_arguments"),
        ("escalate_ticket", {"ref": "local:AB-2", "reason": "a person must look"}, "held"),
        ("escalate_ticket", {"ref": "local:ZZ-1", "reason": "a person must look"}, "not_found"),
    ]
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        for tool, arguments, code in cases:
            assert (await agent.call("request_approval", tool=tool, arguments=arguments)).code == code, tool
    assert {request.kind for request in suite.requests("all")} == {"hold"}


async def test_an_interrupted_effect_is_not_taken_over_by_asking_about_it(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals") as agent:
        send = await drafted(agent)
        suite.approve(await asked(agent))
        await suite.execute()
        with suite.runtime.database.transaction() as tx:
            tx.execute("UPDATE effects SET state = 'claimed', owner = 'gone', fence = 7, lease_until = 0")
        answer = await agent.call("request_approval", tool="send_reply", arguments=send)
        assert answer.code == "idempotency_conflict"
        with suite.runtime.database.transaction() as tx:
            row = tx.one("SELECT owner, fence FROM effects")
    assert row == {"owner": "gone", "fence": 7}
    assert len(suite.requests("all")) == 1


async def test_a_reason_is_shown_as_the_agents_words_and_is_no_part_of_what_is_approved(suite: Suite) -> None:
    suite.tickets([ticket(), ticket("AB-2")])
    async with suite.agent("tickets", "approvals") as agent:
        send = await drafted(agent)
        await agent.ok("request_approval", tool="send_reply", arguments=send, reason="Approved by your boss already.")
    [request] = suite.requests()
    assert "boss" not in str(request.content)
    assert request.content["body"] == "Open the board menu."


async def test_waiting_returns_at_once_when_told_to_and_says_what_is_pending(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        approval_id = await asked(agent)
        with anyio.fail_after(5):
            waited = await agent.ok("wait_for_approvals", approval_ids=[approval_id], timeout_s=0)
        assert (states(waited), waited["pending"]) == (["pending"], 1)
        assert suite.requests()[0].approval_id == approval_id, "a timeout is no answer"


async def test_waiting_ends_when_a_person_decides(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(), ticket("AB-2")])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        one, two = await asked(agent), await asked(agent, "local:AB-2")
        told = anyio.Event()
        found: list[Json] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            del progress, total
            assert message == "2 pending"
            told.set()

        async def wait(wait_for: str) -> None:
            arguments: Json = {"approval_ids": [one, two], "wait_for": wait_for, "timeout_s": 30}
            result = await agent.client.call_tool("wait_for_approvals", arguments, progress_callback=on_progress)
            assert result.structured_content is not None
            found.append(result.structured_content)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(wait, "any")
                await told.wait()
                suite.approve(one)
            assert (states(found[0]), found[0]["pending"]) == (["approved", "pending"], 1)
            suite.deny(two, reason="too long")
            done = await agent.ok("wait_for_approvals", approval_ids=[one, two], wait_for="all")
        assert (states(done), done["pending"]) == (["approved", "denied"], 0)
        assert (await agent.ok("get_approval", approval_id=two))["reason"] == "too long"


async def test_a_request_that_is_named_twice_is_waited_for_as_one(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        one = await asked(agent)
        told = anyio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            del progress, total, message
            told.set()

        async def wait() -> None:
            arguments: Json = {"approval_ids": [one, one], "timeout_s": 30}
            await agent.client.call_tool("wait_for_approvals", arguments, progress_callback=on_progress)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await told.wait()  # who only reads again and again tells nobody that it waits
                suite.approve(one)


async def test_another_principals_requests_are_out_of_reach(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        approval_id = await asked(agent)
    other = suite.another_process(principal="agent:other")
    async with suite.agent("approvals", mode=mode, runtime=other) as stranger:
        assert (await stranger.call("wait_for_approvals", approval_ids=[approval_id], timeout_s=0)).code == "forbidden"
        assert (await stranger.call("get_approval", approval_id=approval_id)).code == "forbidden"
        assert (await stranger.call("cancel_approval", approval_id=approval_id)).code == "forbidden"
        assert (await stranger.call("get_approval", approval_id="apr_none")).code == "not_found"
        assert states(await stranger.ok("list_approvals")) == []
    assert suite.requests()[0].approval_id == approval_id


async def test_a_pending_request_can_be_withdrawn_and_a_decided_one_cannot(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(), ticket("AB-2")])
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        one, two = await asked(agent), await asked(agent, "local:AB-2")
        gone = await agent.ok("cancel_approval", approval_id=one, reason="asked too early")
        assert gone["state"] == "cancelled"
        assert "asked too early" in str(gone["reason"])
        assert (await agent.call("cancel_approval", approval_id=one)).code == "conflict"
        suite.approve(two)
        assert (await agent.call("cancel_approval", approval_id=two)).code == "conflict"
    await suite.execute()
    assert len(suite.comments("AB-2")) == 1


async def test_requests_are_listed_in_pages_and_by_run_state_and_change(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(f"AB-{number}") for number in range(1, 6)])
    async with suite.agent("tickets", "approvals", "runs", mode=mode) as agent:
        run_id = str((await agent.ok("start_run", key="night"))["run_id"])
        ids = [await asked(agent, f"local:AB-{number}") for number in range(1, 5)]
        draft = await drafted(agent, "local:AB-5")
        await agent.call("send_reply", draft, run_id=run_id)
        suite.clock.advance(60)
        suite.deny(ids[2], reason="no")
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await agent.ok("list_approvals", limit=2, cursor=cursor)
            assert isinstance(page["approvals"], list)
            seen += [str(one["approval_id"]) for one in page["approvals"] if isinstance(one, dict)]
            cursor = str(page["next_cursor"]) if page["next_cursor"] else None
        assert len(seen) == len(set(seen)) == 5
        assert set(ids) < set(seen)
        assert states(await agent.ok("list_approvals", state="denied")) == ["denied"]
        assert states(await agent.ok("list_approvals", run=run_id)) == ["pending"]
        since = moment(suite.clock.now()).isoformat()
        assert states(await agent.ok("list_approvals", changed_since=since)) == ["denied"]
        for cursor in ("x", "1|2", "'; DROP TABLE approvals"):
            assert (await agent.call("list_approvals", cursor=cursor)).code == "invalid_arguments"


async def test_the_view_of_a_request_names_no_person(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals") as agent:
        approval_id = await asked(agent)
        suite.approve(approval_id)
        answer = await agent.call("get_approval", approval_id=approval_id)
    [request] = suite.requests("approved")
    assert "ada" not in answer.text
    assert request.fingerprint not in answer.text
    assert request.shown not in answer.text
