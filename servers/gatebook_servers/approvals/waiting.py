"""Wait for people: a decision of another process, or of this one, is noticed within a moment."""

from collections.abc import Callable, Sequence
from typing import Literal

import anyio

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.injection import Progress
from gatebook.runtime import Runtime

PROGRESS_S = 1.0
"""How often the client is told that the wait goes on."""


async def decided(
    runtime: Runtime,
    read: Callable[[Transaction], list[Approval]],
    *,
    wait_for: Literal["any", "all"],
    timeout_s: float,
    progress: Progress,
) -> list[Approval]:
    """Wait until people decided any or all of the requests that `read` returns, at most that long; as they are then.

    Raises:
        GatebookError: Whatever `read` raises.
    """
    changes = runtime.changes
    started = told = anyio.current_time()
    async with changes.followed():
        while True:
            mark = changes.mark
            found = await runtime.transact(read)
            pending = [request for request in found if request.state == "pending"]
            waited = anyio.current_time() - started
            if not pending or (wait_for == "any" and len(pending) < len(found)) or waited >= timeout_s:
                return found
            while waited < timeout_s and await _all_pending(runtime, pending):
                if started + waited >= told:
                    told = started + waited + PROGRESS_S
                    await progress(waited, timeout_s, f"{len(pending)} pending")
                await changes.after(mark, within_s=timeout_s - waited)
                mark = changes.mark
                waited = anyio.current_time() - started


async def _all_pending(runtime: Runtime, requests: Sequence[Approval]) -> bool:
    ids = [request.approval_id for request in requests]
    return await runtime.look(lambda tx: Approvals(tx).all_pending(ids))
