"""Checkpoints: a run's saved progress, idempotent by sequence number, pruned as they are written."""

import json

from gatebook.database.port import Transaction
from gatebook.errors import IdempotencyConflictError, TooLargeError
from gatebook.ledger.models import Checkpoint

MAX_STATE_BYTES = 256 * 1024
KEPT = 3
KEPT_EVERY = 100


class Checkpoints:
    """The checkpoints table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, run_id: str, *, seq: int, step: int, state: str) -> bool:
        """Save a state; False when this very checkpoint was there already.

        Keeps the last three and every hundredth.

        Raises:
            TooLargeError: If the state is larger than 256 KiB.
            IdempotencyConflictError: If the sequence number holds another state, or is behind the newest.
        """
        if len(state.encode()) > MAX_STATE_BYTES:
            raise TooLargeError("the state is larger than 256 KiB.", next_step="Keep references, not texts, in it.")
        last = self._last(run_id)
        if last and seq <= last[0]:
            self._require_same(run_id, seq=seq, newest=last[0], state=state)
            return False
        if len(last) >= KEPT:
            self._tx.defer(
                "DELETE FROM checkpoints WHERE run_id = :run_id AND seq <= :out AND seq % :every <> 0",
                run_id=run_id,
                out=last[KEPT - 1],
                every=KEPT_EVERY,
            )
        self._tx.defer(
            """INSERT INTO checkpoints (run_id, seq, step, state, created_at)
               VALUES (:run_id, :seq, :step, :state, :now)""",
            run_id=run_id,
            seq=seq,
            step=step,
            state=state,
            now=self._tx.now,
        )
        return True

    def _last(self, run_id: str) -> list[int]:
        """Return the numbers of as many checkpoints as are kept, the newest first; not their states."""
        rows = self._tx.all(
            "SELECT seq FROM checkpoints WHERE run_id = :run_id ORDER BY seq DESC LIMIT :kept",
            run_id=run_id,
            kept=KEPT,
        )
        return [int(row["seq"] or 0) for row in rows]

    def _require_same(self, run_id: str, *, seq: int, newest: int, state: str) -> None:
        known = self.newest(run_id) if seq == newest else None
        # The same state written in another order is the same state.
        if known is None or json.loads(known.state) != json.loads(state):
            raise IdempotencyConflictError(
                f"checkpoint {newest} is already there.",
                next_step="Continue with the next sequence number.",
                details={"newest": newest},
            )

    def newest(self, run_id: str) -> Checkpoint | None:
        """Return the last checkpoint of a run."""
        row = self._tx.one(
            """SELECT run_id, seq, step, state, created_at FROM checkpoints
               WHERE run_id = :run_id ORDER BY seq DESC LIMIT 1""",
            run_id=run_id,
        )
        return Checkpoint.model_validate(dict(row)) if row else None
