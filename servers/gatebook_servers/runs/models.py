"""What the runs server answers."""

from datetime import datetime
from typing import Literal, TypedDict

from pydantic import Field, JsonValue

from gatebook.clock import moment
from gatebook.intents import Value
from gatebook.ledger.models import Run, RunStatus


class Limits(Value):
    """A run's limits; null is no limit of its own."""

    steps: int
    steps_remaining: int
    tokens_per_day: int | None
    usd_per_day: float | None


class RunState(Value):
    """A run. Pass `run_id` to every tool."""

    run_id: str
    key: str
    status: RunStatus
    resumed: bool = False
    steps: int
    limits: Limits
    warning: str | None = Field(default=None, description="Set when 80 % of a limit is used.")
    summary: str | None = None
    started_at: datetime
    updated_at: datetime


class SavedCheckpoint(Value):
    """A saved checkpoint and what is left."""

    run_id: str
    seq: int
    saved: bool = Field(description="False when this very checkpoint was there already.")
    steps_remaining: int


class StepSeen(Value):
    """A step after the checkpoint."""

    number: int
    tool: str
    status: str
    error: str | None


class ResumedRun(RunState):
    """A run taken over: its last checkpoint and what happened after it."""

    seq: int
    checkpoint_step: int = Field(description="The step the checkpoint was saved at; 0 without one.")
    state: JsonValue = Field(default=None, description="The checkpoint's state, as saved.")
    steps_since: list[StepSeen]
    open_approvals: int


class RecordedUsage(Value):
    """Usage recorded once, and what the run used so far; null is unknown."""

    recorded: bool
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None


class RunDetails(RunState):
    """A run with its totals."""

    retries: int
    checkpoint_seq: int | None
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    approvals: dict[str, int] = Field(description="How many of the run's requests are in each state.")


class RunPage(Value):
    """Runs, newest first."""

    runs: list[RunState]


Ending = Literal["completed", "failed", "paused", "cancelled"]
WARN_AT = 0.8


class RunFields(TypedDict):
    """The fields that every view of a run shares."""

    run_id: str
    key: str
    status: RunStatus
    resumed: bool
    steps: int
    limits: Limits
    warning: str | None
    summary: str | None
    started_at: datetime
    updated_at: datetime


def run_state(run: Run, *, resumed: bool = False) -> RunState:
    """Return a run as the agent sees it."""
    return RunState(**run_fields(run, resumed=resumed))


def run_fields(run: Run, *, resumed: bool = False) -> RunFields:
    """Return the fields that every view of a run shares."""
    return {
        "run_id": run.handle,
        "key": run.key,
        "status": run.status,
        "resumed": resumed,
        "steps": run.steps,
        "limits": Limits(
            steps=run.step_limit,
            steps_remaining=max(0, run.step_limit - run.steps),
            tokens_per_day=run.max_tokens,
            usd_per_day=run.max_usd,
        ),
        "warning": _warning(run),
        "summary": run.summary or None,
        "started_at": moment(run.started_at),
        "updated_at": moment(run.updated_at),
    }


def _warning(run: Run) -> str | None:
    return "80 % of the steps are used" if run.steps >= WARN_AT * run.step_limit else None
