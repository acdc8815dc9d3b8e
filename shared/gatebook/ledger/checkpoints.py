"""Checkpoints: a run's saved progress, idempotent by sequence number, pruned as they are written."""

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
        newest = self.newest(run_id)
        if newest and seq <= newest.seq:
            if seq == newest.seq and state == newest.state:
                return False
            raise IdempotencyConflictError(
                f"checkpoint {newest.seq} is already there.",
                next_step="Continue with the next sequence number.",
                details={"newest": newest.seq},
            )
        self._tx.execute(
            """INSERT INTO checkpoints (run_id, seq, step, state, created_at)
               VALUES (:run_id, :seq, :step, :state, :now)""",
            run_id=run_id,
            seq=seq,
            step=step,
            state=state,
            now=self._tx.now,
        )
        self._tx.execute(
            """DELETE FROM checkpoints WHERE run_id = :run_id AND seq % :every <> 0 AND seq NOT IN
               (SELECT seq FROM checkpoints WHERE run_id = :run_id ORDER BY seq DESC LIMIT :kept)""",
            run_id=run_id,
            every=KEPT_EVERY,
            kept=KEPT,
        )
        return True

    def newest(self, run_id: str) -> Checkpoint | None:
        """Return the last checkpoint of a run."""
        row = self._tx.one(
            """SELECT run_id, seq, step, state, created_at FROM checkpoints
               WHERE run_id = :run_id ORDER BY seq DESC LIMIT 1""",
            run_id=run_id,
        )
        return Checkpoint.model_validate(dict(row)) if row else None
