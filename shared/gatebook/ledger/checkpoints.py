"""Checkpoints: a run's saved progress, idempotent by sequence number, pruned as they are written."""

import json

from gatebook.database.port import Database, Transaction, Value
from gatebook.errors import IdempotencyConflictError, TooLargeError
from gatebook.ledger.models import Checkpoint

MAX_STATE_BYTES = 256 * 1024
KEPT = 3
KEPT_EVERY = 100

# One statement says whether the handle still drives the run, and saves: the ledger of a night is written often. The
# function `save_checkpoint` of PostgreSQL does the same, but prunes with every tenth number only.
_SAVE = """
INSERT INTO checkpoints (run_id, seq, step, state, created_at)
SELECT run_id, :seq, steps, :state, :now FROM runs
WHERE run_id = :run AND epoch = :epoch AND status = 'running'
  AND NOT EXISTS (SELECT 1 FROM checkpoints AS known WHERE known.run_id = :run AND known.seq >= :seq)
RETURNING seq
"""
_PRUNE = """
DELETE FROM checkpoints WHERE run_id = :run AND seq % :every <> 0 AND seq <= (
  SELECT seq FROM checkpoints AS newer WHERE newer.run_id = :run ORDER BY seq DESC LIMIT 1 OFFSET :kept)
"""


async def saved(database: Database, handle: str, *, seq: int, state: bytes) -> bool:
    """Save as `Checkpoints.save` does, in one call of the database where it can; False when it may not be saved.

    Raises:
        TooLargeError: If the state is larger than 256 KiB.
    """
    _require_small(state)
    return await database.call("save_checkpoint", **_place(handle, seq), state=state) is not None


class Checkpoints:
    """The checkpoints table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, handle: str, *, seq: int, state: bytes) -> bool:
        """Save a state of the run that a handle drives; nothing may follow in the transaction.

        Keeps the last three and every hundredth.

        Args:
            handle: The run's id with its epoch.
            seq: Its number, above the newest one's.
            state: JSON.

        Returns:
            False when nothing was saved: the handle does not drive a running run, or the number is not above the
            newest one's.

        Raises:
            TooLargeError: If the state is larger than 256 KiB.
        """
        _require_small(state)
        values = {**_place(handle, seq), "state": state.decode(), "kept": KEPT, "every": KEPT_EVERY}
        return self._tx.conclude(_SAVE, _PRUNE, **values) is not None

    def require_same(self, run_id: str, *, seq: int, state: bytes) -> None:
        """Refuse a state that `save` did not take, unless it is the newest one once more.

        Raises:
            IdempotencyConflictError: If the number holds another state, or is behind the newest.
        """
        newest = self.newest(run_id)
        # The same state written in another order is the same state.
        if newest is None or newest.seq != seq or json.loads(newest.state) != json.loads(state):
            raise IdempotencyConflictError(
                f"checkpoint {newest.seq if newest else 0} is already there.",
                next_step="Continue with the next sequence number.",
                details={"newest": newest.seq if newest else 0},
            )

    def newest(self, run_id: str) -> Checkpoint | None:
        """Return the last checkpoint of a run."""
        row = self._tx.one(
            """SELECT run_id, seq, step, state, created_at FROM checkpoints
               WHERE run_id = :run_id ORDER BY seq DESC LIMIT 1""",
            run_id=run_id,
        )
        return Checkpoint.model_validate(dict(row)) if row else None


def _require_small(state: bytes) -> None:
    if len(state) > MAX_STATE_BYTES:
        raise TooLargeError("the state is larger than 256 KiB.", next_step="Keep references, not texts, in it.")


def _place(handle: str, seq: int) -> dict[str, Value]:
    run_id, _, epoch = handle.partition(".")
    return {"run": run_id, "epoch": int(epoch) if epoch.isdecimal() else -1, "seq": seq}
