"""What the console shows, and what a person can do there without a script."""

import json

import httpx
import pytest

from consoles import RunningConsole, forms_of
from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.effects import Effects
from gatebook.intents import Intent
from gatebook_servers.commands.data import seed_templates
from gatebook_servers.memory.store import Notes
from suite import Json, text_of, ticket

pytestmark = pytest.mark.anyio

LONG = "\n".join(f"Line {number}." for number in range(95))
TWO_PERSONS = """
version = 1
[[rule]]
id = "two-persons"
tools = ["tickets.send_reply"]
then = { outcome = "review", quorum = 2, roles = ["support-lead"], edit = ["body"], four_eyes = true }
"""


async def asked(console: RunningConsole, ticket_id: str = "AB-1", body: str = "Choose Rename.") -> Approval:
    suite = console.suite
    suite.tickets([ticket(ticket_id)])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=f"local:{ticket_id}", body=body)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
    return next(request for request in suite.requests() if request.target.endswith(ticket_id))


async def test_a_request_shows_what_the_server_knows_before_what_the_agent_says(console: RunningConsole) -> None:
    request = await asked(console)
    with console.suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE approvals SET reason = :reason", reason="Trust me, it is pre-approved. " * 30)
    with console.visitor("ada", "reviewer") as ada:
        page = ada.get(f"/requests/{request.approval_id}").text
    for fact in ("robin@customer.example", "How do I rename a board?", "local:AB-1", "always_review", "Choose Rename."):
        assert fact in page
        assert page.index(fact) < page.index("Written by the agent, unverified")
    assert "<details>" in page[page.index("Written by the agent") :]
    assert request.fingerprint[:12] in page


async def test_a_decision_on_something_else_than_shown_tells_what_changed(console: RunningConsole) -> None:
    first = await asked(console)
    with console.visitor("ada", "reviewer") as ada:
        form = ada.form(f"/requests/{first.approval_id}", "/approve")
        newer = await asked(console, body="Choose Rename, then Save.")
        answer = ada.post(form.action, form.fields)
        assert answer.status_code == 409
        assert f"/requests/{newer.approval_id}" in answer.text
        assert "<ins>" in answer.text
        other = ada.form(f"/requests/{newer.approval_id}", "/approve")
        crossed = ada.post(other.action, {**other.fields, "shown": first.fingerprint, "seen": form.fields["seen"]})
        assert crossed.status_code == 409
    assert sorted(request.state for request in console.suite.requests("all")) == ["cancelled", "pending"]


async def test_a_denial_needs_a_reason_and_carries_it(console: RunningConsole) -> None:
    request = await asked(console)
    with console.visitor("ada", "reviewer") as ada:
        page = f"/requests/{request.approval_id}"
        assert ada.submit(page, "/deny", reason="  ").status_code == 422
        assert ada.submit(page, "/deny", reason="Too curt.\r\nSay hello.").status_code == 303
    [after] = console.suite.requests("all")
    assert (after.state, after.state_reason) == ("denied", "Too curt.\nSay hello.")


async def test_two_persons_of_the_role_decide_and_not_who_edited(console: RunningConsole) -> None:
    (console.suite.home / "policy.toml").write_text(TWO_PERSONS, encoding="utf-8")
    request = await asked(console)
    with (
        console.visitor("rae", "reviewer") as rae,
        console.visitor("ada", "support-lead") as ada,
        console.visitor("lin", "support-lead") as lin,
    ):
        assert "Only support-lead may decide this." in rae.get(f"/requests/{request.approval_id}").text
        edited = ada.submit(f"/requests/{request.approval_id}/edit", "/edit", body="Choose Rename, then Save.")
        path = edited.headers["location"].partition("?")[0]
        assert edited.status_code == 303
        assert path != f"/requests/{request.approval_id}"
        assert "another person has to approve it" in ada.get(path).text
        form = lin.form(path, "/approve")
        own = ada.form(path, "/approve").fields
        assert ada.post(f"{path}/approve", own).status_code == 403
        assert lin.post(form.action, form.fields).headers["location"] == "/?done=voted"
        assert "You said yes." in lin.get(path).text
        assert lin.post(form.action, form.fields).status_code == 409
        assert "1 of 2 said yes" in rae.get("/").text
    assert sorted(one.state for one in console.suite.requests("all")) == ["cancelled", "pending"]


async def test_an_edit_that_does_not_fit_is_told_and_keeps_what_was_typed(console: RunningConsole) -> None:
    (console.suite.home / "policy.toml").write_text(TWO_PERSONS, encoding="utf-8")
    request = await asked(console)
    with console.visitor("ada", "support-lead") as ada:
        page = f"/requests/{request.approval_id}/edit"
        answer = ada.submit(page, "/edit", body="word " * 300)
        assert answer.status_code == 422
        assert forms_of(answer.text)[-1].fields["body"].startswith("word word")
        assert ada.submit(page, "/edit").status_code == 422
    assert [one.approval_id for one in console.suite.requests()] == [request.approval_id]


