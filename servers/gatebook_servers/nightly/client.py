"""The five servers as this agent calls them: one connection each, refusals as exceptions, patience where it helps."""

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
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
async def connected(
    servers: Mapping[str, StdioServerParameters], *, logs: Path | None
) -> AsyncGenerator[Servers]:
    """Start the servers over stdio and connect to them.

    Args:
        servers: How to start each.
        logs: Directory for what they write to stderr; None leaves it on ours.
    """
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        tools: dict[str, str] = {}
        for name, parameters in servers.items():
            errors = stack.enter_context(_log(logs, name)) if logs else sys.stderr
            clients[name] = await stack.enter_async_context(Client(stdio_client(parameters, errlog=errors)))
            for tool in (await clients[name].list_tools()).tools:
                tools[tool.name] = name
        yield Servers(clients, tools)


def _log(directory: Path, name: str):  # noqa: ANN202 - a text file
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return (directory / f"{name}.log").open("a", encoding="utf-8")
