"""How a conversation ends, where the difference is a wait that a test of the process would not notice."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from gatebook.transports.conversation import Conversation

LONG_S = 600
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": dict[str, object](),
}
caller: ContextVar[str] = ContextVar("caller", default="nobody")


@dataclass
class Talk:
    """The client's side of a conversation in this process."""

    to_server: MemoryObjectSendStream[SessionMessage | Exception]
    from_server: MemoryObjectReceiveStream[SessionMessage]
    entered: anyio.Event
    """Set when the tool `wait`, which waits for ever, runs."""

    async def send(self, message: JSONRPCMessage) -> None:
        await self.to_server.send(SessionMessage(message))

    async def request(self, method: str, request_id: int, **params: object) -> None:
        await self.send(JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method, params={**params, "_meta": META}))

    async def receive(self) -> JSONRPCMessage:
        return (await self.from_server.receive()).message


@dataclass
class Tagged:
    """A reading side that knows in which context a message was sent, as the SDK's own do."""

    inner: MemoryObjectReceiveStream[SessionMessage | Exception]
    last_context: Context

    async def __anext__(self) -> SessionMessage | Exception:
        return await anext(self.inner)


@asynccontextmanager
async def talking(eof_drain_s: float) -> AsyncGenerator[Talk]:
    """Run a conversation; leaving waits for its end."""
    entered = anyio.Event()

    async def wait() -> None:
        entered.set()
        await anyio.sleep_forever()

    async def who() -> str:
        return caller.get()

    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage]()
    context = copy_context()
    context.run(caller.set, "agent:tagged")
    server = MCPServer("probe", tools=[Tool.from_function(wait), Tool.from_function(who)])
    conversation = Conversation(Tagged(incoming, context), outgoing, eof_drain_s=eof_drain_s)
    with anyio.fail_after(30), incoming, from_server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conversation.serve, server)
            yield Talk(to_server, from_server, entered)


@pytest.mark.anyio
async def test_a_call_that_the_client_cancelled_does_not_delay_the_end() -> None:
    async with talking(eof_drain_s=LONG_S) as client:
        await client.request("tools/call", 1, name="wait", arguments={})
        await client.entered.wait()
        cancel = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 1})
        await client.send(cancel)
        await client.to_server.aclose()


@pytest.mark.anyio
async def test_a_client_that_listens_for_changes_does_not_delay_the_end() -> None:
    async with talking(eof_drain_s=LONG_S) as client:
        await client.request("subscriptions/listen", 1, notifications={"toolsListChanged": True})
        acknowledged = await client.receive()
        assert isinstance(acknowledged, JSONRPCNotification)
        await client.to_server.aclose()
        await client.receive()


@pytest.mark.anyio
async def test_without_a_drain_a_call_in_flight_is_cancelled_when_the_client_leaves() -> None:
    async with talking(eof_drain_s=0) as client:
        await client.request("tools/call", 1, name="wait", arguments={})
        await client.entered.wait()
        await client.to_server.aclose()
        answer = await client.receive()
        assert isinstance(answer, JSONRPCError)
        assert answer.id == 1


@pytest.mark.anyio
async def test_a_tool_runs_in_the_context_in_which_its_request_was_sent() -> None:
    async with talking(eof_drain_s=0) as client:
        await client.request("tools/call", 1, name="who", arguments={})
        answer = await client.receive()
        assert isinstance(answer, JSONRPCResponse)
        assert answer.result["content"][0]["text"] == "agent:tagged"
        await client.to_server.aclose()
