"""Time between the writes of one account, across processes.

GitHub asks for at least one second between requests that change something, and answers with a secondary rate limit
otherwise (https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api).
"""

from collections.abc import Awaitable, Callable

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import RateLimitedError
from gatebook.runtime import Runtime

APART_S = 1.0


class Pace:
    """The writes of one account, each with a moment of its own.

    Args:
        runtime: Whose database keeps the pace.
        account: Whose writes these are.
        pause: Waits so many seconds; for tests, which move their own time.
    """

    def __init__(
        self, runtime: Runtime, account: str, *, pause: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        self._transact = runtime.transact
        self._account = account
        self._pause = pause

    async def turn(self) -> None:
        """Wait for the next free moment and take it.

        Raises:
            RateLimitedError: If it comes after the call's deadline; no moment is taken then.
        """
        left_s = anyio.current_effective_deadline() - anyio.current_time()

        def take(tx: Transaction) -> float:
            at = max(self._next(tx), tx.steady)
            if at - tx.steady < left_s:
                self._set(tx, at + APART_S)
            return at - tx.steady

        wait_s = await self._transact(take)
        if wait_s >= left_s:
            raise RateLimitedError(
                "writes to the desk take turns, and this one's comes too late for this call.",
                next_step="Go on with other work and repeat this call later.",
                retry_after_s=wait_s,
            )
        if wait_s > 0:
            await self._pause(wait_s)

    async def rest(self, seconds: float) -> None:
        """Let nobody write for so many seconds: the desk asked for it."""
        await self._transact(lambda tx: self._set(tx, max(self._next(tx), tx.steady + seconds)))

    def _next(self, tx: Transaction) -> float:
        row = tx.one("SELECT next_at FROM desk_pace WHERE account = :account", account=self._account)
        return float(row["next_at"] or 0.0) if row else 0.0

    def _set(self, tx: Transaction, next_at: float) -> None:
        tx.execute(
            """INSERT INTO desk_pace (account, next_at) VALUES (:account, :next_at)
               ON CONFLICT (account) DO UPDATE SET next_at = excluded.next_at""",
            account=self._account,
            next_at=next_at,
        )
