"""What the model may pass, what it is told when it passes something else, and what its tools look like."""

import json
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from mcp import Client
from pydantic import Field, JsonValue

from gatebook.intents import Value
from gatebook.telemetry import JsonFormatter
from gatebook.toolset import Toolset, build_server
from gatebook_servers.catalogue import SERVERS, catalogue
from suite import Agent, Answer, Json, Suite, ticket

pytestmark = pytest.mark.anyio
FOR_CLIENTS = {"permission_prompt"}

CANARY = "kingfisher"
DRAFT = {"ref": "local:AB-1", "body": "Open the board menu."}

REFUSED: list[tuple[str, dict[str, JsonValue]]] = [
    ("draft_reply", {**DRAFT, "tone": CANARY}),
    ("draft_reply", {**DRAFT, CANARY: "x"}),
    ("draft_reply", {**DRAFT, "effect": {"key": CANARY}}),
    ("draft_reply", {**DRAFT, "desk": CANARY}),
    ("draft_reply", {**DRAFT, "runtime": CANARY}),
    ("draft_reply", {**DRAFT, "caller": {"principal": f"agent:{CANARY}"}}),
    ("draft_reply", {**DRAFT, "ref": [CANARY]}),
    ("draft_reply", {**DRAFT, "body": {CANARY: CANARY}}),
    ("draft_reply", {**DRAFT, "body": CANARY * 1_000}),
    ("draft_reply", {**DRAFT, "body": f"{CANARY} " * 201}),
    ("draft_reply", {"ref": CANARY}),
    ("draft_reply", {**DRAFT, "run_id": 7}),
    ("draft_reply", {**DRAFT, "run_id": {CANARY: 1}}),
    ("send_reply", {"draft_id": "drf_1", "visibility": CANARY}),
    ("send_reply", {"draft_id": "drf_1", "visibility": "public", "effect": {"owner": CANARY}}),
    ("list_tickets", {"limit": CANARY}),
    ("list_tickets", {"limit": 10**30}),
    ("list_tickets", {"since": CANARY}),
    ("list_tickets", {"since": "2026-11-22T08:00:00"}),
    ("update_ticket", {"ref": "local:AB-1", "version": "1", "add_tags": [f"{CANARY}\n{CANARY}"]}),
    ("update_ticket", {"ref": "local:AB-1", "version": "1", "add_tags": {CANARY: 1}}),
    ("list_comments", {"ref": "local:AB-1", "cursor": CANARY}),
    ("checkpoint", {"run_id": 7, "seq": 1, "state": {}}),
    ("checkpoint", {"run_id": "run_1.1", "seq": 1, "state": CANARY}),
]


class Echo(Value):
    said: JsonValue


def assert_short_refusal(answer: Answer, code: str) -> None:
    """One text: the code first, the same object as compact JSON below and in `_meta`, nothing of what was passed."""
    first, second = answer.text.split("\n")
    assert answer.code == code
    assert first.startswith(f"{code}: ")
    assert second == json.dumps(answer.error, separators=(",", ":"))
    assert answer.error.keys() >= {"code", "message", "retryable", "retry_after_s", "next"}
    assert len(answer.text) < 1_000
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text


@asynccontextmanager
async def serving(suite: Suite, tools: Toolset, *, mode: str = "auto") -> AsyncGenerator[Agent]:
    server = build_server([tools], suite.runtime, catalogue=tools.specs)
    async with Client(server, mode=mode) as client:
        yield Agent(client)


async def test_arguments_that_do_not_fit_are_refused_shortly_and_never_echoed(
    suite: Suite, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    suite.tickets([ticket()])
    caplog.set_level(logging.DEBUG, "gatebook")
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        for tool, arguments in REFUSED:
            assert_short_refusal(await agent.call(tool, arguments), "invalid_arguments")
        await agent.ok("draft_reply", DRAFT)
    logged = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("gatebook")]
    assert len(logged) == len(REFUSED) + 1
    assert CANARY not in "".join(logged)


async def test_an_unknown_tool_is_a_typed_refusal_without_its_name(suite: Suite, mode: str) -> None:
    async with suite.agent("tickets", mode=mode) as agent:
        assert_short_refusal(await agent.call(CANARY, {"x": CANARY}), "not_found")


