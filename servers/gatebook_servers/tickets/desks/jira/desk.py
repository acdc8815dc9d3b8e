"""Jira Cloud as a ticket desk."""

from collections import deque
from collections.abc import Sequence

from gatebook.errors import ForbiddenError, UnsupportedError
from gatebook.http import Credentials
from gatebook.runtime import Runtime
from gatebook_servers.tickets.checking import Finding, checked
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
)
from gatebook_servers.tickets.desks.jira.client import JiraClient
from gatebook_servers.tickets.desks.jira.finding import Finder
from gatebook_servers.tickets.desks.jira.opening import account_of, address_of, credentials_of, projects_of
from gatebook_servers.tickets.desks.jira.reading import Reader
from gatebook_servers.tickets.desks.jira.site import Site
from gatebook_servers.tickets.desks.jira.words import Words, comment_of
from gatebook_servers.tickets.desks.jira.writes import Writer
from gatebook_servers.tickets.desks.local import MAX_COMMENTS
from gatebook_servers.tickets.desks.writing import DeskWrites

RECONCILED = 50
"""Issues that a search can be told to see as they are now, at most."""
WRITTEN_S = 600.0
"""For how long after a write the search is told, seconds."""


class JiraDesk:
    """Tickets of a Jira site.

    Args:
        runtime: The settings, and the database for the record of writes.
        base_url: Another address of the API than the settings say.
        credentials: Who asks, in place of whom the settings name.

    Raises:
        ConfigurationError: If a setting is missing.
    """

    def __init__(self, runtime: Runtime, *, base_url: str = "", credentials: Credentials | None = None) -> None:
        settings = runtime.settings
        self.account = account_of(settings)
        self.capabilities = Capabilities(internal_notes=settings.jira_service_management, fenced=False)
        self._runtime = runtime
        self._credentials = credentials or credentials_of(runtime)
        client = JiraClient(base_url or address_of(settings), self._credentials)
        self._made = deque[int](maxlen=RECONCILED // 2)
        words = Words(statuses=settings.jira_statuses, priorities=settings.jira_priorities)
        self._client = client
        self._site = Site(client, projects_of(settings))
        self._words = words
        self._reader = Reader(self._site, words, self._written)
        self._writer = Writer(self._site, words, issue_type=settings.jira_issue_type, made=self._made)
        self._writes = DeskWrites(runtime, self.account)
        self._finder = Finder(self._site, self._writes, self._written)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def check(self) -> Sequence[Finding]:
        return await checked(self._runtime, self.account, self._credentials, self._client.anything)

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        return await self._reader.page(window, position=position, limit=limit)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        return await self._reader.search(text, position=position, limit=limit)

    async def get(self, ref: str) -> Ticket:
        return self._words.ticket(await self._site.issue(ref))

    async def comments(self, ref: str) -> Sequence[Comment]:
        issue, account = await self._site.issue(ref), await self._site.account()
        newest = [
            comment_of(said, reporter=issue.fields.reporter, account=account)
            async for said in self._site.newest_comments(issue.id, most=MAX_COMMENTS)
        ]
        return newest[::-1]

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        if self._site.projects and new.project not in self._site.projects:
            raise ForbiddenError("this desk does not have the project.", next_step="Use a project of its tickets.")
        return await self._writes.send(self._writer.creation(new, marker=marker), self._writer.create)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        issue = await self._site.issue(ref)
        write = self._writer.change(issue, patch, base_version=base_version, marker=marker)
        return await self._writes.send(write, lambda request: self._writer.update(request, ref=ref, marker=marker))

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        if visibility == "internal" and not self.capabilities.internal_notes:
            raise UnsupportedError(
                "this desk has no internal notes.", next_step="Leave it to a person; do not send it to the customer."
            )
        issue = await self._site.issue(ref)
        write = self._writer.message(issue, body, visibility=visibility, marker=marker)
        add = self._writer.comment if visibility == "public" else self._writer.note
        return await self._writes.send(write, lambda request: add(request, ref=ref, head=head))

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        return await self._finder.find(ref, marker)

    async def _written(self) -> Sequence[int]:
        """Return the numbers of the issues that we wrote to just now, in whatever process, or created in this one."""
        recent = await self._writes.recent(within_s=WRITTEN_S, most=RECONCILED)
        numbers = [int(str(write.request["issue"])) for write in recent if "issue" in write.request]
        return tuple(dict.fromkeys([*self._made, *numbers]))[:RECONCILED]
