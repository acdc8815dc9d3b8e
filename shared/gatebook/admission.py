"""Which calls are let in: the operator's ceilings, the day's budgets, and who drives a run."""

from gatebook.database.port import Transaction
from gatebook.errors import ForbiddenError, RunNotActiveError
from gatebook.injection import Caller
from gatebook.ledger.budgets import Budgets, Limits
from gatebook.ledger.models import Run
from gatebook.ledger.runs import Runs, require_active
from gatebook.reach import Reach
from gatebook.settings import Settings
from gatebook.toolspec import ToolSpec


class Admission:
    """The operator's limits.

    Args:
        settings: What the operator decided.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def within_ceiling(self, spec: ToolSpec) -> bool:
        """Whether the operator lets this tool be used at all."""
        default = Reach.SEND if self._settings.desk == "local" else Reach.STAGE
        return spec.reach <= (self._settings.ceiling or default)

    def require_ceiling(self, spec: ToolSpec) -> None:
        """Refuse a tool that is not to be used.

        Raises:
            ForbiddenError: If it is above the operator's ceiling.
        """
        if not self.within_ceiling(spec):
            raise ForbiddenError("the operator's ceiling is below this tool.", next_step="Do without it.")

    def require_reach(self, spec: ToolSpec, *, run_id: str, approved: bool) -> None:
        """Refuse a call that may not be made at all, or not outside a run.

        Raises:
            ForbiddenError: If the tool is above the operator's ceiling.
            RunNotActiveError: If the operator demands a run, and neither a run nor a person's yes is there.
        """
        self.require_ceiling(spec)
        needs_run = self._settings.require_run and spec.is_step and spec.reach >= Reach.STAGE
        if needs_run and not run_id and not approved:
            raise RunNotActiveError("the operator demands a run.", next_step="Call start_run and pass its run_id.")

    def look(self, tx: Transaction, spec: ToolSpec, caller: Caller, *, counted: bool) -> tuple[Run | None, str]:
        """Return the run whose step a call would be, and a warning of limits that are nearly used up.

        Raises:
            CeilingReachedError: If the call is not counted yet, and the day's calls are used up.
            NotFoundError, InvalidArgumentsError, RunLeaseLostError: If the handle drives no run.
        """
        budgets = Budgets.of(tx, self._settings, principal=caller.principal)
        if not counted:
            budgets.require_call(limit=self._settings.max_calls_per_day, grace=spec.grace_calls)
        run = self.run(tx, spec, caller)
        return run, budgets.warning(Limits.of(self._settings, run)) or ""

    def run(self, tx: Transaction, spec: ToolSpec, caller: Caller) -> Run | None:
        """Return the run whose step a call is.

        Raises:
            NotFoundError, InvalidArgumentsError, RunLeaseLostError: If the handle drives no run.
        """
        return Runs(tx).driven(caller.run_id) if caller.run_id and spec.is_step else None

    def require_left(self, tx: Transaction, spec: ToolSpec, caller: Caller, run: Run | None) -> None:
        """Refuse new work when its run has ended or a budget of the day is used up.

        Raises:
            RunNotActiveError: If the run is finished or paused.
            TokenBudgetExceededError, CostBudgetExceededError: If a budget is used up.
        """
        if not spec.is_step or spec.graceful:
            return
        if run:
            require_active(run)
        # What a run uses is charged to who started it.
        principal = run.principal if run else caller.principal
        Budgets.of(tx, self._settings, principal=principal).require_left(Limits.of(self._settings, run))

    def count(self, tx: Transaction, principal: str, *, grace: int = 0) -> None:
        """Count a call of the day, refused ones included.

        Args:
            tx: The transaction.
            principal: Whose call it is.
            grace: How many this one may be above the day's calls.

        Raises:
            CeilingReachedError: If the day's calls are used up.
        """
        budgets = Budgets.of(tx, self._settings, principal=principal)
        budgets.count("calls", limit=self._settings.max_calls_per_day, grace=grace)
