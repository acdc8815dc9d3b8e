"""Does the jobs of the outbox in the background of any process, whether it serves an agent or not."""

import logging
import random
from functools import cached_property, partial

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError, UpstreamUnavailableError
from gatebook.guard import Guard
from gatebook.jobs.kinds import find_jobs, kinds_of
from gatebook.outbox import LEASE_S, Job, Outbox
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""How long a worker without work waits before it looks again, give or take a quarter."""
FIND_EVERY_S = 5.0
"""How often it looks for what nobody enqueued."""
LONGEST_PAUSE_S = 60.0
"""Longest wait between two looks at a database that fails."""
ACT_S = LEASE_S - 10.0
"""Seconds that one job may take: its owner acts only while it holds the lease."""


class Worker:
    """Leases jobs and does them, one at a time.

    Args:
        runtime: The process's ports.
        guard: A guard whose catalogue has the tools of the rooms that this process serves, and no others: it leases
            the jobs of these rooms only.
    """

    def __init__(self, runtime: Runtime, guard: Guard) -> None:
        self._runtime = runtime
        self._kinds = kinds_of(runtime, guard)
        self._guard = guard
        self._find_at = 0.0

    async def run(self, ended: anyio.Event) -> None:
        """Do jobs as they become due until `ended` is set; from then on no further one is begun.

        A database that is busy, full or gone is waited for. Nothing but a cancellation ends it earlier; a job that is
        cancelled is done by whoever takes it over when its lease ends.
        """
        failures = 0
        # Not at once: the process has just started, and its client waits for it.
        while not await _set_within(ended, _pause(failures)):
            try:
                while not ended.is_set() and await self.run_one(finding=True) is not None:
                    pass
                failures = 0
            except GatebookError as error:
                failures += 1
                logger.warning("the outbox could not be read", extra={"error": error.code})
            except Exception:
                # The outermost handler: nothing may end the background of a process that serves somebody.
                failures += 1
                logger.exception("the outbox could not be read")

    async def run_due(self) -> int:
        """Do all that is due now; how many jobs it was."""
        done = 0
        while await self.run_one(finding=True) is not None:
            done += 1
        return done

    async def run_one(self, *, subject: str = "", finding: bool = False) -> Job | None:
        """Do one job that is due.

        Args:
            subject: The one that is wanted; empty for any.
            finding: Whether to enqueue first, now and then, what nobody enqueued.

        Returns:
            The job, None when there is none or the suite is paused.

        Raises:
            GatebookError: If the database cannot be read or written. The job's lease ends by itself.
        """
        job = await self._runtime.transact(partial(self._lease, subject=subject, finding=finding))
        if job is not None:
            await self._do(job)
        return job

    @cached_property
    def _rooms(self) -> frozenset[str]:
        # Not sooner: this loads every room of the catalogue.
        return frozenset(spec.server for spec in self._guard.catalogue.values())

    def _lease(self, tx: Transaction, *, subject: str, finding: bool) -> Job | None:
        if Switches(tx).reason(PAUSE) is not None:
            return None
        settings = self._runtime.settings
        if finding and self._runtime.clock.steady().seconds >= self._find_at:
            self._find_at = self._runtime.clock.steady().seconds + FIND_EVERY_S
            find_jobs(tx, settings)
        return Outbox(tx).lease(
            self._runtime.owner,
            tenant=settings.tenant,
            mode=settings.mode,
            rooms=self._rooms,
            kinds=self._kinds,
            subject=subject,
        )

    async def _do(self, job: Job) -> None:
        kind = self._kinds[job.kind]
        error: GatebookError | None = None
        try:
            with anyio.fail_after(ACT_S):
                await kind.work(job)
        except GatebookError as refusal:
            error = refusal
        except TimeoutError:
            error = UpstreamUnavailableError("the job took too long.", next_step="It is tried again.")
        except Exception:
            # The outermost handler, as in the guard: a defect of one tool must not end the worker.
            logger.exception("a job failed")
            await self._runtime.transact(lambda tx: Outbox(tx).postpone(job, error=GatebookError.code))
            return

        def end(tx: Transaction) -> None:
            if error is None:
                kind.done(tx, job)
            else:
                kind.refused(tx, job, error)

        await self._runtime.transact(end)


def _pause(failures: int) -> float:
    """Return how long to wait, with jitter so that the processes of a machine do not meet."""
    wait = min(POLL_S * 2**failures, LONGEST_PAUSE_S)
    return wait * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


async def _set_within(event: anyio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than that; whether it is set."""
    with anyio.move_on_after(seconds):
        await event.wait()
    return event.is_set()
