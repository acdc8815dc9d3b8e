"""Act, and record how it ended. A write or send once begun is finished whatever the client cancels."""

import json
from collections.abc import Mapping

import anyio
from mcp.types import CallToolResult

from gatebook.approvals.models import ApprovalState
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.effects import Effect, Effects, EffectState
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


async def run_with_deadline(
    runtime: Runtime, spec: ToolSpec, scope: Scope, arguments: Mapping[str, object], *, step: int, record: CallRecord
) -> CallToolResult:
    """Run a read or a stage within the call's deadline and record its step.

    Raises:
        UpstreamUnavailableError: If the deadline passes first.
        GatebookError: Whatever the tool raises.
    """
    status: StepStatus = "failed"
    error = "cancelled"
    try:
        with anyio.fail_after(_deadline(runtime, spec)):
            value = await spec.function.call(scope, arguments)
        result = spec.as_result(value, runtime.settings.mode)
        status, error = "done", ""
    except TimeoutError:
        error = UpstreamUnavailableError.code
        raise _too_slow() from None
    except GatebookError as refusal:
        error = refusal.code
        raise
    else:
        return result
    finally:
        if step:
            with anyio.CancelScope(shield=True):
                await runtime.transact(
                    lambda tx: Runs(tx).complete(
                        record.run_id,
                        step,
                        status=status,
                        attempts=record.attempts,
                        error=error,
                        output_size=record.output_size,
                    )
                )


async def act_and_complete(
    runtime: Runtime, spec: ToolSpec, scope: Scope, arguments: Mapping[str, object], *, step: int, record: CallRecord
) -> CallToolResult:
    """Perform a claimed effect and record its result, shielded from the client's cancellation.

    Raises:
        InProgressError: If the outcome is not known yet; a later call finds it out.
        OutcomeUnknownError: If nobody can tell whether it happened.
        GatebookError: If it surely did not happen; the claim is given back then.
    """
    assert scope.effect is not None
    record.step = step
    with anyio.CancelScope(shield=True):
        try:
            with anyio.fail_after(runtime.settings.call_s):
                outcome, value = await _act(spec, scope, arguments)
        except (TimeoutError, AmbiguousError):
            # The request may still land. The claim stays; after its lease and the settle time it is looked up.
            record.outcome = "in_doubt"
            raise _undecided(runtime) from None
        except OutcomeUnknownError as error:
            await _settle(
                runtime, scope.effect, "in_doubt", grant="in_doubt", reason=error.code, step=step, record=record
            )
            raise
        except GatebookError as error:
            grant: ApprovalState = "lapsed" if isinstance(error, ConflictError) else "approved"
            await _settle(
                runtime, scope.effect, "not_applied", grant=grant, reason=error.code, step=step, record=record
            )
            raise
        result = spec.as_result(value, runtime.settings.mode)
        recorded = json.dumps(result.structured_content)
        record.outcome = outcome
        await _settle(
            runtime,
            scope.effect,
            "done",
            grant="used",
            reason="",
            step=step,
            record=record,
            result=recorded,
            outcome=outcome,
        )
        return result


async def _act(spec: ToolSpec, scope: Scope, arguments: Mapping[str, object]) -> tuple[str, object]:
    assert scope.effect is not None
    assert spec.reconcile is not None
    if scope.effect.takeover:
        found = await spec.reconcile.call(scope, arguments)
        if found is not None:
            return "reconciled", found
    try:
        return "executed", await spec.function.call(scope, arguments)
    except AmbiguousError:
        found = await spec.reconcile.call(scope, arguments)
        if found is None:
            raise
        return "reconciled", found


async def _settle(
    runtime: Runtime,
    effect: Effect,
    state: EffectState,
    *,
    grant: ApprovalState,
    reason: str,
    step: int,
    record: CallRecord,
    result: str = "",
    outcome: str = "",
) -> None:
    def complete(tx: Transaction) -> None:
        if not Effects(tx).finish(effect, state=state, result=result, outcome=outcome):
            return
        if effect.approval_id:
            Approvals(tx).settle(effect.approval_id, state=grant, reason="conflict" if grant == "lapsed" else reason)
            if state == "done":
                Runs(tx).executed(effect.approval_id)
        if step:
            status: StepStatus = "done" if state == "done" else "failed"
            Runs(tx).complete(
                record.run_id, step, status=status, attempts=record.attempts, error=reason, output_size=len(result)
            )

    await runtime.transact(complete)


def _deadline(runtime: Runtime, spec: ToolSpec) -> float:
    return max(runtime.settings.call_s, spec.longest_s)


def _undecided(runtime: Runtime) -> InProgressError:
    settings = runtime.settings
    return InProgressError(
        "the outside did not answer; whether it happened is being found out.",
        next_step="Go on with other work and repeat this call later; it will not be done twice.",
        retry_after_s=settings.lease_s + settings.settle_s,
    )


def _too_slow() -> UpstreamUnavailableError:
    return UpstreamUnavailableError("the call took too long.", next_step="Ask for less, or go on with other work.")
