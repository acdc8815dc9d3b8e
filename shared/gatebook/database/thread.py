"""The thread on which a process's transactions run."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

import anyio

T = TypeVar("T")


class DatabaseThread:
    """Runs store methods on a thread of the database's own, one after the other.

    The SDK's stdio transport lives on anyio's default limiter; sharing it would let slow disks freeze the connection.
    And a call crosses over several times, which costs half of what anyio's pool of threads takes (benchmarks/guard.py).
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on the thread and return what it returns; it is not interrupted by a cancellation."""
        with self._starting:
            if self._thread is None:
                # It holds nothing that has to be put away: a transaction that the process's end cuts off never was.
                self._thread = Thread(target=self._serve, name="gatebook-database", daemon=True)
                self._thread.start()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._waiting.put(partial(_settle, outcome, loop, work))
        with anyio.CancelScope(shield=True):
            return await outcome
        raise AssertionError("a shielded scope was cancelled")

    def _serve(self) -> None:
        while True:
            self._waiting.get()()


def _settle(outcome: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> None:
    try:
        settle = partial(outcome.set_result, work())
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who waits for it
        settle = partial(outcome.set_exception, error)
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(_unless_cancelled, outcome, settle)


def _unless_cancelled(outcome: "asyncio.Future[T]", settle: Callable[[], None]) -> None:
    if not outcome.cancelled():
        settle()
