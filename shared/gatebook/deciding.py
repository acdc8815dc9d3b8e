"""What people decide and what follows from it. Every channel comes here, and to `settling` for doubts, only."""

from collections.abc import Mapping
from typing import Literal

from pydantic import TypeAdapter

from gatebook.approvals.models import Approval, Reviewer
from gatebook.approvals.requests import Approvals, unchanged
from gatebook.changing import Change
from gatebook.database.port import Transaction
from gatebook.errors import ForbiddenError, GatebookError
from gatebook.foreign import ForeignCalls
from gatebook.guard import Guard
from gatebook.injection import Caller, Scope
from gatebook.intents import digest
from gatebook.ledger.budgets import require_within
from gatebook.ledger.models import LimitName
from gatebook.ledger.runs import Runs
from gatebook.outbox import Outbox
from gatebook.settings import Settings

LimitChanges = dict[LimitName, dict[Literal["from", "to"], int | float]]

_CHANGES = TypeAdapter(LimitChanges)


def approve(
    tx: Transaction,
    settings: Settings,
    approval_id: str,
    *,
    reviewer: Reviewer,
    channel: str,
    shown: str,
    reason: str = "",
) -> Approval:
    """Record a person's yes, and in the same transaction what follows once as many as needed said so.

    An effect is handed to the outbox; a run's limits are raised at once, and the request is used, or lapsed with the
    reason why nothing was raised; from the release of a hold nothing more follows.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        settings: The operator's ceilings, and how long an approval may be used.
        approval_id: The request.
        reviewer: Who decides.
        channel: Where, for the record.
        shown: The fingerprint that the person was shown, or its first six characters.
        reason: The person's words, for the record.

    Returns:
        The request as it is now: still pending while others have to say yes too.

    Raises:
        NotFoundError: If there is no such request.
        ForbiddenError: If this person may not decide it.
        ConflictError: If it is no longer pending, the person was shown something else or voted already.
    """
    request = Approvals(tx).approve(
        approval_id,
        reviewer=reviewer,
        channel=channel,
        shown=shown,
        use_within_s=settings.use_within_s,
        reason=reason,
    )
    if request.state != "approved":
        return request
    if request.kind == "effect":
        assert request.use_by is not None
        Outbox(tx).add("execute_approved", request.approval_id, use_by=request.use_by)
    if request.kind == "limit":
        return _raised(tx, settings, request)
    return request


def deny(tx: Transaction, approval_id: str, *, reviewer: Reviewer, channel: str, shown: str, reason: str) -> Approval:
    """Record a person's no; one is enough. It sticks to the content.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        approval_id: The request.
        reviewer: Who decides.
        channel: Where, for the record.
        shown: The fingerprint that the person was shown, or its first six characters.
        reason: What the agent will read.

    Returns:
        The request as it is now.

    Raises:
        NotFoundError: If there is no such request.
        ForbiddenError: If this person may not decide it.
        ConflictError: If it is no longer pending, or the person was shown something else.
    """
    return Approvals(tx).deny(approval_id, reviewer=reviewer, channel=channel, shown=shown, reason=reason)


def decide_batch(
    tx: Transaction, settings: Settings, choices: Mapping[str, str], *, reviewer: Reviewer, channel: str
) -> list[Approval]:
    """Record a person's yes to several requests of one card in one act: all of them, or none.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        settings: As for `approve`.
        choices: The requests, each with the fingerprint that the person was shown for it.
        reviewer: Who decides.
        channel: Where, for the record.

    Raises:
        ForbiddenError: If one of them has to be decided by itself, or they are not of one kind.
        NotFoundError, ConflictError: As `approve`, for any of them.
    """
    _require_one_card(tx, choices)
    return [
        approve(tx, settings, approval_id, reviewer=reviewer, channel=channel, shown=shown)
        for approval_id, shown in choices.items()
    ]


