"""What a person makes of a call to a tool that is not ours: their input, once, with a yes of its own."""

import json
from collections.abc import Mapping
from typing import cast

import pytest
from pydantic import JsonValue

from gatebook.approvals.models import Approval, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.deciding import edit
from gatebook.errors import (
    ApprovalDeniedError,
    ConflictError,
    ForbiddenError,
    GatebookError,
    InvalidArgumentsError,
    PolicyBlockedError,
)
from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook.switches import RESTORED, Switches
from gatebook_servers.approvals.claude_code import pre_tool_use
from gatebook_servers.catalogue import catalogue
from suite import ADA, Json, Suite, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]
ISSUE: Json = {"title": "Broken", "body": "It is broken.", "labels": ["bug"], "size": 1.5}
THEIRS: Json = {**ISSUE, "body": "It does not start."}
TOOL = "mcp__forge__open_issue"
BEN = Reviewer(person="person:ben")
HOUR_S = 3_600


@pytest.fixture(autouse=True)
def _without_waiting(suite: Suite) -> None:
    suite.overrides["claude_prompt_wait_s"] = 0
    suite.runtime = suite.another_process()
    policy(suite)


def policy(suite: Suite, then: str = 'edit = ["body", "labels", "nothing"]', *lines: str) -> None:
    suite.home.mkdir(exist_ok=True)
    rule = f'[[rule]]\nid = "issues"\ntools = ["foreign.{TOOL}"]\nthen = {{ outcome = "review", {then} }}\n'
    (suite.home / "policy.toml").write_text("\n".join(["version = 1", rule, *lines]), encoding="utf-8")


async def answer(
    suite: Suite, tool_input: Json = ISSUE, *, use: str = "toolu_1", runtime: Runtime | None = None
) -> Json:
    async with suite.agent("approvals", runtime=runtime) as agent:
        arguments: Json = {"tool_name": TOOL, "input": tool_input, "tool_use_id": use}
        said = cast("Json", json.loads(text_of(await agent.client.call_tool("permission_prompt", arguments))))
    return {"behavior": "deny"} if said["behavior"] == "deny" else said


async def hooked(suite: Suite, tool_input: Json = ISSUE, *, use: str = "toolu_1") -> JsonValue:
    body = {"hook_event_name": "PreToolUse", "tool_name": TOOL, "tool_input": tool_input, "tool_use_id": use}
    runtime = suite.runtime
    said = await pre_tool_use(
        runtime, Guard(runtime, catalogue()), body=json.dumps(body).encode(), principal="agent:local"
    )
    return said.as_json()["hookSpecificOutput"]


DENY: Json = {"behavior": "deny"}
ALLOW: Json = {"behavior": "allow"}
CHANGED: Json = {"behavior": "allow", "updatedInput": THEIRS}


async def change(
    suite: Suite,
    request: Approval | None = None,
    *,
    reviewer: Reviewer = ADA,
    changes: Mapping[str, str] = {"body": "It does not start."},
) -> Approval:
    asked = request or only(suite)
    guard = Guard(suite.runtime, catalogue())
    return await edit(guard, asked.approval_id, reviewer=reviewer, channel="test", shown=asked.shown, changes=changes)


def only(suite: Suite, state: str = "pending") -> Approval:
    [request] = suite.requests(state)
    return request


async def asked_and_changed(suite: Suite) -> Approval:
    assert await answer(suite) == DENY
    return await change(suite)


