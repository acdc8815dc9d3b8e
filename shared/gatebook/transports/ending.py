"""The end of a serving process: the first reason wins, `on_stop` runs once, and nothing can hold the process up."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import NoReturn

import anyio

Background = Callable[[anyio.Event], Awaitable[None]]
"""Work beside the serving. It begins nothing further once its event is set, and returns soon after."""

_EXIT_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLEANUP_S = 5.0
"""Seconds for `on_stop` after the drain."""


class Ending:
    """When, and with which exit code, this process ends.

    Create it in the main thread. From then on SIGTERM and SIGINT begin the end instead of killing the process, and
    once the end has begun the process is gone after `limit_s` seconds, whatever a tool or a thread still does. So a
    program that has an `Ending` should do nothing of importance after it.

    Args:
        on_stop: Called once, when no call runs any more; from another thread if the event loop no longer answers.
        limit_s: Seconds from the beginning of the end to the exit that nothing can delay.
    """

    def __init__(self, on_stop: Callable[[], None], *, limit_s: float) -> None:
        self.code = 0
        self.begun = False
        self._on_stop = on_stop
        self._limit_s = limit_s
        self._stopping = threading.Lock()
        self._alarm = threading.Event()
        self._watchers: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        # Started now because a signal handler must not start threads: the main thread may hold the lock it needs.
        threading.Thread(target=self._last_resort, name="gatebook-last-resort", daemon=True).start()
        # Plain handlers, not the event loop's: they still run when a tool blocks the loop.
        for number in _EXIT_SIGNALS:
            signal.signal(number, self._on_signal)

    def begin(self, code: int) -> None:
        """Begin the end with this exit code; later reasons change nothing."""
        if self.begun:
            return
        self.begun = True
        self.code = code
        self._alarm.set()
        for loop, callback in self._watchers:
            loop.call_soon_threadsafe(callback)

    def when_begun(self, callback: Callable[[], None]) -> None:
        """Have `callback` run in the running event loop when the end begins, or soon if it has.

        A signal between two steps of this method can have it run twice.
        """
        loop = asyncio.get_running_loop()
        self._watchers.append((loop, callback))
        if self.begun:
            loop.call_soon(callback)

    def stop(self) -> None:
        """Call `on_stop`, the first time."""
        self.begin(0)
        if self._stopping.acquire(blocking=False):
            self._on_stop()

    def abandon(self) -> NoReturn:
        """Call `on_stop` and exit at once, leaving behind whatever still runs."""
        try:
            self.stop()
        finally:
            sys.stderr.flush()
            os._exit(self.code)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.begin(128 + number)

    def _last_resort(self) -> None:
        self._alarm.wait()
        time.sleep(self._limit_s)
        self.abandon()


def seconds_from_now(seconds: float) -> float:
    """Return a deadline for a cancel scope, also in a callback of the loop: there anyio may not know the loop."""
    return asyncio.get_running_loop().time() + seconds


async def no_background(_ended: anyio.Event) -> None:
    """Do nothing beside the serving."""


async def attend(background: Background, ending: Ending, *, drain_s: float) -> None:
    """Run the background until the end of the process; what it is at then has `drain_s` seconds left."""
    ended = anyio.Event()
    with anyio.CancelScope() as scope:

        def leave() -> None:
            ended.set()
            scope.deadline = seconds_from_now(drain_s)

        ending.when_begun(leave)
        await background(ended)


def run_background(background: Background, *, on_stop: Callable[[], None], drain_s: float) -> int:
    """Run nothing but the background, until it returns or SIGTERM or SIGINT comes.

    Call it in the main thread and last: the process ends a few seconds after the drain, whatever still runs.

    Args:
        background: The work.
        on_stop: Called once when it is over.
        drain_s: Seconds that it has left once the end has begun.

    Returns:
        The exit code: 0, 143 after SIGTERM, 130 after SIGINT.
    """
    ending = Ending(on_stop, limit_s=drain_s + _CLEANUP_S)
    try:
        asyncio.run(attend(background, ending, drain_s=drain_s))
    finally:
        ending.stop()
    return ending.code
