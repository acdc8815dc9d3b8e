"""Replies that fit a model's context: cut between items, never inside one; what is left out comes with the cursor."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from pydantic import BaseModel

from gatebook.sensitive import SensitiveTerms
from gatebook.toolspec import MAX_RESULT_CHARS
from gatebook_servers.tickets.desk import Slice, Ticket
from gatebook_servers.tickets.models import TicketSummary, summary_of

ITEM_CHARS = 320
"""Characters of an item beside its text, on average; a default page of any tool stays within 8,000."""
_ENVELOPE_CHARS = 1_000


def fitting(items: Sequence[BaseModel], *, limit: int, chars: int) -> int:
    """Return how many of the items, at least one, make a reply of up to `limit` items with texts of `chars` each."""
    room = min(MAX_RESULT_CHARS - _ENVELOPE_CHARS, limit * (chars + ITEM_CHARS))
    ends = accumulate(len(item.model_dump_json()) + 1 for item in items)
    return max(1, sum(end <= room for end in ends))


async def fitted(
    ask: Callable[[int], Awaitable[Slice]], *, terms: SensitiveTerms, limit: int, chars: int
) -> tuple[Slice, list[TicketSummary]]:
    """Return a page of tickets and its summaries; a page too long for one reply is asked for again, shorter.

    Args:
        ask: Asks the desk for at most so many tickets. Only the desk knows the position behind a ticket.
        terms: What makes a ticket sensitive.
        limit: Most tickets.
        chars: Characters of each preview.
    """
    known: dict[tuple[str, str], TicketSummary] = {}

    def summary(ticket: Ticket) -> TicketSummary:
        key = (ticket.ref, ticket.version)
        if key not in known:
            known[key] = summary_of(ticket, terms=terms, chars=chars)
        return known[key]

    most = limit
    while True:
        found = await ask(most)
        shown = [summary(ticket) for ticket in found.tickets]
        most = fitting(shown, limit=limit, chars=chars)
        if most >= len(shown):
            return found, shown
