"""Holds: what mentions a sensitive matter waits for a person. Only the tickets server runs here, no classifier."""

from typing import cast

import pytest

from gatebook.approvals.requests import Approvals
from suite import SINCE, UNTIL, Agent, Answer, Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

TERMS = {
    "refund": "refund",
    "legal": "legal",
    "data breach": "data_breach",
    "re\u200bfund": "refund",
    "REFUNDS": "refund",
    "leg\u0430l": "legal",
    "r e f u n d": "refund",
}
HARMLESS = "Open the board menu."


def spoken(term: str) -> str:
    return f"Hello, this is about the {term} that we spoke of."


def message(comment_id: str, body: str) -> Json:
    author: Json = {"name": "Robin", "role": "customer"}
    return {"id": comment_id, "author": author, "public": True, "body": body, "created_at": "2026-11-21T22:00:00Z"}


async def attempts(agent: Agent, version: str) -> list[Answer]:
    """Everything that acts on the ticket, with harmless words."""
    ref = "local:AB-1"
    return [
        await agent.call("draft_reply", ref=ref, body=HARMLESS),
        await agent.call("update_ticket", ref=ref, version=version, add_tags=["seen"]),
        await agent.call("update_ticket", ref=ref, version=version, status="solved"),
        await agent.call("escalate_ticket", ref=ref, reason="a person must look at it"),
    ]


def codes(answers: list[Answer]) -> list[str]:
    return [answer.code for answer in answers]


@pytest.mark.parametrize("term", TERMS)
async def test_a_sensitive_ticket_can_be_read_and_nothing_else(suite: Suite, mode: str, term: str) -> None:
    suite.tickets([ticket(body=spoken(term))])
    async with suite.agent("tickets", mode=mode) as agent:
        answers = await attempts(agent, "1")
        assert codes(answers) == ["held"] * 4
        [request] = suite.requests("all")
        assert all(answer.error["approval_id"] == request.approval_id for answer in answers)
        assert (request.kind, request.rules) == ("hold", (TERMS[term],))
        assert spoken(term) not in "".join(answer.text for answer in answers)
        await agent.ok("get_ticket", ref="local:AB-1")
        await agent.ok("list_tickets")
        await agent.ok("list_comments", ref="local:AB-1")
    assert (suite.count("drafts"), suite.count("effects"), suite.comments("AB-1")) == (0, 0, [])


@pytest.mark.parametrize("term", TERMS)
async def test_a_sensitive_message_of_the_customer_holds_the_ticket(suite: Suite, term: str) -> None:
    suite.tickets([ticket(comments=[message("c1", HARMLESS), message("c2", spoken(term))])])
    async with suite.agent("tickets") as agent:
        assert codes(await attempts(agent, "1")) == ["held"] * 4
    assert suite.count("drafts") == 0


@pytest.mark.parametrize("term", TERMS)
async def test_a_sensitive_subject_holds_the_ticket(suite: Suite, term: str) -> None:
    suite.tickets([ticket(subject=f"About the {term}")])
    async with suite.agent("tickets") as agent:
        assert codes(await attempts(agent, "1")) == ["held"] * 4


@pytest.mark.parametrize("term", TERMS)
async def test_sensitive_words_of_the_agent_are_held_before_anything_is_stored_or_asked(
    suite: Suite, mode: str, term: str
) -> None:
    suite.tickets([ticket()])
    ref = "local:AB-1"
    async with suite.agent("tickets", mode=mode) as agent:
        answers = [
            await agent.call("draft_reply", ref=ref, body=spoken(term)),
            await agent.call("escalate_ticket", ref=ref, reason=spoken(term)),
            await agent.call("create_ticket", project="AB", title=spoken(term)),
            await agent.call("create_ticket", project="AB", title="Boards lose names", description=spoken(term)),
            await agent.call("update_ticket", ref=ref, version="1", add_tags=[term]),
        ]
        assert codes(answers) == ["held"] * 5
        await agent.ok("draft_reply", ref=ref, body=HARMLESS)
    assert {request.kind for request in suite.requests("all")} == {"hold"}
    assert (suite.count("drafts"), suite.count("effects"), suite.count("desk_tickets")) == (1, 0, 1)


