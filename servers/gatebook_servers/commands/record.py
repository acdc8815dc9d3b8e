"""What the ledger says of a night, for agents that do not report themselves."""

from typing import cast

from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction, Value
from gatebook.ledger.checkpoints import Checkpoints
from gatebook.ledger.models import Run
from gatebook.ledger.runs import Runs
from gatebook.ledger.usage import UsageReports
from gatebook_servers.nightly.state import CATEGORIES, Category, Counted, Order, Report, Window


def report_of_run(tx: Transaction, run: Run, order: Order) -> Report:
    """Return the report of a run from the records that its calls left."""
    by_category = _by_category(tx, run)
    counts = Approvals(tx).counts(tenant=run.tenant, run_id=run.run_id)
    checkpoint = Checkpoints(tx).newest(run.run_id)
    usage = UsageReports(tx).total(run.run_id)
    return Report(
        run_id=run.run_id,
        key=run.key,
        status=run.status,
        window=Window(since=order.since, until=order.until, naive_times=0),
        tickets=sum(by_category.values()),
        by_category=by_category,
        drafts=_number(tx, "SELECT COUNT(*) AS n FROM drafts WHERE run_id = :run", run=run.run_id),
        held=counts.get("held", 0),
        failed=None,
        remaining=None,
        taken_over=None,
        approvals=Counted(
            pending=counts.get("pending", 0),
            approved=counts.get("approved", 0) + counts.get("claimed", 0),
            denied=counts.get("denied", 0),
            executed=counts.get("used", 0),
        ),
        steps=run.steps,
        retries=Runs(tx).retries(run.run_id),
        checkpoints=checkpoint.seq if checkpoint else 0,
        resumed_from=checkpoint.step if checkpoint and run.epoch > 1 else None,
        summary_key=f"tickets/{order.day}",
        tokens=usage.tokens if usage else None,
        duration_s=round((run.finished_at or run.updated_at) - run.started_at, 2),
    )


def _by_category(tx: Transaction, run: Run) -> dict[Category, int]:
    rows = tx.all(
        "SELECT category, COUNT(*) AS n FROM classifications WHERE run_id = :run GROUP BY category", run=run.run_id
    )
    found = {cast("Category", row["category"]): int(row["n"] or 0) for row in rows}
    return {category: found.get(category, 0) for category in CATEGORIES}


def _number(tx: Transaction, sql: str, **parameters: Value) -> int:
    row = tx.one(sql, **parameters)
    return int(row["n"] or 0) if row else 0
