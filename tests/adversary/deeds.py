"""What happened at the desk, read from the desk's own tables and from nothing else."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Fields = dict[str, str]


@dataclass(frozen=True)
class Deed:
    """One change of the desk: a message, new values of fields, or a new ticket (whose `ticket` is its project)."""

    kind: Literal["message", "fields", "ticket"]
    ticket: str
    details: frozenset[tuple[str, str]]


def message(ticket_id: str, body: str, *, public: bool) -> Deed:
    return Deed("message", ticket_id, frozenset({("body", body), ("public", str(int(public)))}))


def fields(ticket_id: str, **values: str) -> Deed:
    return Deed("fields", ticket_id, frozenset(values.items()))


def new_ticket(project: str, **values: str) -> Deed:
    return Deed("ticket", project, frozenset(values.items()))


class DeskWatch:
    """Reads the desk with a connection of its own.

    Args:
        file: The database; it exists.
    """

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, check_same_thread=False)
        self._last_message = 0
        self._size = (0, 0)
        self._tickets: dict[str, Fields] = {}
        self.take_as_known()

    def close(self) -> None:
        self._database.close()

    def take_as_known(self) -> None:
        """What is there now was brought about by the harness itself."""
        self.news()

    def news(self) -> list[Deed]:
        """Return what was done since the last look."""
        return [*self._messages(), *self._changes()]

    def _messages(self) -> list[Deed]:
        rows = self._database.execute(
            "SELECT rowid, ticket_id, body, public FROM desk_comments WHERE rowid > ? AND author_role = 'bot'",
            (self._last_message,),
        ).fetchall()
        for number, *_ in rows:
            self._last_message = max(self._last_message, number)
        return [message(ticket_id, body, public=bool(public)) for _, ticket_id, body, public in rows]

    def _changes(self) -> list[Deed]:
        [size] = self._database.execute("SELECT COUNT(*), SUM(version) FROM desk_tickets").fetchall()
        if size == self._size:
            return []
        self._size = size
        rows = self._database.execute(
            "SELECT ticket_id, project, subject, body, status, priority, assignee, tags FROM desk_tickets"
        ).fetchall()
        found = [self._change(row) for row in rows]
        return [deed for deed in found if deed is not None]

    def _change(self, row: tuple[str, ...]) -> Deed | None:
        ticket_id, project, subject, body, status, priority, assignee, tags = row
        now = {
            "subject": subject, "body": body, "status": status, "priority": priority, "assignee": assignee,
            "tags": ",".join(json.loads(tags)),
        }  # fmt: skip
        before, self._tickets[ticket_id] = self._tickets.get(ticket_id), now
        if before is None:
            return new_ticket(project, subject=subject, body=body, priority=priority)
        changed = {name: value for name, value in now.items() if value != before[name]}
        return fields(ticket_id, **changed) if changed else None