async def test_a_draft_that_became_sensitive_is_not_sent(suite: Suite, mode: str) -> None:
    """The operator's own terms may be younger than a draft and its approval."""
    suite.tickets([ticket()])
    stricter = suite.another_process(sensitive_terms={"board": ["board menu"]})
    async with suite.agent("tickets", mode=mode) as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=HARMLESS)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        await agent.call("send_reply", send)
    suite.approve(suite.requests()[0].approval_id)
    async with suite.agent("tickets", "approvals", mode=mode, runtime=stricter) as agent:
        assert (await agent.call("send_reply", send)).code == "held"
        assert (await agent.call("request_approval", tool="send_reply", arguments=send)).code == "held"
    await suite.execute(runtime=stricter)
    assert suite.comments("AB-1") == []


async def test_a_ticket_whose_text_became_sensitive_holds_an_approved_reply(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=HARMLESS)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        await agent.call("send_reply", send)
        suite.approve(suite.requests()[0].approval_id)
        suite.tickets([ticket(body=spoken("refund"))])
        assert (await agent.call("send_reply", send)).code == "held"
    await suite.execute()
    assert suite.comments("AB-1") == []


async def test_releasing_lets_the_draft_go_on_and_the_send_still_needs_its_own_yes(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(body=spoken("refund"))])
    async with suite.agent("tickets", mode=mode) as agent:
        await agent.call("draft_reply", ref="local:AB-1", body=HARMLESS)
        [held] = suite.requests()
        released = suite.approve(held.approval_id)
        assert (released.state, released.use_by) == ("approved", None)
        assert await suite.execute() is None
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=HARMLESS)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
        [request] = suite.requests()
        assert request.kind == "effect"
        suite.clock.advance(30 * 86_400)
        await agent.ok("update_ticket", ref="local:AB-1", version="1", add_tags=["seen"])
        assert (await agent.call("send_reply", send)).code == "approval_required"
        [request] = suite.requests()
        suite.approve(request.approval_id)
        await suite.execute()
    assert [comment["body"] for comment in suite.comments("AB-1")] == [HARMLESS]


async def test_a_release_does_not_cover_sensitive_words_of_the_agents_own(suite: Suite) -> None:
    suite.tickets([ticket(body=spoken("refund"))])
    async with suite.agent("tickets") as agent:
        await agent.call("draft_reply", ref="local:AB-1", body=HARMLESS)
        suite.approve(suite.requests()[0].approval_id)
        held = await agent.call("draft_reply", ref="local:AB-1", body="Your refund is on its way.")
        assert held.code == "held"
        [request] = suite.requests()
        assert request.approval_id == held.error["approval_id"]
        assert "Your refund is on its way." in str(request.content)
        suite.approve(request.approval_id)
        await agent.ok("draft_reply", ref="local:AB-1", body="Your refund is on its way.")


async def test_a_denied_hold_stays_and_tells_the_reason(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(body=spoken("legal"))])
    async with suite.agent("tickets", mode=mode) as agent:
        await attempts(agent, "1")
        suite.deny(suite.requests()[0].approval_id, reason="ours alone")
        suite.clock.advance(100 * 86_400)
        answers = await attempts(agent, "1")
        assert codes(answers) == ["approval_denied"] * 4
        assert all(answer.error["reason"] == "ours alone" for answer in answers)
        await agent.ok("get_ticket", ref="local:AB-1")
    async with suite.agent("tickets", runtime=suite.another_process(principal="agent:other")) as agent:
        assert codes(await attempts(agent, "1")) == ["approval_denied"] * 4
    assert len(suite.requests("all")) == 1


