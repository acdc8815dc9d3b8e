"""A stdio server with two tools and a prompt, for what is to be known of a client; ends by itself after two minutes.

`send_reply` refuses every call as Gatebook does: nobody is there to approve one. It writes a line for each call into
the file named by PROBE_CALLS. With PROBE_PROMPT there is a permission prompt too, which answers just that.
"""

import os
import threading
from pathlib import Path

import anyio.to_thread
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, JsonValue

LIFE_S = 120

server = MCPServer("probe", instructions="Hand the run_id on in every call.", log_level="WARNING")


class TicketPage(BaseModel):
    """Refs of tickets."""

    refs: list[str]


@server.tool()
async def list_tickets() -> TicketPage:
    """List tickets."""
    return TicketPage(refs=["local:AB-1"])


@server.tool()
async def send_reply(ref: str) -> CallToolResult:
    """Send a reply to the customer."""
    if calls := os.environ.get("PROBE_CALLS"):
        await anyio.to_thread.run_sync(_note, Path(calls), ref)
    refusal = f"approval_required: a person has to approve the reply to {ref}. Go on with other work."
    return CallToolResult(content=[TextContent(type="text", text=refusal)], is_error=True)


def _note(calls: Path, ref: str) -> None:
    with calls.open("a", encoding="utf-8") as file:
        file.write(f"{ref}\n")


@server.prompt()
async def night_shift(since: str, until: str) -> str:
    """Work through the tickets of one night."""
    return f"Work through the tickets from {since} to {until}."


async def permission_prompt(tool_name: str, input: dict[str, JsonValue], tool_use_id: str) -> str:  # noqa: A002, ARG001
    """Answer what the test wants to be answered."""
    return os.environ["PROBE_PROMPT"]


if "PROBE_PROMPT" in os.environ:
    server.add_tool(permission_prompt, structured_output=False)


if __name__ == "__main__":
    alarm = threading.Timer(LIFE_S, os._exit, [99])
    alarm.daemon = True
    alarm.start()
    server.run("stdio")
