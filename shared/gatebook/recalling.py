"""What is known of a call before anything is decided: its effect, or what a person's change made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from gatebook.approvals.history import History
from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.asking import Asking
from gatebook.database.port import Transaction
from gatebook.effects import Effect, EffectRow, Effects
from gatebook.errors import IdempotencyConflictError
from gatebook.intents import Intent
from gatebook.refusals import in_doubt, in_progress, refusal_of_edited


@dataclass(frozen=True)
class Replay:
    """The effect was done; its recorded result. `edited` is what was done where a person had changed the content."""

    result: str
    edited: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True)
class Claimed:
    """The call is accepted: the effect that is its to perform, if any, and the number of its step, 0 for none.

    `begun` is when its transaction was about to begin, by the steady clock of this process.
    """

    effect: Effect | None
    step: int = 0
    begun: float = 0.0


class Recalling(Asking):
    """What is known of one call."""

    def recall(self, tx: Transaction, intent: Intent, history: History | None = None) -> Replay | EffectRow | None:
        """Look the effect up before anything else: done, interrupted and free to be taken over, or None when new.

        Args:
            tx: The transaction.
            intent: What is meant to happen.
            history: What was asked about it; without, people's changes are looked up only where there is no effect.

        Raises:
            IdempotencyConflictError: If it was done, or is being done, with other content.
            InProgressError: If another process performs it, or a late request may still land.
            OutcomeUnknownError: If nobody can tell whether it happened.
        """
        known = self._known(tx, intent, history)
        if isinstance(known, EffectRow):
            self._require_settled(tx, known)
        return known

    def take_over(self, tx: Transaction, row: EffectRow) -> Claimed:
        """Become the owner of an interrupted effect, with the grant that it holds.

        Raises:
            InProgressError: If its owner or a late request may still be at work, or another process was faster.
        """
        self._require_settled(tx, row)
        taken = Effects(tx).take_over(row, owner=self.runtime.owner, lease_s=self.runtime.settings.lease_s)
        if taken is None:
            raise in_progress(0)
        return Claimed(taken)

    def _known(self, tx: Transaction, intent: Intent, history: History | None = None) -> Replay | EffectRow | None:
        row = Effects(tx).find(self._key(intent))
        if row is None or row.state == "not_applied":
            edited = self._edited(tx, history or self._changes(tx, intent))
            return edited and self._instead(tx, edited)
        if row.content_sha256 != intent.content_sha256:
            raise IdempotencyConflictError(
                "this was already done or begun with other content.", next_step="Do not repeat it; read the object."
            )
        if row.state == "done":
            return Replay(_recorded(row))
        if row.state == "in_doubt":
            raise in_doubt()
        return row

    def edited(self, tx: Transaction, intent: Intent) -> Approval | None:
        """Return the request that a person's change of this very call led to, unless it came back to this one."""
        return self._edited(tx, self._changes(tx, intent))

    def _changes(self, tx: Transaction, intent: Intent) -> History:
        """Return what was asked about the effect, which is all that its recall needs: people change by effect."""
        tenant = self.runtime.settings.tenant
        return Approvals(tx).recorded(tenant=tenant, effect_key=self._key(intent))

    def _edited(self, tx: Transaction, history: History) -> Approval | None:
        edited = Approvals(tx).edited(history)
        return None if edited is None or edited.effect_key == history.effect_key else edited

    def _instead(self, tx: Transaction, edited: Approval) -> Replay | None:
        """Return what was done instead of the call because a person changed it; None when that came to nothing.

        Raises:
            GatebookError: What the changed call would be refused with.
        """
        row = Effects(tx).find(edited.effect_key)
        if row is not None and row.state == "done":
            return Replay(_recorded(row), edited.content)
        if row is not None and row.state == "in_doubt":
            raise in_doubt()
        refusal = refusal_of_edited(edited, now=tx.now)
        if refusal is not None:
            raise refusal
        return None

    def _require_settled(self, tx: Transaction, row: EffectRow) -> None:
        settings = self.runtime.settings
        # Behind a clock that was set ahead nobody can tell when the lease ends: it is waited for as if it began then.
        wait = max(row.lease_until - tx.steady, settings.lease_s - tx.even_s) + settings.settle_s
        if wait > 0:
            raise in_progress(wait)


def _recorded(row: EffectRow) -> str:
    """Return the recorded result.

    Raises:
        IdempotencyConflictError: If there is none: a person found out that it happened.
    """
    if not row.result:
        raise IdempotencyConflictError(
            "a person confirmed that this was done; its result is not recorded.",
            next_step="Do not repeat it; read the object.",
        )
    return row.result
