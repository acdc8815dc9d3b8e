"""Tickets in order, found by the search index and, where that lags behind, in the database's own list.

A page goes on behind the key (stamp, number) of the last ticket, so no cursor of Zendesk's is kept that could expire.
The index follows within minutes; what is younger than `LAG_S` is therefore never taken from it, but from the list of
what changed last. A ticket that changed after it was indexed comes where its change belongs, once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from gatebook.errors import UnsupportedError, UpstreamUnavailableError
from gatebook_servers.tickets.desk import Slice, Ticket, Window
from gatebook_servers.tickets.desks.zendesk.api import PAGE, ZendeskApi
from gatebook_servers.tickets.desks.zendesk.payloads import Indexed, TicketsAnswer
from gatebook_servers.tickets.desks.zendesk.positions import BEGINNING, Key, key_at, position_of
from gatebook_servers.tickets.desks.zendesk.values import by_id, number_of, quoted, stamp, ticket_of

LAG_S = 300.0
"""How long the index may need for a change, seconds: "up to a few minutes"."""
UNSETTLED_S = 10.0
"""How long a change may take to be seen after the second that it is stamped with; younger ones are left for later."""
_MOST_PAGES = 10
"""Of one query, which Zendesk ends there, and of the list of what changed last."""
_MOST_BATCHES = 5
"""Of one call: each takes two requests."""

logger = logging.getLogger(__name__)

Column = Literal["created_at", "updated_at"]


@dataclass(frozen=True)
class _Batch:
    """Tickets of the index in order, the keys of the last second complete; whether more wait; Zendesk's time."""

    entries: list[Indexed]
    more: bool
    at: datetime | None


@dataclass(frozen=True)
class _Order:
    """Which tickets, by what, and which of them are kept.

    Args:
        column: What they are ordered by.
        terms: The query beside the column's bounds.
        kept: Which tickets are meant, as they are in the database.
        until: The end of the column's values.
        complete: Whether what the index does not have yet is looked for in the database.
    """

    column: Column
    terms: str
    kept: Callable[[Ticket], bool]
    until: datetime | None = None
    complete: bool = True

    def key(self, ticket: Ticket) -> Key:
        at = ticket.created_at if self.column == "created_at" else ticket.updated_at
        return at, number_of(ticket.ref)

    def query(self, since: datetime) -> str:
        name = self.column.removesuffix("_at")
        # Stamps have whole seconds, so a moment between two ends with the later one.
        end = self.until and stamp(self.until + timedelta(microseconds=999_999))
        bounds = f"{name}>={stamp(since)}" + (f" {name}<{end}" if end else "")
        return f"type:ticket {bounds} {self.terms}".rstrip()


