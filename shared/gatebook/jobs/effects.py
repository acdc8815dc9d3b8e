"""Effects that no agent waits for: those that a person approved, and those that were interrupted."""

from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.effects import Effects
from gatebook.errors import (
    ConfigurationError,
    GatebookError,
    InProgressError,
    OutcomeUnknownError,
    PausedError,
    RateLimitedError,
    StoreError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)
from gatebook.guard import Guard
from gatebook.outbox import Job, Outbox, Place
from gatebook.runtime import Runtime

RECONCILE_WITHIN_S = 7 * 86_400.0
"""How long it is tried to find out how an interrupted effect ended, before that is left to a person."""
_AT_ONCE = 100
_PASSING = (
    ConfigurationError,
    InProgressError,
    PausedError,
    RateLimitedError,
    StoreError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)


async def execute_approved(runtime: Runtime, guard: Guard, job: Job) -> None:
    """Perform what a person approved."""
    approval = await runtime.transact(lambda tx: Approvals(tx).get(job.subject))
    await guard.execute_approved(approval)


def executed(tx: Transaction, job: Job) -> None:
    """End the job of an approval whose effect is done."""
    if Outbox(tx).finish(job):
        # Still open only where the same effect was done under another approval: there is nothing left to use it for.
        Approvals(tx).void(Approvals(tx).get(job.subject), reason="superseded")


def refused(tx: Transaction, job: Job, error: GatebookError) -> None:
    """Try later what may yet succeed; what cannot any more is void and needs a person's attention."""
    if isinstance(error, _PASSING) or error.retry_after_s is not None:
        Outbox(tx).postpone(job, error=error.code, after_s=error.retry_after_s)
        return
    if Outbox(tx).finish(job, error=error.code) and not isinstance(error, OutcomeUnknownError):
        Approvals(tx).void(Approvals(tx).get(job.subject), reason=error.code)


def find_interrupted(tx: Transaction, *, settle_s: float) -> None:
    """Enqueue the claims whose owner is gone, unless an approval's own job is still going to look after one."""
    rows = tx.all(
        """SELECT effect_key, tenant, mode, server FROM effects
           WHERE state = 'claimed' AND lease_until <= :before AND NOT EXISTS (
             SELECT 1 FROM outbox WHERE (kind = 'reconcile' AND subject = effect_key AND state <> 'done')
               OR (kind = 'execute_approved' AND subject = approval_id AND state IN ('waiting', 'leased')))
           ORDER BY lease_until LIMIT :limit""",
        before=tx.steady - settle_s,
        limit=_AT_ONCE,
    )
    for row in rows:
        Outbox(tx).add(
            "reconcile",
            str(row["effect_key"]),
            use_by=tx.now + RECONCILE_WITHIN_S,
            place=Place(tenant=str(row["tenant"]), mode=str(row["mode"]), room=str(row["server"])),
            repeated=True,
        )


async def reconcile(runtime: Runtime, guard: Guard, job: Job) -> None:
    """Find out how an interrupted effect ended; by now somebody else may have done so."""
    row = await runtime.transact(lambda tx: Effects(tx).find(job.subject))
    if row is not None and row.state == "claimed":
        await guard.reconcile(row)
