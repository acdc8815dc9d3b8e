"""What people decide: how many, who, together, with changes of their own, and what policy says of it by then."""

from collections.abc import Mapping

import pytest

from fakes.troubled_desk import Trouble, TroubledDesk
from gatebook.approvals.audit import Audit
from gatebook.approvals.models import Approval, Decision, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.deciding import decide_batch, deny_batch, edit
from gatebook.effects import EffectRow, Effects
from gatebook.errors import (
    ConflictError,
    ForbiddenError,
    GatebookError,
    HeldError,
    InvalidArgumentsError,
    OutcomeUnknownError,
    PolicyBlockedError,
)
from gatebook.guard import Guard
from gatebook.retry import AmbiguousError
from gatebook.settling import settle
from gatebook_servers.catalogue import catalogue
from gatebook_servers.tickets.ports import open_desk
from suite import ADA, REPLY, Agent, Json, Suite, approved_reply, the_effect, the_job, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]

BEN, LEA = Reviewer(person="person:ben"), Reviewer(person="person:lea", roles=("lead",))
CHANGED = "Open the menu of the board, then choose Rename."


def policy(suite: Suite, then: str) -> None:
    suite.home.mkdir(exist_ok=True)
    rule = f'[[rule]]\nid = "replies"\ntools = ["tickets.send_reply"]\nthen = {{ outcome = "review", {then} }}\n'
    (suite.home / "policy.toml").write_text(f"version = 1\n{rule}", encoding="utf-8")


async def ask(suite: Suite, agent: Agent, ticket_id: str = "AB-1", *, body: str = REPLY) -> tuple[Json, Approval]:
    """Have the agent ask for a reply; its call, and the request."""
    suite.tickets([ticket(ticket_id)])
    draft = await agent.ok("draft_reply", ref=f"local:{ticket_id}", body=body)
    send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
    asked = await agent.call("send_reply", send)
    assert asked.code == "approval_required"
    return send, request_of(suite, str(asked.error["approval_id"]))


def request_of(suite: Suite, approval_id: str) -> Approval:
    with suite.runtime.database.transaction() as tx:
        return Approvals(tx).get(approval_id)


def decisions(suite: Suite, approval_id: str) -> list[Decision]:
    with suite.runtime.database.transaction() as tx:
        return Approvals(tx).decisions(approval_id)


async def change(
    suite: Suite,
    request: Approval,
    *,
    reviewer: Reviewer = ADA,
    shown: str = "",
    changes: Mapping[str, str] = {"body": CHANGED},
) -> Approval:
    guard = Guard(suite.runtime, catalogue())
    return await edit(
        guard,
        request.approval_id,
        reviewer=reviewer,
        channel="test",
        shown=shown or request.shown,
        changes=changes,
    )


def sent(suite: Suite, ticket_id: str = "AB-1") -> list[object]:
    return [comment["body"] for comment in suite.comments(ticket_id)]


async def test_a_quorum_is_of_distinct_persons_and_one_no_is_enough(suite: Suite) -> None:
    policy(suite, "quorum = 2")
    async with suite.agent("tickets") as agent:
        _, first = await ask(suite, agent, "AB-1")
        _, second = await ask(suite, agent, "AB-2")
    assert suite.approve(first.approval_id, reviewer=ADA).state == "pending"
    with pytest.raises(ConflictError):
        suite.approve(first.approval_id, reviewer=ADA)
    assert await suite.execute() is None
    assert suite.approve(first.approval_id, reviewer=BEN).state == "approved"
    await suite.execute()
    suite.approve(second.approval_id, reviewer=ADA)
    suite.deny(second.approval_id, reviewer=BEN)
    assert await suite.execute() is None
    assert (sent(suite, "AB-1"), sent(suite, "AB-2")) == ([REPLY], [])
    votes = decisions(suite, first.approval_id)
    assert {(vote.person, vote.fingerprint) for vote in votes} == {
        ("person:ada", first.fingerprint),
        ("person:ben", first.fingerprint),
    }


