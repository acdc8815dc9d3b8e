"""What the ticket tools mean to do outside: the exact content, the facts for policy, and the look-up afterwards.

The guard calls these; the tools themselves only act. Facts are fetched from the desk, never taken from the agent.
"""

from typing import Literal

from gatebook.database.port import Transaction
from gatebook.effects import Effect
from gatebook.errors import ConflictError
from gatebook.intents import Facts, Intent, Passage, digest
from gatebook.runtime import Runtime
from gatebook_servers.tickets.briefing import briefing, compared
from gatebook_servers.tickets.desk import (
    Comment,
    Patch,
    Priority,
    StatusChange,
    Ticket,
    TicketDesk,
    Visibility,
    newest_from_customer,
)
from gatebook_servers.tickets.drafts import REPLY, Drafts, StoredDraft
from gatebook_servers.tickets.history import category_of, wrote_to
from gatebook_servers.tickets.models import CreatedTicket, EscalatedTicket, SentReply, UpdatedTicket
from gatebook_servers.tickets.ports import Desk, target_of
from gatebook_servers.tickets.refusals import customer_wrote_again

EscalationLevel = Literal["High", "Critical"]


async def draft_facts(runtime: Runtime, desk: Desk, ref: str, body: str) -> Facts:
    """A draft is judged with the ticket it answers and whom it would be sent to."""
    ticket, comments = await desk.get(ref), list(await desk.comments(ref))
    return await _customer_facts(runtime, desk, ticket, comments, Passage(where="draft", text=body), notifies=False)


async def reply_intent(runtime: Runtime, desk: Desk, draft_id: str, visibility: Visibility) -> Intent:
    """Sending: the draft's exact text, to whom, on which state of the conversation."""
    return reply_by(desk, await _draft(runtime, draft_id), visibility)


def reply_by(desk: TicketDesk, draft: StoredDraft, visibility: Visibility) -> Intent:
    """Return what sending a draft means, whether it is stored already or not."""
    return Intent(
        target=target_of(desk, draft.ref),
        operation=REPLY,
        subject=draft.draft_id,
        content={
            "ref": draft.ref,
            "account": desk.account,
            "draft_id": draft.draft_id,
            "body": draft.body,
            "visibility": visibility,
            "head": draft.head,
            "recipients": [draft.recipient],
        },
    )


async def reply_facts(runtime: Runtime, desk: Desk, draft_id: str, visibility: Visibility) -> Facts:
    """A reply is judged with its ticket, and only while the conversation is where the draft left it.

    Raises:
        ConflictError: If another draft superseded this one, the customer wrote again or has another address.
    """

    def read(tx: Transaction) -> tuple[StoredDraft, StoredDraft | None]:
        return Drafts(tx).get(draft_id), Drafts(tx).replaced_by(draft_id)

    draft, previous = await runtime.transact(read)
    if draft.superseded_by:
        raise ConflictError("a newer draft replaced this one.", next_step="Send the newer draft.")
    return await reply_judged(runtime, desk, draft, visibility, previous=previous)


async def reply_judged(
    runtime: Runtime, desk: Desk, draft: StoredDraft, visibility: Visibility, *, previous: StoredDraft | None
) -> Facts:
    """Return the facts of sending a draft, whether it is stored already or not.

    Raises:
        ConflictError: If the customer wrote again or has another address.
    """
    comments = await desk.comments(draft.ref)
    if newest_from_customer(comments) != draft.head:
        raise customer_wrote_again()
    ticket = await desk.get(draft.ref)
    if ticket.requester.email != draft.recipient:
        raise ConflictError("the customer's address changed.", next_step="Draft anew.")
    said = Passage(where="draft", text=draft.body)
    if visibility == "internal":
        facts = await _ticket_facts(runtime, desk, ticket, list(comments), said)
    else:
        facts = await _customer_facts(runtime, desk, ticket, list(comments), said, notifies=True)
    return compared(facts.model_copy(update={"author": draft.author}), previous)


async def reply_found(
    runtime: Runtime, desk: Desk, effect: Effect, draft_id: str, visibility: Visibility
) -> SentReply | None:
    """Look for the reply of an interrupted send."""
    draft = await _draft(runtime, draft_id)
    applied = await desk.find_operation(draft.ref, effect.marker)
    if applied is None:
        return None
    return SentReply(
        ref=draft.ref,
        draft_id=draft_id,
        comment_id=applied.operation_id,
        visibility=visibility,
        sent_at=applied.at,
        outcome="reconciled",
        mode=runtime.settings.mode,
    )


async def update_intent(
    desk: Desk,
    ref: str,
    version: str,
    status: StatusChange | None,
    priority: Priority | None,
    assignee: str | None,
    add_tags: list[str],
    remove_tags: list[str],
) -> Intent:
    """A change of fields, on the version that the agent read."""
    content = patch_of(status, priority, assignee, add_tags, remove_tags).model_dump(mode="json")
    content |= {"ref": ref, "account": desk.account, "version": version}
    return Intent(target=target_of(desk, ref), operation="update", subject=digest(content), content=content)


