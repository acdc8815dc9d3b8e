"""One repository's issues, as paths and answers of the API (https://docs.github.com/en/rest/issues)."""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import JsonValue, TypeAdapter

from gatebook.errors import NotFoundError, UnsupportedError, UpstreamUnavailableError
from gatebook.http import Answer
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desks.github.client import GitHubClient
from gatebook_servers.tickets.desks.github.listing import PAGE, Listing, stamp
from gatebook_servers.tickets.desks.github.reading import ALL_SAID, ISSUE, SAID, Issue, Said, parsed
from gatebook_servers.tickets.refusals import unknown_ref

T = TypeVar("T")

MOST_SAID = 1_000
_SEARCHED_CHARS = 190
"""GitHub takes 256 characters beside qualifiers; what does not fit is compared here alone."""


class Repository:
    """The issues of one repository.

    Args:
        client: GitHub.
        name: `owner/name`.
    """

    def __init__(self, client: GitHubClient, name: str) -> None:
        self._client = client
        self._name = name
        self._issues = f"/repos/{name}/issues"

    async def anything(self) -> Answer:
        """Ask for something harmless."""
        return await self._client.read(self._issues, {"per_page": "1"})

    async def issue(self, number: int) -> Issue:
        """Return an issue.

        Raises:
            NotFoundError: If there is none, or it is a pull request.
        """
        issue = parsed(ISSUE, (await self._client.read(f"{self._issues}/{number}")).body)
        if issue.pull_request is not None:
            raise unknown_ref()
        return issue

    async def said(self, number: int) -> Sequence[Said]:
        """Return an issue's comments, oldest first; of more than 1,000 the newest."""
        query = {"per_page": str(PAGE)}
        path = f"{self._issues}/{number}/comments"
        answer = await self._client.read(path, query)
        newest: deque[Said] = deque(parsed(ALL_SAID, answer.body), maxlen=MOST_SAID)
        link = answer.links.get("next", "")
        # The oldest come first, so most pages of a very long one are left out.
        first = _page_number(answer.links.get("last", "")) - MOST_SAID // PAGE
        if first > 1:
            answer = await self._client.read(path, {**query, "page": str(first)})
            newest.extend(parsed(ALL_SAID, answer.body))
            link = answer.links.get("next", "")
        while link:
            answer = await self._client.read(link)
            newest.extend(parsed(ALL_SAID, answer.body))
            link = answer.links.get("next", "")
        return newest

    def issues(self, *, state: str, sort: str, since: int = 0) -> Listing:
        """Return the list of issues in a state (`all`: any), oldest first, of those that changed since a moment."""
        query = {"state": state, "sort": sort, "direction": "asc", "since": stamp(since)}
        return Listing(self._client, self._issues, query, lambda second: {"since": stamp(second)})

    def newest(self, *, creator: str) -> Listing:
        """Return the list of an account's issues, newest first.

        GitHub does not say how apps are named here, so theirs are among everybody's.
        """
        query = {"state": "all", "sort": "created", "direction": "desc"}
        query |= {} if creator.endswith("[bot]") else {"creator": creator}
        return Listing(self._client, self._issues, query, lambda second: {"since": stamp(second)})

    def search(self, words: Sequence[str]) -> Listing:
        """Return the list of issues whose title or text has the words as GitHub's search understands them.

        Each word is sent in quotation marks, so that none is an operator or a qualifier.

        Raises:
            UnsupportedError: If no word has a letter or digit.
        """
        terms: list[str] = []
        for word in sorted(words, key=len, reverse=True):
            term = " ".join(word.replace('"', " ").replace("\\", " ").split())
            if (
                any(sign.isalnum() for sign in term)
                and len(" ".join((*terms, term))) + 3 * len(terms) < _SEARCHED_CHARS
            ):
                terms.append(f'"{term}"')
        if not terms:
            raise UnsupportedError(
                "GitHub's search knows words only, no signs.", next_step="Search for a word with a letter or digit."
            )
        asked = f"{' '.join(terms)} in:title,body repo:{self._name} is:issue"
        query = {"q": asked, "sort": "updated", "order": "asc"}
        return Listing(
            self._client, "/search/issues", query, lambda second: {"q": f"{asked} updated:>={stamp(second)}"}
        )

    async def require_assignable(self, login: str) -> None:
        """Refuse an assignee whom GitHub would silently ignore.

        Raises:
            NotFoundError: If nobody of this login can be assigned.
        """
        try:
            await self._client.read(f"/repos/{self._name}/assignees/{quote(login, safe='')}")
        except NotFoundError:
            raise NotFoundError(
                "GitHub lets nobody of this login be assigned here.",
                next_step="Use the login of somebody with access to the repository.",
            ) from None

    async def create(self, fields: JsonValue) -> Issue:
        """Create an issue."""
        return _echoed(ISSUE, await self._client.write("POST", self._issues, fields))

    async def change(self, number: int, fields: JsonValue) -> Issue:
        """Change an issue's fields."""
        return _echoed(ISSUE, await self._client.write("PATCH", f"{self._issues}/{number}", fields))

    async def say(self, number: int, text: str) -> Said:
        """Add a comment."""
        return _echoed(SAID, await self._client.write("POST", f"{self._issues}/{number}/comments", {"body": text}))


def _echoed(kind: TypeAdapter[T], body: JsonValue) -> T:
    """Return what a write answered; what cannot be read was applied all the same."""
    try:
        return parsed(kind, body)
    except UpstreamUnavailableError as error:
        raise AmbiguousError from error


def _page_number(link: str) -> int:
    given = parse_qs(urlsplit(link).query).get("page", ["0"])[0]
    return int(given) if given.isdecimal() else 0
