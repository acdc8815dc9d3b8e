"""A write to another company's desk: on record before it is sent, alone on its ticket, judged when it ends.

The guard claims an effect before any of this and looks it up after a crash. What is added here is what only the desk's
side can know: the exact request, for a repetition to be the same bytes, and that two replicas do not write to one
ticket in the same moment, because a version whose stamp has whole seconds does not tell them apart.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from pydantic import JsonValue

from gatebook.database.port import Row, Transaction
from gatebook.errors import ConflictError, GatebookError, InProgressError, OutcomeUnknownError, StoreError
from gatebook.retry import ATTEMPT_S
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import Applied

logger = logging.getLogger(__name__)

LEASE_S = 4 * ATTEMPT_S
"""How long a ticket belongs to one write, seconds: longer than its attempts take."""
_WAIT_S = 5.0
_PAUSE_S = 0.05

Request = dict[str, JsonValue]


@dataclass(frozen=True)
class Write:
    """One write: which marker, to which ticket (empty: a new one), what it does, and its request."""

    marker: str
    ref: str
    operation: str
    request: Request


@dataclass(frozen=True)
class Recorded:
    """A write on record, as it was first sent.

    `outcome` is how it ended: `applied`, `not_applied`, `conflict`, or `ambiguous` as long as that is not known.
    `sent_at` is when it was last sent, and `age_s` how many seconds ago that was when it was read, both by
    `Transaction.steady`: whether something may be missing yet, or is older, must not depend on a clock that is set.
    """

    marker: str
    ref: str
    operation: str
    request: Request
    outcome: str
    sent_at: float
    age_s: float


class DeskWrites:
    """The writes to one account."""

    def __init__(self, runtime: Runtime, account: str) -> None:
        self._transact = runtime.transact
        self._owner = runtime.owner
        self._account = account

    async def send(self, write: Write, send: Callable[[Request], Awaitable[Applied]]) -> Applied:
        """Record a write, send it while no other goes to its ticket, and record how it ended.

        Args:
            write: What to send. Where its marker is known already, the request of then is sent.
            send: Sends a request once, retries included.

        Raises:
            InProgressError: If another write goes to the ticket.
            GatebookError, AmbiguousError: As `send`.
        """
        request = await self._begun(write)
        outcome = "ambiguous"
        try:
            applied = await send(request)
            outcome = "applied"
        except ConflictError:
            outcome = "conflict"
            raise
        except (OutcomeUnknownError, StoreError):
            raise
        except GatebookError:
            outcome = "not_applied"
            raise
        else:
            return applied
        finally:
            # What was cut off stays ambiguous, and its lease runs out by itself.
            if outcome != "ambiguous":
                await self._end(write, outcome)

    async def _end(self, write: Write, outcome: str) -> None:
        try:
            await self._transact(lambda tx: self._ended(tx, write, outcome))
        except GatebookError as error:
            # It is over all the same. On record it stays ambiguous, which makes whoever asks look it up.
            logger.warning("how a write ended is not on record: %s", error.code)

    async def recorded(self, marker: str) -> Recorded | None:
        """Return what was sent with a marker, None when nothing ever was."""
        return await self._transact(lambda tx: self._record(tx, marker))

    async def recent(self, *, within_s: float, most: int) -> list[Recorded]:
        """Return what was sent in the last `within_s` seconds, newest first."""
        return await self._transact(
            lambda tx: [
                _as_recorded(row, tx)
                for row in tx.all(
                    """SELECT * FROM desk_writes WHERE account = :account AND sent_at > :since
                       ORDER BY sent_at DESC LIMIT :most""",
                    account=self._account,
                    since=tx.steady - within_s,
                    most=most,
                )
            ]
        )

    async def twins(self, write: Recorded) -> int:
        """Return how many other writes of the same kind and content went to the ticket since, or just before."""

        def count(tx: Transaction) -> int:
            rows = tx.all(
                """SELECT request FROM desk_writes WHERE account = :account AND ref = :ref AND operation = :operation
                     AND marker <> :marker AND outcome <> 'not_applied' AND sent_at > :since""",
                account=self._account,
                ref=write.ref,
                operation=write.operation,
                marker=write.marker,
                since=write.sent_at - LEASE_S,
            )
            others: list[Request] = [json.loads(str(row["request"])) for row in rows]
            return sum(other.get("body") == write.request.get("body") for other in others)

        return await self._transact(count)

    async def _begun(self, write: Write) -> Request:
        def begin(tx: Transaction) -> Request | None:
            return self._recorded(tx, write) if not write.ref or self._leased(tx, write) else None

        with anyio.move_on_after(_WAIT_S):
            while (request := await self._transact(begin)) is None:  # noqa: ASYNC110 - another process may end it
                await anyio.sleep(_PAUSE_S)
            return request
        raise InProgressError(
            "another write goes to this ticket.", next_step="Repeat the same call.", retry_after_s=_WAIT_S
        )

    def _record(self, tx: Transaction, marker: str) -> Recorded | None:
        row = tx.one(
            "SELECT * FROM desk_writes WHERE marker = :marker AND account = :account",
            marker=marker,
            account=self._account,
        )
        return _as_recorded(row, tx) if row else None

    def _recorded(self, tx: Transaction, write: Write) -> Request:
        row = tx.one("SELECT request FROM desk_writes WHERE marker = :marker", marker=write.marker)
        if row is not None:
            tx.execute(
                "UPDATE desk_writes SET outcome = 'ambiguous', sent_at = :now WHERE marker = :marker",
                now=tx.steady,
                marker=write.marker,
            )
            known: Request = json.loads(str(row["request"]))
            return known
        tx.execute(
            """INSERT INTO desk_writes (marker, account, ref, operation, request, outcome, sent_at)
               VALUES (:marker, :account, :ref, :operation, :request, 'ambiguous', :now)""",
            marker=write.marker,
            account=self._account,
            ref=write.ref,
            operation=write.operation,
            request=json.dumps(write.request),
            now=tx.steady,
        )
        return write.request

    def _leased(self, tx: Transaction, write: Write) -> bool:
        taken = tx.one(
            """INSERT INTO desk_leases (account, ref, owner, marker, until)
               VALUES (:account, :ref, :owner, :marker, :until)
               ON CONFLICT (account, ref) DO UPDATE
                 SET owner = excluded.owner, marker = excluded.marker, until = excluded.until
                 WHERE desk_leases.until <= :now OR desk_leases.marker = excluded.marker
               RETURNING ref""",
            account=self._account,
            ref=write.ref,
            owner=self._owner,
            marker=write.marker,
            until=tx.steady + LEASE_S,
            now=tx.steady,
        )
        return taken is not None

    def _ended(self, tx: Transaction, write: Write, outcome: str) -> None:
        tx.execute(
            "UPDATE desk_writes SET outcome = :outcome WHERE marker = :marker", outcome=outcome, marker=write.marker
        )
        tx.execute(
            "DELETE FROM desk_leases WHERE account = :account AND ref = :ref AND owner = :owner AND marker = :marker",
            account=self._account,
            ref=write.ref,
            owner=self._owner,
            marker=write.marker,
        )


def _as_recorded(row: Row, tx: Transaction) -> Recorded:
    sent_at = float(row["sent_at"] or 0)
    return Recorded(
        marker=str(row["marker"]),
        ref=str(row["ref"]),
        operation=str(row["operation"]),
        request=json.loads(str(row["request"])),
        outcome=str(row["outcome"]),
        sent_at=sent_at,
        age_s=tx.steady - sent_at,
    )