FOREIGN = """
version = 1
[[rule]]
id = "releases"
tools = ["foreign.Bash"]
then = { outcome = "review", edit = ["command", "description"] }
"""


async def test_a_foreign_call_is_shown_field_by_field_edited_and_approved(console: RunningConsole) -> None:
    suite = console.suite
    suite.home.joinpath("policy.toml").write_text(FOREIGN, encoding="utf-8")
    given: Json = {"command": "make\nrelease", "description": "Release", "timeout": 5, "b\u202ed": ""}
    arguments: Json = {"tool_name": "Bash", "input": given, "tool_use_id": "toolu_1"}
    async with suite.agent("approvals", runtime=suite.another_process(claude_prompt_wait_s=0)) as agent:
        await agent.client.call_tool("permission_prompt", arguments)
        [request] = suite.requests()
        with console.visitor("ada", "reviewer") as ada:
            assert "Let Bash run" in ada.get("/").text
            page = ada.get(f"/requests/{request.approval_id}").text
            for label in ("input.command", "input.description", "input.timeout (JSON)", "input.&#34;b\\u202ed&#34;"):
                assert label in page
            assert "\u202e" not in page
            edited = ada.submit(f"/requests/{request.approval_id}/edit", "/edit", command="make\r\ncheck")
            page = edited.headers["location"].partition("?")[0]
            assert "changed it" in ada.get(f"/requests/{request.approval_id}").text
            assert "passes" in ada.submit(page, "/approve").headers["location"]
        said = text_of(await agent.client.call_tool("permission_prompt", arguments))
    assert json.loads(said) == {"behavior": "allow", "updatedInput": {**given, "command": "make\ncheck"}}


async def test_a_batch_takes_only_lines_that_were_shown_and_all_of_them_or_none(console: RunningConsole) -> None:
    requests = [await asked(console, f"AB-{number}", f"Answer {number}.") for number in (1, 2)]
    long = await asked(console, "AB-3", LONG)
    with console.visitor("ada", "reviewer") as ada:
        page = ada.get(f"/batch/{requests[0].approval_id}").text
        lines = [part.partition('"')[0] for part in page.split('name="line" value="')[1:]]
        assert len(lines) == 2
        # Asked at the same moment, they may stand in either order.
        lines.sort(key=lambda line: not line.startswith(requests[0].approval_id))
        assert f"/requests/{long.approval_id}" in page
        token = ada.form("/", "/sign-out").fields["form_token"]

        def send(*chosen: str) -> int:
            body = {"form_token": token, "line": list(chosen)}
            return ada.client.post(f"/batch/{requests[0].approval_id}", data=body, headers=dict(ada.origin)).status_code

        assert send() == 422
        unseen = f"{long.approval_id} {long.fingerprint} {lines[0].rpartition(' ')[2]}"
        assert send(lines[0], unseen) == 403
        console.suite.deny(requests[1].approval_id)
        assert send(*lines) == 409
        assert {one.state for one in console.suite.requests("all")} == {"denied", "pending"}
        assert send(lines[0]) == 303


async def test_a_batch_is_denied_with_a_reason_and_a_fingerprint_for_each_line(console: RunningConsole) -> None:
    requests = [await asked(console, f"AB-{number}", f"Answer {number}.") for number in (1, 2, 3)]
    with console.visitor("ada", "reviewer") as ada:
        page = ada.get(f"/batch/{requests[0].approval_id}").text
        lines = [part.partition('"')[0] for part in page.split('name="line" value="')[1:]]
        token = ada.form("/", "/sign-out").fields["form_token"]

        def send(*chosen: str, reason: str = "too curt") -> httpx.Response:
            body = {"form_token": token, "line": list(chosen), "reason": reason}
            path = f"/batch/{requests[0].approval_id}/deny"
            return ada.client.post(path, data=body, headers=dict(ada.origin))

        silent = send(lines[0], reason=" ")
        assert silent.status_code == 422
        assert silent.text.count(" checked") == 1, "what was ticked stays so"
        assert send().status_code == 422
        approval_id, shown, seen = lines[0].split(" ")
        assert send(f"{approval_id} {shown} {seen[::-1]}").status_code == 403
        assert {one.state for one in console.suite.requests("all")} == {"pending"}
        assert send(*lines[:2]).status_code == 303
        stale = send(*lines[1:])
        assert stale.status_code == 409
    reasons = {one.approval_id: (one.state, one.state_reason) for one in console.suite.requests("all")}
    assert sorted(reasons.values()) == [("denied", "too curt"), ("denied", "too curt"), ("pending", "")]


async def test_a_held_ticket_is_released_on_its_own_page(console: RunningConsole) -> None:
    console.suite.tickets([ticket(body="I want a refund now.")])
    async with console.suite.agent("tickets") as agent:
        assert (await agent.call("draft_reply", ref="local:AB-1", body="Hello.")).code == "held"
    [hold] = console.suite.requests()
    with console.visitor("ada", "reviewer") as ada:
        assert hold.approval_id not in ada.get("/").text
        assert "I want a refund now." in ada.get("/held").text
        assert ada.submit(f"/requests/{hold.approval_id}", "/approve").headers["location"] == "/held?done=released"
    assert [one.state for one in console.suite.requests("all")] == ["approved"]


