"""What the night shift knows: the checkpoint's state, and the report it becomes."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Category = Literal["Bug", "Feature", "Support", "Spam"]
Stage = Literal["waiting", "held", "drafted", "done", "failed"]
CATEGORIES: tuple[Category, ...] = ("Bug", "Feature", "Support", "Spam")


class Order(BaseModel):
    """What to do: the half-open window on creation times, frozen, and the limits."""

    model_config = ConfigDict(frozen=True)

    since: datetime
    until: datetime
    key: str
    day: str
    """Local calendar day of `until`; the summary's key is `tickets/<day>`."""
    again: bool = False
    """Whether a finished night is done once more, under the next key, instead of reported again."""
    max_steps: int = 200
    checkpoint_every: int = 10
    max_tokens: int | None = None
    max_usd: float | None = None


class Item(BaseModel):
    """A ticket on the list."""

    ref: str
    subject: str
    text: str = ""
    template: str = ""
    requester: str
    version: str
    category: Category | None = None
    tagged: bool = False
    draft_id: str = ""
    approval_id: str = ""
    sent: bool = False
    stage: Stage = "waiting"
    problem: str = ""


class Night(BaseModel):
    """Everything a new process needs to go on."""

    cursor: str = ""
    pulled: bool = False
    naive_times: int = 0
    taken_over: int | None = None
    templates: dict[str, str] = Field(default_factory=dict)
    items: list[Item] = Field(default_factory=list[Item])

    def waiting(self) -> list[Item]:
        """Return the tickets that are not settled yet."""
        return [item for item in self.items if item.stage == "waiting"]


class Window(BaseModel):
    """The window of a report."""

    since: datetime
    until: datetime
    naive_times: int


class Counted(BaseModel):
    """The run's approval requests."""

    pending: int = 0
    approved: int = 0
    denied: int = 0
    executed: int = 0


class Report(BaseModel):
    """What came of the night."""

    run_id: str
    key: str
    status: str
    window: Window
    tickets: int
    by_category: dict[Category, int]
    drafts: int
    held: int
    # None where only the agent itself knows.
    failed: int | None
    remaining: int | None
    taken_over: int | None
    approvals: Counted
    steps: int
    retries: int
    checkpoints: int
    resumed_from: int | None
    summary_key: str
    tokens: int | None
    duration_s: float
