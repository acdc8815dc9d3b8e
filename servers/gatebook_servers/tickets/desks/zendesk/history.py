"""What was said on a ticket, and what was changed with which marker."""

from gatebook.errors import OutcomeUnknownError
from gatebook_servers.tickets.desk import Applied, Comment
from gatebook_servers.tickets.desks.zendesk import changing
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.payloads import User, ZendeskComment, ZendeskTicket
from gatebook_servers.tickets.desks.zendesk.values import by_id, comment_of, number_of

MAX_COMMENTS = 1_000
MOST_AUDIT_PAGES = 10
"""How far back a marker is looked for: 1,000 changes of its ticket."""


class History:
    """The histories of one account's tickets."""

    def __init__(self, api: ZendeskApi) -> None:
        self._api = api

    async def messages(self, ticket: ZendeskTicket) -> list[Comment]:
        """Return the messages behind the first, which is the ticket's own text; of more than 1,000 the newest."""
        said: dict[int, ZendeskComment] = {}
        users: dict[int, User] = {}
        more, cursor = True, None
        while more and len(said) <= MAX_COMMENTS:
            answer = await self._api.comments(ticket.id, after=cursor)
            said |= {one.id: one for one in answer.comments}
            users |= by_id(answer.users)
            more, cursor = answer.meta.has_more and bool(answer.comments), answer.meta.after_cursor
        ordered = sorted(said.values(), key=lambda one: (one.created_at, one.id))
        behind = ordered if more else ordered[1:]
        return [comment_of(one, users, requester_id=ticket.requester_id) for one in behind[-MAX_COMMENTS:]]

    async def created_with(self, marker: str) -> Applied | None:
        """Return the ticket that was created with a marker; of several the first."""
        found = [one for one in (await self._api.tickets_of(marker)).tickets if one.external_id == marker]
        return changing.created(min(found, key=lambda one: one.id)) if found else None

    async def changed_with(self, ref: str, marker: str) -> Applied | None:
        """Return the change of a ticket that was made with a marker.

        Raises:
            NotFoundError: If there is no such ticket.
            OutcomeUnknownError: If it may be further back than is looked, or its message is visible as it must not be.
        """
        cursor = None
        for _ in range(MOST_AUDIT_PAGES):
            answer = await self._api.audits(number_of(ref), after=cursor)
            for audit in answer.audits:
                if audit.custom.get(changing.MARKER) == marker:
                    return changing.applied(ref, audit)
            cursor = answer.meta.after_cursor
            if not answer.meta.has_more or cursor is None:
                return None
        raise OutcomeUnknownError(
            "the ticket changed too often since to look all of it up.", next_step="A person must look at the ticket."
        )