async def test_only_a_named_role_decides(suite: Suite) -> None:
    policy(suite, 'roles = ["lead"]')
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
    for decide in (suite.approve, suite.deny):
        with pytest.raises(ForbiddenError):
            decide(request.approval_id, reviewer=BEN)
    with pytest.raises(ForbiddenError):
        await change(suite, request, reviewer=BEN)
    assert decisions(suite, request.approval_id) == []
    assert suite.approve(request.approval_id, reviewer=LEA).state == "approved"


async def test_a_person_is_told_what_the_server_fetched_and_nothing_that_the_agent_claims(suite: Suite) -> None:
    suite.tickets([ticket(body="Where is a board renamed?")])
    async with suite.agent("tickets", "approvals") as agent:
        await agent.ok("draft_reply", ref="local:AB-1", body="First words.")
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Second words.")
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        await agent.ok("request_approval", tool="send_reply", arguments=send, reason="Robin already agreed.")
    facts = suite.requests()[0].facts
    assert (facts.desk, facts.ref, facts.subject) == ("local", "local:AB-1", "How do I rename a board?")
    assert (facts.newest, facts.newest_from) == ("Where is a board renamed?", "Robin Reyes (customer)")
    assert (facts.previous, facts.previous_from) == ("First words.", "agent:local")
    assert (facts.recipients, facts.origins) == (("robin@customer.example",), ("subject", "body", "draft"))
    assert "agreed" not in facts.model_dump_json()


async def test_a_persons_change_is_sent_once_and_the_original_call_is_told_so(suite: Suite, mode: str) -> None:
    async with suite.agent("tickets", "approvals", mode=mode) as agent:
        send, request = await ask(suite, agent)
        edited = await change(suite, request)
        assert (edited.edited_by, edited.edited_from, edited.revision) == ("person:ada", request.approval_id, 2)
        assert (edited.content["body"], edited.facts.previous) == (CHANGED, REPLY)
        waiting = await agent.call("send_reply", send)
        assert (waiting.code, waiting.error["approval_id"]) == ("approval_required", edited.approval_id)
        looked = await agent.ok("get_approval", approval_id=request.approval_id)
        assert (looked["approval_id"], looked["edited_by_human"]) == (edited.approval_id, True)
        assert (await agent.ok("draft_reply", ref="local:AB-1", body=REPLY))["draft_id"] == send["draft_id"]
        assert (await agent.ok("request_approval", tool="send_reply", arguments=send))["state"] == "pending"
        suite.approve(edited.approval_id, reviewer=BEN)
        assert (await agent.call("send_reply", send)).code == "in_progress"
        await suite.execute()
        done = await agent.ok("send_reply", send)
        assert (done["outcome"], done["edited_by_human"]) == ("replayed", True)
        assert isinstance(done["executed"], dict)
        assert done["executed"]["body"] == CHANGED
        assert "do not repeat" in str(done["note"])
        other = suite.another_process(principal="agent:other")
        async with suite.agent("tickets", mode=mode, runtime=other) as stranger:
            assert (await stranger.ok("send_reply", send))["edited_by_human"] is True
    assert sent(suite) == [CHANGED]
    assert {one.state for one in suite.requests("all")} == {"cancelled", "used"}


async def test_votes_do_not_survive_a_change_and_its_editor_is_no_approver_where_four_eyes_are_wanted(
    suite: Suite,
) -> None:
    policy(suite, "quorum = 2, four_eyes = true")
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
    suite.approve(request.approval_id, reviewer=BEN)
    edited = await change(suite, request)
    with pytest.raises(ConflictError):
        suite.approve(request.approval_id, reviewer=LEA)
    with pytest.raises(ForbiddenError):
        suite.approve(edited.approval_id, reviewer=ADA)
    assert suite.approve(edited.approval_id, reviewer=BEN).state == "pending"
    assert suite.approve(edited.approval_id, reviewer=LEA).state == "approved"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"body": " "}, InvalidArgumentsError),
        ({"body": "word " * 201}, InvalidArgumentsError),
        ({"body": REPLY}, InvalidArgumentsError),
        ({"body": "We will refund you."}, HeldError),
        ({"visibility": "internal"}, ForbiddenError),
        ({"body": CHANGED, "draft_id": "drf_other"}, ForbiddenError),
        ({"principal": "agent:other"}, ForbiddenError),
    ],
)
async def test_a_change_that_is_not_allowed_leaves_the_request_as_it_was(
    suite: Suite, changes: Mapping[str, str], refusal: type[GatebookError]
) -> None:
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
    with pytest.raises(refusal):
        await change(suite, request, changes=changes)
    with pytest.raises(ConflictError):
        await change(suite, request, shown=("1" if request.shown[0] == "0" else "0") + request.shown[1:])
    assert [one for one in suite.requests() if one.kind == "effect"] == [request]
    assert suite.count("drafts") == 1


