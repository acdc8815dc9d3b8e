"""What an agent can do to tickets, what a person has to approve first, and what there is no tool for."""

import pytest

from suite import Agent, Answer, Json, Suite, ticket

pytestmark = pytest.mark.anyio


async def version_of(agent: Agent, ref: str = "local:AB-1") -> str:
    return str((await agent.ok("get_ticket", ref=ref))["version"])


def asked(answer: Answer) -> str:
    assert answer.code == "approval_required", answer.text
    return str(answer.error["approval_id"])


async def drafted(agent: Agent, body: str = "Open the board's menu.", ref: str = "local:AB-1") -> str:
    return str((await agent.ok("draft_reply", ref=ref, body=body))["draft_id"])


@pytest.mark.parametrize("ref", ["local:AB-404", "AB-1", "LOCAL:AB-1", "zendesk:1", "local:", "local:AB-1 "])
async def test_only_a_ref_as_it_was_listed_names_a_ticket(suite: Suite, ref: str) -> None:
    suite.tickets([ticket()])
    calls: dict[str, Json] = {
        "get_ticket": {},
        "list_comments": {},
        "draft_reply": {"body": "Hello"},
        "update_ticket": {"version": "1", "priority": "High"},
        "escalate_ticket": {"reason": "Waits for hours."},
    }
    async with suite.agent("tickets") as agent:
        for tool, arguments in calls.items():
            answer = await agent.call(tool, {"ref": ref, **arguments})
            assert answer.code == "not_found"
            assert ref not in answer.text


