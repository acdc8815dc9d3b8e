"""The one way every tool call goes, whatever the server and the transport. Read `perform` top to bottom."""

import json
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Extension
from mcp.types import CallToolRequestParams, CallToolResult
from starlette.requests import Request

from gatebook.admission import Admission
from gatebook.approvals.models import Approval
from gatebook.calls import Call, principal_of_token, size_in_bytes
from gatebook.database.port import Transaction
from gatebook.effects import EffectRow
from gatebook.errors import (
    ForbiddenError,
    GatebookError,
    InvalidArgumentsError,
    NotFoundError,
    StoreError,
)
from gatebook.gate import Gate
from gatebook.injection import Caller, Scope
from gatebook.intents import Facts, Intent, text_digest
from gatebook.ledger.models import Run
from gatebook.ledger.runs import require_step
from gatebook.messages import Message, written_arguments
from gatebook.performing import Performance, size_of, too_late
from gatebook.reach import Reach
from gatebook.recalling import Claimed, Replay
from gatebook.retry import counting_attempts
from gatebook.runtime import Runtime
from gatebook.switches import Switches
from gatebook.telemetry import TOOL_USE_META, CallRecord
from gatebook.toolspec import ToolSpec, warned

logger = logging.getLogger(__name__)
RUN_HEADER = "x-run-id"
MERGED = "gatebook"
"""The name by which hosts know the one server that offers every tool."""