async def test_a_change_is_judged_by_policy_and_a_stale_one_is_refused(suite: Suite) -> None:
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
        (suite.home / "policy.toml").write_text('version = 1\nnever = ["tickets.send_reply"]\n', encoding="utf-8")
        with pytest.raises(PolicyBlockedError):
            await change(suite, request)
        (suite.home / "policy.toml").unlink()
        await agent.ok("draft_reply", ref="local:AB-1", body="Newer words.")
        with pytest.raises(ConflictError):
            await change(suite, request)


async def test_a_denied_change_is_denied_for_the_original_call_too(suite: Suite) -> None:
    async with suite.agent("tickets") as agent:
        send, request = await ask(suite, agent)
        edited = await change(suite, request)
        suite.deny(edited.approval_id, reason="rather call them")
        denied = await agent.call("send_reply", send)
        assert (denied.code, denied.error["reason"]) == ("approval_denied", "rather call them")


async def test_fields_of_a_new_ticket_are_changed_where_policy_lets_people(suite: Suite) -> None:
    suite.home.mkdir(exist_ok=True)
    rule = '[[rule]]\nid = "new"\ntools = ["tickets.create_ticket"]\nthen = { outcome = "review", edit = ["title"] }\n'
    (suite.home / "policy.toml").write_text(f"version = 1\n{rule}", encoding="utf-8")
    create: Json = {"project": "OPS", "title": "Disk is full", "description": "On the host."}
    async with suite.agent("tickets") as agent:
        assert (await agent.call("create_ticket", create)).code == "approval_required"
        [request] = suite.requests()
        with pytest.raises(ForbiddenError):
            await change(suite, request, changes={"description": "Nothing."})
        edited = await change(suite, request, changes={"title": "The disk of the host is full"})
        suite.approve(edited.approval_id)
        await suite.execute()
        assert (await agent.ok("create_ticket", create))["edited_by_human"] is True
    with suite.runtime.database.transaction() as tx:
        assert [row["subject"] for row in tx.all("SELECT subject FROM desk_tickets")] == [
            "The disk of the host is full"
        ]


async def test_a_card_is_decided_in_one_act_with_a_fingerprint_for_each_line(suite: Suite) -> None:
    async with suite.agent("tickets") as agent:
        asked = [(await ask(suite, agent, f"AB-{number}"))[1] for number in range(1, 4)]
    with suite.runtime.database.transaction() as tx:
        [card] = Approvals(tx).batches(tenant="default")
    assert {one.approval_id for one in card} == {one.approval_id for one in asked}
    lines = {one.approval_id: one.shown for one in asked[:2]}
    wrong = {**lines, asked[1].approval_id: asked[0].shown}
    with pytest.raises(ConflictError), suite.runtime.database.transaction() as tx:
        decide_batch(tx, suite.runtime.settings, wrong, reviewer=ADA, channel="test")
    assert len(suite.requests()) == 3
    with suite.runtime.database.transaction() as tx:
        decided = decide_batch(tx, suite.runtime.settings, lines, reviewer=ADA, channel="test")
    assert [one.state for one in decided] == ["approved", "approved"]
    assert [one.approval_id for one in suite.requests()] == [asked[2].approval_id]


