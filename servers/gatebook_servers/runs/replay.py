"""A run served again from its record: the same calls get the same answers, and nothing happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Extension
from mcp.types import CallToolRequestParams
from starlette.requests import Request

from gatebook.errors import GatebookError, NotFoundError, ReplayDivergedError, UnsupportedError
from gatebook.intents import text_digest
from gatebook.ledger.recordings import Recording, Recordings
from gatebook.messages import kept_result, written_arguments
from gatebook.runtime import Runtime


@dataclass
class Player(Extension):
    """Answers tool calls with what was recorded, in the order in which it was recorded.

    Calls that overlapped in the run may come in any order. The first call that differs ends the replay: what would
    have followed is not known.

    Args:
        runtime: Where the record is; it is only read.
        recordings: The run's messages.
        divergence: What the first differing call was, empty as long as there was none.
        unrecorded: How many calls were asked for that name no run.
        served_numbers: The messages that were answered.
    """

    runtime: Runtime
    recordings: Sequence[Recording]
    divergence: str = ""
    unrecorded: int = 0
    served_numbers: set[int] = field(default_factory=set[int])

    identifier = "dev.gatebook/replay"

    @property
    def served(self) -> int:
        """How many calls were answered from the record."""
        return len(self.served_numbers)

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Runtime, Request],  # noqa: ARG002 - the SDK's signature
        call_next: CallNext,  # noqa: ARG002 - nothing is ever performed
    ) -> HandlerResult:
        """Answer one `tools/call` from the record."""
        try:
            message = self._next(params.name, dict(params.arguments or {}))
            _, result = await self.runtime.transact(
                lambda tx: Recordings(tx, self.runtime.vault).message(message.run_id, message.number)
            )
            if result is None:
                raise NotFoundError(
                    f"the answer of call {message.number} is not kept any more.", next_step="The replay ends here."
                )
            return kept_result(result)
        except GatebookError as error:
            return error.as_result()

    def report(self) -> str:
        """Say in one sentence how the replay went."""
        ending = f"diverged at {self.divergence}" if self.divergence else "each as recorded"
        apart = f"; {self.unrecorded} calls outside the run were not answered" if self.unrecorded else ""
        return f"{self.served} of {len(self.recordings)} calls replayed, {ending}{apart}"

    def _next(self, tool: str, arguments: dict[str, object]) -> Recording:
        if self.divergence:
            raise _ended(self.divergence)
        digest = text_digest(written_arguments(arguments))
        expected = self.expected()
        for message in expected:
            if message.tool == tool and message.arguments_sha256 == digest:
                self.served_numbers.add(message.number)
                return message
        if not arguments.get("run_id"):
            # Calls that name no run are not in its record: they say nothing about the course of the run.
            self.unrecorded += 1
            raise UnsupportedError("this call names no run, so it is not in the record.", next_step="Pass run_id.")
        self.divergence = _difference(expected, tool)
        raise _ended(self.divergence)

    def expected(self) -> list[Recording]:
        """Return the next message and those that were under way at the same time."""
        waiting = [message for message in self.recordings if message.number not in self.served_numbers]
        return [message for message in waiting if message.started_at < waiting[0].finished_at] or waiting[:1]


def _difference(expected: Sequence[Recording], tool: str) -> str:
    if not expected:
        return f"the end: {tool} was called behind the last recorded call"
    first = expected[0]
    if tool in {message.tool for message in expected}:
        return f"call {first.number}: {tool} was called with other arguments"
    return f"call {first.number}: {first.tool} was recorded, {tool} was called"


def _ended(divergence: str) -> ReplayDivergedError:
    return ReplayDivergedError(f"the replay diverged at {divergence}.", next_step="Stop; nothing more can be replayed.")
