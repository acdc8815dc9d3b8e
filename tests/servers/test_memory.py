"""The memory server as a client sees it, in both protocol eras."""

import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Literal, cast

import pytest
from mcp import Client
from mcp.types import TextContent
from pydantic import JsonValue

from gatebook.database.port import Transaction
from gatebook.errors import ERROR_META
from gatebook.reach import Reach
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook.toolset import build_server
from gatebook_servers.memory.keys import MAX_VALUE_BYTES
from gatebook_servers.memory.store import Notes
from gatebook_servers.memory.tools import tools
from gatebook_servers.runs.tools import tools as runs

pytestmark = pytest.mark.anyio

DEFAULT_CHARS = 8_000
MOST_CHARS = 40_000

Mode = Literal["auto", "legacy"]
Answer = dict[str, JsonValue]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def runtime(tmp_path: Path) -> Generator[Runtime]:
    runtime = open_runtime(Settings(home=tmp_path))
    yield runtime
    runtime.close()


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, runtime: Runtime) -> AsyncGenerator[Client]:
    server = build_server([tools, runs], runtime, catalogue={})
    async with Client(server, mode=cast("Mode", request.param)) as client:
        yield client


async def text_of(client: Client, tool: str, **arguments: JsonValue) -> str:
    result = await client.call_tool(tool, arguments)
    block = result.content[0]
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    assert result.structured_content == json.loads(block.text)
    return block.text


async def answer(client: Client, tool: str, **arguments: JsonValue) -> Answer:
    return cast("Answer", json.loads(await text_of(client, tool, **arguments)))


async def refusal(client: Client, tool: str, **arguments: JsonValue) -> Answer:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.meta is not None
    return cast("Answer", result.meta[ERROR_META])


def items(page: Answer, name: str) -> list[Answer]:
    return cast("list[Answer]", page[name])


async def fill(runtime: Runtime, *notes: tuple[str, str], tags: tuple[str, ...] = ()) -> None:
    def put(tx: Transaction) -> None:
        for key, value in notes:
            Notes(tx).put(key, value, tags=tags, actor="person:mira")

    await runtime.transact(put)


async def test_it_offers_six_tools_that_stay_inside_the_store(client: Client) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("memory_")}
    assert set(listed) == {
        "memory_put",
        "memory_get",
        "memory_search",
        "memory_list",
        "memory_history",
        "memory_delete",
    }
    assert {spec.reach for spec in tools.specs.values()} == {Reach.READ, Reach.STAGE}
    for tool in listed.values():
        assert 0 < len(tool.description or "") <= 300


async def test_a_note_is_written_read_and_found(client: Client) -> None:
    written = await answer(client, "memory_put", key="tickets/2026-11-22", value="Two invoices held", tags=["night"])
    assert written == {"key": "tickets/2026-11-22", "version": 1, "changed": True}
    note = await answer(client, "memory_get", key="tickets/2026-11-22")
    assert (note["text"], note["tags"], note["next_offset"]) == ("Two invoices held", ["night"], None)
    hits = items(await answer(client, "memory_search", query="which invoice was held?"), "hits")
    assert [(hit["key"], hit["snippet"], hit["tags"]) for hit in hits] == [
        ("tickets/2026-11-22", "Two invoices held", ["night"])
    ]


@pytest.mark.parametrize("value", ["null", '{"a":1}', "[1]", "12", "true", "", '"quoted"', "👩‍👩‍👧 e\u0301\r\n\t"])
async def test_text_is_never_read_as_json(client: Client, value: str) -> None:
    await answer(client, "memory_put", key="a", value=value)
    assert (await answer(client, "memory_get", key="a"))["text"] == value


async def test_a_write_is_attributed_to_its_caller_and_run(client: Client) -> None:
    run = await answer(client, "start_run", key="nightly/1")
    await answer(client, "memory_put", key="a", value="x", run_id=run["run_id"])
    change = items(await answer(client, "memory_history", key="a"), "versions")[0]
    assert (change["actor"], change["run_id"]) == ("agent:local", str(run["run_id"]).partition(".")[0])


async def test_a_run_without_steps_may_still_save_its_summary_but_not_delete(client: Client) -> None:
    run = await answer(client, "start_run", key="nightly/1", max_steps=1)
    for number in range(3):
        await answer(client, "memory_put", key="summary", value=f"{number}", run_id=run["run_id"])
    error = await refusal(client, "memory_delete", key="summary", run_id=run["run_id"])
    assert error["code"] == "step_budget_exceeded"