def deny_batch(
    tx: Transaction, choices: Mapping[str, str], *, reviewer: Reviewer, channel: str, reason: str
) -> list[Approval]:
    """Record a person's no to several requests of one card in one act: to all of them, or none.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        choices: The requests, each with the fingerprint that the person was shown for it.
        reviewer: Who decides.
        channel: Where, for the record.
        reason: What the agent will read of each.

    Raises:
        ForbiddenError: If one of them has to be decided by itself, or they are not of one kind.
        NotFoundError, ConflictError: As `deny`, for any of them.
    """
    _require_one_card(tx, choices)
    return [
        deny(tx, approval_id, reviewer=reviewer, channel=channel, shown=shown, reason=reason)
        for approval_id, shown in choices.items()
    ]


async def edit(
    guard: Guard, approval_id: str, *, reviewer: Reviewer, channel: str, shown: str, changes: Mapping[str, str]
) -> Approval:
    """Replace a pending request by one with a person's changes.

    What the person wrote is a new immutable draft of theirs, validated and judged again; nobody has voted on it yet.
    The agent's repetition of the original call gets what becomes of the new request. Of a call to a tool that is not
    ours the fields of its input are changed; there is no draft of it.

    Args:
        guard: A guard whose catalogue has the tool.
        approval_id: The request.
        reviewer: Who changes it.
        channel: Where, for the record.
        shown: The fingerprint that the person was shown, or its first six characters.
        changes: The new texts of fields of the content, of those that `editable` names.

    Returns:
        The new request.

    Raises:
        NotFoundError: If there is no such request, or this process did not load its tool.
        ForbiddenError: If this person may not decide it, or one of the fields may not be changed.
        ConflictError: If it is no longer pending, the person was shown something else, or it is stale.
        InvalidArgumentsError: If the changed content does not fit, or nothing changes.
        HeldError, PolicyBlockedError, ApprovalDeniedError: As the call itself would with the changed content. The
            request stays as it was.
    """
    runtime = guard.runtime

    def decidable(tx: Transaction) -> Approval:
        return Approvals(tx).require_editable(approval_id, reviewer=reviewer, shown=shown, changes=changes)

    def recorded(tx: Transaction) -> Approval:
        request = decidable(tx)
        Approvals(tx).record_edit(request, reviewer=reviewer, channel=channel, shown=shown)
        return request

    request = await runtime.transact(decidable)
    changes = request.changed_by(changes)
    if request.kind == "foreign":
        calls = ForeignCalls(runtime, guard, Caller(request.principal, request.run_id))
        return await runtime.transact(lambda tx: calls.edit(tx, recorded(tx), changes, editor=reviewer.person))
    spec = guard.loaded(request.tool)
    caller = Caller(request.principal, request.run_id)
    edit = await spec.edited(
        Scope(runtime, caller, guard), spec.validate(request.arguments), changes, editor=reviewer.person
    )
    if digest(edit.intent.content) == request.content_sha256:
        raise unchanged()
    change = Change(runtime, spec, caller, spec.validate(edit.arguments), reason=request.reason)
    # By itself: a hold is a request to a person and must last though the change is refused.
    await runtime.transact(lambda tx: change.hold(tx, edit.facts), keep_on_refusal=True)

    return await runtime.transact(lambda tx: change.replace(tx, recorded(tx), edit, editor=reviewer.person))


def limit_changes(request: Approval) -> LimitChanges:
    """Return what a request of kind `limit` is about: each limit as it was and as it is to become."""
    return _CHANGES.validate_python(request.content)


def _require_one_card(tx: Transaction, choices: Mapping[str, str]) -> None:
    requests = Approvals(tx).several(list(choices))
    if not all(request.batchable for request in requests) or len({request.card for request in requests}) > 1:
        raise ForbiddenError("these cannot be decided together.", next_step="Decide each of them by itself.")


def _raised(tx: Transaction, settings: Settings, request: Approval) -> Approval:
    approvals = Approvals(tx)
    wanted: dict[LimitName, float] = {name: change["to"] for name, change in limit_changes(request).items()}
    try:
        require_within(settings, wanted)
        Runs(tx).raise_limits(request.run_id, wanted)
    except GatebookError as refusal:
        approvals.void(request, reason=refusal.message)
    else:
        taken = approvals.consume(request)
        assert taken == request.approval_id
        approvals.settle(request.approval_id, state="used")
    return approvals.get(request.approval_id)
