"""Several requests of one kind on one card, each with its own fingerprint, decided in one act."""

from collections.abc import Callable, Mapping, Sequence

from starlette.responses import Response

from gatebook.approvals.models import Approval
from gatebook.approvals.records import Records
from gatebook.database.port import Transaction
from gatebook.deciding import decide_batch, deny_batch
from gatebook.errors import ConflictError, ForbiddenError, GatebookError, InvalidArgumentsError
from gatebook_servers.console.drawing import notices_of
from gatebook_servers.console.pages.requests import MOST_REASON_CHARS
from gatebook_servers.console.showing import MOST_IN_A_BATCH, Part, is_whole, parts_of, title_of
from gatebook_servers.console.visit import CHANNEL, Visit, status_of


async def batch_page(visit: Visit) -> Response:
    """Every request that may be decided together with the one that the address names, each with its whole text."""
    return await _page(visit)


async def approve_batch(visit: Visit) -> Response:
    """Take a yes to each line that was left ticked, all of them or none."""

    def decide(tx: Transaction, choices: Mapping[str, str]) -> list[Approval]:
        settings, reviewer = visit.runtime.settings, visit.person.reviewer
        return decide_batch(tx, settings, choices, reviewer=reviewer, channel=CHANNEL)

    return await _decided(visit, decide)


async def deny_batch_lines(visit: Visit) -> Response:
    """Take a no to each line that was left ticked, with one reason for all of them."""
    reason = visit.form.text("reason").strip()[:MOST_REASON_CHARS]
    if not reason:
        silent = InvalidArgumentsError("nothing says why.", next_step="Write the reason: it reaches the agent.")
        return await _page(visit, refusal=silent)

    def decide(tx: Transaction, choices: Mapping[str, str]) -> list[Approval]:
        return deny_batch(tx, choices, reviewer=visit.person.reviewer, channel=CHANNEL, reason=reason)

    return await _decided(visit, decide)


async def _decided(visit: Visit, decide: Callable[[Transaction, Mapping[str, str]], list[Approval]]) -> Response:
    lines = [line.split(" ") for line in visit.form.texts("line")]
    if not lines:
        return await _page(visit, refusal=InvalidArgumentsError("no line is ticked.", next_step="Tick what you mean."))
    if any(len(line) != 3 or line[2] != visit.seen(line[1]) for line in lines):  # noqa: PLR2004 - id, fingerprint, seen
        raise ForbiddenError("a line was not shown whole.", next_step="Open the batch again and read it.")

    def act(tx: Transaction) -> list[Approval]:
        for approval_id, _, _ in lines:
            visit.cards(tx).get(approval_id)
        return decide(tx, {approval_id: shown for approval_id, shown, _ in lines})

    try:
        decided = await visit.transact(act)
    except ConflictError as conflict:
        return await _page(visit, refusal=conflict)
    return visit.to("/", done=_done(decided))


async def _page(visit: Visit, *, refusal: GatebookError | None = None) -> Response:
    alike = await visit.transact(lambda tx: _alike(tx, visit))
    lines = [(request, parts_of(request)) for request in alike]
    short = [(request, parts) for request, parts in lines if is_whole(parts)]
    shown = [(request, parts, _notices(parts)) for request, parts in short[:MOST_IN_A_BATCH]]
    ticked = {line.split(" ")[0] for line in visit.form.texts("line")}
    return await visit.page(
        "batch.html",
        status=status_of(refusal) if refusal else 200,
        refusal=refusal,
        card=visit.named("approval_id"),
        title=title_of(alike[0]) if alike else "",
        rules=alike[0].rules if alike else (),
        lines=[(request, parts, visit.seen(request.fingerprint), notices) for request, parts, notices in shown],
        # What somebody ticked stays so; at first that is what hides nothing.
        ticked=ticked if refusal else {request.approval_id for request, _, notices in shown if not notices},
        reason=visit.form.text("reason"),
        long=[request for request, parts in lines if not is_whole(parts)],
        later=len(short) - len(shown),
        may_decide=visit.person.decides and all(visit.person.reviewer.may_decide(entry.roles) for entry in alike),
    )


def _alike(tx: Transaction, visit: Visit) -> list[Approval]:
    named = visit.request_of(tx)
    batches = Records(tx).batches(tenant=visit.runtime.settings.tenant)
    return next((batch for batch in batches if batch[0].card == named.card), list[Approval]())


def _notices(parts: Sequence[Part]) -> list[str]:
    return notices_of([part.text for part in parts])


def _done(decided: Sequence[Approval]) -> str:
    if any(request.state == "pending" for request in decided):
        return "voted"
    return "denied-together" if decided[0].state == "denied" else "batch"
