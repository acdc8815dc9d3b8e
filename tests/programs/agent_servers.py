"""The servers of the scripted agent: real MCP clients, over stdio or HTTP, that outlive the servers' deaths."""

import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal, cast

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel, ConfigDict, JsonValue

Json = dict[str, JsonValue]
ERROR_META = "dev.gatebook/error"
AGAIN = {"in_progress", "store_busy", "upstream_unavailable", "internal"}
"""Refusals after which the same call is issued again. `internal` is a fault of the suite; the driver counts it."""
IN_USE = 2
"""Servers between which the calls alternate."""
ANSWER_S = 2.0
"""How long an answer is waited for."""
RUN_TOOLS = {"start_run", "resume_run", "checkpoint", "finish_run"}
NOT_ANSWERED = (MCPError, httpx2.HTTPError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError)

Said = Literal["connected", "lost", "issued", "answered", "unanswered", "again", "finished"]


class Order(BaseModel):
    """What the driver asks for.

    `command` and `environment` start a server over stdio. Without a command the servers' addresses stand in the file
    `replicas`, a list of objects with `url` and `pid`, and are asked with `token`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    hands: int
    directory: Path
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    replicas: Path = Path()
    token: str = ""


def say(event: Said, **details: JsonValue) -> None:
    """Tell the driver."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Answer:
    """What a tool answered; `code` is empty unless it refused."""

    code: str
    content: Json
    wait_s: float

    @property
    def outcome(self) -> str:
        return self.code or str(self.content.get("outcome", "done"))


@dataclass(eq=False)
class Server:
    """A connected server."""

    pid: int
    rooms: Mapping[str, Client]
    lost: anyio.Event = field(default_factory=anyio.Event)
    avoided_until: float = 0.0

    async def call(self, tool: str, arguments: Json) -> Answer | None:
        """Call a tool; None when no answer came."""
        client = self.rooms["runs" if tool in RUN_TOOLS else "tickets"]
        try:
            with anyio.fail_after(ANSWER_S):
                result = await client.call_tool(tool, arguments)
        except TimeoutError:
            self.avoided_until = time.monotonic() + ANSWER_S
            return None
        except NOT_ANSWERED:
            if not self.lost.is_set():
                self.lost.set()
                say("lost", pid=self.pid)
            return None
        error = cast("Json", (result.meta or {}).get(ERROR_META, {}))
        wait_s = error.get("retry_after_s")
        return Answer(
            str(error.get("code", "unknown")) if result.is_error else "",
            cast("Json", result.structured_content or {}),
            float(wait_s) if isinstance(wait_s, (int, float)) else 0.1,
        )


class Servers:
    """The servers that are connected, the first of them in use. A lost one makes room for the next."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connected: list[Server] = []
        self._known: set[int] = set()
        self._numbers = count(1)

    async def keep(self) -> None:
        """Hold as many connections as are wanted, for ever."""
        # Over stdio the servers are ours to start, and one more than is used stands ready.
        wanted = IN_USE + 1 if self._order.command else IN_USE
        async with anyio.create_task_group() as group:
            for _ in range(wanted):
                group.start_soon(self._hold)

    async def insist(self, tool: str, arguments: Json) -> Answer:
        """Call until there is an answer that is one."""
        for attempt in count():
            server = await self.pick(attempt)
            answer = await server.call(tool, arguments)
            if answer is not None and answer.code not in AGAIN:
                return answer
            await anyio.sleep(0.05)
        raise AssertionError("counting does not end")

    async def pick(self, attempt: int) -> Server:
        """Return a server in use, another one at each attempt, rather not one that did not answer lately."""
        while True:
            in_use = [server for server in self._connected if not server.lost.is_set()][:IN_USE]
            answering = [server for server in in_use if server.avoided_until < time.monotonic()] or in_use
            if answering:
                return answering[attempt % len(answering)]
            await anyio.sleep(0.02)

    async def _hold(self) -> None:
        while True:
            try:
                async with self._started() if self._order.command else self._reached() as server:
                    self._connected.append(server)
                    say("connected", pid=server.pid)
                    try:
                        await server.lost.wait()
                    finally:
                        self._connected.remove(server)
            except* NOT_ANSWERED:
                await anyio.sleep(0.05)

    @asynccontextmanager
    async def _started(self) -> AsyncGenerator[Server]:
        name = f"{os.getpid()}-{next(self._numbers)}"
        pid_file, log = self._order.directory / f"{name}.pid", self._order.directory / f"{name}.log"
        command, *arguments = self._order.command
        environment = {**self._order.environment, "GATEBOOK_TEST_PID_FILE": str(pid_file)}
        with log.open("w", encoding="utf-8") as errors:
            parameters = StdioServerParameters(command=command, args=arguments, env=environment)
            async with Client(stdio_client(parameters, errlog=errors)) as client:
                yield Server(int(pid_file.read_text(encoding="utf-8")), {"tickets": client, "runs": client})

    @asynccontextmanager
    async def _reached(self) -> AsyncGenerator[Server]:
        url, pid = await self._replica()
        headers = {"Authorization": f"Bearer {self._order.token}"}
        self._known.add(pid)
        try:
            async with (
                httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
                Client(streamable_http_client(f"{url}/tickets/mcp", http_client=http)) as tickets,
                Client(streamable_http_client(f"{url}/runs/mcp", http_client=http)) as runs,
            ):
                yield Server(pid, {"tickets": tickets, "runs": runs})
        finally:
            self._known.remove(pid)

    async def _replica(self) -> tuple[str, int]:
        """Wait for a replica that is not connected yet."""
        while True:
            listed = cast("list[Json]", json.loads(self._order.replicas.read_text(encoding="utf-8")))
            for replica in listed:
                if replica["pid"] not in self._known:
                    return str(replica["url"]), cast("int", replica["pid"])
            await anyio.sleep(0.02)
