"""Time between the writes of one account, across processes.

GitHub asks for at least one second between requests that change something, and answers with a secondary rate limit
otherwise (https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api).
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError, RateLimitedError
from gatebook.runtime import Runtime

logger = logging.getLogger(__name__)

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
        """Wait for the next free moment and take it; where `rest` put it off meanwhile, for another one.

        Raises:
            RateLimitedError: If it comes after the call's deadline; that moment is not taken then.
        """
        resting = True
        while resting:
            left_s = anyio.current_effective_deadline() - anyio.current_time()
            wait_s = await self._transact(partial(self._take, left_s=left_s))
            if wait_s >= left_s:
                raise RateLimitedError(
                    "writes to the desk take turns, and this one's comes too late for this call.",
                    next_step="Go on with other work and repeat this call later.",
                    retry_after_s=wait_s,
                )
            if wait_s <= 0:
                return
            await self._pause(wait_s)
            resting = await self._transact(lambda tx: self._paced(tx)[1] > tx.steady)

    def _take(self, tx: Transaction, *, left_s: float) -> float:
        """Take the next moment if it comes within so many seconds; how long until then."""
        next_at, rest_until = self._paced(tx)
        at = max(next_at, tx.steady)
        if at - tx.steady < left_s:
            self._put(tx, next_at=at + APART_S, rest_until=rest_until)
        return at - tx.steady

    async def rest(self, seconds: float = APART_S) -> None:
        """Let nobody write for so many seconds: a write ended just now, or the desk asked for it.

        Where that cannot be put on record the next write may come too soon, which GitHub refuses; what was written, it
        does not change.
        """

        def put_off(tx: Transaction) -> None:
            next_at, rest_until = self._paced(tx)
            until = tx.steady + seconds
            self._put(tx, next_at=max(next_at, until), rest_until=max(rest_until, until))

        try:
            await self._transact(put_off)
        except GatebookError as error:
            logger.warning("the pace of writes is not on record: %s", error.code)

    def _paced(self, tx: Transaction) -> tuple[float, float]:
        row = tx.one("SELECT next_at, rest_until FROM desk_pace WHERE account = :account", account=self._account)
        return (float(row["next_at"] or 0), float(row["rest_until"] or 0)) if row else (0.0, 0.0)

    def _put(self, tx: Transaction, *, next_at: float, rest_until: float) -> None:
        tx.execute(
            """INSERT INTO desk_pace (account, next_at, rest_until) VALUES (:account, :next_at, :rest_until)
               ON CONFLICT (account) DO UPDATE SET next_at = excluded.next_at, rest_until = excluded.rest_until""",
            account=self._account,
            next_at=next_at,
            rest_until=rest_until,
        )
