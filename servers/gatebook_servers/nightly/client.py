"""The five servers as this agent calls them: one connection each, refusals as exceptions, patience where it helps."""

import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import anyio
from anyio.abc import TaskStatus
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from pydantic import JsonValue

ERROR_META = "dev.gatebook/error"
PATIENCE = 3
"""How often a call is repeated when the server asks to wait; retries of failures are the servers' own business."""
LONGEST_WAIT_S = 120.0

Answer = dict[str, JsonValue]


class RefusedError(Exception):
    """A server refused a call.

    Args:
        code: The code of the refusal, such as `approval_required`.
        details: The whole error object.
    """

    def __init__(self, code: str, details: Mapping[str, JsonValue]) -> None:
        super().__init__(f"{code}: {details.get('message', '')}")
        self.code = code
        self.details = details


class Servers:
    """Connected servers.

    Args:
        clients: The connections by server name.
        tools: Which server offers which tool; a tool above the operator's ceiling is not offered.
    """

    def __init__(self, clients: Mapping[str, Client], tools: Mapping[str, str]) -> None:
        self._clients = clients
        self._tools = tools

    def offers(self, tool: str) -> bool:
        """Whether some server offers this tool."""
        return tool in self._tools

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> Answer:
        """Call a tool and return its structured answer.

        Raises:
            RefusedError: If the server refuses, also after having been given time.
        """
        for attempt in range(PATIENCE + 1):
            result = await self._clients[self._tools[tool]].call_tool(tool, dict(arguments))
            if not result.is_error:
                return cast("Answer", result.structured_content or {})
            error = cast("Answer", (result.meta or {}).get(ERROR_META, {"code": "unknown"}))
            wait = error.get("retry_after_s")
            if attempt == PATIENCE or not isinstance(wait, (int, float)) or wait > LONGEST_WAIT_S:
                raise RefusedError(str(error.get("code")), error)
            await anyio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


@asynccontextmanager
async def connected(servers: Mapping[str, StdioServerParameters], *, logs: Path | None) -> AsyncGenerator[Servers]:
    """Start the servers over stdio, all at once, and connect to them.

    Args:
        servers: How to start each.
        logs: Directory for what they write to stderr; None leaves it on ours.
    """
    clients: dict[str, Client] = {}
    tools: dict[str, str] = {}
    stop = anyio.Event()

    async def hold_open(name: str, *, task_status: TaskStatus[None]) -> None:
        with _log(logs, name) as errors:
            async with Client(stdio_client(servers[name], errlog=errors)) as client:
                clients[name] = client
                tools.update({tool.name: name for tool in (await client.list_tools()).tools})
                task_status.started()
                await stop.wait()

    async with anyio.create_task_group() as opening:
        async with anyio.create_task_group() as starting:
            for name in servers:
                starting.start_soon(opening.start, partial(hold_open, name))
        try:
            yield Servers(clients, tools)
        finally:
            stop.set()


@contextmanager
def _log(directory: Path | None, name: str) -> Generator[TextIO]:
    if directory is None:
        yield sys.stderr
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / f"{name}.log").open("a", encoding="utf-8") as file:
        yield file
