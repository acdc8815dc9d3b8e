"""Where a listing goes on: durable, since nothing in it expires that could not be done without.

`STAMP|NUMBER` is behind a ticket, in the order of creation or change. `STAMP|CURSOR|SEEN` is in the incremental export;
its stamp is where to begin again once Zendesk no longer knows the cursor.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from gatebook_servers.tickets.desks.zendesk.payloads import ZendeskTicket
from gatebook_servers.tickets.desks.zendesk.values import stamp
from gatebook_servers.tickets.refusals import foreign_cursor

_STAMP = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
_BEHIND = re.compile(rf"{_STAMP}\|(\d{{1,18}})", re.ASCII)
_EXPORT = re.compile(rf"{_STAMP}\|([A-Za-z0-9+/=_-]{{0,100}})\|((?:[0-9a-f]{{8}})*)", re.ASCII)
_MOST_SEEN = 8
"""A position has at most 200 characters."""
BEGINNING = datetime.fromtimestamp(0, UTC)

Key = tuple[datetime, int]


@dataclass(frozen=True)
class Exported:
    """How far an export has come.

    Args:
        watermark: When what was returned last was changed, as the export counts it.
        cursor: Zendesk's cursor, empty at the start.
        seen: Marks of the versions that were returned last.
    """

    watermark: datetime
    cursor: str = ""
    seen: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the position."""
        return f"{stamp(self.watermark)}|{self.cursor}|{''.join(self.seen[-_MOST_SEEN:])}"


def key_at(position: str) -> Key:
    """Return the key behind which a listing goes on.

    Raises:
        InvalidArgumentsError: If the position is not one of ours.
    """
    if not position:
        return BEGINNING, 0
    behind, export = _BEHIND.fullmatch(position), _EXPORT.fullmatch(position)
    if behind:
        return _time(behind[1]), int(behind[2])
    if export:
        return _time(export[1]), 0
    raise foreign_cursor()


def export_at(position: str) -> Exported:
    """Return how far an export has come; where it was no export until now, it begins at the last stamp.

    Raises:
        InvalidArgumentsError: If the position is not one of ours.
    """
    export = _EXPORT.fullmatch(position)
    if export is None:
        return Exported(key_at(position)[0])
    return Exported(_time(export[1]), export[2], tuple(re.findall("." * 8, export[3])))


def position_of(key: Key) -> str:
    """Return the position behind a ticket."""
    return f"{stamp(key[0])}|{key[1]}"


def marks_of(tickets: Iterable[ZendeskTicket]) -> tuple[str, ...]:
    """Return what tells versions of tickets apart, short."""
    return tuple(
        hashlib.sha256(f"{ticket.id} {stamp(ticket.updated_at)}".encode()).hexdigest()[:8] for ticket in tickets
    )


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise foreign_cursor() from None
