"""How a checkpoint gets into the ledger: in one call of the database, or else in a transaction."""

from gatebook.ledger.checkpoints import Checkpoints, saved
from gatebook.runtime import Runtime


async def save(runtime: Runtime, handle: str, *, seq: int, state: bytes) -> bool:
    """Save a state of a run; False when the newest one is there already, or the handle drives no running run.

    Raises:
        TooLargeError: If the state is larger than 256 KiB.
    """
    if await saved(runtime.database, handle, seq=seq, state=state):
        return True
    return await runtime.transact(lambda tx: Checkpoints(tx).save(handle, seq=seq, state=state))
