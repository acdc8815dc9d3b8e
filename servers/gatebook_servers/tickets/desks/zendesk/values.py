"""Zendesk's words and ours: tickets, people and messages, refs, stamps and priorities."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from gatebook_servers.tickets.desk import Comment, Person, Priority, Role, Ticket
from gatebook_servers.tickets.desks.zendesk.payloads import Attachment, User, ZendeskComment, ZendeskTicket
from gatebook_servers.tickets.refusals import unknown_ref

PREFIX = "zendesk:"
_NUMBER = re.compile(r"zendesk:([1-9]\d{0,17})")
_ROLES: Mapping[str, Role] = {"end-user": "customer", "agent": "agent", "admin": "agent"}
_PRIORITIES: Mapping[str, Priority] = {"low": "Low", "normal": "Medium", "high": "High", "urgent": "Critical"}
_NAMES = {ours: theirs for theirs, ours in _PRIORITIES.items()}

Users = Mapping[int, User]


def number_of(ref: str) -> int:
    """Return the number of a ticket; exactly one ref names it, as it is part of every effect's identity.

    Raises:
        NotFoundError: If no ticket can have this ref.
    """
    found = _NUMBER.fullmatch(ref)
    if found is None or not ref.isascii():
        raise unknown_ref()
    return int(found[1])


def stamp(at: datetime) -> str:
    """Return a time as Zendesk writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def priority_name(priority: Priority) -> str:
    """Return Zendesk's word for a priority."""
    return _NAMES[priority]


def quoted(text: str) -> str:
    """Return a text as a phrase of Zendesk's search language; empty where nothing of it can be found.

    Between quotes there is no language but the quote, its escape and the wildcard.
    """
    plain = "".join(" " if sign in '"\\*' else sign for sign in text).strip()
    return f'"{plain}"' if any(sign.isalnum() for sign in plain) else ""


def by_id(users: Iterable[User]) -> dict[int, User]:
    """Return users by their ids."""
    return {user.id: user for user in users}


def ticket_of(found: ZendeskTicket, users: Users) -> Ticket:
    """Return a ticket as the port has it; its version is the stamp of its last change."""
    assignee = users.get(found.assignee_id or 0)
    return Ticket(
        ref=f"{PREFIX}{found.id}",
        subject=found.subject or "",
        body=found.description or "",
        status=found.status,
        priority=_PRIORITIES.get(found.priority or ""),
        kind=found.type or "",
        # Whoever asks is the customer of this ticket, an agent of the company included.
        requester=_person(users.get(found.requester_id), role="customer"),
        channel=str(found.via.channel or ""),
        assignee=(assignee and assignee.name) or str(found.assignee_id or ""),
        tags=found.tags,
        created_at=found.created_at,
        updated_at=found.updated_at,
        version=stamp(found.updated_at),
    )


def comment_of(said: ZendeskComment, users: Users, *, requester_id: int) -> Comment:
    """Return a message as the port has it, its attachments named below its text.

    Only what an agent wrote who is not the requester is ours: an employee with a question is a customer, and an author
    whom Zendesk does not name may be one.
    """
    author = users.get(said.author_id)
    customer = said.author_id == requester_id
    person = _person(author, role="customer" if customer else _ROLES.get(author.role if author else "", "unknown"))
    return Comment(
        comment_id=str(said.id),
        author=person,
        visibility="public" if said.public else "internal",
        body="\n".join([said.body or "", *(_named(attachment) for attachment in said.attachments)]),
        created_at=said.created_at,
        ours=person.role == "agent",
    )


def _person(user: User | None, *, role: Role) -> Person:
    return Person(name=(user and user.name) or "", email=(user and user.email) or "", role=role)


def _named(attachment: Attachment) -> str:
    size = "unknown size" if attachment.size is None else f"{attachment.size} bytes"
    return f"[attachment: {attachment.file_name or 'unnamed'}, {attachment.content_type or 'unknown type'}, {size}]"
