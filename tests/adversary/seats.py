"""Where agents sit: a connected client of one principal, tenant and mode, over one transport."""

import gc
import os
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Literal

import httpx2
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from adversary.ledger import Actor
from gatebook.runtime import Runtime
from gatebook.toolset import Toolset, build_server
from gatebook.transports.http import HttpOptions, build_app
from gatebook_servers.catalogue import SERVERS, catalogue
from suite import Agent, Suite

Transport = Literal["memory", "legacy", "http", "sse", "stdio"]
TOKEN = "an-invented-token"


@dataclass(frozen=True)
class Seat:
    """An agent and what it acts as."""

    actor: Actor
    agent: Agent
    runtime: Runtime


@asynccontextmanager
async def seated(
    suite: Suite, actor: Actor, transport: Transport, *, tickets: Toolset | None = None
) -> AsyncGenerator[Seat]:
    """Connect an agent; `tickets` is a changed room of tickets."""
    runtime = suite.another_process(
        principal=actor.principal, tenant=actor.tenant, mode=actor.mode, ceiling=actor.ceiling
    )
    async with _client(suite, runtime, transport, tickets or SERVERS["tickets"]) as client:
        yield Seat(actor, Agent(client), runtime)


@asynccontextmanager
async def _client(suite: Suite, runtime: Runtime, transport: Transport, tickets: Toolset) -> AsyncGenerator[Client]:
    toolsets = [tickets, *(SERVERS[name] for name in SERVERS if name != "tickets")]
    known = {**catalogue(), **tickets.specs}
    if transport in ("memory", "legacy"):
        server = build_server(toolsets, runtime, catalogue=known, name="suite")
        async with Client(server, mode="auto" if transport == "memory" else "legacy") as client:
            yield client
    elif transport == "stdio":
        environment = {**os.environ, "GATEBOOK_HOME": str(suite.home), "GATEBOOK_CLAUDE_PROMPT_WAIT_S": "0"}
        command = ["-m", "gatebook_servers", "serve", "all"]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=environment)
        async with Client(stdio_client(parameters)) as client:
            yield client
    else:
        with _listening(toolsets, runtime) as url:
            async with _over_http(url, transport) as client:
                yield client


@asynccontextmanager
async def _over_http(url: str, transport: Transport) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if transport == "sse":
        async with Client(sse_client(f"{url}/suite/sse", headers=headers)) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(f"{url}/suite/mcp", http_client=http)) as client,
    ):
        yield client


@contextmanager
def _listening(toolsets: list[Toolset], runtime: Runtime) -> Generator[str]:
    server = build_server(toolsets, runtime, catalogue={**catalogue(), **toolsets[0].specs}, name="suite")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        options = HttpOptions(port=port, token=TOKEN, principal=runtime.settings.principal)
        config = uvicorn.Config(build_app({"suite": server}, options), lifespan="on", log_config=None, ws="none")
        running = uvicorn.Server(config)
        thread = Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.should_exit = True
            thread.join()
            gc.collect()  # the SDK's streams, while it is known whose they are