class Listing:
    """The listings of one account."""

    def __init__(self, api: ZendeskApi) -> None:
        self._api = api

    async def window(self, window: Window, *, position: str, limit: int) -> Slice:
        """Return tickets created in a window, or without its end those changed since."""
        since, until = window.since or BEGINNING, window.until
        if window.status == "deleted":
            key_at(position)
            return Slice(tickets=(), position=position, complete=True)

        def kept(ticket: Ticket) -> bool:
            at = ticket.created_at if until else ticket.updated_at
            return since <= at and (until is None or at < until) and window.status in (None, ticket.status)

        terms = f"status:{window.status}" if window.status else ""
        order = _Order("created_at" if until else "updated_at", terms, kept, until)
        return await self._slice(order, since, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        """Return tickets with every word of a text, in the order of their changes.

        Zendesk looks for words in more than the port promises and by their stems, so what it finds is looked through.

        Raises:
            UnsupportedError: If no word has a letter or digit; Zendesk finds nothing by signs.
        """
        words = text.casefold().split()
        phrases = [phrase for phrase in map(quoted, text.split()) if phrase]
        if words and not phrases:
            raise UnsupportedError("Zendesk does not find signs alone.", next_step="Search for a word with letters.")
        if not words:
            return Slice(tickets=(), position=position, complete=True)

        def kept(ticket: Ticket) -> bool:
            # By word: subject and text are one field each of the port.
            subject, body = ticket.subject.casefold(), ticket.body.casefold()
            return all(word in subject or word in body for word in words)

        order = _Order("updated_at", " ".join(phrases), kept, complete=False)
        return await self._slice(order, BEGINNING, position=position, limit=limit)

    async def _slice(self, order: _Order, since: datetime, *, position: str, limit: int) -> Slice:
        after = key_at(position)
        found: dict[Key, Ticket] = {}
        horizon: datetime | None = None
        for _ in range(_MOST_BATCHES):
            batch = await self._batch(order, max(since, after[0]), after)
            horizon = horizon or _horizon(order, batch.at)
            settled = [entry for entry in batch.entries if horizon is None or _of(entry, order.column) < horizon]
            for start in range(0, len(settled), PAGE):
                found |= await self._loaded(order, settled[start : start + PAGE])
                if len(found) > limit:
                    return _cut(found, limit, position)
            if not batch.more or len(settled) < len(batch.entries):
                if horizon and (order.until is None or horizon < order.until):
                    found |= await self._unindexed(order, horizon, after)
                return _cut(found, limit, position)
            after = _key(batch.entries[-1], order.column)
        return _cut(found, limit, position, scanned=position_of(after))

    async def _batch(self, order: _Order, since: datetime, after: Key) -> _Batch:
        """Return what follows a key in the index, as far as the pages show that nothing is missing in between."""
        entries: dict[int, Indexed] = {}
        for page in range(1, _MOST_PAGES + 1):
            found = await self._api.search(order.query(since), sort_by=order.column, page=page)
            # Pages by offset repeat what moved between them.
            entries |= {entry.id: entry for entry in found.answer.results}
            more = found.answer.next_page is not None and bool(found.answer.results)
            ordered = sorted(entries.values(), key=lambda entry: _key(entry, order.column))
            ready = [
                entry
                for entry in ordered
                # The last second may go on behind the page.
                if _key(entry, order.column) > after
                and (not more or _of(entry, order.column) < _of(ordered[-1], order.column))
            ]
            if ready or not more:
                return _Batch(ready, more, found.at)
        raise UpstreamUnavailableError(
            "more tickets have the same second than Zendesk lists.", next_step="Tell the operator."
        )

    async def _loaded(self, order: _Order, entries: list[Indexed]) -> dict[Key, Ticket]:
        """Return the tickets themselves, as they are in the database."""
        indexed = {entry.id: _key(entry, order.column) for entry in entries}
        answer = await self._api.tickets(list(indexed))
        return {
            key: ticket
            for key, ticket in _keyed(order, answer)
            # What changed since it was indexed comes behind, as what it is then.
            if not order.complete or indexed.get(key[1]) == key
        }

    async def _unindexed(self, order: _Order, horizon: datetime, after: Key) -> dict[Key, Ticket]:
        """Return what is too young for the index.

        Raises:
            UpstreamUnavailableError: If it cannot be put in order, as after a change of many tickets at once, and the
                window is closed.
        """
        found: dict[Key, Ticket] = {}
        cursor: str | None = None
        unsettled = horizon + timedelta(seconds=LAG_S - UNSETTLED_S)
        for _ in range(_MOST_PAGES):
            answer = await self._api.changed_last(after=cursor)
            stamps = [one.updated_at for one in answer.tickets]
            if stamps != sorted(stamps, reverse=True):
                return self._later(order)
            found |= {
                key: ticket
                for key, ticket in _keyed(order, answer)
                if key[0] >= horizon and key > after and (order.until or key[0] < unsettled)
            }
            cursor = answer.meta.after_cursor
            if not answer.meta.has_more or cursor is None or any(one.updated_at < horizon for one in answer.tickets):
                return found
        return self._later(order)

    def _later(self, order: _Order) -> dict[Key, Ticket]:
        """Leave what is too young for the index to a later call, which loses nothing unless the window is closed."""
        logger.warning("what changed in the last minutes cannot be listed")
        if order.until is None:
            return {}
        raise UpstreamUnavailableError(
            "the window's last minutes cannot be listed yet.",
            next_step="Go on with other work and repeat this call later.",
            retry_after_s=LAG_S,
        )


def _keyed(order: _Order, answer: TicketsAnswer) -> list[tuple[Key, Ticket]]:
    users = by_id(answer.users)
    tickets = [ticket_of(one, users) for one in answer.tickets if one.status != "deleted"]
    return [(order.key(ticket), ticket) for ticket in tickets if order.kept(ticket)]


def _cut(found: dict[Key, Ticket], limit: int, position: str, *, scanned: str = "") -> Slice:
    keys = sorted(found)
    shown = keys[:limit]
    last = position_of(shown[-1]) if shown else position
    more = len(keys) > limit
    return Slice(
        tickets=tuple(found[key] for key in shown),
        position=last if more or not scanned else scanned,
        complete=not more and not scanned,
    )


def _horizon(order: _Order, at: datetime | None) -> datetime | None:
    return at - timedelta(seconds=LAG_S) if at and order.complete else None


def _of(entry: Indexed, column: Column) -> datetime:
    return entry.created_at if column == "created_at" else entry.updated_at


def _key(entry: Indexed, column: Column) -> Key:
    return _of(entry, column), entry.id