async def test_what_is_in_doubt_asks_for_attention_until_a_person_settles_it(console: RunningConsole) -> None:
    request = await asked(console)
    console.suite.approve(request.approval_id)
    with console.suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE outbox SET state = 'done'")
        Approvals(tx).consume(request)
        intent = Intent(
            target=request.target,
            operation=request.operation,
            subject=str(request.content["draft_id"]),
            content=request.content,
        )
        effect = Effects(tx).claim(
            intent,
            tenant="default",
            mode="live",
            server=request.server,
            tool=request.tool,
            principal=request.principal,
            run_id="",
            arguments="{}",
            owner="gone",
            lease_s=60,
            approval_id=request.approval_id,
        )
        Effects(tx).finish(effect, state="in_doubt", result="", outcome="unknown")
        Approvals(tx).settle(request.approval_id, state="in_doubt", reason="outcome_unknown")
    page = f"/requests/{request.approval_id}"
    with console.visitor("ada", "reviewer") as ada:
        assert page in ada.get("/attention").text
        assert ada.submit(page, "/settle", note="I looked").status_code == 422
        assert ada.submit(page, "/settle", happened="yes", note="It stands in the ticket.").status_code == 303
        assert "All is well" in ada.get("/attention").text
    assert [one.state for one in console.suite.requests("all")] == ["used"]


async def test_the_history_is_searched_in_every_state_and_its_words_are_no_pattern(console: RunningConsole) -> None:
    request = await asked(console, body="Exactly 100% of it.")
    other = await asked(console, "AB-2", "Press the button.")
    console.suite.deny(other.approval_id, reason="no")
    with console.visitor("ada") as ada:
        for query, found in [
            ("q=100%25+of", [request]),
            ("q=1%25of", []),
            ("q=button", [other]),
            ("state=denied", [other]),
            ("state=nonsense", [request, other]),
            ("q=AB-&state=pending", [request]),
            ("before=nonsense", [request, other]),
        ]:
            page = ada.get(f"/history?{query}").text
            assert {one.approval_id for one in (request, other) if one.approval_id in page} == {
                one.approval_id for one in found
            }, query


async def test_notes_tickets_and_runs_are_looked_up(console: RunningConsole) -> None:
    suite = console.suite
    suite.tickets([ticket(subject="<b>Board</b>")])
    seed_templates(suite.runtime)
    with suite.runtime.database.transaction() as tx:
        Notes(tx).put("team/colour", "The door is <i>green</i>.", tags=["door"], actor="person:ada")
    async with suite.agent("runs", "tickets") as agent:
        run = await agent.ok("start_run", key="look/1", goal="look at boards")
        await agent.ok("list_tickets", run_id=run["run_id"])
    with console.visitor("ada") as ada:
        assert "&lt;b&gt;Board&lt;/b&gt;" in ada.get("/tickets").text
        assert "robin@customer.example" in ada.get("/tickets?ref=local:AB-1").text
        assert "Nothing found" in ada.get("/tickets?q=zebra").text
        assert "team/colour" in ada.get("/memory?q=green").text
        assert "&lt;i&gt;green&lt;/i&gt;" in ada.get("/memory?key=team/colour").text
        assert ada.get("/memory?key=team/nothing").status_code == 404
        assert "look/1" in ada.get("/runs").text
        assert "list_tickets" in ada.get(f"/runs/{str(run['run_id']).partition('.')[0]}").text


async def test_an_admin_pauses_and_resumes_and_every_page_says_so(console: RunningConsole) -> None:
    with console.visitor("ada", "admin") as ada, console.visitor("rae", "reviewer") as rae:
        assert rae.post("/pause", rae.form("/pause", "/pause").fields).status_code == 403
        assert ada.submit("/pause", "/pause", reason="<b>fire</b>").status_code == 303
        assert "&lt;b&gt;fire&lt;/b&gt;" in rae.get("/history").text
        async with console.suite.agent("tickets") as agent:
            refused = await agent.call("update_ticket", ref="local:AB-1", version="1", add_tags=["x"])
            assert refused.code == "paused"
        assert ada.submit("/pause", "/resume").status_code == 303
        assert "fire" not in rae.get("/history").text
        log = rae.get("/audit").text
        assert log.count("person:ada") >= 2
        assert "person:ada" not in rae.get("/audit?before=1").text


async def test_the_stream_tells_of_an_arrival_and_of_a_decision(console: RunningConsole) -> None:
    with console.visitor("ada", "reviewer") as ada, ada.client.stream("GET", "/events?by=itself") as stream:
        lines = stream.iter_lines()
        assert '"pending": 0' in next(line for line in lines if line.startswith("data:"))
        request = await asked(console)
        assert '"pending": 1' in next(line for line in lines if line.startswith("data:"))
        console.suite.deny(request.approval_id)
        assert '"pending": 0' in next(line for line in lines if line.startswith("data:"))
