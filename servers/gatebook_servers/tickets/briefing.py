"""What a person is shown beside a request about a ticket: as the desk has it, never as the agent tells it."""

from collections.abc import Sequence

from gatebook.intents import Briefing, Facts
from gatebook_servers.tickets.desk import Comment, Ticket
from gatebook_servers.tickets.drafts import StoredDraft

SHOWN_CHARS = 8_000
"""How much of the newest message a person is shown."""


def briefing(account: str, ticket: Ticket, comments: Sequence[Comment]) -> Briefing:
    """Return the ticket and its newest public message."""
    public = [comment for comment in comments if comment.visibility == "public"]
    author, text, at = (
        (public[-1].author, public[-1].body, public[-1].created_at)
        if public
        else (ticket.requester, ticket.body, ticket.created_at)
    )
    return Briefing(
        desk=account,
        ref=ticket.ref,
        subject=ticket.subject,
        newest=text[:SHOWN_CHARS],
        newest_from=f"{author.name} ({author.role})",
        newest_at=at,
    )


def compared(facts: Facts, previous: StoredDraft | None) -> Facts:
    """Return the facts with the draft that the present one replaced, so that a person sees what changed."""
    if previous is None:
        return facts
    shown = {"previous": previous.body, "previous_from": previous.author}
    return facts.model_copy(update={"briefing": facts.briefing.model_copy(update=shown)})