async def test_names_inside_an_object_that_the_caller_made_up_are_not_echoed(suite: Suite) -> None:
    tools = Toolset("probe", instructions="")

    async def count(amounts: dict[str, int], nested: dict[str, list[int]]) -> Echo:
        """Echo."""
        return Echo(said=len(amounts) + len(nested))

    tools.reads(count)

    async with serving(suite, tools) as agent:
        answer = await agent.call("count", amounts={CANARY: "many"}, nested={CANARY: [1, "two"]})
        assert_short_refusal(answer, "invalid_arguments")
        assert "amounts" in answer.text


async def test_texts_reach_a_text_parameter_unchanged(suite: Suite, mode: str) -> None:
    tools = Toolset("probe", instructions="")

    async def echo(text: str) -> Echo:
        """Echo."""
        return Echo(said=text)

    tools.reads(echo)

    async with serving(suite, tools, mode=mode) as agent:
        for text in ("null", '{"a":1}', "[1]", "true", "12", '"quoted"', " 12 ", "", "\u00e9\u200b\u0000"):
            assert (await agent.ok("echo", text=text))["said"] == text


async def test_json_text_is_accepted_where_a_list_or_an_object_is_expected(suite: Suite, mode: str) -> None:
    tools = Toolset("probe", instructions="")

    async def echo(
        tags: Annotated[list[str], Field(max_length=3)], state: dict[str, JsonValue], note: dict[str, int] | None = None
    ) -> Echo:
        """Echo."""
        return Echo(said=[list(tags), state, dict(note or {})])

    tools.reads(echo)

    async with serving(suite, tools, mode=mode) as agent:
        given = await agent.ok("echo", tags='["a","b"]', state='{"done": 3}', note='{"n": 1}')
        assert given["said"] == [["a", "b"], {"done": 3}, {"n": 1}]
        for wrong in ("a,b", '{"a": 1}', '["a","b","c","d"]', "[", "[" * 100_000):
            assert_short_refusal(await agent.call("echo", tags=wrong, state={}), "invalid_arguments")


@pytest.mark.parametrize("name", list(SERVERS))
async def test_listed_schemas_are_closed_and_portable(suite: Suite, name: str) -> None:
    async with suite.agent(name) as agent:
        tools = (await agent.client.list_tools()).tools
    assert {tool.name for tool in tools} == set(SERVERS[name].specs)
    for tool in tools:
        text = json.dumps(tool.input_schema)
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert not re.search(r'"\$(ref|defs)"|"title": "|"anyOf"|"oneOf"|"allOf"', text), tool.name
        assert not {"effect", "desk", "runtime", "caller", "broker", "progress"} & properties(tool.input_schema)
        # A tool that the client itself calls answers with text alone, for no run.
        assert (tool.output_schema is None) is (tool.name in FOR_CLIENTS)
        assert "$ref" not in json.dumps(tool.output_schema)
        without_run = {"start_run", "list_runs", *FOR_CLIENTS}
        assert ("run_id" in properties(tool.input_schema)) is (tool.name not in without_run)


def properties(schema: Json) -> set[str]:
    found = schema["properties"]
    assert isinstance(found, dict)
    return set(found)


def test_tool_names_are_global_and_descriptions_short() -> None:
    names = [name for toolset in SERVERS.values() for name in toolset.specs]
    assert len(names) == len(set(names)) == len(catalogue())
    for spec in catalogue().values():
        assert re.fullmatch("[a-z][a-z0-9_]{2,39}", spec.name)
        assert 0 < len(spec.description) <= 300, spec.name
    assert all(len(name) <= 12 for name in SERVERS)


async def test_text_and_structured_content_say_the_same(suite: Suite, mode: str) -> None:
    suite.tickets([ticket(subject="Stra\u00dfe \u2713")])
    async with suite.agent("tickets", mode=mode) as agent:
        answer = await agent.call("list_tickets")
    assert json.loads(answer.text) == answer.content
    assert "Stra\u00dfe \u2713" in answer.text
