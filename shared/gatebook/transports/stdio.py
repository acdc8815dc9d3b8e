"""One client over this process's stdin and stdout.

Messages are read and written by the event loop itself. The SDK's own stdio transport uses a worker thread per line,
which cannot be interrupted (SIGINT waits for the client) and costs two thread hops per call; it remains the fallback
for what an event loop cannot read, such as files, terminals and Windows.
"""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import INVALID_REQUEST, jsonrpc_message_adapter
from pydantic import JsonValue, TypeAdapter, ValidationError

from gatebook.transports.conversation import Conversation, Incoming, Outgoing, UnreadableMessageError
from gatebook.transports.ending import Background, Ending, attend, no_background

L = TypeVar("L")

DRAIN_S = 2.0
"""Seconds that calls in flight have to finish once the end has begun; clients of the Python SDK wait as long."""
UNWIND_S = 1.5
"""Seconds after that for cancelled calls and the lifespan to clean up; the same clients kill after 4 s in all."""
LAST_RESORT_S = 5.0
"""Seconds from the beginning of the end to the exit that nothing delays, `on_stop` included."""
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Longest line that is read; a longer one is skipped and answered with a parse error."""

_ANY_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_CHUNK_BYTES = 64 * 1024
_PARENT_CHECK_S = 1.0
_CLOSE_S = 0.5


def run_stdio(server: MCPServer[L], *, on_stop: Callable[[], None], background: Background = no_background) -> int:
    """Serve one client over this process's stdin and stdout until EOF, SIGTERM, SIGINT or the death of the parent.

    While it runs, and from then on, fd 0 is the null device and fd 1 is stderr, so that nothing but JSON-RPC reaches
    the client whatever a tool or a child process prints. Calls in flight have `DRAIN_S` to finish. Call it in the main
    thread and last: the process ends `LAST_RESORT_S` after the end has begun, even if a tool blocks it.

    Args:
        server: Any MCP server; its lifespan is entered once.
        on_stop: Called once when no call runs any more. If a call cannot be stopped, the process exits right after it.
        background: Work beside the serving; what it is at when the end begins has `DRAIN_S` too.

    Returns:
        The exit code: 0 at EOF or the death of the parent, 143 after SIGTERM, 130 after SIGINT.
    """
    parent = os.getppid()
    ending = Ending(on_stop, limit_s=LAST_RESORT_S)
    try:
        asyncio.run(_run(server, ending, parent, background))
    finally:
        ending.stop()
    return ending.code


async def _run(server: MCPServer[L], ending: Ending, parent: int, background: Background) -> None:
    begun = asyncio.Event()
    ending.when_begun(begun.set)
    working = asyncio.create_task(attend(background, ending, drain_s=DRAIN_S))
    serving = asyncio.create_task(_serve(server, ending, working))
    serving.add_done_callback(lambda _: ending.begin(0))
    watch = asyncio.create_task(_watch_parent(ending, parent))
    await begun.wait()
    watch.cancel()
    done, _ = await asyncio.wait({serving}, timeout=DRAIN_S + UNWIND_S)
    if not done:
        ending.abandon()
    await serving


async def _serve(server: MCPServer[L], ending: Ending, working: asyncio.Task[None]) -> None:
    async with _wire() as (incoming, outgoing):
        conversation = Conversation(incoming, outgoing, eof_drain_s=DRAIN_S, on_end=partial(ending.begin, 0))
        ending.when_begun(partial(conversation.end, DRAIN_S))
        await conversation.serve(server)
        await asyncio.wait({working})
        # The fallback's thread cannot be taken off a terminal, and nothing that still runs now is worth waiting for.
        asyncio.get_running_loop().call_later(_CLOSE_S, ending.abandon)


async def _watch_parent(ending: Ending, parent: int) -> None:
    """End when the parent is gone: a client that was killed may leave its end of stdin open in another child."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the system has no event for this
        await asyncio.sleep(_PARENT_CHECK_S)
    ending.begin(0)


def _wire() -> AbstractAsyncContextManager[tuple[Incoming, Outgoing]]:
    return _pipes() if _has_pipes() else stdio_server()


def _has_pipes() -> bool:
    """Whether the event loop can serve stdin and stdout; stderr must be open to take what is diverted."""
    if sys.platform == "win32":
        return False
    try:
        modes = [os.fstat(fd).st_mode for fd in (0, 1, 2)]
        # One socket for both directions would look closed to the writing side as soon as the client sends.
        return all(stat.S_ISFIFO(m) or stat.S_ISSOCK(m) for m in modes[:2]) and not os.path.sameopenfile(0, 1)
    except OSError:
        return False


@asynccontextmanager
async def _pipes() -> AsyncGenerator[tuple[Incoming, Outgoing]]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    from_client, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(_divert_stdin(), "rb", buffering=0)
    )
    # The protocol of a reader serves the writer too: it is the public one that knows about flow control.
    to_client, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(_divert_stdout(), "wb", buffering=0)
    )
    try:
        yield _messages(reader), _Writer(asyncio.StreamWriter(to_client, protocol, None, loop))
    finally:
        from_client.close()
        to_client.close()


def _divert_stdin() -> int:
    wire = os.dup(0)
    with open(os.devnull, "rb") as null:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(null.fileno(), 0)
    return wire


def _divert_stdout() -> int:
    # sys.stdout is not flushed before: what was printed during imports goes to stderr with the rest.
    wire = os.dup(1)
    os.dup2(2, 1)
    return wire


class _Writer:
    """Writes one message a line."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage, /) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        self._writer.write(line.encode() + b"\n")
        try:
            await self._writer.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close, once everything is written."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def _messages(reader: asyncio.StreamReader) -> AsyncGenerator[SessionMessage | UnreadableMessageError]:
    async for line in _lines(reader):
        if line is None:
            yield UnreadableMessageError(f"Parse error: a message is longer than {MAX_MESSAGE_BYTES} bytes")
        elif not line.isspace():
            yield _parse(line)


async def _lines(reader: asyncio.StreamReader) -> AsyncGenerator[bytes | None]:
    """Yield every line with its newline, or None in place of one that is too long."""
    line = bytearray()
    with suppress(OSError):  # a client that died with answers unread resets the connection
        while chunk := await reader.read(_CHUNK_BYTES):
            for piece in chunk.splitlines(keepends=True):
                if len(line) <= MAX_MESSAGE_BYTES:
                    line += piece
                if piece.endswith(b"\n"):
                    yield bytes(line) if len(line) <= MAX_MESSAGE_BYTES else None
                    line.clear()
    if line:
        yield bytes(line) if len(line) <= MAX_MESSAGE_BYTES else None


def _parse(line: bytes) -> SessionMessage | UnreadableMessageError:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError:
        return _refusal(line)


def _refusal(line: bytes) -> UnreadableMessageError:
    try:
        decoded = _ANY_JSON.validate_json(line)
    except ValidationError:
        return UnreadableMessageError("Parse error")
    # Only a request's own id may be answered: the id of a response is one of ours.
    request_id = decoded.get("id") if isinstance(decoded, dict) and "method" in decoded else None
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        request_id = None
    return UnreadableMessageError("Not a JSON-RPC message", code=INVALID_REQUEST, request_id=request_id)
