"""What every channel tells: which requests, why, and until when. Never what would leave, nor the agent's words."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from gatebook.approvals.announcements import Event, Told
from gatebook.approvals.models import Approval, ApprovalKind, ApprovalState
from gatebook.clock import moment
from gatebook.intents import Value

EventType = Literal["approval.requested", "approval.reminder", "approval.expired"]
_TYPES: dict[Event, EventType] = {
    "requested": "approval.requested",
    "reminder": "approval.reminder",
    "expired": "approval.expired",
}


class RequestNotice(Value):
    """One request as a channel names it."""

    approval_id: str
    kind: ApprovalKind
    tool: str
    target: str
    rules: tuple[str, ...]
    state: ApprovalState
    decide_by: datetime
    fingerprint: str = Field(description="Its first six characters.")


class Notices(Value):
    """The requests of one event. `waiting` counts all that wait."""

    tenant: str
    mode: str
    waiting: int
    approvals: tuple[RequestNotice, ...]


class Notification(Value):
    """An event in the form of Standard Webhooks: what happened, when, and to what."""

    type: EventType
    timestamp: datetime
    data: Notices


def notification(told: Told) -> Notification:
    """Return the event that tells of these requests."""
    first = told.requests[0]
    return Notification(
        type=_TYPES[told.event],
        timestamp=moment(told.announced_at),
        data=Notices(
            tenant=first.tenant,
            mode=first.mode,
            waiting=told.waiting,
            approvals=tuple(_notice(request) for request in told.requests),
        ),
    )


def _notice(request: Approval) -> RequestNotice:
    return RequestNotice(
        approval_id=request.approval_id,
        kind=request.kind,
        tool=request.tool,
        target=request.target,
        rules=request.rules,
        state=request.state,
        decide_by=moment(request.decide_by),
        fingerprint=request.shown,
    )
