"""Tickets in order, page by page. Nothing of Jira's own paging outlives a call: its tokens expire."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count

from gatebook.clock import moment
from gatebook.errors import InvalidArgumentsError, UnsupportedError
from gatebook_servers.tickets.desk import Slice, Ticket, Window
from gatebook_servers.tickets.desks.jira import jql
from gatebook_servers.tickets.desks.jira.answers import Found, Issue
from gatebook_servers.tickets.desks.jira.positions import Key, Position, key_of
from gatebook_servers.tickets.desks.jira.site import Site
from gatebook_servers.tickets.desks.jira.words import Words

PAGE = 100
"""Most issues in one answer of Jira's."""
MOST_LOOKED_AT = 500
"""After how many tickets that were looked at in vain a page ends early and says that more waits."""

_Wanted = Callable[[Ticket], bool]


class Reader:
    """Reads tickets of a site.

    Args:
        site: The site.
        words: How it names things.
        written: Returns the numbers of issues that we wrote to just now, which the search may not know yet.
    """

    def __init__(self, site: Site, words: Words, written: Callable[[], Awaitable[Sequence[int]]]) -> None:
        self._site = site
        self._words = words
        self._written = written

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        """Return a page of a window. A closed one is by creation and frozen; an open one follows changes."""
        field = "created" if window.until else "updated"
        since, until = window.since or jql.BEGINNING, window.until

        def wanted(ticket: Ticket) -> bool:
            at = ticket.created_at if window.until else ticket.updated_at
            inside = since <= at and (until is None or at < until)
            return inside and window.status in (None, ticket.status)

        clauses = [jql.until_moment(field, until, await self._site.zone())] if until else []
        return await self._slice(field, since, clauses, wanted, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        """Return tickets that hold every word, oldest change first.

        Raises:
            UnsupportedError: If no word has a letter or digit; Jira finds nothing by signs.
        """
        words = text.casefold().split()
        if not words:
            return Slice(tickets=(), position=position, complete=True)
        if not any(letter.isalnum() for letter in text):
            raise UnsupportedError("Jira does not find signs alone.", next_step="Search for a word with letters.")

        def wanted(ticket: Ticket) -> bool:
            held = f"{ticket.subject}\n{ticket.body}".casefold()
            return all(word in held for word in words)

        return await self._slice(
            "updated", jql.BEGINNING, jql.holding(text.split()), wanted, position=position, limit=limit
        )

    async def _slice(
        self, field: str, since: datetime, clauses: list[str], wanted: _Wanted, *, position: str, limit: int
    ) -> Slice:
        place = Position.parsed(position, field[0])
        start = max(since, moment(place.floor[0] / 1000)) if place.floor[0] > 0 else since
        bound = jql.from_moment(field, start, await self._site.zone())
        asked = jql.query([*jql.within(self._site.projects), bound, *clauses], order=f"{field} ASC, key ASC")
        found: dict[Key, Ticket] = {}
        in_vain = 0
        farthest: Key | None = None
        async for issue in self._issues(asked, size=min(PAGE, limit + len(place.seen) + 1)):
            key = _key(issue, field)
            if not place.is_new(key) or key in found:
                continue
            ticket = self._words.ticket(issue)
            if wanted(ticket):
                found[key] = ticket
                if len(found) > limit:
                    break
                continue
            # Only what lies beyond the position brings the reader further.
            if key > place.high:
                in_vain += 1
                farthest = max(farthest or key, key)
            if in_vain >= MOST_LOOKED_AT:
                break
        else:
            farthest = None
        return _sliced(place, found, limit=limit, passed=farthest if len(found) <= limit else None)

    async def _issues(self, asked: str, *, size: int) -> AsyncGenerator[Issue]:
        """Yield what a query finds. A token that is refused is forgotten, and the query begins anew, once."""
        token: str | None = None
        written = await self._written()
        for restarts in count():
            try:
                while True:
                    found = await self._found(asked, size=size, token=token, written=written)
                    for issue in found.issues:
                        yield issue
                    token = found.token
                    if token is None:
                        return
            except InvalidArgumentsError:
                if token is None or restarts:
                    raise
                token = None

    async def _found(self, asked: str, *, size: int, token: str | None, written: Sequence[int]) -> Found:
        try:
            return await self._site.search(asked, size=size, token=token, reconcile=written)
        except InvalidArgumentsError:
            if not written or token is not None:
                raise
            # One of them was deleted meanwhile: then Jira refuses all of them.
            return await self._site.search(asked, size=size, token=None, reconcile=())


def _sliced(place: Position, found: dict[Key, Ticket], *, limit: int, passed: Key | None) -> Slice:
    keys = sorted(found)
    handed = keys[:limit]
    return Slice(
        tickets=tuple(found[key] for key in handed),
        position=str(place.after(handed, passed=passed)),
        complete=len(keys) <= limit and passed is None,
    )


def _key(issue: Issue, field: str) -> Key:
    at = issue.fields.created if field == "created" else issue.fields.updated
    return key_of(round(at.astimezone(UTC).timestamp() * 1000), issue.number)
