"""A stdio server with two tools and a prompt, for what is to be known of a client; ends by itself after two minutes.

`send_reply` refuses every call as Gatebook does: nobody is there to approve one.
"""

import os
import threading

from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

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
    refusal = f"approval_required: a person has to approve the reply to {ref}. Go on with other work."
    return CallToolResult(content=[TextContent(type="text", text=refusal)], is_error=True)


@server.prompt()
async def night_shift(since: str, until: str) -> str:
    """Work through the tickets of one night."""
    return f"Work through the tickets from {since} to {until}."


if __name__ == "__main__":
    alarm = threading.Timer(LIFE_S, os._exit, [99])
    alarm.daemon = True
    alarm.start()
    server.run("stdio")
