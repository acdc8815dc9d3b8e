"""Runs and their steps: who drives a run, how far it is, how many steps it has left."""

from collections.abc import Mapping, Sequence

from gatebook.clock import new_id
from gatebook.database.port import Transaction, Value
from gatebook.errors import (
    ConflictError,
    InvalidArgumentsError,
    NotFoundError,
    RunLeaseLostError,
    RunNotActiveError,
    StepBudgetExceededError,
)
from gatebook.ledger.models import GRACE_CALLS, STOP, LimitName, Run, RunStatus, Step, StepStatus

_RUN = ", ".join(Run.model_fields)
_STEP = ", ".join(Step.model_fields)


class Runs:
    """The run tables, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def by_key(self, *, tenant: str, key: str) -> Run | None:
        """Return the run with this key; a key is unique for ever."""
        return self._run("tenant = :tenant AND key = :key", tenant=tenant, key=key)

    def create(
        self,
        *,
        tenant: str,
        principal: str,
        key: str,
        goal: str,
        max_steps: int,
        max_tokens: int | None,
        max_usd: float | None,
    ) -> Run:
        """Insert a run at epoch 1."""
        run_id = new_id("run")
        self._tx.execute(
            """INSERT INTO runs (run_id, tenant, principal, key, goal, status, epoch, steps, step_limit, grace,
                 max_steps, max_tokens, max_usd, summary, started_at, updated_at, finished_at)
               VALUES (:id, :tenant, :principal, :key, :goal, 'running', 1, 0, :max_steps, :grace,
                 :max_steps, :max_tokens, :max_usd, '', :now, :now, NULL)""",
            id=run_id,
            tenant=tenant,
            principal=principal,
            key=key,
            goal=goal,
            max_steps=max_steps,
            grace=GRACE_CALLS,
            max_tokens=max_tokens,
            max_usd=max_usd,
            now=self._tx.now,
        )
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """Return a run by its id, with or without the epoch.

        Raises:
            NotFoundError: If there is none.
        """
        run = self._run("run_id = :id", id=run_id.partition(".")[0])
        if run is None:
            raise NotFoundError("no run has this id.", next_step="Call start_run, or list_runs for valid ids.")
        return run

    def driven(self, handle: str) -> Run:
        """Return the run that a handle drives, or drove while it went on.

        Raises:
            NotFoundError: If there is no such run.
            InvalidArgumentsError: If the handle has no epoch.
            RunLeaseLostError: If another agent resumed it since this handle was given out.
        """
        run_id, _, epoch = handle.partition(".")
        run = self.get(run_id)
        if not epoch.isdigit():
            raise InvalidArgumentsError(
                "the run id has no epoch.", next_step="Pass the run_id exactly as start_run or resume_run returned it."
            )
        if int(epoch) != run.epoch:
            raise RunLeaseLostError(
                "another agent resumed this run.", next_step="Stop working on it; do not resume it again."
            )
        return run

    def active(self, handle: str) -> Run:
        """Return the run that a handle drives.

        Raises:
            NotFoundError, InvalidArgumentsError, RunLeaseLostError: As `driven`.
            RunNotActiveError: If it is finished or paused.
        """
        run = self.driven(handle)
        require_active(run)
        return run

    def resume(self, run: Run, *, max_steps: int) -> Run:
        """Raise the epoch, so that older handles are refused; a paused run gets steps anew, or keeps what it has."""
        limit = max(run.step_limit, run.steps + max_steps) if run.status == "paused" else run.step_limit
        self._tx.execute(
            """UPDATE runs SET epoch = epoch + 1, status = 'running', step_limit = :limit, grace = :grace,
                 updated_at = :now, finished_at = NULL WHERE run_id = :id""",
            limit=limit,
            grace=GRACE_CALLS if run.status == "paused" else run.grace,
            now=self._tx.now,
            id=run.run_id,
        )
        return self.get(run.run_id)

    def raise_limits(self, run_id: str, wanted: Mapping[LimitName, float]) -> Run:
        """Raise limits of an unfinished run, and with its steps its grace; a limit is never lowered.

        Raises:
            NotFoundError: If there is no such run.
            RunNotActiveError: If it is finished.
            ConflictError: If none of its limits is below what is wanted, or it has none of its own.
        """
        run = self.get(run_id)
        if not run.unfinished:
            raise RunNotActiveError(f"the run is {run.status}.", next_step="Nothing was raised.")
        limits = run.limits
        higher = {
            name: value for name, value in wanted.items() if (limit := limits[name]) is not None and value > limit
        }
        if not higher:
            raise ConflictError("the run's limits are this high already.", next_step="Nothing was raised.")
        raised = {**limits, **higher}
        self._tx.execute(
            """UPDATE runs SET step_limit = :steps, max_tokens = :tokens, max_usd = :usd, grace = :grace,
                 updated_at = :now WHERE run_id = :id""",
            **raised,
            grace=GRACE_CALLS if "steps" in higher else run.grace,
            now=self._tx.now,
            id=run.run_id,
        )
        return self.get(run.run_id)

    def finish(self, run: Run, *, status: RunStatus, summary: str) -> Run:
        """End a run, or pause it."""
        self._tx.execute(
            """UPDATE runs SET status = :status, summary = :summary, updated_at = :now, finished_at = :now
               WHERE run_id = :id""",
            status=status,
            summary=summary,
            now=self._tx.now,
            id=run.run_id,
        )
        return self.get(run.run_id)

    def accept(
        self,
        run: Run,
        *,
        server: str,
        tool: str,
        arguments_sha256: str,
        input_size: int,
        tool_use_id: str = "",
        effect_key: str = "",
        approval_id: str = "",
        status: StepStatus = "accepted",
        graceful: bool = False,
    ) -> int:
        """Number and record one call of a run as this transaction found it; the number, 0 for a grace call.

        Raises:
            RunNotActiveError: If it is finished or paused.
            StepBudgetExceededError: If the run has no steps left, and no grace for this call.
        """
        require_active(run)
        debited = self._tx.execute(
            "UPDATE runs SET steps = steps + 1, updated_at = :now WHERE run_id = :id AND steps < step_limit",
            id=run.run_id,
            now=self._tx.now,
        )
        if not debited:
            self._grace(run, graceful=graceful)
            return 0
        self._tx.defer(
            """INSERT INTO steps (run_id, number, server, tool, status, arguments_sha256, effect_key, approval_id,
                 tool_use_id, attempts, error, input_size, output_size, started_at, finished_at)
               VALUES (:id, :number, :server, :tool, :status, :sha, :effect_key, :approval_id,
                 :tool_use_id, 1, '', :input_size, 0, :now, NULL)""",
            id=run.run_id,
            number=run.steps + 1,
            server=server,
            tool=tool,
            status=status,
            sha=arguments_sha256,
            effect_key=effect_key,
            approval_id=approval_id,
            tool_use_id=tool_use_id,
            input_size=input_size,
            now=self._tx.now,
        )
        return run.steps + 1

    def complete(
        self, run_id: str, number: int, *, status: StepStatus, attempts: int, error: str, output_size: int
    ) -> None:
        """Record how a step ended."""
        self._tx.defer(
            """UPDATE steps SET status = :status, attempts = :attempts, error = :error, output_size = :size,
                 finished_at = :now WHERE run_id = :id AND number = :number""",
            status=status,
            attempts=attempts,
            error=error,
            size=output_size,
            now=self._tx.now,
            id=run_id,
            number=number,
        )

    def executed(self, approval_id: str) -> None:
        """Mark the step that asked for an approval as executed; the execution is no step of its own."""
        self._tx.defer(
            "UPDATE steps SET status = 'executed', finished_at = :now WHERE approval_id = :id AND status = 'held'",
            id=approval_id,
            now=self._tx.now,
        )

    def asked_instead(self, before: str, after: str) -> None:
        """Let the step that asked for one approval wait for another one, which took its place."""
        self._tx.defer(
            "UPDATE steps SET approval_id = :after WHERE approval_id = :before AND status = 'held'",
            after=after,
            before=before,
        )

    def settled(self, effect_key: str, *, status: StepStatus, error: str) -> None:
        """End the steps that began an effect and were interrupted; another call found out how it ended."""
        self._tx.defer(
            """UPDATE steps SET status = :status, error = :error, finished_at = :now
               WHERE effect_key = :key AND effect_key <> '' AND status = 'accepted'""",
            status=status,
            error=error,
            now=self._tx.now,
            key=effect_key,
        )

    def steps(self, run_id: str, *, after: int = 0, limit: int = 1_000, unfinished: bool = False) -> list[Step]:
        """Return a run's steps behind the number `after`, in order; `unfinished` ones before it too, if wanted."""
        rows = self._tx.all(
            f"""SELECT {_STEP} FROM steps
                WHERE run_id = :id AND (number > :after OR (:unfinished = 1 AND status = 'accepted'))
                ORDER BY number LIMIT :limit""",  # noqa: S608 - constant columns
            id=run_id,
            after=after,
            limit=limit,
            unfinished=int(unfinished),
        )
        return [Step.model_validate(dict(row)) for row in rows]

    def retries(self, run_id: str) -> int:
        """Return how many attempts beyond the first a run's steps took."""
        row = self._tx.one("SELECT COALESCE(SUM(attempts - 1), 0) AS n FROM steps WHERE run_id = :id", id=run_id)
        return int(row["n"] or 0) if row else 0

    def select(self, *, tenant: str, status: RunStatus | None = None, limit: int = 50) -> Sequence[Run]:
        """Return runs, newest first."""
        rows = self._tx.all(
            f"SELECT {_RUN} FROM runs WHERE tenant = :tenant AND (:status = '' OR status = :status)"  # noqa: S608
            " ORDER BY started_at DESC, run_id LIMIT :limit",
            tenant=tenant,
            status=status or "",
            limit=limit,
        )
        return [Run.model_validate(dict(row)) for row in rows]

    def _grace(self, run: Run, *, graceful: bool) -> None:
        if graceful and self._tx.execute(
            "UPDATE runs SET grace = grace - 1 WHERE run_id = :id AND grace > 0", id=run.run_id
        ):
            return
        raise _used_up(run)

    def _run(self, where: str, **parameters: Value) -> Run | None:
        row = self._tx.one(f"SELECT {_RUN} FROM runs WHERE {where}", **parameters)  # noqa: S608 - constants
        return Run.model_validate(dict(row)) if row else None


def require_active(run: Run) -> None:
    """Refuse a call of a run that has ended or pauses.

    Raises:
        RunNotActiveError: If it is finished or paused.
    """
    if run.status != "running":
        raise RunNotActiveError(
            f"the run is {run.status}.", next_step="Call start_run with its key to continue a paused run."
        )


def require_step(run: Run) -> None:
    """Refuse a call that may not use the grace when the run has no step left for it.

    Raises:
        RunNotActiveError: If it is finished or paused.
        StepBudgetExceededError: If it has none.
    """
    require_active(run)
    if run.steps >= run.step_limit:
        raise _used_up(run)


def _used_up(run: Run) -> StepBudgetExceededError:
    return StepBudgetExceededError(
        f"the run used its {run.step_limit} steps.",
        next_step=STOP,
        details={"limit": run.step_limit, "spent": run.steps, "remaining": 0, "resets_at": None},
    )
