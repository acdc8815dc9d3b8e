"""Budgets and ceilings: what a principal may spend in a day, counted by atomic updates."""

from gatebook.database.port import Transaction
from gatebook.errors import CeilingReachedError, CostBudgetExceededError, TokenBudgetExceededError
from gatebook.intents import Value


class Limits(Value):
    """A principal's limits for a day; None is no limit."""

    tokens: int | None = None
    usd: float | None = None


class Usage(Value):
    """What a run's client says it used. None is unknown, which is not zero."""

    input_tokens: int
    output_tokens: int
    usd: float | None


class Budgets:
    """The counters and usage tables, inside one transaction."""

    def __init__(self, transaction: Transaction, *, tenant: str, principal: str, day: str) -> None:
        self._tx = transaction
        self._tenant = tenant
        self._principal = principal
        self._day = day

    def count(self, name: str, *, limit: int) -> None:
        """Count one call or run of the day, refused ones included.

        Raises:
            CeilingReachedError: If the day's ceiling was reached before this one.
        """
        self._add(name, 1)
        spent = self.spent(name)
        if spent > limit:
            raise CeilingReachedError(
                f"today's ceiling of {limit} {name} is reached.",
                next_step="Finish the run; the operator can raise the ceiling.",
                details={"limit": limit, "spent": spent},
            )

    def spent(self, name: str) -> float:
        """Return what the principal spent today."""
        row = self._tx.one(
            """SELECT spent FROM counters
               WHERE tenant = :tenant AND principal = :principal AND day = :day AND name = :name""",
            tenant=self._tenant,
            principal=self._principal,
            day=self._day,
            name=name,
        )
        return float(row["spent"] or 0) if row else 0.0

    def require_left(self, limits: Limits) -> None:
        """Refuse new work when the day's tokens or money are used up.

        Raises:
            TokenBudgetExceededError: If the token budget is used up.
            CostBudgetExceededError: If the cost budget is used up.
        """
        stop = "Save a checkpoint, then call finish_run with status paused."
        if limits.tokens is not None and (tokens := self.spent("tokens")) >= limits.tokens:
            raise TokenBudgetExceededError(
                "the day's token budget is used up.",
                next_step=stop,
                details={"limit": limits.tokens, "spent": tokens, "remaining": 0},
            )
        if limits.usd is not None and (usd := self.spent("usd")) >= limits.usd:
            raise CostBudgetExceededError(
                "the day's cost budget is used up.",
                next_step=stop,
                details={"limit": limits.usd, "spent": usd, "remaining": 0},
            )

    def record_usage(self, run_id: str, *, source_id: str, source: str, usage: Usage, model: str) -> bool:
        """Record usage once per source id and charge it; False when it was recorded before."""
        added = self._tx.execute(
            """INSERT INTO usage_records (run_id, source_id, source, input_tokens, output_tokens, usd, model,
                 recorded_at)
               VALUES (:run_id, :source_id, :source, :input, :output, :usd, :model, :now)
               ON CONFLICT (run_id, source_id) DO NOTHING""",
            run_id=run_id,
            source_id=source_id,
            source=source,
            input=usage.input_tokens,
            output=usage.output_tokens,
            usd=usage.usd,
            model=model,
            now=self._tx.now,
        )
        if added:
            self._add("tokens", usage.input_tokens + usage.output_tokens)
            self._add("usd", usage.usd or 0.0)
        return bool(added)

    def usage_of(self, run_id: str) -> Usage | None:
        """Return what a run used so far, None when nobody said."""
        row = self._tx.one(
            """SELECT COUNT(*) AS n, SUM(input_tokens) AS input, SUM(output_tokens) AS output, SUM(usd) AS usd
               FROM usage_records WHERE run_id = :run_id""",
            run_id=run_id,
        )
        if row is None or not row["n"]:
            return None
        usd = row["usd"]
        return Usage(
            input_tokens=int(row["input"] or 0),
            output_tokens=int(row["output"] or 0),
            usd=float(usd) if usd is not None else None,
        )

    def _add(self, name: str, amount: float) -> None:
        self._tx.execute(
            """INSERT INTO counters (tenant, principal, day, name, spent)
               VALUES (:tenant, :principal, :day, :name, :amount)
               ON CONFLICT (tenant, principal, day, name) DO UPDATE SET spent = counters.spent + excluded.spent""",
            tenant=self._tenant,
            principal=self._principal,
            day=self._day,
            name=name,
            amount=amount,
        )
