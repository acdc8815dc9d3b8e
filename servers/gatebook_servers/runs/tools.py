"""Runs: start, checkpoint, resume and finish long work, within budgets."""

import json
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.clock import moment
from gatebook.database.port import Transaction
from gatebook.errors import NotFoundError, RunNotActiveError, TooLargeError
from gatebook.injection import Caller
from gatebook.ledger.budgets import Budgets, Limits
from gatebook.ledger.checkpoints import Checkpoints
from gatebook.ledger.models import LimitName, Run, RunStatus
from gatebook.ledger.runs import Runs
from gatebook.ledger.usage import Usage, UsageReports
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook.toolset import Toolset
from gatebook_servers.runs.limits import ask_for_more
from gatebook_servers.runs.models import (
    Ending,
    LimitRequest,
    RecordedUsage,
    ResumedRun,
    RunDetails,
    RunPage,
    RunState,
    SavedCheckpoint,
    run_fields,
    run_state,
)
from gatebook_servers.runs.prompts import night_shift
from gatebook_servers.runs.resuming import LONGEST_CHARS, STEPS_READ, STEPS_RESUMED, list_steps, open_approvals
from gatebook_servers.runs.saving import save

tools = Toolset(
    "runs",
    instructions="Start a run before long work, save a checkpoint every 10 steps, finish it. After a crash call "
    "start_run with the same key, then resume_run.",
    steps=False,
)
tools.prompt(night_shift)

MOST_SUMMARY_CHARS = 30_000
"""Characters of a summary as JSON, so that every result which has it stays within a result's length."""
SUMMARY_LISTED_CHARS = 200

RunId = Annotated[str, Field(description="The run_id as start_run or resume_run returned it.", max_length=60)]
STATE = TypeAdapter(dict[str, JsonValue])
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]


@tools.stages(graceful=True, begins_run=True)
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

    def start(tx: Transaction) -> RunState:
        runs = Runs(tx)
        known = runs.by_key(tenant=settings.tenant, key=key)
        if known is not None:
            return run_state(known, resumed=known.unfinished, warning=_warning(tx, settings, known))
        budgets = Budgets.of(tx, settings, principal=caller.principal)
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
        return run_state(created, warning=_warning(tx, settings, created))

    return await runtime.transact(start, keep_on_refusal=True)


@tools.stages(graceful=True)
async def checkpoint(
    runtime: Runtime,
    run_id: RunId,
    seq: Annotated[int, Field(description="1, 2, 3 ... in this run.", ge=1)],
    state: Annotated[dict[str, JsonValue], Field(description="All that a new process needs to go on; <= 256 KiB.")],
) -> SavedCheckpoint:
    """Save the run's progress. The same seq with the same state is saved once; continue with seq + 1."""
    written = STATE.dump_json(state)
    saved = await save(runtime, run_id, seq=seq, state=written)

    def explain(tx: Transaction) -> SavedCheckpoint:
        run = Runs(tx).active(run_id)
        if not saved:
            Checkpoints(tx).require_same(run.run_id, seq=seq, state=written)
        return SavedCheckpoint(
            run_id=run.handle,
            seq=seq,
            saved=saved,
            steps_remaining=max(0, run.step_limit - run.steps),
            warning=_warning(tx, runtime.settings, run),
        )

    return await runtime.look(explain)


@tools.stages(graceful=True, longest_chars=LONGEST_CHARS)
async def resume_run(
    runtime: Runtime,
    run_id: RunId,
    max_steps: Annotated[int, Field(description="Further steps for a paused run.", ge=1, le=100_000)] = 200,
) -> ResumedRun:
    """Take an unfinished run over: its last checkpoint, the steps after it with results, the open approvals.

    Older handles stop working, so that only one agent drives the run. Steps issued again have no second effect.
    """
    settings = runtime.settings

    def resume(tx: Transaction) -> ResumedRun:
        known = _known(tx, settings, run_id)
        if not known.unfinished:
            raise RunNotActiveError(f"the run is {known.status}.", next_step="Start a run with another key.")
        run = Runs(tx).resume(known, max_steps=max(0, min(max_steps, settings.max_steps_per_run - known.steps)))
        saved = Checkpoints(tx).newest(run.run_id)
        since = list_steps(
            tx, runtime.vault, run, after=saved.step if saved else 0, most=STEPS_RESUMED, unfinished=True
        )
        waiting, more = open_approvals(tx, run)
        return ResumedRun(
            **run_fields(run, resumed=True, warning=_warning(tx, settings, run)),
            seq=saved.seq if saved else 0,
            checkpoint_step=saved.step if saved else 0,
            state=json.loads(saved.state) if saved else None,
            steps_since=since.steps,
            next_step=since.next_step,
            open_approvals=waiting,
            more_approvals=more,
        )

    return await runtime.transact(resume)