class Guard(Extension):
    """Identify, validate, check the reach, recall, judge, claim, act and complete.

    Args:
        runtime: The process's ports.
        specs: The tools this server offers.
        catalogue: Every tool of the suite; the approval broker and the outbox resolve requests with it.
    """

    identifier = "dev.gatebook/guard"

    def __init__(
        self, runtime: Runtime, specs: Mapping[str, ToolSpec], *, catalogue: Mapping[str, ToolSpec] | None = None
    ) -> None:
        self.runtime = runtime
        self.specs = specs
        self.catalogue = specs if catalogue is None else catalogue
        self.admission = Admission(runtime.settings)

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Runtime, Request],
        call_next: CallNext,  # noqa: ARG002 - tools run through `perform` and in no other way
    ) -> HandlerResult:
        """Answer one `tools/call`."""
        spec = self.specs.get(params.name)
        record = CallRecord(server=spec.server if spec else "", tool=spec.name if spec else "unknown")
        message = Message(self.runtime, record)
        principal = principal_of_token() or self.runtime.settings.principal
        try:
            with counting_attempts(record.retries), self.runtime.call_under_way():
                return await self._answer(spec, params, ctx, message=message, principal=principal)
        except GatebookError as error:
            record.error, record.outcome = error.code, record.outcome or "refused"
            return await self._refuse(error, message, spec=spec, principal=principal)
        except Exception:
            # The outermost handler: a defect is logged here and reaches no model.
            logger.exception("a tool failed")
            record.error = record.outcome = "defect"
            return await self._refuse(_DefectError(), message, spec=spec, principal=principal)
        finally:
            record.emit()

    async def perform(self, call: Call) -> CallToolResult:
        """Run an identified, validated call: reach, recall, judge, claim, act, complete."""
        self.admission.require_reach(call.spec, run_id=call.run_id, approved=call.approval is not None)
        if call.spec.reach < Reach.WRITE:
            return await self._plain(call)
        with self._in_time(call):
            gate = self._gate(call)
            intent = await call.spec.resolve(call.scope, call.arguments)
            claimed = await self._recalled(call, gate, intent) or await self._claimed(call, gate, intent)
        if isinstance(claimed, Replay):
            call.record.outcome = "replayed"
            return call.spec.as_replay(claimed.result, self.runtime.settings.mode, edited=claimed.edited)
        return await self._performance(call, claimed).effect()

    async def execute_approved(self, approval: Approval) -> CallToolResult:
        """Perform what a person approved, exempt from run state and run budgets, from nothing else.

        Raises:
            GatebookError: Whatever refuses it now.
        """
        spec = self.loaded(approval.tool)
        record = CallRecord(server=spec.server, tool=spec.name, run_id=approval.run_id)
        scope = Scope(self.runtime, Caller(approval.principal, approval.run_id), self)
        message = Message(self.runtime, record)
        try:
            with counting_attempts(record.retries):
                arguments = spec.validate(approval.arguments)
                return await self.perform(Call(spec, scope, arguments, message, self._until(spec), approval=approval))
        except GatebookError as error:
            record.error, record.outcome = error.code, "refused"
            raise
        finally:
            record.emit()

    async def reconcile(self, row: EffectRow) -> None:
        """Find out how an interrupted effect ended, though nobody repeats its call. Nothing is performed.

        Raises:
            NotFoundError: If this process did not load the tool.
            InProgressError: If its owner, or a late request, may still be at work, or the look-up failed.
            GatebookError: If the recorded call does not fit any more.
        """
        spec = self.loaded(row.tool)
        arguments = spec.validate(json.loads(row.arguments or "{}"))
        scope = Scope(self.runtime, Caller(row.principal, row.run_id), self)
        message = Message(self.runtime, CallRecord(server=spec.server, tool=spec.name, run_id=row.run_id))
        call = Call(spec, scope, arguments, message, self._until(spec))
        gate = self._gate(call)
        try:
            with counting_attempts(message.record.retries):
                claimed = await self._timed(lambda tx: gate.take_over(tx, row))
                assert isinstance(claimed, Claimed)
                await self._performance(call, claimed).find_out()
        finally:
            message.record.emit()

    async def ask(self, tool: str, arguments: Mapping[str, object], *, caller: Caller, reason: str) -> Approval:
        """Create the approval request that calling `tool` would create, without acting.

        Raises:
            NotFoundError: If there is no such tool.
            ForbiddenError: If it is above the operator's ceiling.
            GatebookError: Whatever refuses the call itself, `ApprovalDeniedError` among it.
        """
        spec = self.catalogue.get(tool)
        if spec is None or spec.reach < Reach.WRITE:
            raise NotFoundError(
                "no tool with this name needs an approval.", next_step="Ask only for tools that write or send."
            )
        self.admission.require_ceiling(spec)
        scope = Scope(self.runtime, caller, self)
        validated = spec.validate(arguments)
        intent = await spec.resolve(scope, validated)
        gate = Gate(self.runtime, spec, caller, validated, reason=reason)
        edited = await self.runtime.look(lambda tx: gate.edited(tx, intent))
        if edited is not None and edited.state in ("pending", "approved"):
            return edited
        facts = await spec.look(scope, validated)
        return await self.runtime.transact(lambda tx: gate.request(tx, intent, facts), keep_on_refusal=True)

    def offers(self, server: str, tool: str) -> bool:
        """Whether the suite itself has this tool, so that this guard stands in front of it."""
        spec = self.catalogue.get(tool)
        return spec is not None and server in (spec.server, MERGED)

    def loaded(self, tool: str) -> ToolSpec:
        """Return a tool of the catalogue.

        Raises:
            NotFoundError: If this process did not load it.
        """
        spec = self.catalogue.get(tool)
        if spec is None:
            raise NotFoundError("this process did not load the tool.", next_step="Run `gatebook worker`.")
        return spec

    async def _answer(
        self,
        spec: ToolSpec | None,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Runtime, Request],
        *,
        message: Message,
        principal: str,
    ) -> CallToolResult:
        raw = dict(params.arguments or {})
        record = message.record
        message.arguments = written_arguments(raw)
        record.input_size = size_in_bytes(message.arguments)
        record.arguments_sha256 = text_digest(message.arguments)
        record.tool_use_id = str((ctx.meta or {}).get(TOOL_USE_META, ""))
        if spec is None:
            raise NotFoundError("no tool has this name.", next_step="Use a name from tools/list.")
        until = self._until(spec)
        run_id = self._run(spec, raw, ctx)
        record.run_id = run_id.partition(".")[0]
        scope = Scope(self.runtime, Caller(principal, run_id), self, progress=ctx.session.report_progress)
        result = await self.perform(Call(spec, scope, spec.validate(raw), message, until))
        record.outcome = record.outcome or "executed"
        record.output_size = size_of(result)
        await self._close(result, message, principal, grace=spec.grace_calls)
        return warned(result, record.warning)

    async def _close(self, result: CallToolResult, message: Message, principal: str, *, grace: int) -> None:
        """Record the answer and count the call, as far as neither has been done.

        Raises:
            CeilingReachedError: If the day's calls were used up before.
        """
        record = message.record
        record_answer = message.answered(result)
        if record.counted and record_answer is None:
            return

        def record_and_count(tx: Transaction) -> None:
            if record_answer:
                record_answer(tx)
            if not record.counted:
                record.counted = True
                self.admission.count(tx, principal, grace=grace)

        await self.runtime.transact(record_and_count, keep_on_refusal=True, durable=False)

    def _run(self, spec: ToolSpec, raw: dict[str, object], ctx: ServerRequestContext[Runtime, Request]) -> str:
        """Take `run_id` off the arguments; the operator's run is authoritative."""
        if spec.for_client:
            return ""
        header = ctx.request.headers.get(RUN_HEADER, "") if isinstance(ctx.request, Request) else ""
        fixed = header or self.runtime.settings.run_id
        given = raw.get("run_id", "") if spec.declares_run else raw.pop("run_id", "")
        if not isinstance(given, str):
            raise InvalidArgumentsError(
                "run_id: a text is expected.", next_step="Pass run_id as start_run returned it."
            )
        if fixed and given and given.partition(".")[0] != fixed.partition(".")[0]:
            raise ForbiddenError("the operator set another run.", next_step="Leave run_id out.")
        if fixed and spec.declares_run:
            raw["run_id"] = given or fixed
        return given or fixed

    async def _plain(self, call: Call) -> CallToolResult:
        """Run a read or a stage: no claim, one entry in the ledger."""
        gate = self._gate(call)
        with self._in_time(call):
            facts = await call.spec.look(call.scope, call.arguments)
            if call.spec.reach is Reach.READ and call.run_id and call.spec.is_step and not facts.passages:
                return await self._read(call, gate, facts)

            def accept(tx: Transaction) -> int:
                self._count(tx, call)
                run = self._look(tx, call)
                self.admission.require_left(tx, call.spec, call.scope.caller, run)
                gate.hold(tx, facts)
                gate.judge_stage(tx, facts)
                return gate.step(tx, call.record, run=run)

            # A hold is a request to a person and must last; the count of a call need not.
            number = await self.runtime.transact(accept, keep_on_refusal=True, durable=bool(facts.passages))
        return await self._performance(call, Claimed(effect=None, step=number)).read_or_stage()

    async def _read(self, call: Call, gate: Gate, facts: Facts) -> CallToolResult:
        """Run a step that changes nothing: whatever else is done meanwhile, it is accepted and recorded at its end."""

        def let_in(tx: Transaction) -> None:
            run = self._look(tx, call)
            self.admission.require_left(tx, call.spec, call.scope.caller, run)
            if run and not call.spec.graceful:
                require_step(run)
            gate.judge_stage(tx, facts)

        def accept(tx: Transaction) -> int:
            self._count(tx, call)
            return gate.step(tx, call.record, run=self.admission.run(tx, call.spec, call.scope.caller))

        await self.runtime.look(let_in)
        return await replace(self._performance(call, Claimed(effect=None)), accept=accept).read_or_stage()

    async def _recalled(self, call: Call, gate: Gate, intent: Intent) -> Replay | Claimed | None:
        """Look the effect up. What was done, or begun and paid for, needs no running run and no budget."""

        def recall(tx: Transaction) -> Replay | EffectRow | None:
            run = self._look(tx, call)
            recalled = gate.recall(tx, intent)
            if recalled is None and call.approval is None:
                self.admission.require_left(tx, call.spec, call.scope.caller, run)
            return recalled

        def take_over(tx: Transaction) -> Claimed:
            self._count(tx, call)
            return gate.take_over(tx, row)

        known = await self.runtime.look(recall)
        if not isinstance(known, EffectRow):
            return known
        row = known
        return await self._timed(take_over)

    async def _claimed(self, call: Call, gate: Gate, intent: Intent) -> Replay | Claimed:
        facts = await call.spec.look(call.scope, call.arguments)

        def judge_and_claim(tx: Transaction) -> Replay | Claimed:
            self._count(tx, call)
            gate.hold(tx, facts)
            return gate.claim(tx, intent, facts, record=call.record, handle=call.run_id, approval=call.approval)

        return await self._timed(judge_and_claim)

    async def _timed(self, claim: Callable[[Transaction], Replay | Claimed]) -> Replay | Claimed:
        """Run a transaction that may claim, and note when that was.

        Read before it begins: a process that stands still amid it must not think that its lease began only afterwards.
        """
        begun = self.runtime.clock.steady().seconds
        claimed = await self.runtime.transact(claim, keep_on_refusal=True)
        return replace(claimed, begun=begun) if isinstance(claimed, Claimed) else claimed

    def _look(self, tx: Transaction, call: Call) -> Run | None:
        """Look at the switches and at the run whose step it would be. What a person approved was paid for before."""
        if call.spec.reach >= Reach.WRITE:
            Switches(tx).require_running()
        if call.approval is not None:
            return None
        run, call.record.warning = self.admission.look(tx, call.spec, call.scope.caller, counted=call.record.counted)
        return run

    def _count(self, tx: Transaction, call: Call) -> None:
        """Count the call, once; what a person approved was counted when it was asked for."""
        if call.approval is None and not call.record.counted:
            call.record.counted = True
            self.admission.count(tx, call.scope.caller.principal, grace=call.spec.grace_calls)

    def _performance(self, call: Call, claimed: Claimed) -> Performance:
        call.record.step = claimed.step
        scope = replace(call.scope, effect=claimed.effect)
        until = call.until
        if claimed.effect:
            until = min(until, claimed.begun + self.runtime.settings.lease_s)
        return Performance(call.spec, scope, call.arguments, call.message, until)

    def _until(self, spec: ToolSpec) -> float:
        return self.runtime.clock.steady().seconds + max(self.runtime.settings.call_s, spec.longest_s)

    @contextmanager
    def _in_time(self, call: Call) -> Generator[None]:
        """Limit what precedes the claim to the time that the call has."""
        try:
            with anyio.fail_after(call.until - self.runtime.clock.steady().seconds):
                yield
        except TimeoutError:
            raise too_late() from None

    def _gate(self, call: Call) -> Gate:
        return Gate(self.runtime, call.spec, call.scope.caller, call.arguments)

    async def _refuse(
        self, error: GatebookError, message: Message, *, spec: ToolSpec | None, principal: str
    ) -> CallToolResult:
        """Turn a refusal into a result; a call that was refused before it was counted is counted here."""
        said = spec.as_refusal if spec else GatebookError.as_result
        result = said(error)
        try:
            await self._close(result, message, principal, grace=spec.grace_calls if spec else 0)
        except StoreError:
            logger.warning("a refused call could not be counted")
        except GatebookError as ceiling:
            message.record.error = ceiling.code
            return said(ceiling)
        return result


class _DefectError(GatebookError):
    code = "internal"

    def __init__(self) -> None:
        super().__init__("the tool failed in an unexpected way.", next_step="Go on without it; the operator has a log.")
