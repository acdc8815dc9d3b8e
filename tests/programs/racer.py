"""One of several processes that race each other through the guard, with a client in the same process.

`racer.py effects COUNT`: create tickets on the remote desk, all racers the same ones in the same order.
`racer.py steps RUN_ID`: take steps in one run until it has none left.
`racer.py calls COUNT`: call as often, whatever the answer.

It says "ready", waits for a line on stdin, and prints how often it was answered what.
"""

import json
import os
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
from mcp import Client
from pydantic import JsonValue

from fakes.remote_desk import RemoteDesk
from gatebook.errors import ERROR_META
from gatebook.runtime import open_runtime
from gatebook.settings import load_settings
from gatebook.toolset import build_server
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.tickets.ports import DESKS

HANDS = 4
Outcomes = Counter[str]
Call = Callable[..., Awaitable[str]]


async def create(call: Call, count: int, outcomes: Outcomes) -> None:
    """Create tickets until each is there; what another one is creating comes again later."""
    todo = deque(range(count))

    async def hand() -> None:
        while todo:
            number = todo.popleft()
            outcome = await call("create_ticket", project="OPS", title=f"Disk {number} is full")
            outcomes[outcome] += 1
            if outcome == "in_progress":
                todo.append(number)

    async with anyio.create_task_group() as group:
        for _ in range(HANDS):
            group.start_soon(hand)


async def step(call: Call, run_id: str, outcomes: Outcomes) -> None:
    """Take steps until every hand was refused one."""

    async def hand() -> None:
        outcome = ""
        while outcome != "step_budget_exceeded":
            outcome = await call("pull_tickets", subscription="race", since="2026-11-21T18:00:00Z", run_id=run_id)
            outcomes[outcome] += 1

    async with anyio.create_task_group() as group:
        for _ in range(HANDS):
            group.start_soon(hand)


async def count_calls(call: Call, count: int, outcomes: Outcomes) -> None:
    """Call something cheap."""
    for _ in range(count):
        outcomes[await call("list_runs")] += 1


async def main(what: str, limit: str) -> None:
    DESKS["remote"] = lambda _: RemoteDesk(os.environ["GATEBOOK_TEST_DESK_URL"])
    runtime = open_runtime(load_settings())
    rooms = [SERVERS[name] for name in ("tickets", "runs")]
    outcomes = Outcomes()
    async with Client(build_server(rooms, runtime, catalogue=catalogue(), name="racer")) as client:

        async def call(tool: str, **arguments: JsonValue) -> str:
            result = await client.call_tool(tool, arguments)
            if result.is_error:
                return str(cast("dict[str, JsonValue]", (result.meta or {})[ERROR_META])["code"])
            return str(cast("dict[str, JsonValue]", result.structured_content or {}).get("outcome", "answered"))

        await client.list_tools()
        print("ready", flush=True)  # noqa: T201
        await anyio.to_thread.run_sync(sys.stdin.readline)
        if what == "effects":
            await create(call, int(limit), outcomes)
        elif what == "steps":
            await step(call, limit, outcomes)
        else:
            await count_calls(call, int(limit), outcomes)
    runtime.close()
    print(json.dumps(outcomes), flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
