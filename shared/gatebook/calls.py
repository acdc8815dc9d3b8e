"""One call of a tool: who calls what, with what, and until when it must have ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import get_access_token

from gatebook.approvals.models import Approval
from gatebook.errors import InvalidArgumentsError
from gatebook.injection import Scope
from gatebook.messages import Message
from gatebook.telemetry import CallRecord
from gatebook.toolspec import ToolSpec


@dataclass(frozen=True)
class Call:
    """One identified and validated call.

    `until` is when it must have ended, by the steady clock. `approval` is set when the outbox executes what a person
    approved.
    """

    spec: ToolSpec
    scope: Scope
    arguments: Mapping[str, object]
    message: Message
    until: float
    approval: Approval | None = None

    @property
    def record(self) -> CallRecord:
        """What telemetry says of it."""
        return self.message.record

    @property
    def run_id(self) -> str:
        """The handle of the run that pays for this call."""
        return self.scope.caller.run_id if self.approval is None else ""


def size_in_bytes(arguments: str) -> int:
    """Return how many bytes written arguments have.

    Raises:
        InvalidArgumentsError: If a text is not valid Unicode.
    """
    try:
        return len(arguments.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentsError("a text is not valid Unicode.", next_step="Send whole characters.") from None


def principal_of_token() -> str:
    """Return who calls over HTTP; empty elsewhere."""
    token = get_access_token()
    return token.client_id if token else ""