async def test_a_new_sensitive_message_holds_a_released_ticket_anew(suite: Suite) -> None:
    rows = ticket(body=spoken("refund"))
    suite.tickets([rows])
    async with suite.agent("tickets") as agent:
        await agent.call("draft_reply", ref="local:AB-1", body=HARMLESS)
        first = suite.approve(suite.requests()[0].approval_id)
        suite.tickets([{**rows, "comments": [message("c1", HARMLESS)]}])
        await agent.ok("draft_reply", ref="local:AB-1", body=HARMLESS)
        suite.tickets([{**rows, "comments": [message("c1", HARMLESS), message("c2", spoken("legal"))]}])
        assert codes(await attempts(agent, "3")) == ["held"] * 4
        [again] = suite.requests()
        assert again.approval_id != first.approval_id
        assert again.rules == ("legal",)


async def test_a_hold_is_asked_once_by_whomever_and_anew_when_nobody_decided(suite: Suite) -> None:
    suite.tickets([ticket(body=spoken("refund"))])
    pull: Json = {"subscription": "night", "since": "2026-11-21T18:00:00Z", "until": "2026-11-22T18:00:00Z"}
    async with suite.agent("tickets", "approvals") as agent:
        await agent.ok("pull_tickets", pull)
        await agent.ok("pull_tickets", pull)
        await attempts(agent, "1")
        other = suite.another_process(principal="agent:other")
        async with suite.agent("tickets", runtime=other) as stranger:
            await stranger.ok("pull_tickets", pull)
            assert codes(await attempts(stranger, "1")) == ["held"] * 4
        [first] = suite.requests("all")
        suite.clock.advance(73 * 3_600)
        assert codes(await attempts(agent, "1")) == ["held"] * 4
        [second] = suite.requests()
        assert second.approval_id != first.approval_id
        await agent.ok("cancel_approval", approval_id=second.approval_id)
        suite.clock.advance(1)
        assert codes(await attempts(agent, "1")) == ["held"] * 4, "an agent cannot withdraw a hold to be rid of it"


async def test_a_hold_shows_a_person_every_sensitive_text_and_never_releases_an_effect(suite: Suite) -> None:
    suite.tickets([ticket(body=spoken("refund"), comments=[message("c1", spoken("legal")), message("c2", HARMLESS)])])
    async with suite.agent("tickets") as agent:
        await agent.call("draft_reply", ref="local:AB-1", body=HARMLESS)
    [held] = suite.requests()
    shown = str(held.content)
    assert spoken("refund") in shown
    assert spoken("legal") in shown
    assert HARMLESS not in shown
    suite.approve(held.approval_id)
    with suite.runtime.database.transaction() as tx:
        assert Approvals(tx).consume(Approvals(tx).get(held.approval_id)) is None


async def test_holds_beyond_the_ceiling_hold_without_a_card_until_people_decided_some(suite: Suite) -> None:
    small = suite.another_process(max_pending_per_principal=3)
    refs = [f"local:AB-{number}" for number in range(1, 8)]
    suite.tickets([ticket(ref.removeprefix("local:"), body=spoken("refund")) for ref in refs])
    async with suite.agent("tickets", runtime=small) as agent:
        page = await agent.ok("pull_tickets", subscription="test", since=SINCE, until=UNTIL)
        assert len(cast("list[Json]", page["tickets"])) == 7
        for _ in range(2):
            for ref in refs:
                assert (await agent.call("draft_reply", ref=ref, body=HARMLESS)).code == "held"
        for number in range(20):
            answer = await agent.call("draft_reply", ref=refs[-1], body=f"{HARMLESS} Refund {number}.")
            assert (answer.code, answer.error["limit"]) == ("held", 3)
        assert [request.kind for request in suite.requests("all")] == ["hold"] * 3
        assert (suite.count("drafts"), suite.count("effects")) == (0, 0)
        suite.approve(suite.requests()[0].approval_id)
        answer = await agent.call("draft_reply", ref=refs[-1], body=HARMLESS)
        assert answer.error["approval_id"] in [request.approval_id for request in suite.requests()]
    assert len(suite.requests()) == 3