async def test_the_original_call_is_made_once_with_what_a_person_wrote_and_others_approved(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    assert (edited.revision, edited.edited_by, edited.fields) == (2, "person:ada", THEIRS)
    assert edited.editable == ("body",)
    assert await answer(suite) == DENY, "an edit is no vote"
    assert only(suite) == edited
    suite.approve(edited.approval_id)
    assert await answer(suite, use="toolu_2") == CHANGED
    assert await answer(suite, use="toolu_2") == CHANGED, "the same call gets the same answer"
    assert await answer(suite, THEIRS, use="toolu_2") == ALLOW, "and so does the changed one, which the client may ask"
    assert await answer(suite, use="toolu_3") == DENY
    assert await answer(suite, THEIRS, use="toolu_3") == DENY
    assert await answer(suite, use="toolu_2") == CHANGED, "whatever was asked since then"


async def test_the_hook_tells_the_changed_input_and_the_prompt_agrees(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    said = cast("Json", await hooked(suite))
    assert (said["permissionDecision"], said["updatedInput"]) == ("allow", THEIRS)
    assert await answer(suite, THEIRS) == ALLOW
    assert "updatedInput" not in cast("Json", await hooked(suite, THEIRS))


async def test_a_replay_after_the_yes_is_over_or_with_another_input_lets_nothing_pass(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    assert await answer(suite) == CHANGED
    assert await answer(suite, {**THEIRS, "title": "Other"}) == DENY
    suite.clock.advance(73 * HOUR_S)
    assert await answer(suite) == DENY
    assert await answer(suite, THEIRS) == DENY


async def test_what_a_person_made_of_a_call_is_nobody_elses(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    other = suite.another_process(principal="agent:other")
    for tool_input in (ISSUE, THEIRS):
        assert await answer(suite, tool_input, runtime=other) == DENY
    assert await answer(suite) == CHANGED


async def test_who_edited_does_not_approve_where_four_eyes_are_wanted(suite: Suite) -> None:
    policy(suite, 'edit = ["body"], four_eyes = true')
    edited = await asked_and_changed(suite)
    with pytest.raises(ForbiddenError):
        suite.approve(edited.approval_id)
    assert await answer(suite) == DENY
    suite.approve(edited.approval_id, reviewer=BEN)
    assert await answer(suite) == CHANGED


async def test_an_edit_stays_its_editors_when_it_is_asked_for_again(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    policy(suite, 'edit = ["body"], four_eyes = true')
    suite.clock.advance(1)
    assert await answer(suite) == DENY, "policy wants more than it did"
    again = only(suite)
    assert (again.edited_by, again.fields) == ("person:ada", THEIRS)
    with pytest.raises(ForbiddenError):
        suite.approve(again.approval_id)
    suite.approve(again.approval_id, reviewer=BEN)
    assert await answer(suite) == CHANGED


async def test_votes_do_not_survive_an_edit(suite: Suite) -> None:
    policy(suite, 'edit = ["body"], quorum = 2')
    assert await answer(suite) == DENY
    suite.approve(only(suite).approval_id, reviewer=BEN)
    edited = await change(suite)
    assert suite.approve(edited.approval_id).state == "pending"
    assert await answer(suite) == DENY
    suite.approve(edited.approval_id, reviewer=BEN)
    assert await answer(suite) == CHANGED


FORBIDDING = '[[rule]]\nid = "words"\ntools = ["foreign.*"]\nwhen.keywords.any = ["start"]\nthen.outcome = "deny"'


async def test_policy_judges_what_a_person_wrote_when_it_is_written_and_when_it_is_used(suite: Suite) -> None:
    assert await answer(suite) == DENY
    policy(suite, 'edit = ["body"]', FORBIDDING)
    with pytest.raises(PolicyBlockedError):
        await change(suite)
    assert only(suite).fields == ISSUE
    policy(suite)
    suite.approve((await change(suite)).approval_id)
    policy(suite, 'edit = ["body"]', FORBIDDING)
    assert await answer(suite) == DENY
    policy(suite)
    assert await answer(suite) == CHANGED


async def test_an_edit_needs_a_yes_though_policy_would_let_the_call_pass(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    (suite.home / "policy.toml").write_text('version = 1\nalways_allow = ["foreign.*"]\n', encoding="utf-8")
    assert await answer(suite) == DENY
    suite.approve(edited.approval_id)
    assert await answer(suite) == CHANGED
    assert await answer(suite, use="toolu_2") == ALLOW


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"title": "Other"}, ForbiddenError),
        ({"labels": "bug"}, ForbiddenError),
        ({"nothing": "new"}, ForbiddenError),
        ({"input": "{}"}, ForbiddenError),
        ({"body": "It is broken."}, InvalidArgumentsError),
        ({"body": "x" * 300_000}, InvalidArgumentsError),
        ({"body": "\ud800"}, InvalidArgumentsError),
    ],
)
async def test_a_change_that_is_not_allowed_leaves_the_request_as_it_was(
    suite: Suite, changes: dict[str, str], refusal: type[GatebookError]
) -> None:
    assert await answer(suite) == DENY
    before = only(suite)
    with pytest.raises(refusal):
        await change(suite, changes=changes)
    assert suite.requests("all") == [before]
    assert before.editable == ("body",)


async def test_an_edit_to_what_was_denied_or_is_asked_for_already_is_refused(suite: Suite) -> None:
    for tool_input in (THEIRS, ISSUE):
        assert await answer(suite, tool_input) == DENY
    theirs, issue = sorted(suite.requests(), key=lambda request: request.fields == ISSUE)
    with pytest.raises(ConflictError):
        await change(suite, issue)
    suite.deny(theirs.approval_id)
    with pytest.raises(ApprovalDeniedError):
        await change(suite, issue)
    assert only(suite) == issue


async def test_a_no_to_the_edit_is_the_answer_to_the_original_call(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.deny(edited.approval_id, reason="not at all")
    async with suite.agent("approvals") as agent:
        arguments: Json = {"tool_name": TOOL, "input": ISSUE, "tool_use_id": "toolu_1"}
        assert "not at all" in text_of(await agent.client.call_tool("permission_prompt", arguments))
    assert suite.requests() == []


async def test_an_edit_that_nobody_used_in_time_leaves_the_original_to_be_asked_for(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    suite.clock.advance(73 * HOUR_S)
    assert await answer(suite) == DENY
    assert only(suite).fields == ISSUE


async def test_of_several_edits_the_last_one_counts_also_one_that_goes_back(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.clock.advance(1)
    second = await change(suite, edited, reviewer=BEN, changes={"body": "Third words."})
    assert second.revision == 3
    for tool_input in (ISSUE, THEIRS):
        assert await answer(suite, tool_input) == DENY
    assert only(suite) == second
    suite.clock.advance(1)
    back = await change(suite, second, changes={"body": "It is broken."})
    suite.approve(back.approval_id)
    assert await answer(suite) == ALLOW


async def test_the_audit_log_tells_of_an_edit_as_of_any_other(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    with suite.runtime.database.transaction() as tx:
        rows = tx.all("SELECT event, actor, body FROM audit_events ORDER BY seq")
        before = Approvals(tx).get(edited.edited_from)
    events = [(row["event"], row["actor"]) for row in rows]
    assert ("vote.edit", "person:ada") in events
    assert ("request.edited", "person:ada") in events
    assert (before.state, before.state_reason) == ("cancelled", "edited")
    assert not any("start" in str(row["body"]) for row in rows)


def restore(suite: Suite) -> None:
    suite.clock.advance(1)
    with suite.runtime.database.transaction() as tx:
        Switches(tx).set(RESTORED, reason="test", person="person:ada")
    suite.clock.advance(1)


async def test_a_yes_from_before_a_restored_copy_lets_nothing_pass_and_the_call_asks_again(suite: Suite) -> None:
    assert await answer(suite) == DENY
    suite.approve(only(suite).approval_id)
    restore(suite)
    assert await answer(suite) == DENY, "it may have been used after the copy was taken"
    suite.approve(only(suite).approval_id)
    assert await answer(suite) == ALLOW
    assert await answer(suite, use="toolu_2") == DENY


async def test_a_call_that_passed_before_a_restored_copy_does_not_pass_again(suite: Suite) -> None:
    assert await answer(suite) == DENY
    suite.approve(only(suite).approval_id)
    assert await answer(suite) == ALLOW
    restore(suite)
    assert await answer(suite) == DENY
    assert len(suite.requests()) == 1


async def test_a_vote_from_before_a_restored_copy_is_no_part_of_a_quorum(suite: Suite) -> None:
    policy(suite, 'edit = ["body"], quorum = 2')
    assert await answer(suite) == DENY
    old = only(suite)
    suite.approve(old.approval_id)
    restore(suite)
    suite.approve(old.approval_id, reviewer=BEN)
    assert await answer(suite) == DENY
    new = only(suite)
    for reviewer in (ADA, BEN):
        suite.approve(new.approval_id, reviewer=reviewer)
    assert await answer(suite) == ALLOW


async def test_an_edit_that_was_approved_before_a_restored_copy_is_asked_for_again_as_it_was(suite: Suite) -> None:
    edited = await asked_and_changed(suite)
    suite.approve(edited.approval_id)
    restore(suite)
    assert await answer(suite) == DENY
    again = only(suite)
    assert (again.fields, again.edited_by) == (THEIRS, "person:ada")
    suite.approve(again.approval_id)
    assert await answer(suite) == CHANGED
