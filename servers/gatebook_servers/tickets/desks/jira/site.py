"""One Jira site as this desk may see it: who asks, which projects, and the calls that several parts need."""

import re
from collections.abc import AsyncGenerator, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio

from gatebook.errors import ConfigurationError
from gatebook_servers.tickets.desks.jira.answers import (
    ISSUE_FIELDS,
    Comments,
    Found,
    Issue,
    JiraComment,
    User,
)
from gatebook_servers.tickets.desks.jira.client import Call, JiraClient
from gatebook_servers.tickets.refusals import unknown_ref

PREFIX = "jira:"
PROJECT = re.compile(r"[A-Z][A-Z0-9_]{1,9}")
_REF = re.compile(rf"{PREFIX}(?P<key>(?P<project>{PROJECT.pattern})-[1-9][0-9]{{0,9}})")
_PAGE = 100
_KNOWN_S = 600.0


class Site:
    """A Jira site.

    Args:
        client: Its API.
        projects: Keys of the projects that may be seen and changed; none means all that the account sees.
    """

    def __init__(self, client: JiraClient, projects: Sequence[str]) -> None:
        self.client = client
        self.projects = tuple(projects)
        self._self = User()
        self._known_until = float("-inf")

    async def account(self) -> User:
        """Return who we are here; asked anew every ten minutes, as the time zone can be set."""
        if self._known_until < anyio.current_time():
            self._self = await self.client.read(User, Call("GET", "/myself", "/myself"))
            self._known_until = anyio.current_time() + _KNOWN_S
        return self._self

    async def zone(self) -> ZoneInfo:
        """Return the time zone in which Jira reads the times of our queries.

        Raises:
            ConfigurationError: If the account has none.
        """
        name = (await self.account()).time_zone
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                "the Jira account has no known time zone.", next_step="Set one in the account's preferences."
            ) from error

    async def issue(self, ref: str, *, properties: str = "") -> Issue:
        """Return the issue that a ref names.

        Raises:
            NotFoundError: If there is none, it is in another project than ours, or has another key by now.
        """
        named = _REF.fullmatch(ref)
        if named is None or (self.projects and named["project"] not in self.projects):
            raise unknown_ref()
        issue = await self.issue_by(named["key"], properties=properties)
        if issue.key != named["key"]:
            # It was moved. A ticket has one ref, which is part of every effect's identity.
            raise unknown_ref()
        return issue

    async def issue_by(self, name: str, *, properties: str = "") -> Issue:
        """Return the issue with an id or key."""
        query = {"fields": ",".join(ISSUE_FIELDS), **({"properties": properties} if properties else {})}
        return await self.client.read(Issue, Call("GET", f"/issue/{name}", "/issue"), query=query)

    async def search(
        self, jql: str, *, size: int, token: str | None, reconcile: Sequence[int], properties: str = ""
    ) -> Found:
        """Return a page of a search; `reconcile` are issues that must be seen as they are now."""
        return await self.client.read(
            Found,
            Call("POST", "/search/jql", "/search/jql"),
            body={
                "jql": jql,
                "maxResults": size,
                "fields": list(ISSUE_FIELDS),
                **({"nextPageToken": token} if token else {}),
                **({"reconcileIssues": list(reconcile)} if reconcile else {}),
                **({"properties": [properties]} if properties else {}),
            },
        )

    async def newest_comments(self, issue_id: str, *, most: int) -> AsyncGenerator[JiraComment]:
        """Yield an issue's comments, newest first, with their properties, at most so many."""
        call = Call("GET", f"/issue/{issue_id}/comment", "/issue/comment")
        seen = set[str]()
        start, total = 0, 1
        while start < total and len(seen) < most:
            query = {"startAt": str(start), "maxResults": str(_PAGE), "orderBy": "-created", "expand": "properties"}
            found = await self.client.read(Comments, call, query=query)
            # One that arrives meanwhile pushes the others into the next page.
            for comment in [one for one in found.comments if one.id not in seen][: most - len(seen)]:
                seen.add(comment.id)
                yield comment
            start += len(found.comments)
            total = found.total if found.comments else 0
