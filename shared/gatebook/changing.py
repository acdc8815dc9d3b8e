"""A person's change of what an agent asked for."""

from gatebook.approvals.models import Approval
from gatebook.approvals.policy import Outcome
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.errors import IdempotencyConflictError
from gatebook.gate import Gate
from gatebook.ledger.runs import Runs
from gatebook.refusals import blocked
from gatebook.toolspec import Edit


class Change(Gate):
    """One call with the arguments that a person's change comes to; it passes the gate as the call itself would."""

    def replace(self, tx: Transaction, request: Approval, edit: Edit, *, editor: str) -> Approval:
        """Put a person's change in the place of a pending request; what they wrote is judged as the call itself is.

        Args:
            tx: A transaction; it must be left to roll back when this raises.
            request: The pending request.
            edit: What the change comes to.
            editor: The person.

        Raises:
            IdempotencyConflictError: If the changed call was already done or begun.
            HeldError, ApprovalDeniedError, PolicyBlockedError: As the call itself would.
            ConflictError: If what was changed is not the newest any more.
        """
        history = self._history(tx, edit.intent)
        if self._known(tx, edit.intent, history) is not None:
            raise IdempotencyConflictError("this was already done or begun.", next_step="Deny the request instead.")
        self.hold(tx, edit.facts)
        self._require_undenied(history, edit.intent)
        verdict = self._verdict(tx, edit.facts, content=edit.intent.content, key=self._key(edit.intent))
        if verdict.outcome is Outcome.DENY:
            raise blocked(verdict)
        # Before: what is stored closes the older requests for its target, and this one was not just superseded.
        Approvals(tx).void(request, reason="edited")
        edit.store(tx)
        edited = self._ask(tx, edit.intent, verdict, edit.facts, known=request, editor=editor)
        Runs(tx).asked_instead(request.approval_id, edited.approval_id)
        return edited
