"""What the approvals server answers."""

from datetime import datetime

from pydantic import Field

from gatebook.approvals.models import Approval, ApprovalKind, ApprovalState
from gatebook.clock import moment
from gatebook.intents import Value


class ApprovalView(Value):
    """A request as its agent sees it."""

    approval_id: str
    kind: ApprovalKind = Field(
        description="effect: allows one exact effect; hold: releases a sensitive text; limit: raises a run's limits; "
        "foreign: lets one call of another server's tool pass."
    )
    state: ApprovalState
    tool: str
    target: str
    draft_id: str | None = None
    edited_by_human: bool = Field(description="A person changed the content; do not repeat the original call.")
    edited_from: str | None = Field(description="The request whose place this one takes.")
    rules: list[str]
    reason: str | None = Field(description="Why it is in this state: a person's reason for a denial, for example.")
    created_at: datetime
    decide_by: datetime
    use_by: datetime | None


class ApprovalPage(Value):
    """Requests, oldest first."""

    approvals: list[ApprovalView]
    next_cursor: str | None = None


class Waited(ApprovalPage):
    """What became of the requests that were waited for."""

    pending: int


def view(request: Approval) -> ApprovalView:
    """Return a request as its agent sees it; who decided stays with people."""
    draft = request.arguments.get("draft_id")
    return ApprovalView(
        approval_id=request.approval_id,
        kind=request.kind,
        state=request.state,
        tool=request.tool,
        target=request.target,
        draft_id=draft if isinstance(draft, str) else None,
        edited_by_human=bool(request.edited_by),
        edited_from=request.edited_from or None,
        rules=list(request.rules),
        reason=request.state_reason or None,
        created_at=moment(request.created_at),
        decide_by=moment(request.decide_by),
        use_by=moment(request.use_by) if request.use_by else None,
    )
