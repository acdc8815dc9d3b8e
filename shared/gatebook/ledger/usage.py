"""What runs used, by who counted it. Several may count the same calls of a model, so sources are never added up."""

from gatebook.database.port import Transaction
from gatebook.intents import Value


class Usage(Value):
    """Tokens and money that were used. `usd` None is unknown, which is not zero."""

    input_tokens: int
    output_tokens: int
    usd: float | None

    @property
    def tokens(self) -> int:
        """All of them, as budgets count them."""
        return self.input_tokens + self.output_tokens


class UsageSum(Usage):
    """What several reports come to. Unless it is complete, `usd` is what is known of it, and so the least it was."""

    usd_complete: bool


class UsageReports:
    """The table of usage reports, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def add(self, run_id: str, *, source: str, source_id: str, usage: Usage, model: str) -> bool:
        """Record a report; False when the same source made one with this id before, which then stands."""
        added = self._tx.execute(
            """INSERT INTO usage_reports (run_id, source, source_id, input_tokens, output_tokens, usd, model, step,
                 recorded_at)
               VALUES (:run_id, :source, :source_id, :input, :output, :usd, :model,
                 (SELECT steps FROM runs WHERE run_id = :run_id), :now)
               ON CONFLICT (run_id, source, source_id) DO NOTHING""",
            run_id=run_id,
            source=source,
            source_id=source_id,
            input=usage.input_tokens,
            output=usage.output_tokens,
            usd=usage.usd,
            model=model,
            now=self._tx.now,
        )
        return bool(added)

    def by_source(self, run_id: str) -> dict[str, UsageSum]:
        """Return the sum of each source; its money is unknown when none of its reports had any."""
        rows = self._tx.all(
            """SELECT source, SUM(input_tokens) AS input, SUM(output_tokens) AS output, SUM(usd) AS usd,
                 COUNT(*) - COUNT(usd) AS unpriced
               FROM usage_reports WHERE run_id = :run_id GROUP BY source ORDER BY source""",
            run_id=run_id,
        )
        return {
            str(row["source"]): UsageSum(
                input_tokens=int(row["input"] or 0),
                output_tokens=int(row["output"] or 0),
                usd=None if row["usd"] is None else float(row["usd"]),
                usd_complete=not row["unpriced"],
            )
            for row in rows
        }

    def total(self, run_id: str) -> UsageSum | None:
        """Return what a run used: of tokens and of money the most that one source counted; None when nobody did.

        Its money is complete when it is so for whoever counted most of either.
        """
        sources = self.by_source(run_id).values()
        if not sources:
            return None
        most = max(sources, key=lambda usage: (usage.tokens, usage.usd_complete))
        dearest = max(sources, key=lambda usage: (usage.usd is not None, usage.usd or 0.0, usage.usd_complete))
        complete = most.usd_complete and dearest.usd_complete
        return most.model_copy(update={"usd": dearest.usd, "usd_complete": complete})

    def last_step(self, run_id: str, *, with_usd: bool = False) -> int:
        """Return how many steps a run had taken at its last report, or its last one of money; 0 without one."""
        row = self._tx.one(
            f"""SELECT MAX(step) AS step FROM usage_reports
                WHERE run_id = :run_id {"AND usd IS NOT NULL" if with_usd else ""}""",  # noqa: S608 - ours
            run_id=run_id,
        )
        return int(row["step"] or 0) if row else 0
