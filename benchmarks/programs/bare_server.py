"""The least that mcp 2.3 needs to serve the two tools: no guard, no database. `sdk` or `ours` chooses the transport."""

import sys

from mcp.server.mcpserver import MCPServer

from gatebook.transports.stdio import run_stdio
from items import Item

server = MCPServer("bare", log_level="ERROR")


@server.tool()
async def read_item(item: str) -> Item:
    """Read an item."""
    return Item(item=item, outcome="read")


@server.tool()
async def write_item(item: str, text: str) -> Item:
    """Write an item."""
    return Item(item=item, outcome=f"{len(text)} written")


if __name__ == "__main__":
    if sys.argv[1] == "sdk":
        server.run("stdio")
    else:
        sys.exit(run_stdio(server, on_stop=lambda: None))
