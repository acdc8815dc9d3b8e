"""Claude Code's two questions about a call: its permission prompt, and its PreToolUse hook.

Each is answered in the exact form that Claude Code reads, whatever happens: an answer it cannot read lets a hooked call
go ahead unless the hook is configured to block.
"""

import logging
from typing import Literal

import anyio
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.errors import ApprovalRequiredError, GatebookError, InvalidArgumentsError
from gatebook.foreign import ForeignCall, ForeignCalls, ToolInput, ToolName, ToolUseId, undecided
from gatebook.injection import Broker, Caller, Progress
from gatebook.intents import Value
from gatebook.runtime import Runtime

logger = logging.getLogger(__name__)
LONGEST_PROMPT_S = 260
"""Seconds the prompt may take: the longest wait that the settings allow, and what the rest needs."""
POLL_S = 0.08
"""How often a decision is looked for, which another process makes."""
PROGRESS_S = 1.0
"""How often the client is told that the wait goes on."""


class PromptAnswer(Value):
    """What a permission prompt answers: beside a denial a message, beside a yes the input that a person changed."""

    behavior: Literal["allow", "deny"]
    updated_input: ToolInput | None = Field(
        default=None, serialization_alias="updatedInput", exclude_if=lambda value: value is None
    )
    message: str | None = Field(default=None, exclude_if=lambda value: value is None)


class HookDecision(Value):
    """What a PreToolUse hook answers."""

    hook_event_name: Literal["PreToolUse"] = Field(default="PreToolUse", serialization_alias="hookEventName")
    decision: Literal["allow", "deny", "defer"] = Field(serialization_alias="permissionDecision")
    reason: str = Field(default="", serialization_alias="permissionDecisionReason")
    updated_input: ToolInput | None = Field(
        default=None, serialization_alias="updatedInput", exclude_if=lambda value: value is None
    )

    def as_json(self) -> dict[str, JsonValue]:
        """Return the object that Claude Code reads."""
        return {"hookSpecificOutput": self.model_dump(mode="json", by_alias=True)}


class HookInput(BaseModel):
    """What Claude Code tells a PreToolUse hook, as far as it matters here."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # the shape is Claude Code's and grows

    hook_event_name: Literal["PreToolUse"]
    tool_name: ToolName
    tool_input: ToolInput
    tool_use_id: ToolUseId


async def permission_prompt(
    runtime: Runtime,
    caller: Caller,
    broker: Broker,
    progress: Progress,
    tool_name: ToolName,
    input: ToolInput,  # noqa: A002 - the client names it
    tool_use_id: ToolUseId,
) -> PromptAnswer:
    """Answer the client's own question whether another server's tool may run. It runs nothing; no use to a model."""
    call = ForeignCall(tool_name=tool_name, tool_input=input, tool_use_id=tool_use_id)
    calls = ForeignCalls(runtime, broker, caller)
    try:
        passed = await calls.require(call, counted=True)
    except ApprovalRequiredError as pending:
        if not runtime.settings.claude_prompt_wait_s:
            raise
        request = await _decided(runtime, str(pending.details["approval_id"]), progress)
        if request.state not in ("approved", "denied"):
            raise undecided(request) from None
        passed = await calls.require(call, counted=True)
    return PromptAnswer(behavior="allow", updated_input=_updated(call, passed))


def refused(error: GatebookError) -> PromptAnswer:
    """Return the prompt's answer to a call that is refused, for whatever reason."""
    return PromptAnswer(behavior="deny", message=error.as_text())


async def pre_tool_use(runtime: Runtime, broker: Broker, *, body: bytes, principal: str) -> HookDecision:
    """Answer a PreToolUse hook: allow, deny, or defer as long as a person has not decided.

    Args:
        runtime: The process's ports.
        broker: Knows which tools are ours.
        body: The hook's input, as it came.
        principal: Who asks.
    """
    try:
        asked = HookInput.model_validate_json(body)
        call = ForeignCall(tool_name=asked.tool_name, tool_input=asked.tool_input, tool_use_id=asked.tool_use_id)
        passed = await ForeignCalls(runtime, broker, Caller(principal)).require(call, counted=False)
    except ValidationError:
        misfit = InvalidArgumentsError("this is no input of a PreToolUse hook.", next_step="Do without this tool.")
        return HookDecision(decision="deny", reason=misfit.as_text())
    except ApprovalRequiredError as pending:
        return HookDecision(decision="defer", reason=pending.as_text())
    except GatebookError as error:
        return HookDecision(decision="deny", reason=error.as_text())
    except Exception:
        # The outermost handler of a hook: a defect must not let the call go ahead.
        logger.exception("a hook failed")
        return HookDecision(decision="deny", reason="internal: the hook failed in an unexpected way.")
    return HookDecision(decision="allow", updated_input=_updated(call, passed))


def _updated(call: ForeignCall, passed: ToolInput) -> ToolInput | None:
    """Return the input with which the client has to make a call, where it is not the call's own."""
    return None if passed == call.tool_input else passed


async def _decided(runtime: Runtime, approval_id: str, progress: Progress) -> Approval:
    """Wait for a decision as long as the settings say; the request as it is then."""
    longest = runtime.settings.claude_prompt_wait_s
    started = told = anyio.current_time()
    while True:
        request = await runtime.transact(lambda tx: Approvals(tx).at_last(Approvals(tx).get(approval_id)))
        now = anyio.current_time()
        if request.state != "pending" or now - started >= longest:
            return request
        if now >= told:
            told = now + PROGRESS_S
            await progress(now - started, longest, "a person is asked")
        await anyio.sleep(POLL_S)
