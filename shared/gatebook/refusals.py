"""What an agent hears whose call is not done now: why, and what to do next."""

from gatebook.approvals.history import FREE_REASONS
from gatebook.approvals.models import Approval
from gatebook.approvals.verdicts import Verdict
from gatebook.errors import (
    ApprovalDeniedError,
    ApprovalRequiredError,
    CeilingReachedError,
    Detail,
    GatebookError,
    InProgressError,
    OutcomeUnknownError,
    PolicyBlockedError,
)
from gatebook.telemetry import CallRecord

SOON_S = 5.0
"""When an agent may look again after what is about to be done without it, seconds."""


def in_progress(wait_s: float) -> InProgressError:
    """Somebody else is at it."""
    return InProgressError(
        "this is being done, or was interrupted a moment ago.",
        next_step="Go on with other work and repeat this call later.",
        retry_after_s=round(max(wait_s, 1.0), 1),
    )


def in_doubt() -> OutcomeUnknownError:
    """No machine can tell how it ended."""
    return OutcomeUnknownError(
        "whether this happened cannot be told; a person settles it.", next_step="Do not repeat it."
    )


def blocked(verdict: Verdict) -> PolicyBlockedError:
    """Policy forbids it."""
    return PolicyBlockedError(
        "the operator's policy does not allow this.",
        next_step="Do without it; do not try another way.",
        details={"rules": ", ".join(verdict.rules)},
    )


def required(asked: Approval, record: CallRecord) -> ApprovalRequiredError:
    """A person is asked, and the call is held."""
    record.outcome = "held"
    return ApprovalRequiredError(
        f"a person has to approve this ({', '.join(asked.rules)}).",
        next_step="Go on with other work; once approved it is done without you.",
        details={"approval_id": asked.approval_id, "rules": ", ".join(asked.rules)},
    )


def too_many(whose: str, limit: int) -> CeilingReachedError:
    """Too much waits for people already."""
    return CeilingReachedError(
        f"{limit} requests {whose} wait for a person already; nothing was asked.",
        next_step="Go on with what needs no approval and repeat this call once people decided some.",
        details={"limit": limit},
    )


def refusal_of_edited(edited: Approval, *, now: float) -> GatebookError | None:
    """Return what an agent hears that repeats a call which a person changed; None when the change came to nothing."""
    details: dict[str, Detail] = {"approval_id": edited.approval_id, "edited_by_human": True}
    if edited.state == "pending" and now < edited.decide_by:
        return ApprovalRequiredError(
            "a person changed this; the changed form waits for a yes.",
            next_step="Go on with other work; do not repeat the original call.",
            details=details,
        )
    if edited.state == "claimed" or (edited.state == "approved" and now < (edited.use_by or 0)):
        return InProgressError(
            "a person changed and approved this; it is done without you.",
            next_step="Go on with other work; do not repeat the original call.",
            retry_after_s=SOON_S,
            details=details,
        )
    if edited.state == "denied" or (edited.state == "cancelled" and edited.state_reason not in FREE_REASONS):
        return ApprovalDeniedError(
            f"a person changed this, and the changed form was {edited.state}.",
            next_step="Do not ask again for the same content.",
            details={**details, "reason": edited.state_reason},
        )
    return None
