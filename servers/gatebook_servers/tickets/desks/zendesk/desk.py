"""The port over one Zendesk account. docs/desks.md says what fences which write."""

from collections.abc import Sequence
from datetime import date

from pydantic import JsonValue

from gatebook.clock import moment
from gatebook.errors import InvalidArgumentsError
from gatebook.http import FixedCredentials
from gatebook.runtime import Runtime
from gatebook_servers.tickets.checking import Finding, checked, ending
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Slice,
    Ticket,
    Visibility,
    Window,
    newest_from_customer,
)
from gatebook_servers.tickets.desks.writing import DeskWrites, Request, Write
from gatebook_servers.tickets.desks.zendesk import changing
from gatebook_servers.tickets.desks.zendesk.api import TicketRead, ZendeskApi
from gatebook_servers.tickets.desks.zendesk.export import Export
from gatebook_servers.tickets.desks.zendesk.history import History
from gatebook_servers.tickets.desks.zendesk.listing import Listing
from gatebook_servers.tickets.desks.zendesk.payloads import ZendeskTicket
from gatebook_servers.tickets.desks.zendesk.values import by_id, number_of, quoted, stamp, ticket_of
from gatebook_servers.tickets.refusals import customer_wrote_again

TOKENS_END = date(2027, 4, 30)
"""When Zendesk's API tokens end (https://developer.zendesk.com/documentation/api-basics/authentication/oauth-migration/)."""


class ZendeskDesk:
    """Tickets of one account.

    A reply or change is refused by Zendesk when the ticket is not at the stamp that was read for it, and a reply's
    marker is looked up between that reading and the sending: an earlier sending that arrives late either is found or
    moves the stamp. A creation has an idempotency key, and the marker as `external_id` for when the key is forgotten.

    Args:
        runtime: The database, for what is sent to be on record first.
        api: The account.
        account: `zendesk/` and the account's name.
        incremental: Whether changes come from the incremental export, which is for administrators.
    """

    capabilities = Capabilities(internal_notes=True, fenced=True)

    def __init__(self, runtime: Runtime, api: ZendeskApi, *, account: str, incremental: bool = False) -> None:
        self.account = account
        self._runtime = runtime
        self._api = api
        self._writes = DeskWrites(runtime, account)
        self._history = History(api)
        self._listing = Listing(api)
        self._export = Export(api, runtime.clock) if incremental else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()

    async def check(self) -> Sequence[Finding]:
        api, today = self._api, moment(self._runtime.clock.now()).date()
        found = await checked(
            self._runtime,
            self.account,
            api.credentials,
            api.anything,
            limit="x-rate-limit",
            left="x-rate-limit-remaining",
        )
        by_token = isinstance(api.credentials, FixedCredentials)
        return [*found, *([ending("Zendesk's API tokens", TOKENS_END, today=today)] if by_token else [])]

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        if self._export and window.until is None:
            return await self._export.changes(window, position=position, limit=limit)
        return await self._listing.window(window, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        return await self._listing.search(text, position=position, limit=limit)

    async def get(self, ref: str) -> Ticket:
        answer = (await self._api.ticket(number_of(ref))).answer
        return ticket_of(answer.ticket, by_id(answer.users))

    async def comments(self, ref: str) -> Sequence[Comment]:
        return await self._history.messages((await self._api.ticket(number_of(ref))).answer.ticket)

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        async def send(request: Request) -> Applied:
            # The key may be forgotten by now, the ticket is not.
            known = await self._history.created_with(marker)
            return known or changing.created((await self._api.create(request, key=marker)).ticket)

        return await self._writes.send(Write(marker, "", "create", changing.creation(new, marker)), send)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        read = await self._api.ticket(number_of(ref))
        changing.require_version(read.answer.ticket, base_version)
        assignee = await self._assignee(patch.assignee)
        change = changing.change(read.answer.ticket, patch, marker, assignee=assignee)

        async def send(request: Request) -> Applied:
            return await self._put(ref, read, request)

        return await self._writes.send(Write(marker, ref, "update", changing.fenced_at(change, base_version)), send)

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        number = number_of(ref)

        async def send(request: Request) -> Applied:
            # In this order: what is not found behind the reading moves the stamp when it arrives.
            read = await self._api.ticket(number)
            known = await self._history.changed_with(ref, marker)
            if known:
                return known
            await self._require_head(read.answer.ticket, head)
            return await self._put(ref, read, changing.fenced_at(request, stamp(read.answer.ticket.updated_at)))

        return await self._writes.send(Write(marker, ref, "reply", changing.message(body, visibility, marker)), send)

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        return await (self._history.changed_with(ref, marker) if ref else self._history.created_with(marker))

    async def _put(self, ref: str, read: TicketRead, request: Request) -> Applied:
        ticket = read.answer.ticket
        operation = changing.repeatable(ticket.updated_at, read.at)
        return changing.changed(ref, request, await self._api.update(ticket.id, request, operation=operation))

    async def _require_head(self, ticket: ZendeskTicket, head: str | None) -> None:
        if head is not None and newest_from_customer(await self._history.messages(ticket)) != head:
            raise customer_wrote_again()

    async def _assignee(self, given: str | None) -> dict[str, JsonValue]:
        """Return the fields that assign a ticket to an address, an id or the one agent of a name; empty: to nobody.

        Raises:
            InvalidArgumentsError: If no agent has the name, or several have.
        """
        if given is None:
            return {}
        if not given or given.isdecimal():
            return {"assignee_id": int(given) if given else None}
        if "@" in given:
            return {"assignee_email": given}
        phrase = quoted(given)
        people = (await self._api.people(f"type:user {phrase}")).results if phrase else ()
        agents = {
            one.id
            for one in people
            if one.role in ("agent", "admin") and (one.name or "").casefold() == given.casefold()
        }
        if len(agents) != 1:
            raise InvalidArgumentsError(
                "this is not the name of exactly one agent.", next_step="Give the agent's address or id."
            )
        return {"assignee_id": agents.pop()}
