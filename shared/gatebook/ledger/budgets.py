"""Budgets and ceilings: what a principal may spend in a day, counted by atomic updates."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from gatebook.clock import local_day
from gatebook.database.port import Transaction
from gatebook.errors import (
    CeilingReachedError,
    CostBudgetExceededError,
    Detail,
    InvalidArgumentsError,
    TokenBudgetExceededError,
)
from gatebook.intents import Value
from gatebook.ledger.models import STOP, LimitName, Run
from gatebook.ledger.usage import Usage, UsageReports
from gatebook.settings import Settings

WARN_AT = 0.8
"""The part of a limit from which on a result warns of its end."""

STEPS_WITHOUT_USAGE = 20
"""Steps after which new work waits for a report of usage, where the operator requires reports."""

Counter = Literal["calls", "runs", "tokens", "usd"]
_MICRO = 6
"""Digits of a US dollar that are told apart: sums of floating point carry dust."""

T = TypeVar("T", int, float)


class Limits(Value):
    """What may be spent: by a principal in a day, and by a run in steps. None is no limit."""

    tokens: int | None = None
    usd: float | None = None
    calls: int | None = None
    runs: int | None = None
    run: Run | None = None
    require_usage: bool = False

    @classmethod
    def of(cls, settings: Settings, run: Run | None = None) -> "Limits":
        """Return the limits of a principal's call: the operator's, or the run's own where these are lower."""
        return cls(
            tokens=_least(settings.max_tokens_per_day, run.max_tokens if run else None),
            usd=_least(settings.max_usd_per_day, run.max_usd if run else None),
            calls=settings.max_calls_per_day,
            runs=settings.max_runs_per_day,
            run=run,
            require_usage=settings.require_usage,
        )

    def of_a_day(self) -> Mapping[Counter, float | None]:
        """Return the limits that begin anew at midnight."""
        return {"tokens": self.tokens, "usd": self.usd, "calls": self.calls, "runs": self.runs}


