"""Changes by Zendesk's incremental export: complete and without the index's lag, for administrators only.

https://developer.zendesk.com/api-reference/ticketing/ticket-management/incremental_exports/
"""

from datetime import timedelta

from gatebook.clock import Clock, moment
from gatebook.errors import NotFoundError, UnsupportedError
from gatebook_servers.tickets.desk import Slice, Window
from gatebook_servers.tickets.desks.zendesk.api import ZendeskApi
from gatebook_servers.tickets.desks.zendesk.payloads import ExportAnswer, ZendeskTicket
from gatebook_servers.tickets.desks.zendesk.positions import BEGINNING, Exported, export_at, marks_of
from gatebook_servers.tickets.desks.zendesk.values import by_id, ticket_of

YOUNGEST_S = 61.0
"""Zendesk refuses to begin in the last minute, seconds."""
OVERLAP_S = 60.0
"""How far before its watermark an export begins again whose cursor Zendesk no longer knows."""


class Export:
    """The changes of one account."""

    def __init__(self, api: ZendeskApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def changes(self, window: Window, *, position: str, limit: int) -> Slice:
        """Return tickets in the order of their changes; those of the last minute come later.

        A change by the system moves a ticket in the export and leaves its version: it is returned once more then.
        """
        since = window.since or BEGINNING
        before = export_at(position) if position else Exported(since)
        answer = await self._asked(before, limit)
        tickets = _once(answer, before)
        marks = marks_of(answer.tickets)
        reached = max((moment(ticket.generated_timestamp) for ticket in answer.tickets), default=before.watermark)
        users = by_id(answer.users)
        after = Exported(max(reached, before.watermark), answer.after_cursor or before.cursor, (*before.seen, *marks))
        return Slice(
            tickets=tuple(
                ticket_of(one, users)
                for one in tickets
                if one.updated_at >= since and window.status in (None, one.status)
            ),
            position=str(after),
            complete=answer.end_of_stream,
        )

    async def _asked(self, before: Exported, limit: int) -> ExportAnswer:
        if before.cursor:
            try:
                return await self._api.export({"cursor": before.cursor}, limit=limit)
            except (NotFoundError, UnsupportedError):
                before = Exported(max(before.watermark - timedelta(seconds=OVERLAP_S), BEGINNING))
        youngest = moment(self._clock.now() - YOUNGEST_S)
        start = int(min(before.watermark, youngest).timestamp())
        return await self._api.export({"start_time": str(start)}, limit=limit)


def _once(answer: ExportAnswer, before: Exported) -> list[ZendeskTicket]:
    """Return each version once, without those that came just before: at the seams Zendesk repeats some."""
    fresh = dict(zip(marks_of(answer.tickets), answer.tickets, strict=True))
    return [ticket for mark, ticket in fresh.items() if mark not in before.seen]
