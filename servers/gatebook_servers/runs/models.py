"""What the runs server answers."""

from datetime import datetime
from typing import Annotated, Literal, TypedDict

from pydantic import Field, JsonValue

from gatebook.approvals.models import ApprovalState
from gatebook.clock import moment
from gatebook.intents import Value
from gatebook.ledger.models import Run, RunStatus, StepStatus

NextStep = Annotated[int | None, Field(description="steps_after for get_run when there are more.")]
Warned = Annotated[str | None, Field(description="Set when 80 % of a limit is used.")]


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
    warning: Warned = None
    summary: str | None = None
    started_at: datetime
    updated_at: datetime


class SavedCheckpoint(Value):
    """A saved checkpoint and what is left."""

    run_id: str
    seq: int
    saved: bool = Field(description="False when this very checkpoint was there already.")
    steps_remaining: int
    warning: Warned = None


class StepSeen(Value):
    """A step and what it answered."""

    number: int
    tool: str
    status: StepStatus
    error: str | None
    result: JsonValue = Field(default=None, description="null when there is none, or none was kept.")
    cut: bool = Field(default=False, description="The result is too long for this page.")


class StepPage(Value):
    """Steps in order."""

    steps: list[StepSeen]
    next_step: int | None


class OpenApproval(Value):
    """A request that people have not decided, or that was approved and is not done yet."""

    approval_id: str
    tool: str
    target: str
    state: ApprovalState


class ResumedRun(RunState):
    """A run taken over: its last checkpoint and what happened after it."""

    seq: int
    checkpoint_step: int = Field(description="The step the checkpoint was saved at; 0 without one.")
    state: JsonValue = Field(default=None, description="The checkpoint's state, as saved.")
    steps_since: list[StepSeen]
    next_step: NextStep
    open_approvals: list[OpenApproval]
    more_approvals: int = Field(description="Open ones beyond these; list_approvals has them.")


class RecordedUsage(Value):
    """Usage recorded once, and what the run used so far; null is unknown."""

    recorded: bool
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    warning: Warned = None


class LimitRequest(Value):
    """A request to raise limits. It is applied as soon as a person approves it."""

    approval_id: str
    state: ApprovalState
    limits: dict[str, JsonValue] = Field(description="Each limit as it is and as it is to become.")
    decide_by: datetime


class RunDetails(RunState):
    """A run with its totals."""

    retries: int
    checkpoint_seq: int | None
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    approvals: dict[str, int] = Field(description="How many of the run's requests are in each state.")
    steps_since: list[StepSeen] | None = Field(default=None, description="Set when steps_after was given.")
    next_step: NextStep = None


class RunPage(Value):
    """Runs, newest first."""

    runs: list[RunState]


Ending = Literal["completed", "failed", "paused", "cancelled"]


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


def run_state(run: Run, *, resumed: bool = False, warning: str | None = None) -> RunState:
    """Return a run as the agent sees it."""
    return RunState(**run_fields(run, resumed=resumed, warning=warning))


def run_fields(run: Run, *, resumed: bool = False, warning: str | None = None) -> RunFields:
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
        "warning": warning,
        "summary": run.summary or None,
        "started_at": moment(run.started_at),
        "updated_at": moment(run.updated_at),
    }
