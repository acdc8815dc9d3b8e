"""Durable background jobs: what has to happen although no agent and no server is running."""

from typing import Literal

from gatebook.clock import new_id
from gatebook.database.port import Transaction
from gatebook.intents import Value

JobKind = Literal["execute_approved"]
JobState = Literal["waiting", "leased", "done", "failed"]

LEASE_S = 60.0
_BACKOFF_S = (5.0, 30.0, 120.0, 600.0)


class Job(Value):
    """One job. `subject` is what it is about, such as an approval's id; a kind and subject exist once."""

    job_id: str
    kind: JobKind
    subject: str
    state: JobState
    due: float
    use_by: float
    owner: str
    lease_until: float
    attempts: int
    error: str
    created_at: float


class Outbox:
    """The outbox table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def add(self, kind: JobKind, subject: str, *, use_by: float) -> None:
        """Enqueue a job in the transaction that makes it necessary; the same one twice is one."""
        self._tx.execute(
            """INSERT INTO outbox (job_id, kind, subject, state, due, use_by, owner, lease_until, attempts, error,
                 created_at)
               VALUES (:id, :kind, :subject, 'waiting', :now, :use_by, '', 0, 0, '', :now)
               ON CONFLICT (kind, subject) DO NOTHING""",
            id=new_id("job"),
            kind=kind,
            subject=subject,
            now=self._tx.now,
            use_by=use_by,
        )

    def lease(self, owner: str, *, tenant: str, mode: str, subject: str = "") -> Job | None:
        """Take the job that is due longest (or the one about `subject`), also one whose owner is gone.

        What was approved for another tenant, or in a dry run, is left to a process that runs as such.
        """
        row = self._tx.one(
            """SELECT outbox.* FROM outbox JOIN approvals ON approvals.approval_id = outbox.subject
               WHERE ((outbox.state = 'waiting' AND due <= :now) OR (outbox.state = 'leased' AND lease_until <= :now))
                 AND (:subject = '' OR subject = :subject) AND tenant = :tenant AND mode = :mode
               ORDER BY due, job_id LIMIT 1""",
            now=self._tx.now,
            subject=subject,
            tenant=tenant,
            mode=mode,
        )
        if row is None:
            return None
        job = Job.model_validate(dict(row))
        self._tx.execute(
            """UPDATE outbox SET state = 'leased', owner = :owner, lease_until = :lease, attempts = attempts + 1
               WHERE job_id = :id""",
            owner=owner,
            lease=self._tx.now + LEASE_S,
            id=job.job_id,
        )
        return job.model_copy(update={"state": "leased", "owner": owner, "attempts": job.attempts + 1})

    def finish(self, job: Job, *, error: str = "") -> None:
        """End a job for good: done, or failed with the code that a person will read."""
        self._tx.execute(
            "UPDATE outbox SET state = :state, error = :error WHERE job_id = :id AND owner = :owner",
            state="failed" if error else "done",
            error=error,
            id=job.job_id,
            owner=job.owner,
        )

    def postpone(self, job: Job, *, error: str, after_s: float | None = None) -> None:
        """Give a job back, to be tried again later; past its use-by it fails."""
        wait = after_s if after_s is not None else _BACKOFF_S[min(job.attempts, len(_BACKOFF_S)) - 1]
        if self._tx.now + wait >= job.use_by:
            self.finish(job, error=error)
            return
        self._tx.execute(
            """UPDATE outbox SET state = 'waiting', due = :due, error = :error
               WHERE job_id = :id AND owner = :owner""",
            due=self._tx.now + wait,
            error=error,
            id=job.job_id,
            owner=job.owner,
        )

    def of_subject(self, kind: JobKind, subject: str) -> Job | None:
        """Return the job about something."""
        row = self._tx.one("SELECT * FROM outbox WHERE kind = :kind AND subject = :s", kind=kind, s=subject)
        return Job.model_validate(dict(row)) if row else None

    def failed(self) -> list[Job]:
        """Return the jobs that failed for good."""
        rows = self._tx.all("SELECT * FROM outbox WHERE state = 'failed' ORDER BY created_at")
        return [Job.model_validate(dict(row)) for row in rows]