class Budgets:
    """A principal's counters of one day, inside one transaction."""

    def __init__(self, transaction: Transaction, *, tenant: str, principal: str, zone: ZoneInfo) -> None:
        self._tx = transaction
        self._tenant = tenant
        self._principal = principal
        self._zone = zone
        self._day = local_day(transaction.now, zone)
        self._known: Mapping[str, float] | None = None

    @classmethod
    def of(cls, transaction: Transaction, settings: Settings, *, principal: str) -> "Budgets":
        """Return a principal's counters of the day that it is now in the operator's time zone."""
        return cls(transaction, tenant=settings.tenant, principal=principal, zone=settings.zone)

    def count(self, name: Literal["calls", "runs"], *, limit: int, grace: int = 0) -> None:
        """Count one call or run of the day.

        Args:
            name: What is counted.
            limit: The day's ceiling.
            grace: How many this one may be above it.

        Raises:
            CeilingReachedError: If the day's ceiling was reached before this one, which is not counted then.
        """
        spent = self._add(name, 1)
        if spent > limit + grace:
            # Or else calls that are refused would use up the grace of those that end a run.
            raise self._at_ceiling(name, limit, self._add(name, -1))

    def require_call(self, *, limit: int, grace: int = 0) -> None:
        """Refuse a call that `count` would refuse, without counting it.

        Raises:
            CeilingReachedError: If the day's ceiling is reached.
        """
        spent = self.spent("calls")
        if spent >= limit + grace:
            raise self._at_ceiling("calls", limit, spent)

    def spent(self, name: Counter) -> float:
        """Return what the principal spent today."""
        return self._spent().get(name, 0)

    def require_left(self, limits: Limits) -> None:
        """Refuse new work when the day's tokens or money are used up, or a run that has to report its usage does not.

        Raises:
            TokenBudgetExceededError: If the token budget is used up, or what the run used is unknown for too long.
            CostBudgetExceededError: If the cost budget is used up, or there is one and the run's cost is unknown.
        """
        if limits.tokens is not None and (tokens := self.spent("tokens")) >= limits.tokens:
            raise TokenBudgetExceededError(
                "the day's token budget is used up.", next_step=STOP, details=self._used_up(limits.tokens, tokens)
            )
        if limits.usd is not None and (usd := self.spent("usd")) >= limits.usd:
            raise CostBudgetExceededError(
                "the day's cost budget is used up.", next_step=STOP, details=self._used_up(limits.usd, usd)
            )
        if limits.require_usage and limits.run is not None:
            self._require_reports(limits.run, cost=limits.usd is not None)

    def warning(self, limits: Limits) -> str | None:
        """Return which limits are nearly used up, with what was spent and when it resets; None when none is."""
        spent = self._spent()
        near = [
            f"{spent[name]} of {limit} {'US dollars' if name == 'usd' else name}"
            for name, limit in limits.of_a_day().items()
            if limit is not None and spent.get(name, 0) >= WARN_AT * limit
        ]
        parts = [f"today {', '.join(near)}, until {self._resets_at}"] if near else []
        run = limits.run
        if run is not None and run.unfinished and run.steps >= WARN_AT * run.step_limit:
            parts.insert(0, f"{run.steps} of {run.step_limit} steps of this run")
        return f"nearly used up: {'; '.join(parts)}" if parts else None

    def record_usage(self, run_id: str, *, source_id: str, source: str, usage: Usage, model: str) -> bool:
        """Record a report of what a run used and charge to the day by how much it raises the run's total.

        Args:
            run_id: The run, without its epoch.
            source_id: The id of the report; the same one of the same source counts once.
            source: Who counted. Sources are compared and never added up.
            usage: What was used since the source's report before.
            model: The model's name.

        Returns:
            False when the report was there before; it stands then as it was.
        """
        reports = UsageReports(self._tx)
        before = reports.total(run_id)
        if not reports.add(run_id, source=source, source_id=source_id, usage=usage, model=model):
            return False
        after = reports.total(run_id)
        assert after is not None
        self._add("tokens", after.tokens - (before.tokens if before else 0))
        self._add("usd", max(0.0, (after.usd or 0.0) - (before.usd or 0.0 if before else 0.0)))
        return True

    def _require_reports(self, run: Run, *, cost: bool) -> None:
        reports = UsageReports(self._tx)
        unknown = run.steps - reports.last_step(run.run_id)
        if unknown > STEPS_WITHOUT_USAGE:
            raise TokenBudgetExceededError(
                f"the usage of this run is unknown for its last {unknown} steps.",
                next_step=f"Call record_usage{' with usd' if cost else ''}, then repeat this call.",
                details=_unknown_for(unknown),
            )
        unknown = run.steps - reports.last_step(run.run_id, with_usd=True) if cost else 0
        if unknown > STEPS_WITHOUT_USAGE:
            raise CostBudgetExceededError(
                f"the cost of this run is unknown for its last {unknown} steps: usd is missing in its reports.",
                # A report stands as it was made, so the same id would not mend it.
                next_step="Call record_usage with usd and a new source_id, no tokens twice; then repeat this call.",
                details=_unknown_for(unknown),
            )

    def _at_ceiling(self, name: Counter, limit: int, spent: float) -> CeilingReachedError:
        return CeilingReachedError(
            f"today's ceiling of {limit} {name} is reached.",
            next_step="Finish the run; the operator can raise the ceiling.",
            details=self._used_up(limit, spent),
        )

    def _used_up(self, limit: float, spent: float) -> Mapping[str, Detail]:
        return {"limit": limit, "spent": spent, "remaining": 0, "resets_at": self._resets_at}

    @property
    def _resets_at(self) -> str:
        return next_midnight(self._tx.now, self._zone)

    def _spent(self) -> Mapping[str, float]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> Mapping[str, float]:
        rows = self._tx.all(
            "SELECT name, spent FROM counters WHERE tenant = :tenant AND principal = :principal AND day = :day",
            tenant=self._tenant,
            principal=self._principal,
            day=self._day,
        )
        spent = {str(row["name"]): float(row["spent"] or 0) for row in rows}
        return {name: round(value, _MICRO) if name == "usd" else round(value) for name, value in spent.items()}

    def _add(self, name: Counter, amount: float) -> float:
        """Add to a counter and return what it is then: the row is locked, so no other call sees the same."""
        self._known = None
        row = self._tx.one(
            """INSERT INTO counters (tenant, principal, day, name, spent)
               VALUES (:tenant, :principal, :day, :name, :amount)
               ON CONFLICT (tenant, principal, day, name) DO UPDATE SET spent = counters.spent + excluded.spent
               RETURNING spent""",
            tenant=self._tenant,
            principal=self._principal,
            day=self._day,
            name=name,
            amount=amount,
        )
        assert row is not None
        return float(row["spent"] or 0)


def require_within(settings: Settings, wanted: Mapping[LimitName, float]) -> None:
    """Refuse limits of a run above what the operator lets any run have.

    Raises:
        InvalidArgumentsError: If one is above; says which, and how far it may be raised.
    """
    ceilings: Mapping[LimitName, float | None] = {
        "steps": settings.max_steps_per_run,
        "tokens": settings.max_tokens_per_day,
        "usd": settings.max_usd_per_day,
    }
    for name, value in wanted.items():
        ceiling = ceilings[name]
        if ceiling is not None and value > ceiling:
            raise InvalidArgumentsError(
                f"{name}: the operator's ceiling is {ceiling}.",
                next_step="Ask for no more than that.",
                details={"limit": ceiling},
            )


def next_midnight(seconds: float, zone: ZoneInfo) -> str:
    """Return when the local day of an epoch time ends, ISO 8601 with the offset that holds then."""
    tomorrow = datetime.fromtimestamp(seconds, zone).date() + timedelta(days=1)
    # By way of UTC: where the clocks go forward at midnight, the day begins at one o'clock.
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC).astimezone(zone).isoformat()


def _unknown_for(steps: int) -> Mapping[str, Detail]:
    return {"limit": None, "spent": None, "remaining": None, "steps_without_usage": steps}


def _least(first: T | None, second: T | None) -> T | None:
    given = [value for value in (first, second) if value is not None]
    return min(given) if given else None
