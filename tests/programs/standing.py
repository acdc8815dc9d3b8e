"""An owner that stands still beyond its lease and then goes on, as a process does that was stopped, or a laptop closed.

It runs on a thread with an event loop of its own, which is blocked where it stands: nothing of it goes on meanwhile,
and it hears of what is over only afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Literal

import anyio
import anyio.to_thread

from fakes.line import WRITES
from fakes.stands import Stand
from gatebook.clock import ManualClock
from gatebook_servers.tickets.desk import Applied, TicketDesk
from suite import Suite

PATIENCE_S = 60.0
When = Literal["before", "after"]


@contextmanager
def tied(clock: ManualClock) -> Generator[None]:
    """Let the deadlines of the running event loop follow a clock that a test moves, as both are one time outside."""
    loop = asyncio.get_running_loop()
    real, begun = loop.time, clock.seconds
    # The loop has no other way to be told the time.
    vars(loop)["time"] = lambda: real() + clock.seconds - begun
    try:
        yield
    finally:
        del vars(loop)["time"]


@dataclass
class Standing:
    """An owner of one approved effect."""

    suite: Suite
    stand: Stand
    approval_id: str
    _reached: Event = field(default_factory=Event)
    _released: Event = field(default_factory=Event)

    async def stand_still(self, when: When) -> None:
        """Let it stand still before or after its write until somebody took the effect over and was done with it."""
        settings = self.suite.runtime.settings
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._on_a_thread, when)
            try:
                assert await anyio.to_thread.run_sync(self._reached.wait, PATIENCE_S)
                self.suite.clock.advance(settings.lease_s + settings.settle_s + 1)
                await self.suite.execute(self.approval_id)
            finally:
                self._released.set()

    async def _on_a_thread(self, when: When) -> None:
        await anyio.to_thread.run_sync(lambda: anyio.run(self._own, when))

    async def _own(self, when: When) -> None:
        # Its deadlines stand still as well, as those of a machine that sleeps; only the lease goes on.
        runtime = self.suite.another_process()
        desk = self.stand.open(self.suite, runtime)
        for name in WRITES:
            vars(desk)[name] = partial(self._stood, getattr(desk, name), when)
        await self.suite.execute(self.approval_id, runtime=runtime)
        await closed(desk)

    async def _stood(
        self, write: Callable[..., Awaitable[Applied]], when: When, *arguments: object, **named: object
    ) -> Applied:
        if when == "before":
            self._wait()
        applied = await write(*arguments, **named)
        if when == "after":
            self._wait()
        return applied

    def _wait(self) -> None:
        self._reached.set()
        assert self._released.wait(PATIENCE_S)


async def closed(desk: TicketDesk) -> None:
    """Close a desk's connections, where it has any."""
    aclose = getattr(desk, "aclose", None)
    if aclose is not None:
        await aclose()
