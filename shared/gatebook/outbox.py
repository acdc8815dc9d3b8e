"""Durable background jobs: what has to happen although no agent is there any more.

A job is done by any process that may do it, one at a time. It is leased: a process that died, or stood still for longer
than the lease, loses its job to another, and what it has to say about it afterwards changes nothing.
"""

from collections.abc import Collection
from typing import Literal

from gatebook.clock import new_id
from gatebook.database.port import Transaction
from gatebook.errors import NotFoundError
from gatebook.intents import Value

JobKind = Literal["audit_checkpoint", "execute_approved", "expire", "notify", "prune", "reconcile"]
JobState = Literal["waiting", "leased", "done", "failed"]

LEASE_S = 60.0
"""How long a job belongs to the process that took it, seconds."""
FOREVER = 253_402_300_799.0
"""The use-by of what is never given up: the end of the year 9999."""
_BACKOFF_S = (5.0, 30.0, 120.0, 600.0)


class Place(Value):
    """Where a job may be done: by processes of this tenant and mode that loaded this room; empty means any."""

    tenant: str = ""
    mode: str = ""
    room: str = ""


ANYWHERE = Place()


class Job(Value):
    """One job. `subject` is what it is about, such as an approval's id; a kind and subject exist once.

    `due` and `use_by` are by the calendar, `lease_until` by the clock for leases. `attempts` counts the leases.
    """

    job_id: str
    kind: JobKind
    subject: str
    tenant: str
    mode: str
    room: str
    state: JobState
    due: float
    use_by: float
    owner: str
    lease_until: float
    attempts: int
    error: str
    created_at: float


_COLUMNS = ", ".join(Job.model_fields)