async def test_a_conflict_says_which_version_is_current(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="1", expected_version=0)
    await answer(client, "memory_put", key="a", value="2", expected_version=1)
    error = await refusal(client, "memory_put", key="a", value="3", expected_version=1)
    assert (error["code"], error["current_version"]) == ("conflict", 2)
    error = await refusal(client, "memory_delete", key="a", expected_version=1)
    assert (error["code"], error["current_version"]) == ("conflict", 2)


async def test_the_same_put_again_changes_nothing(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="1", tags=["x"])
    assert await answer(client, "memory_put", key="a", value="1", tags=["x"]) == {
        "key": "a",
        "version": 1,
        "changed": False,
    }


async def test_an_older_version_is_read_and_restored(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="one", tags=["x"])
    await answer(client, "memory_put", key="a", value="two", tags=["y"])
    older = await answer(client, "memory_get", key="a", version=1)
    assert (older["text"], older["version"], older["tags"]) == ("one", 1, None)
    await answer(client, "memory_put", key="a", from_version=1, expected_version=2)
    note = await answer(client, "memory_get", key="a")
    assert (note["text"], note["version"], note["tags"]) == ("one", 3, ["y"])


async def test_tags_given_with_a_restored_version_are_set(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="one", tags=["x"])
    await answer(client, "memory_put", key="a", from_version=1, tags=["z"])
    assert (await answer(client, "memory_get", key="a"))["tags"] == ["z"]


async def test_a_deleted_note_is_gone_until_a_version_is_restored(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="one")
    assert (await answer(client, "memory_delete", key="a"))["version"] == 2
    assert (await refusal(client, "memory_get", key="a"))["code"] == "not_found"
    assert items(await answer(client, "memory_list"), "notes") == []
    operations = [change["operation"] for change in items(await answer(client, "memory_history", key="a"), "versions")]
    assert operations == ["delete", "put"]
    assert (await answer(client, "memory_put", key="a", from_version=1))["version"] == 3
    assert (await answer(client, "memory_get", key="a"))["text"] == "one"


@pytest.mark.parametrize("given", [{}, {"value": "x", "from_version": 1}])
async def test_a_put_needs_either_a_value_or_a_version(client: Client, given: dict[str, JsonValue]) -> None:
    assert (await refusal(client, "memory_put", key="a", **given))["code"] == "invalid_arguments"


async def test_an_agent_reads_but_never_writes_what_steers_it(client: Client, runtime: Runtime) -> None:
    await fill(runtime, ("templates/password", "Reset it under settings"))
    for tool, given in (
        ("memory_put", {"value": "Send money"}),
        ("memory_put", {"from_version": 1}),
        ("memory_delete", {}),
    ):
        error = await refusal(client, tool, key="templates/password", **cast("Answer", given))
        assert error["code"] == "forbidden"
    assert (await refusal(client, "memory_put", key="policy", value="x"))["code"] == "forbidden"
    assert (await answer(client, "memory_get", key="templates/password"))["text"] == "Reset it under settings"
    hits = items(await answer(client, "memory_search", query="reset", prefix="templates/"), "hits")
    assert [hit["key"] for hit in hits] == ["templates/password"]


@pytest.mark.parametrize(
    ("tool", "given", "code"),
    [
        ("memory_put", {"key": "a", "value": "x" * (MAX_VALUE_BYTES + 1)}, "too_large"),
        ("memory_put", {"key": "../a", "value": "x"}, "invalid_arguments"),
        ("memory_put", {"key": "a", "value": {"a": 1}}, "invalid_arguments"),
        ("memory_put", {"key": "a", "value": "x", "tags": [""]}, "invalid_arguments"),
        ("memory_put", {"key": "a", "value": "x", "expected_version": -1}, "invalid_arguments"),
        ("memory_put", {"key": "a", "from_version": 2**70}, "invalid_arguments"),
        ("memory_put", {"key": "a", "value": "x", "ttl": 5}, "invalid_arguments"),
        ("memory_get", {"key": "a"}, "not_found"),
        ("memory_get", {"key": "a", "version": 1}, "not_found"),
        ("memory_history", {"key": "a"}, "not_found"),
        ("memory_delete", {"key": "a"}, "not_found"),
        ("memory_list", {"cursor": "\ud800"}, "invalid_arguments"),
        ("memory_list", {"limit": 0}, "invalid_arguments"),
        ("memory_search", {"query": "x", "limit": 21}, "invalid_arguments"),
    ],
)
async def test_what_does_not_fit_is_refused_with_a_code(
    client: Client, tool: str, given: dict[str, JsonValue], code: str
) -> None:
    assert (await refusal(client, tool, **given))["code"] == code


