"""How the console reads notes and tickets: the rooms it does not know, behind its own port."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatebook.database.port import Transaction
from gatebook.runtime import Runtime
from gatebook_servers.console.lookups import Message, NoteLine, NoteText, TicketLine, TicketText
from gatebook_servers.memory.search import search
from gatebook_servers.memory.store import Notes
from gatebook_servers.tickets.desk import Comment, Ticket, Window
from gatebook_servers.tickets.ports import open_desk

MOST = 50


@dataclass(frozen=True)
class RoomLookups:
    """Reads in the rooms of this process."""

    runtime: Runtime

    def notes(self, tx: Transaction, query: str) -> Sequence[NoteLine]:
        if query:
            hits = search(tx, query, limit=MOST)
            return [NoteLine(key=hit.key, about=hit.snippet, updated_at=hit.updated_at.timestamp()) for hit in hits]
        entries = Notes(tx).select(limit=MOST)
        return [
            NoteLine(key=entry.key, about=f"{entry.chars} characters", updated_at=entry.updated_at.timestamp())
            for entry in entries
        ]

    def note(self, tx: Transaction, key: str) -> NoteText:
        note = Notes(tx).get(key)
        return NoteText(
            key=note.key,
            text=note.value,
            tags=note.tags,
            version=note.version,
            actor=note.actor,
            updated_at=note.updated_at.timestamp(),
        )

    async def tickets(self, query: str) -> Sequence[TicketLine]:
        desk = self.runtime.port(open_desk)
        if query:
            found = await desk.search(query, position="", limit=MOST)
        else:
            found = await desk.page(Window(), position="", limit=MOST)
        return [_line(ticket) for ticket in found.tickets]

    async def ticket(self, ref: str) -> TicketText:
        desk = self.runtime.port(open_desk)
        ticket = await desk.get(ref)
        first = Message(
            author=ticket.requester.name,
            visibility="public",
            text=ticket.body,
            created_at=ticket.created_at.timestamp(),
        )
        return TicketText(
            ref=ticket.ref,
            subject=ticket.subject,
            status=ticket.status,
            priority=ticket.priority or "",
            requester=ticket.requester.name,
            address=ticket.requester.email,
            assignee=ticket.assignee,
            tags=ticket.tags,
            created_at=ticket.created_at.timestamp(),
            messages=(first, *(_message(comment) for comment in await desk.comments(ref))),
        )


def _line(ticket: Ticket) -> TicketLine:
    return TicketLine(
        ref=ticket.ref,
        subject=ticket.subject,
        status=ticket.status,
        requester=ticket.requester.name,
        created_at=ticket.created_at.timestamp(),
    )


def _message(comment: Comment) -> Message:
    return Message(
        author=comment.author.name,
        visibility=comment.visibility,
        text=comment.body,
        created_at=comment.created_at.timestamp(),
    )
