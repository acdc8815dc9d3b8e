"""Four tools that answer as Gatebook's do, without Gatebook; ends by itself after two minutes.

`probe_tools_server.py stdio`, or `probe_tools_server.py sse`, which says "listening URL" on stdout. `send_reply` refuses
every call: nobody is there to approve one. `night_shift` is a prompt.
"""

import os
import socket
import sys
import threading
from typing import Annotated

import uvicorn
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

LIFE_S = 120

server = MCPServer("probe", instructions="Hand the run_id on in every call.", log_level="WARNING")


class RunState(BaseModel):
    """A run that was started."""

    run_id: str
    resumed: bool


class Ticket(BaseModel):
    """A ticket, in short."""

    ref: str
    subject: str


class TicketPage(BaseModel):
    """Tickets."""

    tickets: list[Ticket]


class Draft(BaseModel):
    """A draft that was saved."""

    draft_id: str
    ticket: str


@server.tool()
async def start_run(key: Annotated[str, Field(description="Name of this work.")]) -> RunState:
    """Start a run."""
    return RunState(run_id=f"run_{key}.1", resumed=False)


@server.tool()
async def list_tickets(limit: int = 20) -> TicketPage:
    """List tickets, newest first."""
    tickets = [Ticket(ref="local:1", subject="Printer is on fire"), Ticket(ref="local:2", subject="Invoice")]
    return TicketPage(tickets=tickets[:limit])


@server.tool()
async def draft_reply(ticket: str, body: str) -> Draft:
    """Save a draft of a reply."""
    return Draft(draft_id=f"draft_{len(body)}", ticket=ticket)


@server.tool()
async def send_reply(draft_id: str) -> CallToolResult:
    """Send a draft to the customer."""
    refusal = f"approval_required: a person has to approve {draft_id}. Go on with other work."
    return CallToolResult(content=[TextContent(type="text", text=refusal)], is_error=True)


@server.prompt()
async def night_shift(since: str, until: str) -> str:
    """Work through the tickets of one night."""
    return f"NIGHT SHIFT from {since} to {until}."


def serve_sse() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening http://127.0.0.1:{listener.getsockname()[1]}/sse", flush=True)  # noqa: T201
        uvicorn.Server(uvicorn.Config(server.sse_app(), log_level="warning")).run(sockets=[listener])


def main(transport: str) -> None:
    alarm = threading.Timer(LIFE_S, os._exit, [99])
    alarm.daemon = True
    alarm.start()
    if transport == "stdio":
        server.run("stdio")
    else:
        serve_sse()


if __name__ == "__main__":
    main(sys.argv[1])