class Outbox:
    """The outbox table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def add(
        self, kind: JobKind, subject: str, *, use_by: float, place: Place | None = None, repeated: bool = False
    ) -> None:
        """Enqueue a job, due at once, in the transaction that makes it necessary; the same one twice is one.

        Args:
            kind: What is to be done.
            subject: About what.
            use_by: Until when it may be tried again, seconds since the epoch.
            place: Where it may be done; default where the tool of the approval `subject` is.
            repeated: Whether it is to be done once more when it was done before.

        Raises:
            NotFoundError: If no place is given and there is no such approval.
        """
        chosen = place or self._place_of_approval(subject)
        self._tx.execute(
            """INSERT INTO outbox (job_id, kind, subject, tenant, mode, room, state, due, use_by, owner, lease_until,
                 attempts, error, created_at)
               VALUES (:id, :kind, :subject, :tenant, :mode, :room, 'waiting', :now, :use_by, '', 0, 0, '', :now)
               ON CONFLICT (kind, subject) DO UPDATE SET state = 'waiting', due = excluded.due,
                 use_by = excluded.use_by, attempts = 0, error = '', created_at = excluded.created_at
               WHERE outbox.state = 'done' AND :repeated = 1""",
            id=new_id("job"),
            kind=kind,
            subject=subject,
            tenant=chosen.tenant,
            mode=chosen.mode,
            room=chosen.room,
            now=self._tx.now,
            use_by=use_by,
            repeated=int(repeated),
        )

    def lease(
        self,
        owner: str,
        *,
        tenant: str,
        mode: str,
        rooms: Collection[str],
        kinds: Collection[JobKind],
        subject: str = "",
    ) -> Job | None:
        """Take the job that is due longest (or the one about `subject`), also one whose owner is gone.

        Args:
            owner: The process.
            tenant: Its tenant; a job of another one is left to a process that runs as such.
            mode: Its mode, likewise.
            rooms: Those it loaded.
            kinds: What it knows how to do.
            subject: The one job that is wanted; empty for any.
        """
        in_rooms = {f"room_{number}": room for number, room in enumerate(["", *rooms])}
        of_kinds = {f"kind_{number}": kind for number, kind in enumerate(kinds)}
        row = self._tx.one(
            f"""SELECT {_COLUMNS} FROM outbox
                WHERE ((state = 'waiting' AND due <= :now) OR (state = 'leased' AND lease_until <= :steady))
                  AND (:subject = '' OR subject = :subject) AND tenant IN ('', :tenant) AND mode IN ('', :mode)
                  AND room IN ({_listed(in_rooms)}) AND kind IN ({_listed(of_kinds)})
                ORDER BY due, job_id LIMIT 1""",  # noqa: S608 - names of parameters
            now=self._tx.now,
            steady=self._tx.steady,
            subject=subject,
            tenant=tenant,
            mode=mode,
            **in_rooms,
            **of_kinds,
        )
        return self._leased(Job.model_validate(dict(row)), owner) if row else None

    def finish(self, job: Job, *, error: str = "") -> bool:
        """End a job for good: done, or failed with the code that a person will read.

        Returns:
            False when the job has another owner by now; then nothing changed, and nothing else may change for it.
        """
        return self._release(job, state="failed" if error else "done", due=job.due, error=error)

    def postpone(self, job: Job, *, error: str, after_s: float | None = None) -> bool:
        """Give a job back, to be tried again after growing waits, at least `after_s` each; past its use-by it fails.

        Returns as `finish`.
        """
        wait = max(after_s or 0.0, _BACKOFF_S[min(job.attempts, len(_BACKOFF_S)) - 1])
        if self._tx.now + wait >= job.use_by:
            return self.finish(job, error=error)
        return self._release(job, state="waiting", due=self._tx.now + wait, error=error)

    def rearrange(self, job: Job, *, after_s: float) -> bool:
        """Give back a job that was done and is to be done again after that many seconds. Returns as `finish`."""
        return self._release(job, state="waiting", due=self._tx.now + after_s, error="")

    def hasten(self, kind: JobKind, subject: str) -> None:
        """Let a job that waits be due now."""
        self._tx.execute(
            """UPDATE outbox SET due = :now
               WHERE kind = :kind AND subject = :subject AND state = 'waiting' AND due > :now""",
            now=self._tx.now,
            kind=kind,
            subject=subject,
        )

    def of_subject(self, kind: JobKind, subject: str) -> Job | None:
        """Return the job about something."""
        row = self._tx.one(
            f"SELECT {_COLUMNS} FROM outbox WHERE kind = :kind AND subject = :subject",  # noqa: S608 - constant
            kind=kind,
            subject=subject,
        )
        return Job.model_validate(dict(row)) if row else None

    def failed(self, *, tenant: str) -> list[Job]:
        """Return the jobs that failed for good, with those that are nobody's own."""
        rows = self._tx.all(
            f"""SELECT {_COLUMNS} FROM outbox WHERE state = 'failed' AND tenant IN ('', :tenant)
                ORDER BY created_at""",  # noqa: S608 - constant columns
            tenant=tenant,
        )
        return [Job.model_validate(dict(row)) for row in rows]

    def close(self, kind: JobKind, subject: str) -> None:
        """Take a job off the failed ones: a person settled what it was about."""
        self._tx.execute(
            "UPDATE outbox SET state = 'done' WHERE kind = :kind AND subject = :subject AND state = 'failed'",
            kind=kind,
            subject=subject,
        )

    def prune(self, *, before: float) -> int:
        """Forget the jobs that were done and made before a time; how many."""
        return self._tx.execute("DELETE FROM outbox WHERE state = 'done' AND created_at < :before", before=before)

    def _place_of_approval(self, approval_id: str) -> Place:
        row = self._tx.one("SELECT tenant, mode, server AS room FROM approvals WHERE approval_id = :id", id=approval_id)
        if row is None:
            raise NotFoundError("no approval has this id.", next_step="Run `gatebook approvals list` for valid ids.")
        return Place.model_validate(dict(row))

    def _leased(self, job: Job, owner: str) -> Job:
        lease_until = self._tx.steady + LEASE_S
        self._tx.execute(
            """UPDATE outbox SET state = 'leased', owner = :owner, lease_until = :lease, attempts = attempts + 1
               WHERE job_id = :id""",
            owner=owner,
            lease=lease_until,
            id=job.job_id,
        )
        taken = {"state": "leased", "owner": owner, "lease_until": lease_until, "attempts": job.attempts + 1}
        return job.model_copy(update=taken)

    def _release(self, job: Job, *, state: JobState, due: float, error: str) -> bool:
        """Change a job if this very lease of it is still the last one: the attempts are its fence."""
        return bool(
            self._tx.execute(
                """UPDATE outbox SET state = :state, due = :due, error = :error
                   WHERE job_id = :id AND state = 'leased' AND owner = :owner AND attempts = :attempts""",
                state=state,
                due=due,
                error=error,
                id=job.job_id,
                owner=job.owner,
                attempts=job.attempts,
            )
        )


def _listed(parameters: Collection[str]) -> str:
    return ", ".join(f":{name}" for name in parameters)
