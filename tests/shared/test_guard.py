"""The way of one call: declaration, defects, ceilings, the operator's run, the pause."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from mcp import Client

from gatebook.database.port import Transaction
from gatebook.injection import Caller
from gatebook.intents import Facts, Intent, Value
from gatebook.ledger.runs import Runs
from gatebook.switches import PAUSE, Switches
from gatebook.telemetry import JsonFormatter
from gatebook.toolset import Toolset, build_server
from gatebook.transports.http import HttpOptions, build_app
from gatebook_servers.catalogue import SERVERS, catalogue
from suite import Agent, Json, Suite, ticket

pytestmark = pytest.mark.anyio

CANARY = "kingfisher"


class Said(Value):
    text: str


async def nothing_found() -> Said | None:
    return None


async def no_facts() -> Facts:
    return Facts()


async def an_intent() -> Intent:
    return Intent(target="t", operation="o", subject="s", content={})


@asynccontextmanager
async def serving(suite: Suite, tools: Toolset, *, mode: str = "auto") -> AsyncGenerator[Agent]:
    server = build_server([tools], suite.runtime, catalogue=tools.specs)
    async with Client(server, mode=mode) as client:
        yield Agent(client)


def call_count(suite: Suite) -> int:
    with suite.runtime.database.transaction() as tx:
        row = tx.one("SELECT SUM(spent) AS n FROM counters WHERE name = 'calls'")
    return int(row["n"] or 0) if row else 0


def steps_of(suite: Suite, handle: str) -> list[str]:
    with suite.runtime.database.transaction() as tx:
        return [step.tool for step in Runs(tx).steps(handle.partition(".")[0])]


async def test_a_defect_reaches_neither_model_nor_log_and_the_server_goes_on(
    suite: Suite, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    tools = Toolset("probe", instructions="")

    async def fail(text: str) -> Said:
        """Fail."""
        raise RuntimeError(f"{CANARY} {text}")

    tools.reads(fail)

    async def echo(text: str) -> Said:
        """Echo."""
        return Said(text=text)

    tools.reads(echo)

    caplog.set_level(logging.DEBUG)
    async with serving(suite, tools, mode=mode) as agent:
        answer = await agent.call("fail", text=f"{CANARY}!")
        assert answer.code == "internal"
        assert CANARY not in answer.text
        assert "Traceback" not in answer.text
        assert await agent.ok("echo", text="still here") == {"text": "still here"}
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("gatebook")]
    assert CANARY not in "".join(lines)
    assert any('"exception":"RuntimeError"' in line and "test_guard.py" in line for line in lines)


async def test_a_tool_that_takes_too_long_is_ended_at_the_deadline(suite: Suite) -> None:
    tools = Toolset("probe", instructions="")

    async def hang() -> Said:
        """Hang."""
        await anyio.sleep_forever()
        raise AssertionError

    tools.reads(hang)

    server = build_server([tools], suite.another_process(call_s=0.05), catalogue=tools.specs)
    async with Client(server) as client:
        with anyio.fail_after(5):
            assert (await Agent(client).call("hang")).code == "upstream_unavailable"


def test_a_function_that_reaches_outside_without_an_effect_is_not_declared() -> None:
    tools = Toolset("probe", instructions="")

    async def send(text: str) -> Said:
        return Said(text=text)

    for declare in (tools.writes, tools.irreversible):
        with pytest.raises(TypeError, match="Effect"):
            declare(effect=an_intent, facts=no_facts, reconcile=nothing_found)(send)
    assert tools.specs == {}


def test_a_tool_must_return_a_model() -> None:
    tools = Toolset("probe", instructions="")

    async def text() -> str:
        return ""

    async def table() -> dict[str, str]:
        return {}

    async def nothing() -> None: ...

    for function in (text, table, nothing):
        with pytest.raises(TypeError, match="model"):
            tools.reads(function)


def test_one_tool_name_belongs_to_one_function(suite: Suite) -> None:
    first, second = Toolset("first", instructions=""), Toolset("second", instructions="")

    async def speak(caller: Caller) -> Said:
        return Said(text=caller.principal)

    for tools in (first, second):
        tools.reads(speak)
    with pytest.raises(TypeError, match="same"):
        build_server([first, second], suite.runtime, catalogue=first.specs)
    with pytest.raises(TypeError, match="speak"):
        first.reads(speak)


async def test_tools_above_the_ceiling_are_not_listed_and_calling_them_is_forbidden(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    runtime = suite.another_process(ceiling="stage")
    async with suite.agent("tickets", "approvals", mode=mode, runtime=runtime) as agent:
        listed = {tool.name for tool in (await agent.client.list_tools()).tools}
        assert "draft_reply" in listed
        assert not listed & {"send_reply", "update_ticket", "create_ticket", "escalate_ticket"}
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Hello.")
        send = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "forbidden"
        assert (await agent.call("request_approval", tool="send_reply", arguments=send)).code == "forbidden"
    assert suite.requests("all") == []


async def test_a_lowered_ceiling_also_stops_what_was_approved(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Hello.")
        await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
    suite.approve(suite.requests()[0].approval_id)
    await suite.execute(runtime=suite.another_process(ceiling="write"))
    assert suite.comments("AB-1") == []
    assert [request.state_reason for request in suite.requests("lapsed")] == ["forbidden"]


async def test_a_demanded_run_is_demanded_from_stages_upwards(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    runtime = suite.another_process(require_run=True)
    async with suite.agent("tickets", "runs", mode=mode, runtime=runtime) as agent:
        await agent.ok("list_tickets")
        draft = {"ref": "local:AB-1", "body": "Hello."}
        assert (await agent.call("draft_reply", draft)).code == "run_not_active"
        run_id = (await agent.ok("start_run", key="night"))["run_id"]
        await agent.ok("draft_reply", draft, run_id=run_id)


async def test_the_operators_run_is_authoritative(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("runs", mode=mode) as agent:
        ours = str((await agent.ok("start_run", key="ours"))["run_id"])
        other = str((await agent.ok("start_run", key="other"))["run_id"])
    runtime = suite.another_process(run_id=ours)
    async with suite.agent("tickets", "runs", mode=mode, runtime=runtime) as agent:
        await agent.ok("list_tickets")
        await agent.ok("list_tickets", run_id=ours)
        checkpoint: Json = {"seq": 1, "state": {}}
        for tool, arguments in (("list_tickets", None), ("checkpoint", checkpoint), ("get_run", None)):
            refused = await agent.call(tool, arguments, run_id=other)
            assert refused.code == "forbidden"
            assert other not in refused.text
        assert (await agent.ok("checkpoint", checkpoint))["run_id"] == ours
    assert steps_of(suite, ours) == ["list_tickets", "list_tickets"]
    assert steps_of(suite, other) == []


async def test_over_http_the_header_names_the_run_and_the_token_names_the_principal(suite: Suite) -> None:
    async with suite.agent("runs") as agent:
        ours = str((await agent.ok("start_run", key="ours"))["run_id"])
        other = str((await agent.ok("start_run", key="other"))["run_id"])
    servers = {
        name: build_server([SERVERS[name]], suite.runtime, catalogue=catalogue()) for name in ("tickets", "runs")
    }
    app = build_app(servers, HttpOptions(host="127.0.0.1", token="an-invented-token", principal="agent:night"))

    async def call(tool: str, arguments: Json) -> Json:
        version = "2026-07-28"
        meta: Json = {"io.modelcontextprotocol/protocolVersion": version}
        meta["io.modelcontextprotocol/clientCapabilities"] = {}
        params: Json = {"name": tool, "arguments": arguments, "_meta": meta}
        headers = {"Authorization": "Bearer an-invented-token", "X-Run-Id": ours, "Mcp-Name": tool}
        headers |= {"Accept": "application/json, text/event-stream", "Mcp-Method": "tools/call"}
        url = f"/{catalogue()[tool].server}/mcp"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8420") as client:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            reply = await client.post(url, json=body, headers={**headers, "MCP-Protocol-Version": version})
        return reply.json()["result"]

    async with app.router.lifespan_context(app):
        assert (await call("list_tickets", {}))["isError"] is False
        refused = await call("list_tickets", {"run_id": other})
        await call("start_run", {"key": "theirs"})
    assert "forbidden" in str(refused)
    assert steps_of(suite, ours) == ["list_tickets"]
    with suite.runtime.database.transaction() as tx:
        theirs = Runs(tx).by_key(tenant="default", key="theirs")
    assert theirs is not None
    assert theirs.principal == "agent:night"


async def test_every_call_counts_once_refused_or_not(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    calls: list[tuple[str, Json, str]] = [
        ("list_tickets", {}, ""),
        ("nope", {}, "not_found"),
        ("get_ticket", {"ref": "local:ZZ-9"}, "not_found"),
        ("get_ticket", {}, "invalid_arguments"),
        ("send_reply", {"draft_id": "drf_none", "visibility": "public"}, "not_found"),
        ("draft_reply", {"ref": "local:ZZ-9", "body": "Hello."}, "not_found"),
        ("update_ticket", {"ref": "local:AB-1", "version": "99", "priority": "Low"}, "conflict"),
        ("list_tickets", {"run_id": "run_none.1"}, "not_found"),
    ]
    async with suite.agent("tickets", mode=mode) as agent:
        for number, (tool, arguments, code) in enumerate(calls, start=1):
            assert (await agent.call(tool, arguments)).code == code
            assert call_count(suite) == number, tool


async def test_a_pause_stops_what_reaches_outside_and_nothing_else(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])

    def pause(tx: Transaction) -> None:
        Switches(tx).set(PAUSE, reason="an incident", person="person:ada")

    async with suite.agent("tickets", mode=mode) as agent:
        first = await agent.ok("draft_reply", ref="local:AB-1", body="Hello.")
        send: Json = {"draft_id": first["draft_id"], "visibility": "public"}
        await agent.call("send_reply", send)
        suite.approve(suite.requests()[0].approval_id)
        await suite.runtime.transact(pause)
        assert await suite.execute() is None
        update: Json = {"ref": "local:AB-1", "version": "1", "add_tags": ["seen"]}
        escalate: Json = {"ref": "local:AB-1", "reason": "a person must look"}
        create: Json = {"project": "AB", "title": "A new board"}
        for tool, arguments in (
            ("send_reply", send), ("update_ticket", update), ("escalate_ticket", escalate), ("create_ticket", create),
        ):  # fmt: skip
            assert (await agent.call(tool, arguments)).code == "paused"
        await agent.ok("get_ticket", ref="local:AB-1")
        await agent.ok("draft_reply", ref="local:AB-1", body="Hello.")
        assert suite.comments("AB-1") == []
        assert suite.count("effects") == 0
        await suite.runtime.transact(lambda tx: Switches(tx).clear(PAUSE))
        await suite.execute()
        assert len(suite.comments("AB-1")) == 1
        await agent.ok("update_ticket", {**update, "version": "2"})
