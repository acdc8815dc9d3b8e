"""One request: its page, and the yes, the no and the settling of a person."""

from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from gatebook.approvals.models import Approval, Decision
from gatebook.approvals.records import Records
from gatebook.database.port import Transaction
from gatebook.deciding import approve, deny
from gatebook.errors import ConflictError, ForbiddenError, GatebookError, InvalidArgumentsError
from gatebook.outbox import Job, Outbox
from gatebook.settling import settle, settle_unasked
from gatebook_servers.console.drawing import notices_of
from gatebook_servers.console.showing import Difference, Part, differences, is_whole, parts_of, since_draft, title_of
from gatebook_servers.console.visit import CHANNEL, Visit, status_of

MOST_REASON_CHARS = 2_000


@dataclass(frozen=True)
class Known:
    """A request and what belongs to it."""

    request: Approval
    decisions: list[Decision]
    earlier: Approval | None
    newer: Approval | None
    job: Job | None


async def show(visit: Visit) -> Response:
    """The page of a request."""
    return await _page(visit, await _known(visit))


async def approve_request(visit: Visit) -> Response:
    """Take a yes to exactly what was shown, provided that all of it was."""
    shown = visit.form.text("shown")
    if visit.form.text("seen") != visit.seen(shown):
        raise ForbiddenError(
            "the page that sent this did not show all of the text.", next_step="Open the request and read it whole."
        )

    def decide(tx: Transaction) -> Approval:
        return approve(
            tx,
            visit.runtime.settings,
            visit.request_of(tx).approval_id,
            reviewer=visit.person.reviewer,
            channel=CHANNEL,
            shown=shown,
            reason=visit.form.text("reason")[:MOST_REASON_CHARS],
        )

    try:
        request = await visit.transact(decide)
    except ConflictError as conflict:
        return await stale(visit, conflict)
    return visit.to("/held" if request.kind == "hold" else "/", done=_done(request))


async def deny_request(visit: Visit) -> Response:
    """Take a no with its reason."""
    reviewer, shown = visit.person.reviewer, visit.form.text("shown")
    reason = visit.form.text("reason").strip()[:MOST_REASON_CHARS]
    if not reason:
        return await _page(visit, await _known(visit), status=422, error="Say why: the reason reaches the agent.")

    def decide(tx: Transaction) -> Approval:
        own = visit.request_of(tx)
        return deny(tx, own.approval_id, reviewer=reviewer, channel=CHANNEL, shown=shown, reason=reason)

    try:
        request = await visit.transact(decide)
    except ConflictError as conflict:
        return await stale(visit, conflict)
    return visit.to("/held", done="kept") if request.kind == "hold" else visit.to("/", done="denied")


async def settle_request(visit: Visit) -> Response:
    """Take what a person found out about an effect in doubt."""
    reviewer, (happened, note) = visit.person.reviewer, _found_out(visit)

    def decide(tx: Transaction) -> Approval:
        own = visit.request_of(tx).approval_id
        return settle(tx, own, reviewer=reviewer, channel=CHANNEL, happened=happened, note=note)

    request = await visit.transact(decide)
    return visit.to(f"/requests/{request.approval_id}", done="settled")


async def settle_effect(visit: Visit) -> Response:
    """Take what a person found out about an effect in doubt that nobody had to approve."""
    happened, note = _found_out(visit)
    settled = partial(settle_unasked, settings=visit.runtime.settings, marker=visit.named("marker"))
    await visit.transact(
        lambda tx: settled(tx, reviewer=visit.person.reviewer, channel=CHANNEL, happened=happened, note=note)
    )
    return visit.to("/attention", done="settled")


def _found_out(visit: Visit) -> tuple[bool, str]:
    happened = {"yes": True, "no": False}.get(visit.form.text("happened"))
    note = visit.form.text("note").strip()[:MOST_REASON_CHARS]
    if happened is None or not note:
        raise InvalidArgumentsError(
            "it is not said whether it happened, or how you know.", next_step="Choose one and write down how you know."
        )
    return happened, note


async def stale(visit: Visit, conflict: GatebookError) -> Response:
    """The page that says why a decision does not fit any more, and what changed."""
    known = await _known(visit)
    request, newer = known.request, known.newer
    changed = differences(request, newer) if newer else []
    return await visit.page(
        "stale.html",
        status=status_of(conflict),
        why=conflict.message,
        request=request,
        title=title_of(request),
        decisions=known.decisions,
        newer=newer,
        changed=changed,
    )


async def _known(visit: Visit) -> Known:
    def look(tx: Transaction) -> Known:
        cards, request = visit.cards(tx), visit.request_of(tx)
        return Known(
            request=request,
            decisions=Records(tx).decisions(request.approval_id),
            earlier=cards.get(request.edited_from) if request.edited_from else None,
            newer=None if request.state == "pending" else cards.newer(request),
            job=Outbox(tx).of_subject("execute_approved", request.approval_id),
        )

    return await visit.transact(look)


async def _page(visit: Visit, known: Known, *, status: int = 200, error: str = "") -> Response:
    request = known.request
    parts = parts_of(request)
    whole = is_whole(parts) or visit.asked("whole") == "1"
    facts = request.facts
    return await visit.page(
        "request.html",
        status=status,
        error=error,
        request=request,
        title=title_of(request),
        parts=parts,
        whole=whole,
        long=not is_whole(parts),
        seen=visit.seen(request.fingerprint) if whole else "",
        changed=_changed(known, parts),
        notices=notices_of([*(part.text for part in parts), request.reason, facts.subject, facts.newest]),
        decisions=known.decisions,
        voted=any(decision.person == visit.person.reviewer.person for decision in known.decisions),
        may_decide=visit.person.decides and visit.person.reviewer.may_decide(request.roles),
        edited=request.four_eyes and request.edited_by == visit.person.reviewer.person,
        newer=known.newer,
        job=known.job,
    )


def _changed(known: Known, parts: list[Part]) -> list[Difference]:
    if known.earlier:
        return differences(known.earlier, known.request)
    return since_draft(known.request, parts)


def _done(request: Approval) -> str:
    if request.state == "pending":
        return "voted"
    return {"hold": "released", "limit": "raised", "foreign": "passes"}.get(request.kind, "approved")
