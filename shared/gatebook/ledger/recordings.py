"""Recordings: every tool message of a run, so that the run can be replayed without any effect."""

import json
from collections.abc import Sequence

from pydantic import JsonValue

from gatebook.database.port import Row, Transaction
from gatebook.errors import NotFoundError
from gatebook.intents import Value
from gatebook.vault import Vault

MAX_ARGUMENTS_CHARS = 16 * 1024
"""Longer arguments are kept as a hash only: enough to tell whether a replay diverges."""
MAX_RESULT_CHARS = 512 * 1024
"""Longer results are not kept; no tool returns any."""

_COLUMNS = "run_id, number, server, tool, step, outcome, error, attempts, arguments_sha256, started_at, finished_at"


class Recording(Value):
    """One tool message as it is listed; its texts are read apart.

    `number` counts the run's messages in the order in which they ended, `step` is 0 where the call was none.
    """

    run_id: str
    number: int
    server: str
    tool: str
    step: int
    outcome: str
    error: str
    attempts: int
    arguments_sha256: str
    started_at: float
    finished_at: float


class _Said(Value):
    """What was said in a message, as JSON texts; None where it is too long to be kept."""

    arguments: str | None = None
    result: str | None = None


class Recordings:
    """The recordings table, inside one transaction."""

    def __init__(self, transaction: Transaction, vault: Vault) -> None:
        self._tx = transaction
        self._vault = vault

    def add(  # noqa: D417 - the others are Recording's
        self,
        run_id: str,
        *,
        server: str,
        tool: str,
        step: int,
        outcome: str,
        error: str,
        attempts: int,
        arguments_sha256: str,
        said: bytes | None,
        duration_s: float,
    ) -> None:
        """Record a message behind the run's others; nothing where there is no such run.

        Args:
            said: Its texts, from `seal`: encrypted before the transaction began. None where they are not kept.
            duration_s: Seconds the call took until now.
        """
        self._tx.defer(
            """INSERT INTO recordings (run_id, number, server, tool, step, outcome, error, attempts, arguments_sha256,
                 said, started_at, finished_at)
               SELECT run_id, COALESCE((SELECT MAX(number) FROM recordings WHERE run_id = :run), 0) + 1, :server,
                 :tool, :step, :outcome, :error, :attempts, :sha, :said, :started, :now
               FROM runs WHERE run_id = :run""",
            run=run_id,
            server=server,
            tool=tool,
            step=step,
            outcome=outcome,
            error=error,
            attempts=attempts,
            sha=arguments_sha256,
            said=said,
            started=self._tx.now - duration_s,
            now=self._tx.now,
        )

    def select(self, run_id: str) -> list[Recording]:
        """Return a run's messages in order."""
        rows = self._tx.all(
            f"SELECT {_COLUMNS} FROM recordings WHERE run_id = :run ORDER BY number",  # noqa: S608 - constant columns
            run=run_id,
        )
        return [Recording.model_validate(dict(row)) for row in rows]

    def message(self, run_id: str, number: int) -> tuple[str | None, str | None]:
        """Return the arguments and the result of a message as JSON texts; None where they were not kept.

        Raises:
            NotFoundError: If the run has no such message.
            ConfigurationError: If the key is another one than that which sealed them.
        """
        row = self._tx.one(
            "SELECT said FROM recordings WHERE run_id = :run AND number = :number",
            run=run_id,
            number=number,
        )
        if row is None:
            raise NotFoundError("the run has no such call.", next_step=f"Look at `gatebook runs show {run_id}`.")
        said = self._opened(row, run_id)
        return said.arguments, said.result

    def results(self, run_id: str, *, steps: Sequence[int]) -> dict[int, JsonValue]:
        """Return what the agent was answered at these steps of a run, where that was kept."""
        if not steps:
            return {}
        rows = self._tx.all(
            """SELECT step, said FROM recordings
               WHERE run_id = :run AND step BETWEEN :first AND :last AND said IS NOT NULL ORDER BY number""",
            run=run_id,
            first=min(steps),
            last=max(steps),
        )
        opened = {int(row["step"] or 0): self._opened(row, run_id).result for row in rows}
        return {step: _answered(text) for step, text in opened.items() if text is not None and step in steps}

    def prune(self, *, before: float) -> int:
        """Forget what was said in messages that ended before a time, not that they were; how many."""
        return self._tx.execute(
            "UPDATE recordings SET said = NULL WHERE finished_at < :before AND said IS NOT NULL",
            before=before,
        )

    def begun_since(self, since: float, *, tenant: str) -> list[Recording]:
        """Return the messages of all runs that began at or after a time."""
        rows = self._tx.all(
            f"""SELECT {_COLUMNS} FROM recordings
                WHERE started_at >= :since
                  AND run_id IN (SELECT run_id FROM runs WHERE tenant = :tenant)""",  # noqa: S608 - constant columns
            tenant=tenant,
            since=since,
        )
        return [Recording.model_validate(dict(row)) for row in rows]

    def _opened(self, row: Row, run_id: str) -> _Said:
        sealed = row["said"]
        return (
            _Said.model_validate_json(self._vault.open(sealed, context=run_id))
            if isinstance(sealed, bytes)
            else _Said()
        )


def seal(vault: Vault, run_id: str, *, arguments: str, result: str) -> bytes:
    """Encrypt the texts of a message, as far as they are short enough to be kept."""
    said = _Said(
        arguments=arguments if len(arguments) <= MAX_ARGUMENTS_CHARS else None,
        result=result if len(result) <= MAX_RESULT_CHARS else None,
    )
    return vault.seal(said.model_dump_json(), context=run_id)


def _answered(result: str) -> JsonValue:
    """Return what stood in a result's text: JSON, or the refusal's words."""
    text = str(json.loads(result)["text"])
    try:
        return json.loads(text)
    except ValueError:
        return text