@pytest.mark.parametrize("then", ['risk = "critical"', "batch = false"])
async def test_what_is_critical_or_was_set_apart_is_decided_by_itself(suite: Suite, then: str) -> None:
    policy(suite, then)
    async with suite.agent("tickets") as agent:
        asked = [(await ask(suite, agent, f"AB-{number}"))[1] for number in (1, 2)]
    lines = {one.approval_id: one.shown for one in asked}
    with suite.runtime.database.transaction() as tx:
        assert Approvals(tx).batches(tenant="default") == []
    with pytest.raises(ForbiddenError), suite.runtime.database.transaction() as tx:
        decide_batch(tx, suite.runtime.settings, lines, reviewer=ADA, channel="test")
    with pytest.raises(ForbiddenError), suite.runtime.database.transaction() as tx:
        deny_batch(tx, lines, reviewer=ADA, channel="test", reason="not like this")
    assert len(suite.requests()) == 2


async def test_a_card_is_denied_in_one_act_with_a_fingerprint_for_each_line(suite: Suite) -> None:
    async with suite.agent("tickets") as agent:
        calls, asked = zip(*[await ask(suite, agent, f"AB-{number}") for number in (1, 2, 3)], strict=True)
        lines = {one.approval_id: one.shown for one in asked[:2]}
        wrong = {**lines, asked[1].approval_id: asked[0].shown}
        with pytest.raises(ConflictError), suite.runtime.database.transaction() as tx:
            deny_batch(tx, wrong, reviewer=ADA, channel="test", reason="too curt")
        assert len(suite.requests()) == 3
        with suite.runtime.database.transaction() as tx:
            deny_batch(tx, lines, reviewer=ADA, channel="test", reason="too curt")
        assert [one.approval_id for one in suite.requests()] == [asked[2].approval_id]
        for call in calls[:2]:
            refused = await agent.call("send_reply", call)
            assert (refused.code, refused.error["reason"]) == ("approval_denied", "too curt")


@pytest.mark.parametrize("limit", ["max_pending_per_principal", "max_pending_per_tool"])
async def test_a_flood_of_requests_stops_at_the_ceiling_and_nothing_is_lost(suite: Suite, limit: str) -> None:
    small = suite.another_process(**{limit: 2})
    async with suite.agent("tickets", runtime=small) as agent:
        first, _ = await ask(suite, agent, "AB-1")
        await ask(suite, agent, "AB-2")
        suite.tickets([ticket("AB-3")])
        draft = await agent.ok("draft_reply", ref="local:AB-3", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        refused = await agent.call("send_reply", send)
        assert (refused.code, refused.error["limit"]) == ("ceiling_reached", 2)
        assert (await agent.call("send_reply", first)).code == "approval_required"
        assert len(suite.requests()) == 2
        suite.deny(suite.requests()[0].approval_id)
        assert (await agent.call("send_reply", send)).code == "approval_required"


@pytest.mark.parametrize("then", ["quorum = 2", 'roles = ["lead"]'])
async def test_a_policy_that_became_stricter_asks_anew_before_anything_is_done(suite: Suite, then: str) -> None:
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
    suite.approve(request.approval_id, reviewer=BEN)
    policy(suite, then)
    await suite.execute()
    assert sent(suite) == []
    before = request_of(suite, request.approval_id)
    assert (before.state, before.state_reason) == ("lapsed", "policy_changed")
    [anew] = suite.requests()
    assert (anew.fingerprint, anew.quorum, anew.roles) == (
        (request.fingerprint, 2, ()) if "quorum" in then else (request.fingerprint, 1, ("lead",))
    )
    suite.approve(anew.approval_id, reviewer=LEA)
    if anew.quorum == 2:
        assert await suite.execute() is None
        suite.approve(anew.approval_id, reviewer=BEN)
    await suite.execute()
    assert sent(suite) == [REPLY]


async def test_a_yes_under_a_stricter_policy_holds_and_a_forbidden_one_does_nothing(suite: Suite) -> None:
    policy(suite, "quorum = 2")
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
        _, other = await ask(suite, agent, "AB-2")
        suite.approve(request.approval_id, reviewer=ADA)
        suite.approve(request.approval_id, reviewer=BEN)
        policy(suite, "quorum = 1")
        await suite.execute()
        assert sent(suite) == [REPLY]
        suite.approve(other.approval_id, reviewer=ADA)
        suite.approve(other.approval_id, reviewer=BEN)
        (suite.home / "policy.toml").write_text('version = 1\nnever = ["tickets.send_reply"]\n', encoding="utf-8")
        await suite.execute()
    assert sent(suite, "AB-2") == []
    assert request_of(suite, other.approval_id).state_reason == "policy_blocked"


@pytest.mark.parametrize("body", ["Open it.\nRename it.", "Open it.\r\nRename it.", None])
async def test_a_change_that_changes_nothing_is_refused_and_leaves_no_draft(suite: Suite, body: str | None) -> None:
    policy(suite, 'edit = ["body"]')
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent, body="Open it.\nRename it.")
    drafts = suite.count("drafts")
    with pytest.raises(InvalidArgumentsError, match="nothing would change"):
        await change(suite, request, changes={} if body is None else {"body": body})
    assert (suite.count("drafts"), decisions(suite, request.approval_id)) == (drafts, [])
    assert [one.approval_id for one in suite.requests()] == [request.approval_id]


