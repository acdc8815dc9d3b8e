"""Act, and record how it ended. A write or send once begun is finished whatever the client cancels."""

import json
from collections.abc import Mapping
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
    UpstreamUnavailableError,
)
from gatebook.injection import Scope
from gatebook.ledger.models import StepStatus
from gatebook.ledger.runs import Runs
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
        step: The number of its step, 0 for none.
        record: What telemetry and the ledger say of it.
    """

    spec: ToolSpec
    scope: Scope
    arguments: Mapping[str, object]
    step: int
    record: CallRecord

    @property
    def _runtime(self) -> Runtime:
        return self.scope.runtime

    @property
    def _attempt_s(self) -> float:
        """An owner acts only while its lease lasts: afterwards another may look the effect up and repeat it."""
        return min(self._runtime.settings.call_s, self._runtime.settings.lease_s)

    async def read_or_stage(self) -> CallToolResult:
        """Run a tool that reaches nothing outside, within the call's deadline.

        Raises:
            UpstreamUnavailableError: If the deadline passes first.
            GatebookError: Whatever the tool raises.
        """
        status: StepStatus = "failed"
        error, size = "cancelled", 0
        try:
            with anyio.fail_after(max(self._runtime.settings.call_s, self.spec.longest_s)):
                value = await self.spec.function.call(self.scope, self.arguments)
            result = self.spec.as_result(value, self._runtime.settings.mode)
            status, error, size = "done", "", size_of(result)
        except TimeoutError:
            error = UpstreamUnavailableError.code
            raise UpstreamUnavailableError(
                "the call took too long.", next_step="Ask for less, or go on with other work."
            ) from None
        except GatebookError as refusal:
            error = refusal.code
            raise
        else:
            return result
        finally:
            if self.step:
                with anyio.CancelScope(shield=True):
                    await self._runtime.transact(lambda tx: self._end_step(tx, status, error=error, size=size))

    async def effect(self) -> CallToolResult:
        """Perform the claimed effect and record its result, shielded from the client's cancellation.

        Raises:
            InProgressError: If the outcome is not known yet; a later call finds it out.
            OutcomeUnknownError: If nobody can tell whether it happened.
            GatebookError: If it surely did not happen; the claim is given back then.
        """
        with anyio.CancelScope(shield=True) as scope:
            try:
                with anyio.fail_after(self._attempt_s):
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
            result = self.spec.as_result(value, self._runtime.settings.mode)
            self.record.outcome = outcome
            await self._settle(
                Ending("done", grant="used", result=json.dumps(result.structured_content), outcome=outcome)
            )
            return result
        raise AssertionError(f"a shielded scope was cancelled: {scope}")

    async def _act(self) -> tuple[str, object]:
        assert self.scope.effect is not None
        if self.scope.effect.takeover:
            found = await self._look_up()
            if found is not None:
                return "reconciled", found
        try:
            return "executed", await self.spec.function.call(self.scope, self.arguments)
        except AmbiguousError:
            found = await self._look_up()
            if found is None:
                raise
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

    async def _settle(self, ending: Ending) -> None:
        effect = self.scope.effect
        assert effect is not None

        def complete(tx: Transaction) -> None:
            self._end_step(
                tx, "done" if ending.state == "done" else "failed", error=ending.reason, size=len(ending.result)
            )
            if not Effects(tx).finish(effect, state=ending.state, result=ending.result, outcome=ending.outcome):
                return
            if effect.approval_id:
                Approvals(tx).settle(effect.approval_id, state=ending.grant, reason=ending.reason)
                if ending.state == "done":
                    Runs(tx).executed(effect.approval_id)

        await self._runtime.transact(complete)

    def _end_step(self, tx: Transaction, status: StepStatus, *, error: str, size: int) -> None:
        if self.step:
            Runs(tx).complete(
                self.record.run_id,
                self.step,
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


def size_of(result: CallToolResult) -> int:
    """Return how many characters of text a result has."""
    return sum(len(block.text) for block in result.content if isinstance(block, TextContent))


def _given_back(error: GatebookError) -> Ending:
    """The effect surely did not happen: the grant may be used again, unless what it was given for has changed."""
    if isinstance(error, ConflictError):
        return Ending("not_applied", grant="lapsed", reason="conflict")
    return Ending("not_applied", grant="approved", reason=error.code)
