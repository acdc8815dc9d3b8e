"""Act, and record how it ended. A write or send once begun is finished whatever the client cancels."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
from mcp.types import CallToolResult, TextContent

from gatebook.approvals.models import ApprovalState
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.effects import Effects, EffectState
from gatebook.errors import (
    ConflictError,
    GatebookError,
    InProgressError,
    OutcomeUnknownError,
    StoreError,
    UpstreamUnavailableError,
)
from gatebook.http import sending_while
from gatebook.injection import Scope
from gatebook.ledger.models import StepStatus
from gatebook.ledger.runs import Runs
from gatebook.messages import Message
from gatebook.retry import AmbiguousError
from gatebook.runtime import Runtime
from gatebook.telemetry import CallRecord
from gatebook.toolspec import ToolSpec


@dataclass(frozen=True)
class Ending:
    """How an effect ended: its state, what becomes of the grant it used, and the record."""

    state: EffectState
    grant: ApprovalState
    reason: str = ""
    result: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Performance:
    """One accepted call that is being performed.

    Args:
        spec: The tool.
        scope: What it may reach; holds the claimed effect of a write or send.
        arguments: The validated arguments.
        message: The call as it is recorded.
        until: When it must have acted, by the steady clock: the end of its call, or of its lease on the effect.
            Afterwards another process may look the effect up and repeat it.
        accept: For a read, which is accepted only when it is over: counts and numbers it, in the transaction that
            records how it ended; its step, 0 for none.
    """

    spec: ToolSpec
    scope: Scope
    arguments: Mapping[str, object]
    message: Message
    until: float
    accept: Callable[[Transaction], int] | None = None

    @property
    def record(self) -> CallRecord:
        """What telemetry and the ledger say of the call."""
        return self.message.record

    @property
    def _runtime(self) -> Runtime:
        return self.scope.runtime

    @property
    def _left_s(self) -> float:
        return self.until - self._runtime.clock.steady().seconds

    async def read_or_stage(self) -> CallToolResult:
        """Run a tool that reaches nothing outside, within the call's deadline.

        Raises:
            UpstreamUnavailableError: If the deadline passes first.
            GatebookError: Whatever the tool raises.
        """
        answer, error = None, "cancelled"
        try:
            with anyio.fail_after(self._left_s):
                value = await self.spec.function.call(self.scope, self.arguments)
            answer, error = self.spec.as_result(value, self._runtime.settings.mode), ""
            self._join_run(answer)
        except TimeoutError:
            late = too_late()
            answer, error = late.as_result(), late.code
            raise late from None
        except GatebookError as refusal:
            answer, error = refusal.as_result(), refusal.code
            raise
        else:
            return answer
        finally:
            with anyio.CancelScope(shield=True):
                await self._log(answer, error=error)

    async def effect(self) -> CallToolResult:
        """Perform the claimed effect and record its result, shielded from the client's cancellation.

        Raises:
            InProgressError: If the outcome is not known yet; a later call finds it out.
            OutcomeUnknownError: If nobody can tell whether it happened.
            GatebookError: If it surely did not happen; the claim is given back then.
        """
        with anyio.CancelScope(shield=True) as scope:
            try:
                with anyio.fail_after(self._left_s):
                    outcome, value = await self._act()
            except (TimeoutError, AmbiguousError):
                # The request may still land. The claim stays; after its lease and the settle time it is looked up.
                self.record.outcome = "in_doubt"
                raise self._undecided() from None
            except OutcomeUnknownError as error:
                await self._settle(Ending("in_doubt", grant="in_doubt", reason=error.code))
                raise
            except GatebookError as error:
                await self._settle(_given_back(error))
                raise
            return await self._done(outcome, value)
        raise AssertionError(f"a shielded scope was cancelled: {scope}")

    async def find_out(self) -> None:
        """Look up how the effect ended that was taken over, and record it, without performing it.

        Raises:
            InProgressError: If the look-up failed; the claim stays.
        """
        with anyio.CancelScope(shield=True):
            try:
                with anyio.fail_after(self._left_s):
                    found = await self._look_up()
            except (TimeoutError, AmbiguousError):
                raise self._undecided() from None
            except OutcomeUnknownError as error:
                await self._settle(Ending("in_doubt", grant="in_doubt", reason=error.code))
            else:
                if found is None:
                    await self._settle(Ending("not_applied", grant="approved", reason="interrupted"))
                else:
                    await self._done("reconciled", found)

    async def _done(self, outcome: str, value: object) -> CallToolResult:
        result = self.spec.as_result(value, self._runtime.settings.mode)
        self.record.outcome = outcome
        ending = Ending("done", grant="used", result=json.dumps(result.structured_content), outcome=outcome)
        await self._settle(ending, answer=result)
        return result

    async def _act(self) -> tuple[str, object]:
        assert self.scope.effect is not None
        if self._left_s <= 0:
            # The process stood still; somebody else may own the effect by now.
            raise TimeoutError
        if self.scope.effect.takeover:
            found = await self._look_up()
            if found is not None:
                return "reconciled", found
        try:
            with sending_while(lambda: self._left_s > 0):
                return "executed", await self.spec.function.call(self.scope, self.arguments)
        except (AmbiguousError, StoreError) as error:
            # Where the database failed in the middle, the request may have been sent before.
            found = await self._look_up()
            if found is None:
                raise AmbiguousError from error
            return "reconciled", found

    async def _look_up(self) -> object:
        """Look the marker up outside. A look-up that fails decides nothing, so it must not give the claim back."""
        assert self.spec.reconcile is not None
        try:
            return await self.spec.reconcile.call(self.scope, self.arguments)
        except OutcomeUnknownError:
            raise
        except GatebookError as error:
            raise AmbiguousError from error

    async def _settle(self, ending: Ending, *, answer: CallToolResult | None = None) -> None:
        effect = self.scope.effect
        assert effect is not None
        record_answer = self.message.answered(answer) if answer else None
        status: StepStatus = "done" if ending.state == "done" else "failed"

        def complete(tx: Transaction) -> None:
            if record_answer:
                record_answer(tx)
            self._end_step(tx, status, error=ending.reason, size=len(ending.result))
            if not Effects(tx).finish(effect, state=ending.state, result=ending.result, outcome=ending.outcome):
                return
            # The step that began what this call took over.
            Runs(tx).settled(effect.key, status=status, error=ending.reason)
            if effect.approval_id:
                Approvals(tx).settle(effect.approval_id, state=ending.grant, reason=ending.reason)
                if ending.state == "done":
                    Runs(tx).executed(effect.approval_id)

        await self._runtime.transact(complete)

    async def _log(self, answer: CallToolResult | None, *, error: str) -> None:
        """Record how a call ended that changed nothing outside; this need not wait for the disk."""
        self.record.error = error
        self.record.outcome = "refused" if error else "executed"
        record_answer = self.message.answered(answer) if answer else None
        if not self.record.step and record_answer is None and self.accept is None:
            return

        def end(tx: Transaction) -> None:
            if self.accept:
                self.record.step = self.accept(tx)
            self._end_step(tx, "failed" if error else "done", error=error, size=size_of(answer) if answer else 0)
            if record_answer:
                record_answer(tx)

        await self._runtime.transact(end, keep_on_refusal=True, durable=False)

    def _join_run(self, answer: CallToolResult) -> None:
        if self.spec.begins_run and answer.structured_content:
            self.record.run_id = str(answer.structured_content["run_id"]).partition(".")[0]

    def _end_step(self, tx: Transaction, status: StepStatus, *, error: str, size: int) -> None:
        if self.record.step:
            Runs(tx).complete(
                self.record.run_id,
                self.record.step,
                status=status,
                attempts=self.record.attempts,
                error=error,
                output_size=size,
            )

    def _undecided(self) -> InProgressError:
        settings = self._runtime.settings
        return InProgressError(
            "the outside did not answer; whether it happened is being found out.",
            next_step="Go on with other work and repeat this call later; it will not be done twice.",
            retry_after_s=settings.lease_s + settings.settle_s,
        )


def too_late() -> UpstreamUnavailableError:
    """Return the refusal of a call whose time is over before anything happened outside."""
    return UpstreamUnavailableError("the call took too long.", next_step="Ask for less, or go on with other work.")


def size_of(result: CallToolResult) -> int:
    """Return how many characters of text a result has."""
    return sum(len(block.text) for block in result.content if isinstance(block, TextContent))


def _given_back(error: GatebookError) -> Ending:
    """The effect surely did not happen: the grant may be used again, unless what it was given for has changed."""
    if isinstance(error, ConflictError):
        return Ending("not_applied", grant="lapsed", reason="conflict")
    return Ending("not_applied", grant="approved", reason=error.code)
