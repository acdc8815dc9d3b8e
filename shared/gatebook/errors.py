"""Failures a caller can act on.

Every failure that Gatebook raises on purpose is a `GatebookError`: a code, one sentence, what to do next. The guard
turns it into a result with `is_error`, because a model sees the text of an error and nothing else. Any other
exception is a defect: its text reaches the log, never the model.
"""

import json
from collections.abc import Mapping
from typing import ClassVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent

ERROR_META = "dev.gatebook/error"
"""Key of the typed error in a result's `_meta`. Not in structured content: some clients check that by schema."""

Detail = str | int | float | bool | None
"""A value in an error's details."""


class GatebookError(ToolError):
    """Base of every failure raised on purpose.

    Args:
        message: One sentence for the caller. Never holds an argument's value or text from outside.
        next_step: What the caller should do next, one sentence.
        retry_after_s: Seconds after which the same call may succeed; makes the error retryable.
        details: Further facts for programs, such as an approval's id.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        next_step: str,
        retry_after_s: float | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> None:
        super().__init__(f"{self.code}: {message}")
        self.message = message
        self.next_step = next_step
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})

    def as_dict(self) -> dict[str, Detail]:
        """Return the error as the one object that programs read."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable or self.retry_after_s is not None,
            "retry_after_s": self.retry_after_s,
            "next": self.next_step,
            **self.details,
        }

    def as_text(self) -> str:
        """Return the refusal that the model reads: `code: sentence. Next.` and, in a second line, compact JSON."""
        body = json.dumps(self.as_dict(), separators=(",", ":"))
        return f"{self.code}: {self.message} {self.next_step}\n{body}"

    def as_result(self) -> CallToolResult:
        """Return the refusal as a tool's result: one text block."""
        text = TextContent(type="text", text=self.as_text())
        return CallToolResult(is_error=True, content=[text], _meta={ERROR_META: self.as_dict()})


class InvalidArgumentsError(GatebookError):
    """The arguments do not fit the tool's schema."""

    code = "invalid_arguments"


class NotFoundError(GatebookError):
    """What the call names does not exist."""

    code = "not_found"


class ForbiddenError(GatebookError):
    """The caller may not do this: above the ceiling, another's object, a prefix kept for people."""

    code = "forbidden"


class UnauthenticatedError(GatebookError):
    """The upstream refused our credentials. The operator can mend that; until then nothing is lost."""

    code = "unauthenticated"


class ConflictError(GatebookError):
    """The object changed since the caller read it."""

    code = "conflict"


class ApprovalRequiredError(GatebookError):
    """A person has to say yes first; the request exists and waits."""

    code = "approval_required"


class ApprovalDeniedError(GatebookError):
    """A person said no to exactly this content. It stays denied; only changed content is a new request."""

    code = "approval_denied"


class ApprovalInvalidError(GatebookError):
    """An approval exists but no longer fits: the tool, the policy or the content changed."""

    code = "approval_invalid"


class HeldError(GatebookError):
    """The ticket or text mentions a sensitive matter and waits for a person."""

    code = "held"


class PolicyBlockedError(GatebookError):
    """The operator's policy never allows this."""

    code = "policy_blocked"


class PausedError(GatebookError):
    """The operator paused all writes and sends."""

    code = "paused"


class StepBudgetExceededError(GatebookError):
    """The run used up its steps."""

    code = "step_budget_exceeded"


class TokenBudgetExceededError(GatebookError):
    """The day's tokens are used up."""

    code = "token_budget_exceeded"


class CostBudgetExceededError(GatebookError):
    """The day's money is used up."""

    code = "cost_budget_exceeded"


class CeilingReachedError(GatebookError):
    """The operator's ceiling for this principal is reached: calls or runs a day."""

    code = "ceiling_reached"


class RunNotActiveError(GatebookError):
    """The run is finished, cancelled or paused."""

    code = "run_not_active"


class RunLeaseLostError(GatebookError):
    """Another agent resumed this run; this handle is out of date."""

    code = "run_lease_lost"


class IdempotencyConflictError(GatebookError):
    """The same effect was already performed with other content."""

    code = "idempotency_conflict"


class InProgressError(GatebookError):
    """Another process performs this very effect right now."""

    code = "in_progress"


class OutcomeUnknownError(GatebookError):
    """Whether the effect happened cannot be told. It is never retried by a machine; a person settles it."""

    code = "outcome_unknown"


class RateLimitedError(GatebookError):
    """The upstream asks to wait longer than this call may take."""

    code = "rate_limited"


class UpstreamUnavailableError(GatebookError):
    """The upstream did not answer within the attempts and the time that one call has."""

    code = "upstream_unavailable"


class UnsupportedError(GatebookError):
    """This desk cannot do that."""

    code = "unsupported"


class TooLargeError(GatebookError):
    """An argument or a value is larger than its limit."""

    code = "too_large"


class StoreError(GatebookError):
    """The database did not do it. What happened outside before, this does not tell."""


class StorageFullError(StoreError):
    """The disk or the database's quota is full. Nothing was written."""

    code = "storage_full"


class StoreBusyError(StoreError):
    """The database was locked for longer than the call may wait."""

    code = "store_busy"


class ReplayDivergedError(GatebookError):
    """In a replay: this is not the call that was recorded next."""

    code = "replay_diverged"


class ConfigurationError(GatebookError):
    """A setting, a file or an argument of the command is wrong."""

    code = "configuration"
