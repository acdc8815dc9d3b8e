"""What passes between a client and a tool, recorded once it was answered."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mcp.types import CallToolResult, TextContent
from pydantic import JsonValue

from gatebook.database.port import Transaction
from gatebook.errors import ConfigurationError
from gatebook.ledger.recordings import Recordings, seal
from gatebook.runtime import Runtime
from gatebook.telemetry import CallRecord

logger = logging.getLogger(__name__)


@dataclass
class Message:
    """One call of a run while it is under way.

    Args:
        runtime: The process's ports.
        record: What is known of the call.
        arguments: As the client sent them, in one written form; None when no client is there to be answered.
    """

    runtime: Runtime
    record: CallRecord
    arguments: str | None = None
    recorded: bool = False

    def answered(self, result: CallToolResult) -> Callable[[Transaction], None] | None:
        """Return what records the answer in a transaction; None outside a run, and the second time."""
        if self.recorded or self.arguments is None or not self.record.run_id:
            return None
        self.recorded = True
        record, said = self.record, self._sealed(self.arguments, result)

        def write(tx: Transaction) -> None:
            Recordings(tx, self.runtime.vault).add(
                record.run_id,
                server=record.server,
                tool=record.tool,
                step=record.step,
                outcome=record.outcome,
                error=record.error,
                attempts=record.attempts,
                arguments_sha256=record.arguments_sha256,
                said=said,
                duration_s=record.seconds,
            )

        return write

    def _sealed(self, arguments: str, result: CallToolResult) -> bytes | None:
        """Encrypt outside the transaction, so that nobody waits for it."""
        if not self.runtime.settings.record_days:
            return None
        try:
            return seal(self.runtime.vault, self.record.run_id, arguments=arguments, result=written_result(result))
        except ConfigurationError as error:
            # An effect that happened must be answered, with its record or without.
            logger.warning("what was said in a call could not be recorded", extra={"error": error.code})
            return None


def written_arguments(arguments: dict[str, object]) -> str:
    """Return arguments in the one form in which they are compared and kept."""
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def written_result(result: CallToolResult) -> str:
    """Return a result as it is kept. Structured content says the same as the text, so it is not kept twice."""
    texts = [block.text for block in result.content if block.type == "text"]
    kept: dict[str, JsonValue] = {"text": "".join(texts), "is_error": bool(result.is_error), "meta": result.meta}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def kept_result(kept: str) -> CallToolResult:
    """Return the result that `written_result` wrote."""
    fields: dict[str, JsonValue] = json.loads(kept)
    text, is_error = str(fields["text"]), bool(fields["is_error"])
    meta = fields["meta"]
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=None if is_error else json.loads(text),
        is_error=is_error,
        _meta=meta if isinstance(meta, dict) else None,
    )