async def test_a_policy_first_seen_by_a_persons_change_stands_in_the_audit_log(suite: Suite) -> None:
    async with suite.agent("tickets") as agent:
        _, request = await ask(suite, agent)
    policy(suite, 'quorum = 2, edit = ["body"]')
    edited = await change(suite, request)
    assert edited.quorum == 2
    with suite.runtime.database.transaction() as tx:
        told = [event.event for event in Audit(tx).events()]
    assert told.count("policy.changed") == 2
    assert told.index("request.edited") > len(told) - told[::-1].index("policy.changed") - 1


async def in_doubt(suite: Suite) -> tuple[Json, Approval]:
    """Send an approved reply to a desk that cannot tell whether it arrived."""
    send = await approved_reply(suite)
    unknown = OutcomeUnknownError("the desk cannot tell.", next_step="Look.")
    trouble = Trouble(before=[AmbiguousError()], looking=[unknown])
    suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, trouble)
    await suite.execute()
    [request] = suite.requests("in_doubt")
    return send, request


def settled(suite: Suite, request: Approval, *, happened: bool) -> tuple[Approval, EffectRow]:
    with suite.runtime.database.transaction() as tx:
        after = settle(
            tx, request.approval_id, reviewer=ADA, channel="test", happened=happened, note="looked into the desk"
        )
        effect = Effects(tx).find(request.effect_key)
    assert effect is not None
    return after, effect


async def test_a_person_who_saw_that_it_happened_settles_the_doubt_for_good(suite: Suite) -> None:
    send, request = await in_doubt(suite)
    after, effect = settled(suite, request, happened=True)
    assert (after.state, effect.state, the_job(suite).state) == ("used", "done", "done")
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "idempotency_conflict"
    assert await suite.execute() is None
    with pytest.raises(ConflictError):
        settled(suite, request, happened=False)
    assert [(one.verdict, one.channel, one.reason) for one in decisions(suite, request.approval_id)][-1] == (
        "settle",
        "test",
        "looked into the desk",
    )


async def test_what_did_not_happen_is_done_while_the_yes_lasts(suite: Suite) -> None:
    _, request = await in_doubt(suite)
    after, effect = settled(suite, request, happened=False)
    assert (after.state, effect.state) == ("approved", "not_applied")
    await suite.execute()
    assert sent(suite) == [REPLY]
    assert the_effect(suite).state == "done"


async def test_what_did_not_happen_needs_a_new_yes_when_the_old_one_is_over(suite: Suite) -> None:
    send, request = await in_doubt(suite)
    suite.clock.advance(72 * 3_600)
    assert settled(suite, request, happened=False)[0].state == "lapsed"
    assert await suite.execute() is None
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "approval_required"


def test_a_reviewer_is_a_person() -> None:
    with pytest.raises(ValueError, match="person"):
        Reviewer(person="agent:local", roles=("*",))