@tools.stages(graceful=True)
async def record_usage(
    runtime: Runtime,
    run_id: RunId,
    source_id: Annotated[
        str, Field(description="Id of this report; reported twice it counts once.", min_length=1, max_length=200)
    ],
    input_tokens: Tokens,
    output_tokens: Tokens,
    usd: Annotated[float | None, Field(description="Cost in US dollars, if known.", ge=0)] = None,
    model: Annotated[str, Field(description="Model name.", max_length=100)] = "",
    source: Annotated[
        str, Field(description="Who counted: agent, client, proxy ... Not added up.", min_length=1, max_length=40)
    ] = "agent",
) -> RecordedUsage:
    """Report tokens and cost of this run since your last report; they count against the day's budgets."""
    settings = runtime.settings

    def record(tx: Transaction) -> RecordedUsage:
        run = _known(tx, settings, run_id)
        budgets = Budgets.of(tx, settings, principal=run.principal)
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, usd=usd)
        recorded = budgets.record_usage(run.run_id, source_id=source_id, source=source, usage=usage, model=model)
        total = UsageReports(tx).total(run.run_id)
        assert total is not None
        return RecordedUsage(
            recorded=recorded,
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            usd=total.usd,
            warning=_warning(tx, settings, run),
        )

    return await runtime.transact(record)


@tools.stages(graceful=True)
async def request_limit(
    runtime: Runtime,
    caller: Caller,
    run_id: RunId,
    reason: Annotated[str, Field(description="Why, for the person.", min_length=1, max_length=500)],
    steps: Annotated[int | None, Field(ge=1, le=100_000)] = None,
    tokens: Annotated[int | None, Field(ge=1, le=1_000_000_000)] = None,
    usd: Annotated[float | None, Field(gt=0)] = None,
) -> LimitRequest:
    """Ask a person to raise limits of this run: its steps in all, the day's tokens or US dollars.

    Give the new totals. Pause the run meanwhile; once approved, resume_run has the new limits.
    """
    given: dict[LimitName, float | None] = {"steps": steps, "tokens": tokens, "usd": usd}
    wanted: dict[LimitName, float] = {name: value for name, value in given.items() if value is not None}

    def ask(tx: Transaction) -> Approval:
        return ask_for_more(tx, runtime.settings, caller, handle=run_id, wanted=wanted, reason=reason)

    request = await runtime.transact(ask)
    return LimitRequest(
        approval_id=request.approval_id,
        state=request.state,
        limits=request.content,
        decide_by=moment(request.decide_by),
    )


@tools.stages(graceful=True)
async def finish_run(
    runtime: Runtime,
    run_id: RunId,
    status: Annotated[Ending, Field(description="paused: to be continued with the same key.")],
    summary: Annotated[str, Field(description="What came of it.", max_length=20_000)] = "",
) -> RunState:
    """End the run. What waits for approval is done later without you."""
    if len(json.dumps(summary, ensure_ascii=False)) > MOST_SUMMARY_CHARS:
        raise TooLargeError("the summary is too long once it is written as JSON.", next_step="Shorten it.")

    def finish(tx: Transaction) -> Run:
        runs = Runs(tx)
        known = runs.driven(run_id)
        return known if known.status == status else runs.finish(runs.active(run_id), status=status, summary=summary)

    return run_state(await runtime.transact(finish))


@tools.reads
async def get_run(
    runtime: Runtime,
    run_id: RunId,
    steps_after: Annotated[
        int | None, Field(description="Instead of the summary, the steps after this one, with results.", ge=0)
    ] = None,
) -> RunDetails:
    """Read a run: status, steps, limits, retries, usage (null is unknown) and its approvals."""
    settings = runtime.settings

    def read(tx: Transaction) -> RunDetails:
        run = _known(tx, settings, run_id)
        usage = UsageReports(tx).total(run.run_id)
        saved = Checkpoints(tx).newest(run.run_id)
        shown, page = run, None
        if steps_after is not None:
            page = list_steps(tx, runtime.vault, run, after=steps_after, most=STEPS_READ)
            shown = run.model_copy(update={"summary": ""})
        return RunDetails(
            **run_fields(shown, warning=_warning(tx, settings, run)),
            retries=Runs(tx).retries(run.run_id),
            checkpoint_seq=saved.seq if saved else None,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            usd=usage.usd if usage else None,
            approvals=Approvals(tx).counts(tenant=run.tenant, run_id=run.run_id),
            steps_since=page.steps if page else None,
            next_step=page.next_step if page else None,
        )

    return await runtime.transact(read)


@tools.reads
async def list_runs(
    runtime: Runtime,
    status: Annotated[RunStatus | None, Field(description="Only runs in this state.")] = None,
    limit: Annotated[int, Field(description="Most runs.", ge=1, le=50)] = 20,
) -> RunPage:
    """List runs, newest first, with the beginning of their summaries."""
    tenant = runtime.settings.tenant
    found = await runtime.transact(lambda tx: Runs(tx).select(tenant=tenant, status=status, limit=limit))
    shown = [run.model_copy(update={"summary": run.summary[:SUMMARY_LISTED_CHARS]}) for run in found]
    return RunPage(runs=[run_state(run) for run in shown])


def _known(tx: Transaction, settings: Settings, run_id: str) -> Run:
    run = Runs(tx).get(run_id)
    if run.tenant != settings.tenant:
        raise NotFoundError("no run has this id.", next_step="Call list_runs for valid ids.")
    return run


def _warning(tx: Transaction, settings: Settings, run: Run) -> str | None:
    return Budgets.of(tx, settings, principal=run.principal).warning(Limits.of(settings, run))
