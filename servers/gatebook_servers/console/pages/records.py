"""What was decided, what needs somebody, and what the runs did."""

from dataclasses import dataclass
from typing import get_args

from starlette.responses import Response

from gatebook.approvals.audit import Audit, Event
from gatebook.approvals.models import Approval, ApprovalState
from gatebook.approvals.records import Records
from gatebook.database.port import Transaction
from gatebook.effects import EffectRow, Effects
from gatebook.ledger.models import Run
from gatebook.ledger.recordings import Recording, Recordings
from gatebook.ledger.runs import Runs
from gatebook.outbox import Job, Outbox
from gatebook_servers.console.queries import HISTORY_PAGE, Card, cursor_of
from gatebook_servers.console.visit import Visit

MOST_WORDS_CHARS = 200
MOST_CALLS = 1_000
AUDIT_PAGE = 100
_STATES: tuple[str, ...] = get_args(ApprovalState)


@dataclass(frozen=True)
class _Trouble:
    doubtful: list[Approval]
    ended: list[Approval]
    effects: list[EffectRow]
    jobs: list[Job]


async def attention(visit: Visit) -> Response:
    """What failed, is in doubt, lapsed or expired."""

    def look(tx: Transaction) -> _Trouble:
        tenant = visit.runtime.settings.tenant
        requests = Records(tx).needing_attention(tenant=tenant)
        doubtful = [request for request in requests if request.state == "in_doubt"]
        ended = [request for request in reversed(requests) if request.state != "in_doubt"]
        return _Trouble(doubtful, ended[:100], Effects(tx).unsettled(tenant=tenant), Outbox(tx).failed(tenant=tenant))

    trouble = await visit.transact(look)
    known = {request.approval_id for request in trouble.doubtful}
    return await visit.page(
        "attention.html",
        doubtful=trouble.doubtful,
        ended=trouble.ended,
        effects=[effect for effect in trouble.effects if effect.approval_id not in known and not _is_unasked(effect)],
        unasked=[effect for effect in trouble.effects if _is_unasked(effect)],
        jobs=trouble.jobs,
    )


def _is_unasked(effect: EffectRow) -> bool:
    """Whether it is in doubt and nobody had to approve it, so that no request stands for it."""
    return effect.state == "in_doubt" and not effect.approval_id


async def history(visit: Visit) -> Response:
    """Requests in any state, the latest change first."""
    words, state = visit.asked("q").strip()[:MOST_WORDS_CHARS], visit.asked("state")

    def look(tx: Transaction) -> list[Card]:
        Records(tx).apply_clocks()
        return visit.cards(tx).history(
            words=words, state=state if state in _STATES else "", before=visit.asked("before")
        )

    found = await visit.transact(look)
    cards = found[:HISTORY_PAGE]
    before = cursor_of(cards, by="changed_at") if len(found) > HISTORY_PAGE else ""
    return await visit.page("history.html", cards=cards, before=before, words=words, state=state, states=_STATES)


async def audit(visit: Visit) -> Response:
    """The end of the audit log, the latest event first, or what stands before an event."""

    def look(tx: Transaction) -> list[Event]:
        row = tx.one("SELECT COALESCE(MAX(seq), 0) AS last FROM audit_events")
        last = int(row["last"] or 0) if row else 0
        asked = visit.asked("before")
        end = min(int(asked), last + 1) if asked.isdecimal() else last + 1
        first = max(end - AUDIT_PAGE, 1)
        return Audit(tx).events(after=first - 1, limit=end - first) if end > first else []

    events = await visit.transact(look)
    return await visit.page("audit.html", events=events[::-1], before=events[0].seq if events else 0)


async def runs(visit: Visit) -> Response:
    """The runs, newest first."""
    tenant = visit.runtime.settings.tenant
    return await visit.page(
        "runs.html", runs=await visit.transact(lambda tx: Runs(tx).select(tenant=tenant, limit=100))
    )


async def run(visit: Visit) -> Response:
    """One run: its calls in order, and what it asked for."""

    def look(tx: Transaction) -> tuple[Run, list[Recording], list[Card]]:
        found = Runs(tx).get(visit.named("run_id"))
        calls = Recordings(tx, visit.runtime.vault).select(found.run_id)
        return found, calls, visit.cards(tx).of_run(found.run_id)

    found, calls, cards = await visit.transact(look)
    return await visit.page(
        "run.html", run=found, calls=calls[-MOST_CALLS:], left_out=len(calls[:-MOST_CALLS]), cards=cards
    )
