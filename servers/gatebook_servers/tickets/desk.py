"""The port that every ticket desk implements, and the values that cross it. Texts here are raw, as outsiders wrote."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from pydantic import Field

from gatebook.intents import Value

Status = Literal["new", "open", "pending", "hold", "solved", "closed", "deleted"]
StatusChange = Literal["new", "open", "pending", "hold", "solved", "closed"]
"""What a ticket's status may be changed to; nothing here deletes."""
Priority = Literal["Low", "Medium", "High", "Critical"]
Visibility = Literal["public", "internal"]
Role = Literal["customer", "agent", "bot", "unknown"]


class Person(Value):
    """Somebody on a ticket. The address never reaches a model."""

    name: str
    email: str = ""
    role: Role = "unknown"


class Ticket(Value):
    """A ticket as the desk has it. `version` is opaque and changes with every change of the ticket."""

    ref: str
    subject: str
    body: str
    status: Status
    priority: Priority | None
    kind: str
    requester: Person
    channel: str
    assignee: str
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    naive_time: bool = False
    version: str


class Comment(Value):
    """A message on a ticket."""

    comment_id: str
    author: Person
    visibility: Visibility
    body: str
    created_at: datetime
    ours: bool = False


class Window(Value):
    """Which tickets: created in [since, until), or without `until` those changed since, oldest first."""

    since: datetime | None = None
    until: datetime | None = None
    status: Status | None = None


class Slice(Value):
    """Some tickets in order. `complete` is False when more waits behind `position`."""

    tickets: tuple[Ticket, ...]
    position: str
    complete: bool


class Patch(Value):
    """A change of fields. None and empty leave a field as it is."""

    status: StatusChange | None = None
    priority: Priority | None = None
    assignee: str | None = Field(default=None, max_length=120)
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()


class NewTicket(Value):
    """A ticket to be created."""

    project: str
    title: str
    description: str
    priority: Priority


class Applied(Value):
    """Proof that an operation reached the desk."""

    ref: str
    operation_id: str
    version: str
    at: datetime


class Capabilities(Value):
    """What a desk can do, and so what is refused rather than done differently."""

    internal_notes: bool
    fenced: bool
    """Whether the desk itself refuses a second application of the same marker."""


class TicketDesk(Protocol):
    """A ticket desk. Every write carries a marker that `find_operation` finds again."""

    @property
    def account(self) -> str:
        """Which account of which desk this is; part of every effect's identity."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this desk can do."""
        ...

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        """Return at most `limit` tickets of the window behind `position` (empty: from its start)."""
        ...

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        """Return tickets that hold every word of `text`; the text is data, never a query language."""
        ...

    async def get(self, ref: str) -> Ticket:
        """Return one ticket.

        Raises:
            NotFoundError: If there is none.
        """
        ...

    async def comments(self, ref: str) -> Sequence[Comment]:
        """Return a ticket's messages behind its first one, oldest first; of more than 1,000 the newest.

        Raises:
            NotFoundError: If there is no such ticket.
        """
        ...

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        """Create a ticket."""
        ...

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        """Change a ticket that still has `base_version`.

        Raises:
            ConflictError: If it changed.
        """
        ...

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        """Add a message, provided that `head` is still the customer's newest one (None: whatever it is).

        Raises:
            ConflictError: If the customer wrote again.
            UnsupportedError: If the desk has no internal notes. Never downgraded to a public message.
        """
        ...

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        """Look a marker up: what was applied, or None when surely nothing was.

        Raises:
            OutcomeUnknownError: If the desk cannot tell.
        """
        ...


def newest_from_customer(comments: Sequence[Comment]) -> str:
    """Return the id of the customer's newest public message, empty when there is only the ticket itself.

    Our own messages, tags and fields do not move it: only the customer can make an approved answer stale.
    """
    return next(
        (comment.comment_id for comment in reversed(comments) if comment.visibility == "public" and not comment.ours),
        "",
    )
