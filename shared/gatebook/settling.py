"""What people found out about effects whose outcome no machine can tell."""

from gatebook.approvals.audit import Audit
from gatebook.approvals.models import Approval, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.effects import EffectRow, Effects
from gatebook.errors import ConflictError, ForbiddenError
from gatebook.ledger.runs import Runs
from gatebook.outbox import Outbox
from gatebook.settings import Settings


def settle(
    tx: Transaction, approval_id: str, *, reviewer: Reviewer, channel: str, happened: bool, note: str
) -> Approval:
    """Record what a person found out about an approved effect whose outcome no machine can tell.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        approval_id: The request whose effect is in doubt.
        reviewer: Who found out.
        channel: Where, for the record.
        happened: Whether the effect happened. If not, the approval may be used again until its use-by.
        note: How they know, for the record.

    Returns:
        The request as it is now: used, approved again or lapsed.

    Raises:
        NotFoundError: If there is no such request.
        ForbiddenError: If this person may not decide it.
        ConflictError: If it is not in doubt.
    """
    approvals = Approvals(tx)
    request = approvals.settle_doubt(approval_id, reviewer=reviewer, channel=channel, happened=happened, note=note)
    Effects(tx).settle(request.effect_key, approval_id=approval_id, happened=happened)
    if happened:
        Runs(tx).executed(approval_id)
    Outbox(tx).close("execute_approved", approval_id)
    if request.state == "approved":
        assert request.use_by is not None
        Outbox(tx).add("execute_approved", approval_id, use_by=request.use_by, repeated=True)
    return request


def settle_unasked(
    tx: Transaction, settings: Settings, marker: str, *, reviewer: Reviewer, channel: str, happened: bool, note: str
) -> EffectRow:
    """Record what a person found out about an effect in doubt that policy allowed by itself, with nobody's yes.

    Args:
        tx: A transaction; it must be left to roll back when this raises.
        settings: Whose effects they are.
        marker: The effect's marker.
        reviewer: Who found out. Policy named no roles for it, so whoever decides anything may.
        channel: Where, for the record.
        happened: Whether the effect happened. If not, the agent's repetition of the call is judged and done anew.
        note: How they know; its hash is kept in the audit log.

    Returns:
        The effect as it is now: done, or not applied.

    Raises:
        NotFoundError: If there is no such effect.
        ForbiddenError: If this person decides nothing.
        ConflictError: If it is not in doubt, or somebody approved it.
    """
    effects = Effects(tx)
    effect = effects.of_marker(marker, tenant=settings.tenant)
    if effect.approval_id:
        raise ConflictError("a person approved this.", next_step=f"Settle {effect.approval_id}.")
    if not reviewer.roles:
        raise ForbiddenError("you decide nothing here.", next_step="Leave it to somebody who does.")
    if not effects.settle(effect.effect_key, approval_id="", happened=happened):
        raise ConflictError(
            f"the effect is {effect.state}; there is no doubt to settle.",
            next_step="Run `gatebook attention` for what is in doubt.",
            details={"state": effect.state},
        )
    Audit(tx).settled_unasked(marker, reviewer, channel=channel, happened=happened, note=note)
    return effects.of_marker(marker, tenant=settings.tenant)
