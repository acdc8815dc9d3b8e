"""What waits for a person, and what waits to be released."""

from starlette.responses import Response

from gatebook.approvals.records import Records
from gatebook.database.port import Transaction
from gatebook_servers.console.queries import PAGE, Card, batches_of, cursor_of
from gatebook_servers.console.visit import Visit


async def inbox(visit: Visit) -> Response:
    """The requests that wait, the oldest first, and which of them may be decided together."""
    cards = await _pending(visit, held=False)
    return await visit.page(
        "inbox.html",
        cards=cards,
        batches=batches_of(cards),
        after=_after(cards),
    )


async def held(visit: Visit) -> Response:
    """The tickets that wait to be released."""
    cards = await _pending(visit, held=True)
    return await visit.page("held.html", cards=cards, after=_after(cards))


async def _pending(visit: Visit, *, held: bool) -> list[Card]:
    def look(tx: Transaction) -> list[Card]:
        Records(tx).apply_clocks()
        return visit.cards(tx).pending(held=held, after=visit.asked("after"))

    return await visit.transact(look)


def _after(cards: list[Card]) -> str:
    return cursor_of(cards, by="created_at") if len(cards) == PAGE else ""
