"""Runs: start, checkpoint, resume and finish long work, within budgets."""

import json
from typing import Annotated

from pydantic import Field, JsonValue

from gatebook.approvals.requests import Approvals
from gatebook.clock import local_day
from gatebook.database.port import Transaction
from gatebook.errors import RunNotActiveError
from gatebook.injection import Caller
from gatebook.ledger.budgets import Budgets, Usage
from gatebook.ledger.checkpoints import Checkpoints
from gatebook.ledger.models import Run, RunStatus
from gatebook.ledger.runs import Runs
from gatebook.runtime import Runtime
from gatebook.toolset import Toolset
from gatebook_servers.runs.models import (
    Ending,
    RecordedUsage,
    ResumedRun,
    RunDetails,
    RunPage,
    RunState,
    SavedCheckpoint,
    StepSeen,
    run_fields,
    run_state,
)
from gatebook_servers.runs.prompts import night_shift

tools = Toolset(
    "runs",
    instructions="Start a run before long work, save a checkpoint every 10 steps, finish it. After a crash call "
    "start_run with the same key, then resume_run.",
    steps=False,
)
tools.prompt(night_shift)

RunId = Annotated[str, Field(description="The run_id as start_run or resume_run returned it.", max_length=60)]
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]


@tools.stages(graceful=True)
async def start_run(
    runtime: Runtime,
    caller: Caller,
    key: Annotated[
        str, Field(description="Name of this work, unique for ever: nightly/2026-11-22.", min_length=1, max_length=200)
    ],
    goal: Annotated[str, Field(description="One sentence.", max_length=500)] = "",
    max_steps: Annotated[int, Field(description="Steps the run may take.", ge=1, le=100_000)] = 200,
    max_tokens: Annotated[int | None, Field(description="Daily token budget.", ge=1)] = None,
    max_usd: Annotated[float | None, Field(description="Daily cost budget, US dollars.", gt=0)] = None,
) -> RunState:
    """Start a run, or find the one with this key.

    An unfinished run comes back with resumed true: call resume_run. A finished one comes back with its status: start
    nothing.
    """
    settings = runtime.settings

    def start(tx: Transaction) -> tuple[Run, bool]:
        runs = Runs(tx)
        known = runs.by_key(tenant=settings.tenant, key=key)
        if known is not None:
            return known, known.status in ("running", "paused")
        day = local_day(tx.now, settings.zone)
        budgets = Budgets(tx, tenant=settings.tenant, principal=caller.principal, day=day)
        budgets.count("runs", limit=settings.max_runs_per_day)
        steps = min(max_steps, settings.max_steps_per_run)
        created = runs.create(
            tenant=settings.tenant,
            principal=caller.principal,
            key=key,
            goal=goal,
            max_steps=steps,
            max_tokens=max_tokens,
            max_usd=max_usd,
        )
        return created, False

    run, resumed = await runtime.transact(start, keep_on_refusal=True)
    return run_state(run, resumed=resumed)


