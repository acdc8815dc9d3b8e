"""The records of the ledger."""

from collections.abc import Mapping
from typing import Literal

from gatebook.intents import Value

RunStatus = Literal["running", "paused", "completed", "failed", "cancelled"]
StepStatus = Literal["accepted", "done", "failed", "held", "executed"]
LimitName = Literal["steps", "tokens", "usd"]
"""A limit of a run that a person can raise: steps in all, tokens a day, US dollars a day."""

GRACE_CALLS = 10
"""Calls that a run has left, behind its last step, to checkpoint, save a summary and finish."""

STOP = "Save a checkpoint; then finish_run with status paused, or request_limit to ask a person for more."
"""What an agent does at the end of a budget."""


class Run(Value):
    """One execution of a pipeline. Its handle is `run_id.epoch`."""

    run_id: str
    tenant: str
    principal: str
    key: str
    goal: str
    status: RunStatus
    epoch: int
    steps: int
    step_limit: int
    grace: int
    max_steps: int
    max_tokens: int | None
    max_usd: float | None
    summary: str
    started_at: float
    updated_at: float
    finished_at: float | None

    @property
    def handle(self) -> str:
        """What the agent passes as `run_id`."""
        return f"{self.run_id}.{self.epoch}"

    @property
    def unfinished(self) -> bool:
        """Whether it goes on, now or once it is resumed."""
        return self.status in ("running", "paused")

    @property
    def limits(self) -> Mapping[LimitName, float | None]:
        """The run's own limits; None is none of its own."""
        return {"steps": self.step_limit, "tokens": self.max_tokens, "usd": self.max_usd}


class Step(Value):
    """One accepted call of a run."""

    run_id: str
    number: int
    server: str
    tool: str
    status: StepStatus
    arguments_sha256: str
    effect_key: str
    approval_id: str
    tool_use_id: str
    attempts: int
    error: str
    input_size: int
    output_size: int
    started_at: float
    finished_at: float | None


class Checkpoint(Value):
    """Saved progress of a run."""

    run_id: str
    seq: int
    step: int
    state: str
    created_at: float