async def test_a_draft_has_at_most_200_words(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    words = [f"secret{number}" for number in range(201)]
    async with suite.agent("tickets", mode=mode) as agent:
        assert (await agent.ok("draft_reply", ref="local:AB-1", body=" ".join(words[:200])))["words"] == 200
        for body in ("\n".join(words), "", " \n\t", "x" * 8_001):
            refused = await agent.call("draft_reply", ref="local:AB-1", body=body)
            assert refused.code == "invalid_arguments"
            assert "secret" not in refused.text
    assert suite.count("drafts") == 1


async def test_a_draft_never_changes_and_the_same_one_is_one(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        first = await agent.ok("draft_reply", ref="local:AB-1", body="One")
        same = await agent.ok("draft_reply", ref="local:AB-1", body="One")
        second = await agent.ok("draft_reply", ref="local:AB-1", body="Two")
        assert (same["draft_id"], same["created"], same["superseded"]) == (first["draft_id"], False, None)
        assert (second["created"], second["superseded"]) == (True, first["draft_id"])
        assert (await agent.ok("get_ticket", ref="local:AB-1"))["draft_id"] == second["draft_id"]
        old = await agent.call("send_reply", draft_id=first["draft_id"], visibility="public")
    assert old.code == "conflict"
    with suite.runtime.database.transaction() as tx:
        rows = tx.all("SELECT draft_id, body FROM drafts ORDER BY body")
    assert [(row["draft_id"], row["body"]) for row in rows] == [
        (first["draft_id"], "One"),
        (second["draft_id"], "Two"),
    ]
    assert suite.comments("AB-1") == []


@pytest.mark.parametrize("decided", [False, True])
async def test_a_new_draft_voids_what_was_asked_for_the_old_one(suite: Suite, decided: bool) -> None:  # noqa: FBT001
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        approval_id = asked(await agent.call("send_reply", draft_id=await drafted(agent), visibility="public"))
        if decided:
            suite.approve(approval_id)
        await drafted(agent, "Something else.")
        await suite.execute()
    (request,) = suite.requests("all")
    assert (request.state, request.state_reason) == ("lapsed" if decided else "cancelled", "superseded")
    assert suite.comments("AB-1") == []


async def test_a_draft_belongs_to_the_conversation_it_was_written_in(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        first = await drafted(agent)
        said: Json = {"id": "c1", "body": "It is solved, thank you.", "created_at": "2026-11-21T21:00:00Z"}
        suite.tickets([ticket(comments=[said])])
        assert (await agent.call("send_reply", draft_id=first, visibility="public")).code == "conflict"
        assert await drafted(agent) != first


async def test_a_sensitive_draft_waits_for_a_person(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        refused = await agent.call("draft_reply", ref="local:AB-1", body="You get a full refund.")
    assert refused.code == "held"
    assert suite.count("drafts") == 0
    assert [request.kind for request in suite.requests()] == ["hold"]


@pytest.mark.parametrize("visibility", ["public", "internal"])
async def test_a_reply_is_sent_as_approved_and_only_then(suite: Suite, visibility: str, mode: str) -> None:
    suite.tickets([ticket()])
    body = 'Hello Robin,\n\n<b>"Rename"</b> is in the menu — grüße\u2028'
    async with suite.agent("tickets", mode=mode) as agent:
        draft_id = await drafted(agent, body)
        assert (await agent.call("send_reply", draft_id=draft_id)).code == "invalid_arguments"
        approval_id = asked(await agent.call("send_reply", draft_id=draft_id, visibility=visibility))
        assert suite.comments("AB-1") == []
        suite.approve(approval_id)
        await suite.execute()
        sent = await agent.ok("send_reply", draft_id=draft_id, visibility=visibility)
        assert (await agent.ok("get_ticket", ref="local:AB-1"))["answered"] is (visibility == "public")
    (comment,) = suite.comments("AB-1")
    assert (comment["body"], comment["public"]) == (body, int(visibility == "public"))
    assert (sent["comment_id"], sent["visibility"], sent["outcome"]) == (comment["comment_id"], visibility, "replayed")


async def test_tags_and_priority_change_at_once_and_status_and_assignee_are_asked_for(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        version = await version_of(agent)
        quiet: Json = {"ref": "local:AB-1", "version": version, "priority": "High", "add_tags": ["vip", "two words"]}
        changed = await agent.ok("update_ticket", quiet)
        again = await agent.ok("update_ticket", quiet)
        assert [changed["outcome"], again["outcome"]] == ["executed", "replayed"]
        assert changed["version"] == again["version"] == await version_of(agent) != version
        for field in ({"status": "solved"}, {"assignee": "Kim"}):
            asked(await agent.call("update_ticket", {"ref": "local:AB-1", "version": changed["version"], **field}))
        detail = await agent.ok("get_ticket", ref="local:AB-1")
    assert (detail["priority"], detail["tags"], detail["status"]) == ("High", ["vip", "two words"], "new")


async def test_an_update_needs_the_version_that_was_read(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        version = await version_of(agent)
        assert (await agent.call("update_ticket", ref="local:AB-1", priority="High")).code == "invalid_arguments"
        await agent.ok("update_ticket", ref="local:AB-1", version=version, priority="High")
        stale = await agent.call("update_ticket", ref="local:AB-1", version=version, priority="Low")
        assert stale.code == "conflict"
        approval_id = asked(await agent.call("update_ticket", ref="local:AB-1", version=version, status="solved"))
        suite.approve(approval_id)
        await suite.execute()
        detail = await agent.ok("get_ticket", ref="local:AB-1")
    assert (detail["priority"], detail["status"]) == ("High", "new")
    assert [request.state for request in suite.requests("all")] == ["lapsed"]


@pytest.mark.parametrize(
    "fields", [{"status": "deleted"}, {"status": "gone"}, {"priority": "urgent"}, {"add_tags": ["a,b"]},
               {"add_tags": [""]}, {"add_tags": ["x"] * 21}, {"body": "new text"}]
)  # fmt: skip
async def test_an_update_has_no_field_that_deletes_or_rewrites(suite: Suite, fields: Json) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        refused = await agent.call("update_ticket", {"ref": "local:AB-1", "version": "1", **fields})
    assert refused.code == "invalid_arguments"


NEW: Json = {"project": "OPS", "title": "Disk is full", "description": "On two hosts.", "priority": "Critical"}


@pytest.mark.parametrize(
    "fields",
    [
        {"project": "O"},
        {"project": "ABCDEFGHIJK"},
        {"project": "ops"},
        {"project": "5OP"},
        {"project": "OPS\n"},
        {"title": "Disk"},
        {"title": "x" * 201},
        {"priority": "P1"},
        {"priority": "critical"},
        {"description": "x" * 20_001},
        {"requester": "somebody"},
    ],
)
async def test_a_ticket_that_does_not_fit_is_not_created(suite: Suite, fields: Json) -> None:
    async with suite.agent("tickets") as agent:
        assert (await agent.call("create_ticket", {**NEW, **fields})).code == "invalid_arguments"
    assert suite.requests("all") == []


@pytest.mark.parametrize("fields", [{"project": "AB", "title": "x" * 5}, {"project": "A" * 10, "title": "x" * 200}])
async def test_the_limits_of_a_new_ticket_are_within(suite: Suite, fields: Json) -> None:
    async with suite.agent("tickets") as agent:
        asked(await agent.call("create_ticket", {**NEW, **fields}))


async def test_the_same_new_ticket_twice_is_one_and_distinct_makes_two(suite: Suite, mode: str) -> None:
    async with suite.agent("tickets", mode=mode) as agent:
        first = asked(await agent.call("create_ticket", NEW))
        assert asked(await agent.call("create_ticket", NEW)) == first
        assert suite.count("desk_tickets") == 0
        suite.approve(first)
        await suite.execute()
        created = await agent.ok("create_ticket", NEW)
        other = asked(await agent.call("create_ticket", NEW, distinct="the second host"))
        assert other != first
        suite.approve(other)
        await suite.execute()
        second = await agent.ok("create_ticket", NEW, distinct="the second host")
        assert [created["outcome"], second["outcome"]] == ["replayed", "replayed"]
        assert [created["ref"], second["ref"]] == ["local:OPS-1", "local:OPS-2"]
        detail = await agent.ok("get_ticket", ref="local:OPS-1")
    assert (detail["subject"], detail["priority"], detail["status"]) == ("Disk is full", "Critical", "new")
    assert suite.count("desk_tickets") == 2


async def test_an_escalation_is_an_internal_note_and_never_public(suite: Suite) -> None:
    suite.tickets([ticket()])
    escalation: Json = {"ref": "local:AB-1", "reason": "Waits for two days.", "priority": "Critical"}
    async with suite.agent("tickets") as agent:
        approval_id = asked(await agent.call("escalate_ticket", escalation))
        for arguments in ({"visibility": "public"}, {"priority": "Low"}, {"reason": "Now!"}):
            assert (await agent.call("escalate_ticket", {**escalation, **arguments})).code == "invalid_arguments"
        assert suite.comments("AB-1") == []
        suite.approve(approval_id)
        await suite.execute()
        again = await agent.ok("escalate_ticket", escalation)
        assert (await agent.ok("get_ticket", ref="local:AB-1"))["answered"] is False
    (note,) = suite.comments("AB-1")
    assert (note["public"], note["body"]) == (0, "Escalated (Critical): Waits for two days.")
    assert (again["note_id"], again["outcome"]) == (note["comment_id"], "replayed")


async def test_a_dry_run_says_so_and_changes_nothing(suite: Suite) -> None:
    suite.tickets([ticket()])
    dry = suite.another_process(mode="dry-run")
    effects: dict[str, Json] = {
        "update_ticket": {"ref": "local:AB-1", "version": "1", "priority": "High"},
        "create_ticket": NEW,
        "escalate_ticket": {"ref": "local:AB-1", "reason": "Waits for two days."},
    }
    async with suite.agent("tickets", runtime=dry) as agent:
        effects["send_reply"] = {"draft_id": await drafted(agent), "visibility": "public"}
        for tool, arguments in effects.items():
            answer = await agent.call(tool, arguments)
            if answer.code:
                suite.approve(asked(answer))
                await suite.execute(runtime=dry)
                answer = await agent.call(tool, arguments)
            assert (answer.code, answer.content["mode"]) == ("", "dry-run"), answer.text
        detail = await agent.ok("get_ticket", ref="local:AB-1")
    dry.close()
    assert (detail["version"], detail["priority"], detail["comments"]) == ("1", None, 0)
    assert suite.count("desk_tickets") == 1
    async with suite.agent("tickets") as agent:
        asked(await agent.call("send_reply", effects["send_reply"]))
        assert (await agent.ok("update_ticket", effects["update_ticket"]))["outcome"] == "executed"


async def test_a_customer_whose_address_changed_is_not_sent_what_was_approved_for_the_old_one(suite: Suite) -> None:
    suite.tickets([ticket("AB-1")])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Open the board's menu.")
        await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    request = suite.requests()[0]
    assert request.content["recipients"] == ["robin@customer.example"]
    suite.approve(request.approval_id)
    suite.tickets([ticket("AB-1", requester={"name": "Robin Reyes", "email": "robin@elsewhere.example"})])
    await suite.execute()
    assert suite.comments("AB-1") == []
    assert [request.state for request in suite.requests("all")] == ["lapsed"]
