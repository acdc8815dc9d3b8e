"""The desk over GitHub's issues.

Everything is public here, so internal notes are refused. GitHub has neither idempotency keys nor conditional writes:
nothing is fenced, and a version is compared by a read just before the write, alone on the issue among Gatebook's own.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import anyio

from gatebook.errors import ConfigurationError, RateLimitedError, UnsupportedError
from gatebook.retry import AmbiguousError
from gatebook.runtime import Runtime
from gatebook_servers.tickets.checking import Finding, checked, scopes
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Slice,
    Status,
    Ticket,
    Visibility,
    Window,
    newest_from_customer,
)
from gatebook_servers.tickets.desks.github import listing
from gatebook_servers.tickets.desks.github.changing import change_of, holds, labels_for, require_expressible
from gatebook_servers.tickets.desks.github.client import GitHubClient
from gatebook_servers.tickets.desks.github.credentials import AppCredentials
from gatebook_servers.tickets.desks.github.listing import Found, Place
from gatebook_servers.tickets.desks.github.looking import LookUp, changed_applied, created_applied, said_applied
from gatebook_servers.tickets.desks.github.marking import marked, marker_in
from gatebook_servers.tickets.desks.github.pace import APART_S, Pace
from gatebook_servers.tickets.desks.github.reading import (
    Issue,
    comment_of,
    number_of,
    status_of,
    ticket_of,
    version_of,
)
from gatebook_servers.tickets.desks.github.repository import Repository
from gatebook_servers.tickets.desks.writing import DeskWrites, Request, Write
from gatebook_servers.tickets.refusals import changed_since_read, customer_wrote_again

logger = logging.getLogger(__name__)

_STATES: dict[Status | None, str] = {None: "all", "new": "open", "open": "open", "solved": "closed", "closed": "closed"}

T = TypeVar("T")


class GitHubDesk:
    """The issues of one repository.

    Args:
        runtime: Its settings name the repository and the credentials.
        pause: Waits between writes; for tests, which move their own time.

    Raises:
        ConfigurationError: If a setting is missing or a file holds something else.
    """

    capabilities = Capabilities(internal_notes=False, fenced=False)

    def __init__(self, runtime: Runtime, *, pause: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        settings = runtime.settings
        if not settings.github_repository:
            raise ConfigurationError(
                "the GitHub desk has no repository.", next_step="Set GATEBOOK_GITHUB_REPOSITORY to owner/name."
            )
        self._prefix = settings.github_priority_prefix
        self._account = f"github/{settings.github_repository.lower()}"
        self._runtime = runtime
        self._client = GitHubClient(settings, runtime.clock)
        self._repository = Repository(self._client, settings.github_repository)
        self._writes = DeskWrites(runtime, self._account)
        self._look_up = LookUp(self._writes, self._client, self._repository, prefix=self._prefix)
        # GitHub counts the writes of an account, whatever they go to; nobody here writes as two.
        self._pace = Pace(runtime, f"github/{settings.github_url}", pause=pause)

    @property
    def account(self) -> str:
        return self._account

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def check(self) -> Sequence[Finding]:
        credentials = self._client.credentials
        found = await checked(self._runtime, self._account, credentials, self._repository.anything)
        # A fine-grained token does not tell what it may do.
        if isinstance(credentials, AppCredentials) and all(finding.ok for finding in found):
            found += scopes(await credentials.permissions(), ["issues:write"])
        return found

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        place = Place.read(position)
        if window.status not in _STATES:
            return Slice(tickets=(), position=position, complete=True)  # no issue is ever pending, on hold or deleted
        state, since = _STATES[window.status], _second(window.since)

        def wanted(issue: Issue) -> bool:
            return issue.pull_request is None and window.status in (None, status_of(issue))

        if window.until is None:
            issues = self._repository.issues(state=state, sort="updated")
            found = await listing.changed(issues, place, since=since, wanted=wanted, limit=limit)
        else:
            # What was created in the window has changed since its start, by being created.
            issues = self._repository.issues(state=state, sort="created", since=since)
            found = await listing.created(
                issues, place, since=since, until=window.until.timestamp(), wanted=wanted, limit=limit
            )
        return await self._slice(found)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        place, words = Place.read(position), text.casefold().split()
        if not words:
            return Slice(tickets=(), position=position, complete=True)

        def wanted(issue: Issue) -> bool:
            # GitHub's search knows words and their forms; every word has to be there as it was written.
            content = f"{issue.title}\n{issue.body or ''}".casefold()
            return issue.pull_request is None and all(word in content for word in words)

        issues = self._repository.search(words)
        return await self._slice(await listing.changed(issues, place, since=0, wanted=wanted, limit=limit))

    async def get(self, ref: str) -> Ticket:
        issue = await self._repository.issue(number_of(ref))
        return ticket_of(issue, login=await self._client.login(), prefix=self._prefix)

    async def comments(self, ref: str) -> Sequence[Comment]:
        number = number_of(ref)
        await self._repository.issue(number)
        login = await self._client.login()
        return [comment_of(said, login=login) for said in await self._repository.said(number)]

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        labels = labels_for(new.project, new.priority, self._prefix)
        request: Request = {"title": new.title, "body": marked(new.description, marker), "labels": [*labels]}

        async def send(request: Request) -> Applied:
            await self._pace.turn()
            issue = await self._written(lambda: self._repository.create(request))
            if not set(labels) <= set(issue.labels):
                logger.error("GitHub left labels of a new issue out; the account needs write access to issues")
            _require_marker(issue.body, marker)
            return created_applied(issue)

        return await self._writes.send(Write(marker, "", "create", request), send)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        number = number_of(ref)
        require_expressible(patch, self._prefix)
        request: Request = {"patch": patch.model_dump(mode="json"), "base_version": base_version}

        async def send(request: Request) -> Applied:
            wanted = Patch.model_validate(request["patch"])
            if wanted.assignee:
                await self._repository.require_assignable(wanted.assignee)
            await self._pace.turn()
            issue = await self._repository.issue(number)
            version = version_of(issue)
            if version != request["base_version"]:
                raise changed_since_read(version)
            fields = change_of(issue, wanted, self._prefix)
            if fields:
                issue = await self._written(lambda: self._repository.change(number, {**fields}))
            if not holds(issue, wanted, self._prefix):
                logger.error("GitHub accepted a change and did not make it; the account needs write access to issues")
                raise AmbiguousError
            return changed_applied(issue, marker)

        return await self._writes.send(Write(marker, ref, "update", request), send)

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        number = number_of(ref)
        if visibility == "internal":
            raise UnsupportedError(
                "GitHub has no internal notes: everybody who reads the issue would read it.",
                next_step="Send it publicly, or tell the team elsewhere.",
            )

        async def send(request: Request) -> Applied:
            await self._pace.turn()
            comments = await self.comments(ref)
            if request["head"] is not None and newest_from_customer(comments) != request["head"]:
                raise customer_wrote_again()
            said = await self._written(lambda: self._repository.say(number, str(request["body"])))
            _require_marker(said.body, marker)
            return said_applied(ref, said)

        request: Request = {"body": marked(body, marker), "head": head}
        return await self._writes.send(Write(marker, ref, "comment", request), send)

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        return await self._look_up.find(ref, marker)

    async def _written(self, write: Callable[[], Awaitable[T]]) -> T:
        rest_s = APART_S
        try:
            return await write()
        except RateLimitedError as limited:
            # Whoever goes on writing meanwhile is kept out for longer.
            rest_s = max(rest_s, limited.retry_after_s or 0.0)
            raise
        finally:
            # From its end: how long it is on its way nobody knows.
            await self._pace.rest(rest_s)

    async def _slice(self, found: Found) -> Slice:
        login = await self._client.login() if found.issues else ""
        return Slice(
            tickets=tuple(ticket_of(issue, login=login, prefix=self._prefix) for issue in found.issues),
            position=found.place.write(),
            complete=found.complete,
        )


def _require_marker(body: str | None, marker: str) -> None:
    if marker_in(body or "") != marker:
        logger.error("GitHub did not keep the marker of a text; it cannot be looked up")


def _second(moment: datetime | None) -> int:
    return max(int(moment.timestamp()), 0) if moment else 0
