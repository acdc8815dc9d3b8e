"""The table of job kinds. To add one: its name in `JobKind`, and a row here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook.jobs import announcing, auditing, effects, housekeeping
from gatebook.outbox import Job, JobKind, Outbox
from gatebook.runtime import Runtime
from gatebook.settings import Settings


def _finish(tx: Transaction, job: Job) -> None:
    Outbox(tx).finish(job)


def _try_later(tx: Transaction, job: Job, error: GatebookError) -> None:
    Outbox(tx).postpone(job, error=error.code, after_s=error.retry_after_s)


@dataclass(frozen=True)
class Kind:
    """What is done for the jobs of one kind, and what becomes of a job afterwards.

    `done` and `refused` run in the transaction that ends the lease. They must change nothing else when the outbox says
    that the job has another owner by now.
    """

    work: Callable[[Job], Awaitable[None]]
    done: Callable[[Transaction, Job], None] = _finish
    refused: Callable[[Transaction, Job, GatebookError], None] = _try_later


def kinds_of(runtime: Runtime, guard: Guard) -> Mapping[JobKind, Kind]:
    """Return what a process can do; who does not know the people's channel leaves its jobs to who does."""
    kinds: dict[JobKind, Kind] = {
        "execute_approved": Kind(
            partial(effects.execute_approved, runtime, guard), done=effects.executed, refused=effects.refused
        ),
        "reconcile": Kind(partial(effects.reconcile, runtime, guard)),
        "expire": Kind(partial(housekeeping.expire, runtime), done=housekeeping.expire_again),
        "prune": Kind(partial(housekeeping.prune, runtime), done=housekeeping.prune_again),
        "audit_checkpoint": Kind(partial(auditing.write_checkpoint, runtime), done=auditing.write_again),
    }
    if runtime.settings.notify_url:
        kinds["notify"] = Kind(partial(announcing.notify, runtime))
    return kinds


def find_jobs(tx: Transaction, settings: Settings) -> None:
    """Enqueue what nobody enqueued because nobody was there: after a crash, or because only time has passed."""
    housekeeping.schedule(tx)
    auditing.schedule(tx)
    effects.find_interrupted(tx, settle_s=settings.settle_s)
    if settings.notify_url:
        announcing.announce(tx, tenant=settings.tenant, mode=settings.mode)
