"""What the console looks up in other rooms. Who composes the console says how; the rooms do not know each other."""

from collections.abc import Sequence
from typing import Protocol

from gatebook.database.port import Transaction
from gatebook.intents import Value


class NoteLine(Value):
    """A note in a list."""

    key: str
    about: str
    updated_at: float


class NoteText(Value):
    """A note, whole."""

    key: str
    text: str
    tags: tuple[str, ...]
    version: int
    actor: str
    updated_at: float


class TicketLine(Value):
    """A ticket in a list."""

    ref: str
    subject: str
    status: str
    requester: str
    created_at: float


class Message(Value):
    """A message on a ticket."""

    author: str
    visibility: str
    text: str
    created_at: float


class TicketText(Value):
    """A ticket with its messages, raw as outsiders wrote them."""

    ref: str
    subject: str
    status: str
    priority: str
    requester: str
    address: str
    assignee: str
    tags: tuple[str, ...]
    created_at: float
    messages: tuple[Message, ...]


class Lookups(Protocol):
    """Reads in other rooms; nothing here changes anything."""

    def notes(self, tx: Transaction, query: str) -> Sequence[NoteLine]:
        """Return the notes that match words, or the first ones where none are given."""
        ...

    def note(self, tx: Transaction, key: str) -> NoteText:
        """Return a note.

        Raises:
            NotFoundError: If there is none.
        """
        ...

    async def tickets(self, query: str) -> Sequence[TicketLine]:
        """Return the tickets that match words, or the latest ones where none are given."""
        ...

    async def ticket(self, ref: str) -> TicketText:
        """Return a ticket.

        Raises:
            NotFoundError: If there is none.
        """
        ...
