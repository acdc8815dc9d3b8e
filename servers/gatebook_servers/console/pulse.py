"""What open pages are told: that something changed. One look at the database serves however many pages are open."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError
from gatebook.intents import Value
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the database is looked at while a page is open and nothing is noticed, seconds."""
SHORTEST_S = 0.1
"""Shortest time between two looks, however much changes."""


class Beat(Value):
    """What waits now; `mark` changes with any change of any request. `paused` says why, None while all goes on."""

    mark: str = ""
    pending: int = 0
    held: int = 0
    attention: int = 0
    paused: str | None = None


def look(tx: Transaction, *, tenant: str) -> Beat:
    """Return what waits now."""
    waiting = tx.all(
        "SELECT kind, COUNT(*) AS n FROM approvals WHERE tenant = :tenant AND state = 'pending' GROUP BY kind",
        tenant=tenant,
    )
    by_kind = {str(row["kind"]): int(row["n"] or 0) for row in waiting}
    row = tx.one(
        """SELECT
             (SELECT MAX(changed_at) FROM approvals) AS changed,
             (SELECT MAX(decided_at) FROM decisions) AS decided,
             (SELECT COUNT(*) FROM approvals WHERE tenant = :tenant AND state = 'in_doubt')
               + (SELECT COUNT(*) FROM outbox WHERE state = 'failed') AS attention""",
        tenant=tenant,
    )
    assert row is not None
    paused = Switches(tx).reason(PAUSE)
    held = by_kind.pop("hold", 0)
    pending, attention = sum(by_kind.values()), int(row["attention"] or 0)
    mark = f"{row['changed']} {row['decided']} {pending} {held} {attention} {paused is not None}"
    return Beat(mark=mark, pending=pending, held=held, attention=attention, paused=paused)


class Pulse:
    """Looks while somebody listens, and wakes who listens when something changed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._beat = Beat()
        self._changed = anyio.Event()
        self._listeners = 0
        self._listened = anyio.Event()
        self.over = False

    async def run(self, ended: anyio.Event) -> None:
        """Look until `ended` is set, then let every listener go."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_looking)
            await ended.wait()
            group.cancel_scope.cancel()
        self.over = True
        self._wake()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Have the database looked at during the block."""
        self._listeners += 1
        self._listened.set()
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._listened = anyio.Event()

    async def after(self, mark: str, *, within_s: float) -> Beat:
        """Return what waits as soon as it is something else than `mark`, or when the time is over."""
        with anyio.move_on_after(within_s):
            while self._beat.mark in ("", mark) and not self.over:
                await self._changed.wait()
        return self._beat

    async def _keep_looking(self) -> None:
        changes = self._runtime.changes
        while True:
            await self._listened.wait()
            async with changes.followed():
                while self._listeners:
                    mark = changes.mark
                    await self._look()
                    await anyio.sleep(SHORTEST_S)
                    await changes.after(mark, within_s=LOOK_S)

    async def _look(self) -> None:
        tenant = self._runtime.settings.tenant
        try:
            beat = await self._runtime.look(lambda tx: look(tx, tenant=tenant))
        except GatebookError as error:
            logger.warning("the console could not look at the database", extra={"error": error.code})
            return
        if beat != self._beat:
            self._beat = beat
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
