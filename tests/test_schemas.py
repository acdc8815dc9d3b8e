"""The tool surface is an API: a change to it must be visible in review."""

import json
import os
import re
from pathlib import Path
from typing import cast

import pytest
from mcp import Client
from pydantic import JsonValue

from gatebook.toolset import build_server
from gatebook_servers.catalogue import SERVERS, catalogue
from suite import Suite

pytestmark = pytest.mark.anyio
SCHEMAS = Path(__file__).parent / "schemas"
COMPOSITION = {"oneOf", "anyOf", "allOf", "not", "if", "$ref", "$defs", "title"}
MOST_TOKENS = 6_000
Json = dict[str, JsonValue]


async def listed(suite: Suite, name: str) -> list[Json]:
    server = build_server([SERVERS[name]], suite.runtime, catalogue=catalogue())
    async with Client(server) as client:
        found = (await client.list_tools()).tools
    return [cast("Json", tool.model_dump(mode="json", by_alias=True, exclude_none=True)) for tool in found]


@pytest.mark.parametrize("name", SERVERS)
async def test_tool_schemas_are_the_committed_ones(suite: Suite, name: str) -> None:
    actual = json.dumps(await listed(suite, name), indent=2, sort_keys=True) + "\n"
    committed = SCHEMAS / f"{name}.json"
    if os.environ.get("UPDATE_SCHEMAS"):
        committed.parent.mkdir(exist_ok=True)
        committed.write_text(actual, encoding="utf-8")
    assert actual == committed.read_text(encoding="utf-8"), "run with UPDATE_SCHEMAS=1 if the change is meant"


async def test_the_suite_costs_a_model_less_than_its_budget_of_tokens(suite: Suite) -> None:
    tools = [tool for name in SERVERS for tool in await listed(suite, name)]
    characters = sum(
        len(str(tool["name"])) + len(str(tool["description"])) + len(json.dumps(tool["inputSchema"])) for tool in tools
    )
    assert characters / 4 <= MOST_TOKENS


@pytest.mark.parametrize("name", SERVERS)
async def test_every_tool_is_described_and_its_schema_portable(suite: Suite, name: str) -> None:
    assert re.fullmatch("[a-z]{1,12}", name)
    for tool in await listed(suite, name):
        assert re.fullmatch("[a-z][a-z0-9_]{2,39}", str(tool["name"]))
        assert 0 < len(str(tool["description"])) <= 300, tool["name"]
        schema = cast("Json", tool["inputSchema"])
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert not COMPOSITION & keys_of(schema), tool["name"]


def test_tool_names_are_global() -> None:
    assert len(catalogue()) == sum(len(toolset.specs) for toolset in SERVERS.values())


def keys_of(schema: JsonValue, *, names: bool = False) -> set[str]:
    """Every keyword of a schema; names of properties are none."""
    if isinstance(schema, list):
        return {key for item in schema for key in keys_of(item)}
    if not isinstance(schema, dict):
        return set()
    below = {key for name, value in schema.items() for key in keys_of(value, names=name == "properties")}
    return below if names else below | schema.keys()
