"""What follows from a person's yes. Every channel in which people decide comes here."""

from typing import Literal

from pydantic import TypeAdapter

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.errors import GatebookError
from gatebook.ledger.budgets import require_within
from gatebook.ledger.models import LimitName
from gatebook.ledger.runs import Runs
from gatebook.outbox import Outbox
from gatebook.settings import Settings

LimitChanges = dict[LimitName, dict[Literal["from", "to"], int | float]]

_CHANGES = TypeAdapter(LimitChanges)


def approve(
    tx: Transaction, settings: Settings, approval_id: str, *, person: str, channel: str, shown: str
) -> Approval:
    """Record a person's yes, and in the same transaction what follows from it.

    An effect is handed to the outbox; a run's limits are raised at once, and the request is used, or lapsed with the
    reason why nothing was raised; from the release of a hold nothing more follows.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        settings: The operator's ceilings, and how long an approval may be used.
        approval_id: The request.
        person: Who decided: `person:...`.
        channel: Where, for the record.
        shown: The fingerprint that the person was shown, or its first six characters.

    Returns:
        The request as it is now.

    Raises:
        NotFoundError: If there is no such request.
        ConflictError: If it is no longer pending, or the person was shown something else.
    """
    request = Approvals(tx).approve(
        approval_id,
        person=person,
        channel=channel,
        shown=shown,
        use_within_s=settings.use_within_s,
    )
    if request.kind == "effect":
        assert request.use_by is not None
        Outbox(tx).add("execute_approved", request.approval_id, use_by=request.use_by)
    if request.kind == "limit":
        return _raised(tx, settings, request)
    return request


def limit_changes(request: Approval) -> LimitChanges:
    """Return what a request of kind `limit` is about: each limit as it was and as it is to become."""
    return _CHANGES.validate_python(request.content)


def _raised(tx: Transaction, settings: Settings, request: Approval) -> Approval:
    approvals = Approvals(tx)
    wanted: dict[LimitName, float] = {name: change["to"] for name, change in limit_changes(request).items()}
    try:
        require_within(settings, wanted)
        Runs(tx).raise_limits(request.run_id, wanted)
    except GatebookError as refusal:
        approvals.void(request, reason=refusal.message)
    else:
        taken = approvals.consume(tenant=request.tenant, fingerprint=request.fingerprint)
        assert taken == request.approval_id
        approvals.settle(request.approval_id, state="used")
    return approvals.get(request.approval_id)
