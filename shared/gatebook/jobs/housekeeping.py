"""What only time makes necessary: clocks that run out, and old records that are forgotten."""

from gatebook.approvals.records import Records
from gatebook.clock import local_day
from gatebook.database.port import Transaction
from gatebook.ledger.recordings import Recordings
from gatebook.outbox import ANYWHERE, FOREVER, Job, Outbox
from gatebook.runtime import Runtime

EXPIRE_EVERY_S = 60.0
DAY_S = 86_400.0
COUNTER_DAYS = 400
"""How long it is known what a principal spent on a day."""
JOB_DAYS = 30
"""How long a job that was done is known."""

INSTALLATION = "installation"
"""The subject of what there is once for all that share a database."""


def schedule(tx: Transaction) -> None:
    """Enqueue the chores, once per installation; each arranges for its own next time."""
    for kind in ("expire", "prune"):
        Outbox(tx).add(kind, INSTALLATION, use_by=FOREVER, place=ANYWHERE)


async def expire(runtime: Runtime, _job: Job) -> None:
    """Let requests expire and approvals lapse although nobody looks at them."""
    await runtime.transact(lambda tx: Records(tx).apply_clocks())


def expire_again(tx: Transaction, job: Job) -> None:
    """Arrange for the next look at the clocks."""
    Outbox(tx).rearrange(job, after_s=EXPIRE_EVERY_S)


async def prune(runtime: Runtime, _job: Job) -> None:
    """Forget recordings, counters and jobs that are old. Effects, decisions and steps stay."""
    settings = runtime.settings

    def forget(tx: Transaction) -> None:
        Recordings(tx, runtime.vault).prune(before=tx.now - settings.record_days * DAY_S)
        oldest = local_day(tx.now - COUNTER_DAYS * DAY_S, settings.zone)
        tx.execute("DELETE FROM counters WHERE day < :oldest", oldest=oldest)
        Outbox(tx).prune(before=tx.now - JOB_DAYS * DAY_S)

    await runtime.transact(forget)


def prune_again(tx: Transaction, job: Job) -> None:
    """Arrange for the next day's pruning."""
    Outbox(tx).rearrange(job, after_s=DAY_S)