@tools.stages(graceful=True)
async def checkpoint(
    runtime: Runtime,
    run_id: RunId,
    seq: Annotated[int, Field(description="1, 2, 3 ... in this run.", ge=1)],
    state: Annotated[dict[str, JsonValue], Field(description="All that a new process needs to go on; <= 256 KiB.")],
) -> SavedCheckpoint:
    """Save the run's progress. The same seq with the same state is saved once; continue with seq + 1."""
    # Sorted: the same state written in another order is the same state.
    text = json.dumps(state, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def save(tx: Transaction) -> tuple[Run, bool]:
        run = Runs(tx).active(run_id)
        return run, Checkpoints(tx).save(run.run_id, seq=seq, step=run.steps, state=text)

    run, saved = await runtime.transact(save)
    return SavedCheckpoint(run_id=run.handle, seq=seq, saved=saved, steps_remaining=max(0, run.step_limit - run.steps))


@tools.stages(graceful=True)
async def resume_run(
    runtime: Runtime,
    run_id: RunId,
    max_steps: Annotated[int, Field(description="Further steps for a paused run.", ge=1, le=100_000)] = 200,
) -> ResumedRun:
    """Take an unfinished run over and return its last checkpoint with the steps after it.

    Older handles stop working, so that only one agent drives the run. Steps issued again have no second effect.
    """

    def resume(tx: Transaction) -> ResumedRun:
        runs = Runs(tx)
        known = runs.get(run_id)
        if known.status not in ("running", "paused"):
            raise RunNotActiveError(f"the run is {known.status}.", next_step="Start a run with another key.")
        ceiling = runtime.settings.max_steps_per_run
        run = runs.resume(known, max_steps=max(0, min(max_steps, ceiling - known.steps)))
        saved = Checkpoints(tx).newest(run.run_id)
        since = runs.steps(run.run_id, after=saved.step if saved else 0, limit=200)
        pending = Approvals(tx).select(tenant=run.tenant, run_id=run.run_id, state="pending", limit=1_000)
        return ResumedRun(
            **run_fields(run, resumed=True),
            seq=saved.seq if saved else 0,
            checkpoint_step=saved.step if saved else 0,
            state=json.loads(saved.state) if saved else None,
            steps_since=[
                StepSeen(number=step.number, tool=step.tool, status=step.status, error=step.error or None)
                for step in since
            ],
            open_approvals=len(pending),
        )

    return await runtime.transact(resume)


@tools.stages(graceful=True)
async def record_usage(
    runtime: Runtime,
    caller: Caller,
    run_id: RunId,
    source_id: Annotated[
        str, Field(description="Id of this report; reported twice it counts once.", min_length=1, max_length=200)
    ],
    input_tokens: Tokens,
    output_tokens: Tokens,
    usd: Annotated[float | None, Field(description="Cost in US dollars, if known.", ge=0)] = None,
    model: Annotated[str, Field(description="Model name.", max_length=100)] = "",
) -> RecordedUsage:
    """Report tokens and cost of this run; they count against the day's budgets."""
    settings = runtime.settings

    def record(tx: Transaction) -> RecordedUsage:
        run = Runs(tx).get(run_id)
        day = local_day(tx.now, settings.zone)
        budgets = Budgets(tx, tenant=settings.tenant, principal=caller.principal, day=day)
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, usd=usd)
        recorded = budgets.record_usage(run.run_id, source_id=source_id, source="agent", usage=usage, model=model)
        total = budgets.usage_of(run.run_id)
        return RecordedUsage(
            recorded=recorded,
            input_tokens=total.input_tokens if total else None,
            output_tokens=total.output_tokens if total else None,
            usd=total.usd if total else None,
        )

    return await runtime.transact(record)


@tools.stages(graceful=True)
async def finish_run(
    runtime: Runtime,
    run_id: RunId,
    status: Annotated[Ending, Field(description="paused: to be continued with the same key.")],
    summary: Annotated[str, Field(description="What came of it.", max_length=20_000)] = "",
) -> RunState:
    """End the run. What waits for approval is done later without you."""

    def finish(tx: Transaction) -> Run:
        runs = Runs(tx)
        known = runs.get(run_id)
        if known.status == status and known.handle == run_id:
            return known
        return runs.finish(runs.active(run_id), status=status, summary=summary)

    return run_state(await runtime.transact(finish))


@tools.reads
async def get_run(runtime: Runtime, caller: Caller, run_id: RunId) -> RunDetails:
    """Read a run: status, steps, limits, retries, usage (null is unknown) and its approvals."""
    settings = runtime.settings

    def read(tx: Transaction) -> RunDetails:
        runs = Runs(tx)
        run = runs.get(run_id)
        day = local_day(tx.now, settings.zone)
        usage = Budgets(tx, tenant=run.tenant, principal=caller.principal, day=day).usage_of(run.run_id)
        saved = Checkpoints(tx).newest(run.run_id)
        return RunDetails(
            **run_fields(run),
            retries=runs.retries(run.run_id),
            checkpoint_seq=saved.seq if saved else None,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            usd=usage.usd if usage else None,
            approvals=Approvals(tx).counts(tenant=run.tenant, run_id=run.run_id),
        )

    return await runtime.transact(read)


@tools.reads
async def list_runs(
    runtime: Runtime,
    status: Annotated[RunStatus | None, Field(description="Only runs in this state.")] = None,
    limit: Annotated[int, Field(description="Most runs.", ge=1, le=50)] = 20,
) -> RunPage:
    """List runs, newest first."""
    tenant = runtime.settings.tenant
    found = await runtime.transact(lambda tx: Runs(tx).select(tenant=tenant, status=status, limit=limit))
    return RunPage(runs=[run_state(run) for run in found])