async def update_facts(
    runtime: Runtime, desk: Desk, ref: str, status: StatusChange | None, assignee: str | None, add_tags: list[str]
) -> Facts:
    """A new status tells the customer, a new assignee people here; tags and priority tell nobody."""
    ticket, comments = await desk.get(ref), list(await desk.comments(ref))
    tags = Passage(where="tags", text="\n".join(add_tags))
    if status is not None:
        return await _customer_facts(runtime, desk, ticket, comments, tags, notifies=True)
    facts = await _ticket_facts(runtime, desk, ticket, comments, tags)
    return facts.model_copy(update={"notifies": assignee is not None})


async def update_found(runtime: Runtime, desk: Desk, effect: Effect, ref: str) -> UpdatedTicket | None:
    """Look for the change of an interrupted update."""
    applied = await desk.find_operation(ref, effect.marker)
    return applied and UpdatedTicket(ref=ref, version=applied.version, outcome="reconciled", mode=runtime.settings.mode)


async def escalation_intent(desk: Desk, ref: str, reason: str, priority: EscalationLevel) -> Intent:
    """An internal note with the reason."""
    content = {"ref": ref, "account": desk.account, "note": escalation_note(reason, priority), "visibility": "internal"}
    return Intent(
        target=target_of(desk, ref), operation="escalate", subject=digest(dict(content)), content=dict(content)
    )


async def escalation_facts(runtime: Runtime, desk: Desk, ref: str, reason: str) -> Facts:
    """An escalation calls people."""
    ticket, comments = await desk.get(ref), list(await desk.comments(ref))
    facts = await _ticket_facts(runtime, desk, ticket, comments, Passage(where="reason", text=reason))
    return facts.model_copy(update={"notifies": True})


async def escalation_found(runtime: Runtime, desk: Desk, effect: Effect, ref: str) -> EscalatedTicket | None:
    """Look for the note of an interrupted escalation."""
    applied = await desk.find_operation(ref, effect.marker)
    return applied and EscalatedTicket(
        ref=ref, note_id=applied.operation_id, outcome="reconciled", mode=runtime.settings.mode
    )


async def creation_intent(
    desk: Desk, project: str, title: str, description: str, priority: Priority, distinct: str
) -> Intent:
    """A new ticket; the same one twice is one, unless `distinct` tells them apart."""
    content = {
        "account": desk.account,
        "project": project,
        "title": title,
        "description": description,
        "priority": priority,
    }
    subject = digest({**content, "distinct": distinct})
    return Intent(target=target_of(desk, f"{project}-?"), operation="create", subject=subject, content=dict(content))


async def creation_facts(desk: Desk, project: str, title: str, description: str) -> Facts:
    """A new ticket is seen by others."""
    return Facts(
        target=target_of(desk, f"{project}-?"),
        passages=(Passage(where="title", text=title), Passage(where="description", text=description)),
        notifies=True,
    )


async def creation_found(runtime: Runtime, desk: Desk, effect: Effect) -> CreatedTicket | None:
    """Look for the ticket of an interrupted creation."""
    applied = await desk.find_operation("", effect.marker)
    return applied and CreatedTicket(
        ref=applied.ref, version=applied.version, outcome="reconciled", mode=runtime.settings.mode
    )


def patch_of(
    status: StatusChange | None,
    priority: Priority | None,
    assignee: str | None,
    add_tags: list[str],
    remove_tags: list[str],
) -> Patch:
    """Return the change that an update's arguments mean."""
    return Patch(
        status=status, priority=priority, assignee=assignee, add_tags=tuple(add_tags), remove_tags=tuple(remove_tags)
    )


def escalation_note(reason: str, priority: EscalationLevel) -> str:
    """Return the internal note of an escalation."""
    return f"Escalated ({priority}): {reason}"


async def _draft(runtime: Runtime, draft_id: str) -> StoredDraft:
    return await runtime.transact(lambda tx: Drafts(tx).get(draft_id))


async def _ticket_facts(
    runtime: Runtime, desk: Desk, ticket: Ticket, comments: list[Comment], passage: Passage
) -> Facts:
    return Facts(
        target=target_of(desk, ticket.ref),
        passages=(*ticket_passages(ticket, comments), passage),
        briefing=briefing(desk.account, ticket, comments),
        category=await runtime.transact(lambda tx: category_of(tx, ticket.ref), durable=False),
    )


async def _customer_facts(
    runtime: Runtime, desk: Desk, ticket: Ticket, comments: list[Comment], passage: Passage, *, notifies: bool
) -> Facts:
    """What the customer would read, or be told of, is judged also by who that is."""
    settings, address = runtime.settings, ticket.requester.email
    known = any(comment.ours and comment.visibility == "public" for comment in comments) or await runtime.transact(
        lambda tx: wrote_to(tx, desk, address, tenant=settings.tenant, mode=settings.mode), durable=False
    )
    facts = await _ticket_facts(runtime, desk, ticket, comments, passage)
    return facts.model_copy(
        update={
            "notifies": notifies,
            "recipients": (address,),
            "first_contact": not known if known or address else None,
        }
    )


def ticket_passages(ticket: Ticket, comments: list[Comment]) -> tuple[Passage, ...]:
    """Return every text of a ticket that policy looks at; our own messages were judged when they were sent."""
    said = (
        Passage(where=f"comment {comment.comment_id}", text=comment.body) for comment in comments if not comment.ours
    )
    return (Passage(where="subject", text=ticket.subject), Passage(where="body", text=ticket.body), *said)
