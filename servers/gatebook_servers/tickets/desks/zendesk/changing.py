"""What is sent to change a ticket, and what its audit proves."""

import logging
from datetime import datetime, timedelta

from pydantic import JsonValue

from gatebook.errors import OutcomeUnknownError, UnsupportedError
from gatebook.retry import AmbiguousError, Operation
from gatebook_servers.tickets.desk import Applied, NewTicket, Patch, Visibility
from gatebook_servers.tickets.desks.zendesk.payloads import Audit, TicketAnswer, ZendeskTicket
from gatebook_servers.tickets.desks.zendesk.values import PREFIX, priority_name, stamp
from gatebook_servers.tickets.refusals import changed_since_read

MARKER = "gatebook_marker"
VISIBILITY = "gatebook_visibility"
"""Our keys in the metadata of a change, read back from its audit's `metadata.custom`."""
_MESSAGES = ("Comment", "VoiceComment")
_SETTLED = timedelta(seconds=2)

logger = logging.getLogger(__name__)

Json = dict[str, JsonValue]


def creation(new: NewTicket, marker: str) -> Json:
    """Return the request for a new ticket. Zendesk has no projects, so the project becomes a tag."""
    return {
        "subject": new.title,
        # Zendesk wants a text.
        "comment": {"body": new.description or new.title, "public": True},
        "priority": priority_name(new.priority),
        "tags": [new.project.lower()],
        "external_id": marker,
        "metadata": {MARKER: marker},
    }


def change(ticket: ZendeskTicket, patch: Patch, marker: str, *, assignee: Json) -> Json:
    """Return the request that changes a ticket as it was read.

    Raises:
        UnsupportedError: If a tag has a space, at which Zendesk would make two of it.
    """
    request: Json = {"metadata": {MARKER: marker}, **assignee}
    if patch.status:
        request["status"] = patch.status
    if patch.priority:
        request["priority"] = priority_name(patch.priority)
    if patch.add_tags or patch.remove_tags:
        # Zendesk replaces the tags; nobody else's are lost, as the ticket is still at the stamp they were read at.
        request["tags"] = list[JsonValue](_tags(ticket.tags, patch))
    return request


def message(body: str, visibility: Visibility, marker: str) -> Json:
    """Return the request for a message."""
    return {
        "comment": {"body": body, "public": visibility == "public"},
        "metadata": {MARKER: marker, VISIBILITY: visibility},
    }


def fenced_at(request: Json, updated_stamp: str) -> Json:
    """Return the request for a ticket that is still at a stamp.

    https://developer.zendesk.com/documentation/ticketing/managing-tickets/creating-and-updating-tickets/#protecting-against-ticket-update-collisions
    """
    return {**request, "safe_update": True, "updated_stamp": updated_stamp}


def repeatable(updated_at: datetime, now: datetime | None) -> Operation:
    """Return what repeating a change means: stamps have whole seconds, so only an older one is moved by it for sure."""
    settled = now is not None and now - updated_at >= _SETTLED
    return Operation.FENCED if settled else Operation.EFFECT


def require_version(ticket: ZendeskTicket, base_version: str) -> None:
    """Refuse to change what changed.

    Raises:
        ConflictError: If the ticket is not at this version.
    """
    version = stamp(ticket.updated_at)
    if version != base_version:
        raise changed_since_read(version)


def created(ticket: ZendeskTicket) -> Applied:
    """Return the proof that a ticket was created."""
    return Applied(
        ref=f"{PREFIX}{ticket.id}",
        operation_id=str(ticket.id),
        version=stamp(ticket.updated_at),
        at=ticket.created_at,
    )


def changed(ref: str, request: Json, answer: TicketAnswer) -> Applied:
    """Return the proof that is in the answer to a change.

    Raises:
        OutcomeUnknownError: As `applied`.
        AmbiguousError: If the answer does not show what became of a message.
    """
    version = stamp(answer.ticket.updated_at)
    if answer.audit is not None:
        return applied(ref, answer.audit).model_copy(update={"version": version})
    if "comment" in request:
        raise AmbiguousError
    # What changes nothing leaves no audit.
    return Applied(ref=ref, operation_id=version, version=version, at=answer.ticket.updated_at)


def applied(ref: str, audit: Audit) -> Applied:
    """Return the proof that an audit is of a change.

    Raises:
        OutcomeUnknownError: If the message in it is not as visible as it was meant to be.
    """
    said = next((event for event in audit.events if event.type in _MESSAGES), None)
    meant = audit.custom.get(VISIBILITY)
    if meant is not None and (said is None or said.public is not (meant == "public")):
        # Zendesk makes a light agent's public message an internal note, and rules of the account may do more.
        logger.critical("a message is not as visible as asked; a person must look at the ticket at once")
        raise OutcomeUnknownError(
            "the message is not as visible as asked.",
            next_step="Do not send it again; a person must look at the ticket at once.",
        )
    operation_id = str(said.id if meant is not None and said else audit.id)
    return Applied(ref=ref, operation_id=operation_id, version=stamp(audit.created_at), at=audit.created_at)


def _tags(before: tuple[str, ...], patch: Patch) -> list[str]:
    # Zendesk writes tags in small letters.
    more, fewer = ([tag.lower() for tag in tags] for tags in (patch.add_tags, patch.remove_tags))
    if any(len(tag.split()) != 1 for tag in more):
        raise UnsupportedError("Zendesk's tags have no spaces.", next_step="Use a tag of one word.")
    kept = [tag for tag in before if tag not in fewer]
    return [*kept, *(tag for tag in dict.fromkeys(more) if tag not in kept)]
