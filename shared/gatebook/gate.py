"""The decisions of the guard inside the database: holds, policy, approval, claim. One transaction each."""

import json

from pydantic import JsonValue

from gatebook.approvals.history import History
from gatebook.approvals.holds import require_release, sensitive_passages
from gatebook.approvals.models import Approval
from gatebook.approvals.policy import Outcome, Verdict
from gatebook.approvals.requests import Approvals
from gatebook.approvals.terms import outgrown, satisfied, strictest, terms_of
from gatebook.database.port import Transaction
from gatebook.effects import Effect, EffectRow, Effects
from gatebook.errors import ApprovalInvalidError, GatebookError, IdempotencyConflictError
from gatebook.intents import Facts, Intent
from gatebook.judging import judged
from gatebook.ledger.models import Run, StepStatus
from gatebook.ledger.runs import Runs, require_step
from gatebook.recalling import Claimed, Recalling, Replay
from gatebook.refusals import blocked, required
from gatebook.telemetry import CallRecord


class Gate(Recalling):
    """The decisions on one call."""

    def hold(self, tx: Transaction, facts: Facts) -> None:
        """Refuse while a sensitive text among the facts waits for a person.

        Raises:
            HeldError: If a person has not decided yet.
            ApprovalDeniedError: If a person decided that it stays held.
        """
        found = sensitive_passages(self.runtime.terms, facts)
        if found:
            require_release(tx, self._hold_request(facts), found)

    def judge_stage(self, tx: Transaction, facts: Facts) -> None:
        """Apply policy to a read or a stage; it happens or it does not, there is nothing to approve yet.

        Raises:
            PolicyBlockedError: If the operator's policy does not simply allow it.
        """
        verdict = self._verdict(tx, facts, content=self.spec.dump(self.arguments))
        if verdict.outcome is not Outcome.ALLOW:
            raise blocked(verdict)

    def step(
        self,
        tx: Transaction,
        record: CallRecord,
        *,
        run: Run | None,
        status: StepStatus = "accepted",
        key: str = "",
        approval_id: str = "",
    ) -> int:
        """Number this call in its run; 0 outside a run and for tools that are no steps."""
        if run is None or not self.spec.is_step:
            return 0
        return Runs(tx).accept(
            run,
            server=self.spec.server,
            tool=self.spec.name,
            arguments_sha256=record.arguments_sha256,
            input_size=record.input_size,
            tool_use_id=record.tool_use_id,
            effect_key=key,
            approval_id=approval_id,
            status=status,
            graceful=self.spec.graceful,
        )

    def claim(
        self,
        tx: Transaction,
        intent: Intent,
        facts: Facts,
        *,
        record: CallRecord,
        handle: str,
        approval: Approval | None,
    ) -> Replay | Claimed:
        """Judge, take the grant, debit the step and insert the effect; recall it where another call was faster.

        Raises:
            ApprovalRequiredError: If a person has to say yes first; the request exists then.
            ApprovalDeniedError: If a person said no to this content.
            ApprovalInvalidError: If an approval exists and no longer fits.
            PolicyBlockedError: If policy never allows it.
        """
        history = self._history(tx, intent)
        recalled = self.recall(tx, intent, history)
        if isinstance(recalled, EffectRow):
            return self.take_over(tx, recalled)
        if recalled is not None:
            return recalled
        known = self._current(tx, history)
        verdict = self._verdict(tx, facts, content=intent.content, key=self._key(intent))
        if verdict.outcome is Outcome.DENY:
            raise blocked(verdict)
        self._require_undenied(history, intent)
        if known is not None and self._outgrown(tx, known, verdict):
            terms = strictest(terms_of(known), verdict)
            raise self._asked(tx, intent, terms, facts, known=known, record=record, handle=handle)
        granted = self._granted(tx, known, approval)
        if not granted and known is not None and known.state == "pending":
            raise required(known, record)
        if not granted and verdict.outcome is Outcome.REVIEW:
            raise self._asked(tx, intent, verdict, facts, known=known, record=record, handle=handle)
        number = 0 if granted else self.step(tx, record, run=self._run(tx, handle), key=self._key(intent))
        return Claimed(self._insert(tx, intent, granted), number)

    def request(self, tx: Transaction, intent: Intent, facts: Facts) -> Approval:
        """Return the open request for this effect, made if need be.

        Raises:
            IdempotencyConflictError: If there is nothing left to approve.
            HeldError, ApprovalDeniedError, PolicyBlockedError: As the call itself would.
        """
        history = self._history(tx, intent)
        if self._known(tx, intent, history) is not None:
            raise IdempotencyConflictError(
                "this was already done or begun.", next_step="Call the tool itself: it returns what came of it."
            )
        self.hold(tx, facts)
        self._require_undenied(history, intent)
        verdict = self._verdict(tx, facts, content=intent.content, key=self._key(intent))
        if verdict.outcome is Outcome.DENY:
            raise blocked(verdict)
        known = self._current(tx, history)
        if known is not None and known.state in ("pending", "approved"):
            return known
        return self._ask(tx, intent, verdict, facts, known=known)

    def _outgrown(self, tx: Transaction, known: Approval, verdict: Verdict) -> bool:
        """Whether policy became so strict that what people said, or were asked, is not enough any more."""
        if known.state == "approved":
            return not satisfied(known, Approvals(tx).decisions(known.approval_id), verdict)
        return known.state == "pending" and outgrown(known, verdict)

    def _current(self, tx: Transaction, history: History) -> Approval | None:
        """Return the newest request for exactly this; an approval given for another form of the tool is void."""
        known = history.exact
        if known is None:
            for other in history.undecided_or_unused:
                if other.principal == self.caller.principal and other.tool_sha256 != self.spec.sha256:
                    Approvals(tx).void(other, reason="tool_changed")
                    raise ApprovalInvalidError(
                        "the tool changed since it was approved.",
                        next_step="Repeat the same call to ask again.",
                        details={"approval_id": other.approval_id},
                    )
        return known

    def _granted(self, tx: Transaction, known: Approval | None, approval: Approval | None) -> str:
        """Take the grant that fits, which is `approval` where a person's yes is being executed."""
        granted = None
        if known is not None and known.state == "approved" and approval in (None, known):
            granted = Approvals(tx).consume(known)
        if approval is not None and granted is None:
            raise ApprovalInvalidError(
                "the approval does not fit what would be done now.",
                next_step="Ask again.",
                details={"approval_id": approval.approval_id},
            )
        return granted or ""

    def _asked(
        self,
        tx: Transaction,
        intent: Intent,
        verdict: Verdict,
        facts: Facts,
        *,
        known: Approval | None,
        record: CallRecord,
        handle: str,
    ) -> GatebookError:
        """Ask a person, in place of a request that policy outgrew where `known` is still open."""
        run = self._run(tx, handle)
        if run:
            # First: a call that is refused for its steps must not leave a request behind, or take one away.
            require_step(run)
        asked = self._ask(tx, intent, verdict, facts, known=known)
        record.step = self.step(
            tx, record, run=run, status="held", key=self._key(intent), approval_id=asked.approval_id
        )
        return required(asked, record)

    def _insert(self, tx: Transaction, intent: Intent, granted: str) -> Effect:
        settings = self.runtime.settings
        return Effects(tx).claim(
            intent,
            tenant=settings.tenant,
            mode=settings.mode,
            server=self.spec.server,
            tool=self.spec.name,
            principal=self.caller.principal,
            run_id=self.caller.run,
            arguments=json.dumps(self.spec.dump(self.arguments)),
            owner=self.runtime.owner,
            lease_s=settings.lease_s,
            approval_id=granted,
        )

    def _verdict(self, tx: Transaction, facts: Facts, *, content: dict[str, JsonValue], key: str = "") -> Verdict:
        return judged(
            tx,
            self.runtime,
            name=self.spec.qualified,
            reach=self.spec.reach,
            facts=facts,
            content=content,
            principal=self.caller.principal,
            effect_key=key,
        )

    def _run(self, tx: Transaction, handle: str) -> Run | None:
        return Runs(tx).active(handle) if handle and self.spec.is_step else None
