"""What came of a night: the report for programs, the note for the next reader."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from gatebook_servers.nightly.client import Answer
from gatebook_servers.nightly.state import CATEGORIES, Counted, Night, Order, Report, Window


@dataclass(frozen=True)
class Figures:
    """What only the agent itself knows."""

    status: str
    checkpoints: int
    resumed_from: int | None
    summary_key: str


def report_of(order: Order, night: Night, *, run: Answer, states: Counter[str], figures: Figures) -> Report:
    """Return the report, its duration still open.

    Args:
        order: What was to be done.
        night: What became of the tickets.
        run: The run as the ledger has it.
        states: The states of what this night's drafts asked for.
        figures: What only the agent itself knows.
    """
    items = night.items
    tokens = [run["input_tokens"], run["output_tokens"]]
    return Report(
        run_id=str(run["run_id"]).partition(".")[0],
        key=str(run["key"]),
        status=figures.status,
        window=Window(since=order.since, until=order.until, naive_times=night.naive_times),
        tickets=len(items),
        by_category={name: sum(item.category == name for item in items) for name in CATEGORIES},
        drafts=sum(bool(item.draft_id) for item in items),
        held=sum(item.stage == "held" for item in items),
        failed=sum(item.stage == "failed" for item in items),
        remaining=len(night.waiting()),
        taken_over=night.taken_over or 0,
        approvals=Counted(
            pending=states["pending"],
            approved=states["approved"] + states["claimed"],
            denied=states["denied"],
            executed=states["used"] + sum(item.sent for item in items),
        ),
        steps=cast("int", run["steps"]),
        retries=cast("int", run["retries"]),
        checkpoints=figures.checkpoints,
        resumed_from=figures.resumed_from,
        summary_key=figures.summary_key,
        tokens=sum(cast("list[int]", tokens)) if None not in tokens else None,
        duration_s=0.0,
    )


def timed(report: Report, run: Answer) -> Report:
    """Return a report with its duration, from the ledger's clock: a night that is replayed took as long."""
    started, ended = (datetime.fromisoformat(str(run[name])) for name in ("started_at", "updated_at"))
    return report.model_copy(update={"duration_s": round((ended - started).total_seconds(), 2)})


def summary_of(report: Report, night: Night) -> str:
    """Return the note that the next reader finds in memory; ticket texts stay out of it."""
    lines = [
        f"# Night shift {_plain(report.window.since)} to {_plain(report.window.until)}",
        "",
        (
            f"Status: {report.status}. {report.tickets} tickets, {report.drafts} drafts, {report.held} held, "
            f"{report.failed} failed, {report.remaining} left."
        ),
        "Categories: " + ", ".join(f"{name} {count}" for name, count in report.by_category.items()) + ".",
        f"Waiting for approval: {report.approvals.pending}.",
        "",
    ]
    for item in night.items:
        note = f" ({item.problem})" if item.problem else ""
        lines.append(f"- {item.ref}: {item.category or 'unsorted'}, {item.stage}{note}")
    return "\n".join(lines) + "\n"


def _plain(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
