"""Executes what people approved, though no agent and no other server is running."""

import logging
from functools import partial

import anyio

from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.errors import (
    ConfigurationError,
    GatebookError,
    InProgressError,
    OutcomeUnknownError,
    PausedError,
    RateLimitedError,
    StorageFullError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)
from gatebook.guard import Guard
from gatebook.outbox import Job, Outbox
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches

logger = logging.getLogger(__name__)
POLL_S = 1.0
_PASSING = (
    ConfigurationError,
    InProgressError,
    PausedError,
    RateLimitedError,
    StorageFullError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)


class Worker:
    """Leases jobs of the outbox and runs them through the guard.

    Args:
        runtime: The process's ports.
        guard: A guard that knows every tool of the suite.
    """

    def __init__(self, runtime: Runtime, guard: Guard) -> None:
        self._runtime = runtime
        self._guard = guard

    async def run_one(self, *, subject: str = "") -> Job | None:
        """Run the next job that is due, or the one about `subject`; None when there is none or the suite is paused."""

        def lease(tx: Transaction) -> Job | None:
            if Switches(tx).reason(PAUSE) is not None:
                return None
            settings = self._runtime.settings
            return Outbox(tx).lease(self._runtime.owner, tenant=settings.tenant, mode=settings.mode, subject=subject)

        job = await self._runtime.transact(lease)
        if job is not None:
            await self._execute(job)
        return job

    async def run_forever(self) -> None:
        """Run jobs as they become due, until cancelled."""
        while True:
            try:
                idle = await self.run_one() is None
            except GatebookError as error:
                logger.warning("the outbox could not be read", extra={"error": error.code})
                idle = True
            if idle:
                await anyio.sleep(POLL_S)

    async def _execute(self, job: Job) -> None:
        approval = await self._runtime.transact(lambda tx: Approvals(tx).get(job.subject))
        try:
            await self._guard.execute_approved(approval)
        except GatebookError as error:
            ending = partial(_refused, job=job, error=error)
        except Exception:
            # The outermost handler, as in the guard: a defect of one tool must not end the worker.
            logger.exception("a job failed")
            ending = partial(_broken, job=job)
        else:
            ending = partial(_done, job=job)
        await self._runtime.transact(ending)


def _done(tx: Transaction, *, job: Job) -> None:
    # Still open only where the same effect was done under another approval: there is nothing left to use it for.
    Approvals(tx).void(Approvals(tx).get(job.subject), reason="superseded")
    Outbox(tx).finish(job)


def _broken(tx: Transaction, *, job: Job) -> None:
    Outbox(tx).postpone(job, error="internal")


def _refused(tx: Transaction, *, job: Job, error: GatebookError) -> None:
    """Try later what may yet succeed; what cannot any more is void and needs a person's attention."""
    if isinstance(error, _PASSING) or error.retry_after_s is not None:
        Outbox(tx).postpone(job, error=error.code, after_s=error.retry_after_s)
        return
    if not isinstance(error, OutcomeUnknownError):
        Approvals(tx).void(Approvals(tx).get(job.subject), reason=error.code)
    Outbox(tx).finish(job, error=error.code)