async def test_a_note_below_a_note_is_refused_clearly(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="x")
    error = await refusal(client, "memory_put", key="a/b", value="x")
    assert error["code"] == "invalid_arguments"
    assert "a note or a folder" in str(error["message"])


@pytest.mark.parametrize("unit", ["plain words ", '"\n\\', "\x01", "é👍", "x\x01" + "y" * 7])
async def test_a_long_text_comes_whole_in_pages(client: Client, unit: str) -> None:
    value = unit * (30_000 // len(unit))
    await answer(client, "memory_put", key="long", value=value, tags=["t" * 50])
    parts: list[str] = []
    offset: JsonValue = 0
    while offset is not None:
        text = await text_of(client, "memory_get", key="long", version=1, offset=offset)
        assert len(text) <= DEFAULT_CHARS
        note = cast("Answer", json.loads(text))
        parts.append(str(note["text"]))
        offset = note["next_offset"]
    assert "".join(parts) == value
    assert len(parts) > 3


async def test_an_offset_behind_the_end_is_an_empty_last_page(client: Client) -> None:
    await answer(client, "memory_put", key="a", value="short")
    note = await answer(client, "memory_get", key="a", offset=10**30)
    assert (note["text"], note["next_offset"]) == ("", None)


async def test_a_listing_goes_on_where_the_page_before_ended(client: Client, runtime: Runtime) -> None:
    keys = [f"n/{number:03}/{'k' * 150}" for number in range(120)]
    await fill(runtime, *((key, "text") for key in keys), tags=("one", "two"))
    seen: list[JsonValue] = []
    cursor: JsonValue = ""
    while cursor is not None:
        text = await text_of(client, "memory_list", prefix="n/", limit=200, cursor=cursor)
        assert len(text) <= DEFAULT_CHARS
        page = cast("Answer", json.loads(text))
        seen += [note["key"] for note in items(page, "notes")]
        cursor = page["next_cursor"]
    assert seen == keys


async def test_a_listing_takes_its_limit(client: Client, runtime: Runtime) -> None:
    await fill(runtime, ("a", ""), ("b", ""), ("c", ""))
    page = await answer(client, "memory_list", limit=2)
    assert ([note["key"] for note in items(page, "notes")], page["next_cursor"]) == (["a", "b"], "b")


async def test_answers_stay_within_their_size_whatever_the_notes_hold(client: Client, runtime: Runtime) -> None:
    tags = tuple(f"{number:02}" + '"' * 48 for number in range(20))
    keys = [f"n/{number:02}/{'k' * 190}" for number in range(20)]
    await fill(runtime, *((key, 'word "\\' * 9_000) for key in keys), tags=tags)
    assert len(await text_of(client, "memory_search", query="word")) <= DEFAULT_CHARS
    widest = await text_of(client, "memory_search", query="word", limit=20)
    assert len(widest) <= MOST_CHARS
    assert json.loads(widest)["more"] is True
    assert len(await text_of(client, "memory_list")) <= DEFAULT_CHARS
    assert len(await text_of(client, "memory_get", key=keys[0])) <= DEFAULT_CHARS


async def test_a_search_says_when_there_are_more_hits(client: Client, runtime: Runtime) -> None:
    await fill(runtime, *((f"n/{number}", "word") for number in range(6)))
    assert (await answer(client, "memory_search", query="word"))["more"] is True
    page = await answer(client, "memory_search", query="word", limit=6)
    assert (len(items(page, "hits")), page["more"]) == (6, False)


async def test_a_history_says_when_there_are_older_versions(client: Client) -> None:
    for number in range(3):
        await answer(client, "memory_put", key="a", value=str(number))
    page = await answer(client, "memory_history", key="a", limit=2)
    assert ([change["version"] for change in items(page, "versions")], page["more"]) == ([3, 2], True)
    page = await answer(client, "memory_history", key="a", limit=3)
    assert page["more"] is False


@pytest.mark.parametrize("query", ['"', "NEAR(a b", "the", "", 'a" OR "b', "💥"])
async def test_a_search_for_nothing_finds_nothing(client: Client, query: str) -> None:
    assert await answer(client, "memory_search", query=query) == {"hits": [], "more": False}
