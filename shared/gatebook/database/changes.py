"""Wakes the calls that wait for people. However many wait in a process, one of them watches for all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from gatebook.database.port import Database, Watch

LONGEST_S = 1.0
"""After which time who waits should look again though nothing was noticed: a request expires without any change."""


class Changes:
    """What was noticed of the database's changes, by this process or another; a hint, and never the reason to act.

    Attributes:
        mark: Grows with every change that is noticed. Note it before a look, and wait for the next one after it.
    """

    def __init__(self, database: Database) -> None:
        self.mark = 0
        self._database = database
        self._opening = anyio.Lock()
        self._watch: Watch | None = None
        self._followers = 0
        self._led = False
        self._woken = anyio.Event()

    @asynccontextmanager
    async def followed(self) -> AsyncGenerator[None]:
        """Have the database watched during the block."""
        self._followers += 1
        try:
            async with self._opening:
                self._watch = self._watch or await self._database.watch()
            yield
        finally:
            self._followers -= 1
            watch = self._watch
            if watch is not None and not self._followers:
                self._watch = None
                await watch.close()

    async def after(self, mark: int, *, within_s: float) -> None:
        """Return once something changed after `mark`, inside `followed` only; at the latest when the time is over."""
        with anyio.move_on_after(min(within_s, LONGEST_S)):
            while self.mark == mark:
                if self._led:
                    await self._woken.wait()
                else:
                    await self._lead()

    async def _lead(self) -> None:
        """Watch for everybody; who is left takes over when this wait ends before anything changed."""
        assert self._watch is not None
        self._led = True
        try:
            await self._watch.changed()
            self.mark += 1
        finally:
            self._led = False
            woken, self._woken = self._woken, anyio.Event()
            woken.set()
