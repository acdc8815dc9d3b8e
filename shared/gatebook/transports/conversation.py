"""One client on a pair of message streams: either protocol era, and an end that lets calls in flight finish.

Two things the SDK's own loop does not do. It fixes the protocol era with the first request, so a client that probes
with `server/discover` and then sends `initialize` is refused for good; here a probe settles nothing. And it cancels
every call in flight the moment the client closes its side; here they get time to finish.
"""

from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse, RequestId

L = TypeVar("L")

_PROBE = "server/discover"
_LISTEN = "subscriptions/listen"
"""A request that is open for as long as the client listens; no end waits for it."""


class Incoming(Protocol):
    """Messages of the client; an exception stands for something that was not a message."""

    def __anext__(self) -> Awaitable[SessionMessage | Exception]: ...


class Outgoing(Protocol):
    """Messages to the client. `send` raises anyio's broken or closed resource error once the client is gone."""

    def send(self, item: SessionMessage, /) -> Awaitable[None]: ...

    def aclose(self) -> Awaitable[None]: ...


class UnreadableMessageError(ValueError):
    """What arrived is no JSON-RPC message; `reply` says so to the client."""

    def __init__(self, message: str, *, code: int = PARSE_ERROR, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.reply = JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))


class Conversation:
    """Serves one client until it leaves or `end` is called.

    Args:
        incoming: The client's messages.
        outgoing: The way back, closed at the end.
        eof_drain_s: Seconds that calls in flight have left after the client closed its side.
        on_end: Called once when the conversation begins to end, for whatever reason.
    """

    def __init__(
        self,
        incoming: Incoming,
        outgoing: Outgoing,
        *,
        eof_drain_s: float = 0,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._on_end = on_end
        self._drain_s = eof_drain_s
        self._calls = _Calls()
        self._reading = anyio.CancelScope()
        self._era_settled = False
        self._probing = False
        self._ending = False
        self._over = False

    async def serve(self, server: MCPServer[L]) -> None:
        """Serve the client, entering the server's lifespan once."""
        # Private: the SDK has no public way to serve an MCPServer over streams of our own.
        low = server._lowlevel_server  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        requests = _Requests(self._receive, self._incoming)
        answers = _Answers(self._answer)
        options = low.create_initialization_options()
        try:
            async with low.lifespan(low) as state:
                while not self._over:
                    await serve_dual_era_loop(low, requests, answers, lifespan_state=state, init_options=options)
        finally:
            await self._outgoing.aclose()

    def end(self, drain_s: float) -> None:
        """Take no further message; calls in flight have `drain_s` seconds left, then they are cancelled."""
        if self._ending:
            return
        self._ending = True
        self._drain_s = drain_s
        self._reading.cancel()
        self._on_end()

    async def _receive(self) -> SessionMessage:
        if self._probing:  # the loop that served a probe ends with its answer; the next request opens another
            self._probing = False
            await self._calls.settled()
            raise anyio.EndOfStream
        while (item := await self._next()) is not None:
            if isinstance(item, SessionMessage):
                return self._accept(item)
            refusal = item if isinstance(item, UnreadableMessageError) else UnreadableMessageError("Parse error")
            await self._answer(SessionMessage(refusal.reply))
        with anyio.move_on_after(self._drain_s):
            await self._calls.settled()
        self._over = True
        raise anyio.EndOfStream

    async def _next(self) -> SessionMessage | Exception | None:
        if not self._ending:
            with anyio.CancelScope() as self._reading:
                try:
                    return await anext(self._incoming)
                except StopAsyncIteration:
                    self.end(self._drain_s)
        return None

    def _accept(self, item: SessionMessage) -> SessionMessage:
        request = item.message
        if not isinstance(request, JSONRPCRequest):
            return item
        self._probing = request.method == _PROBE and not self._era_settled
        self._era_settled = not self._probing
        if request.method == _LISTEN:
            return item
        self._calls.begin(request.id)
        # A call that the client cancelled is never answered; the SDK reports its real end here.
        unanswered = partial(self._calls.end_unanswered, request.id)
        metadata = item.metadata if isinstance(item.metadata, ServerMessageMetadata) else ServerMessageMetadata()
        return SessionMessage(request, replace(metadata, on_request_unanswered=unanswered))

    async def _answer(self, item: SessionMessage) -> None:
        try:
            await self._outgoing.send(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.end(0)  # a client that no longer reads is gone
            raise
        finally:
            if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
                self._calls.end(item.message.id)


class _Calls:
    """The requests that wait for an answer."""

    def __init__(self) -> None:
        self._open: set[RequestId] = set()
        self._settled = anyio.Event()

    def begin(self, request_id: RequestId) -> None:
        if not self._open:
            self._settled = anyio.Event()
        self._open.add(request_id)

    def end(self, request_id: RequestId) -> None:
        self._open.discard(request_id)
        if not self._open:
            self._settled.set()

    async def end_unanswered(self, request_id: RequestId) -> None:
        self.end(request_id)

    async def settled(self) -> None:
        if self._open:
            await self._settled.wait()


class _Stream:
    """A stream that the SDK's loop cannot close, because a second loop may follow on it."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        pass


class _Requests(_Stream):
    """The reading side as the SDK's loop wants it."""

    def __init__(self, receive: Callable[[], Awaitable[SessionMessage]], incoming: Incoming) -> None:
        self._receive = receive
        self._incoming = incoming

    @property
    def last_context(self) -> Context | None:
        """Context in which the last message was sent; over HTTP it knows the authenticated principal."""
        return getattr(self._incoming, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return await self._receive()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Answers(_Stream):
    """The writing side as the SDK's loop wants it."""

    def __init__(self, send: Callable[[SessionMessage], Awaitable[None]]) -> None:
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        await self._send(item)
