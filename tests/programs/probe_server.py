"""A server with plain tools for the transport tests; ends by itself after two minutes.

`probe_server.py stdio`, or `probe_server.py http DRAIN_S` with the bearer token in PROBE_TOKEN. It says "stopped" on
stderr when `on_stop` is called, "exit CODE" at the end and, over HTTP, "listening URL" on stdout.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import anyio
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool

from gatebook.transports.stdio import run_stdio

LIFE_S = 120


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


async def echo(text: str) -> str:
    """Return the text."""
    return text


async def chatter() -> str:
    """Print in every way, read stdin, and return what was read."""
    print("stray print", flush=True)  # noqa: T201
    os.write(1, b"stray write\n")
    child = "import sys; print('stray child', flush=True); sys.exit(len(sys.stdin.read()))"
    read_by_child = subprocess.run([sys.executable, "-c", child], check=False).returncode  # noqa: ASYNC221
    return f"{len(os.read(0, 1))}+{read_by_child}"


async def hold(port: int, shielded: bool = False) -> str:  # noqa: FBT001, FBT002 - a tool's parameters have names
    """Connect to the port and return once a byte has come back."""
    with anyio.CancelScope(shield=shielded):
        async with await anyio.connect_tcp("127.0.0.1", port) as gate:
            await gate.receive()
        say("released")
    return "released"


async def seize(port: int) -> str:
    """Do as `hold`, but block the event loop meanwhile."""
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.recv(1)
    return "released"


async def count(ctx: Context) -> str:
    """Report progress."""
    await ctx.report_progress(1, 2, "half")
    return "counted"


async def who() -> str:
    """Return the authenticated principal."""
    token = get_access_token()
    return f"{token.client_id} {token.token!r}" if token else "nobody"


def build(name: str) -> MCPServer[dict[str, object]]:
    functions: list[Callable[..., object]] = [echo, chatter, hold, seize, count, who]
    return MCPServer(name, tools=[Tool.from_function(function) for function in functions], log_level="WARNING")


def main(transport: str, *rest: str) -> int:
    alarm = threading.Timer(LIFE_S, os._exit, [99])
    alarm.daemon = True
    alarm.start()
    if transport == "stdio":
        return run_stdio(build("probe"), on_stop=lambda: say("stopped"))
    from gatebook.transports.http import HttpOptions, run_http  # noqa: PLC0415 - stdio starts faster without it

    options = HttpOptions(port=0, token=os.environ["PROBE_TOKEN"], drain_s=float(rest[0]))
    return run_http(
        {"probe": build("probe"), "second": build("second")},
        options,
        on_stop=lambda: say("stopped"),
        announce=lambda url: print(f"listening {url}", flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    say(f"exit {code}")
    sys.exit(code)
