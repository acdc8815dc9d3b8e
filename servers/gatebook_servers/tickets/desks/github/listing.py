"""Lists of issues, page by page, in an order that changes while it is read.

GitHub counts pages from the start of a list, and a change of an issue moves it and those behind it. So a position is
what was handed out last, a moment and a number, and never a page alone: a page is only where to look first. Moments
have whole seconds, and GitHub says nothing of the order within one; a second is handed out once all of it was read.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from pydantic import JsonValue

from gatebook.errors import InvalidArgumentsError, NotFoundError, UpstreamUnavailableError
from gatebook_servers.tickets.desks.github.client import GitHubClient, seconds_at
from gatebook_servers.tickets.desks.github.reading import ISSUES, Issue, parsed
from gatebook_servers.tickets.refusals import foreign_cursor

PAGE = 100
MOST_PAGES = 5
"""Pages that one call reads at most, unless they are all of one second."""
_PLACE = re.compile(r"(\d{1,12})\|(\d{1,10})\|((?:page|after)=[\w%+/=-]{1,150})?", re.ASCII)

Wanted = Callable[[Issue], bool]


@dataclass(frozen=True)
class Place:
    """Behind which issue a list goes on: its moment in seconds, its number, and the page to look at first."""

    second: int = -1
    number: int = 0
    hint: str = ""

    @classmethod
    def read(cls, position: str) -> "Place":
        """Read a position as `write` wrote it.

        Raises:
            InvalidArgumentsError: If it is none of ours.
        """
        found = _PLACE.fullmatch(position)
        if position and not found:
            raise foreign_cursor()
        return cls(int(found[1]), int(found[2]), found[3] or "") if found else cls()

    def write(self) -> str:
        """Return it as a cursor, empty for the start."""
        return f"{self.second}|{self.number}|{self.hint}" if self.second >= 0 else ""

    @property
    def key(self) -> tuple[int, int]:
        """What it is compared by."""
        return self.second, self.number


@dataclass(frozen=True)
class Page:
    """A page as GitHub gave it, pull requests included."""

    issues: tuple[Issue, ...]
    next: str
    prev: str
    hint: str
    """Which page it is, for a place."""
    at: float | None
    """When it was answered, by GitHub's clock."""


@dataclass(frozen=True)
class Found:
    """Issues in order, and where the list goes on."""

    issues: tuple[Issue, ...]
    place: Place
    complete: bool


class Listing:
    """One list of issues.

    Args:
        client: GitHub.
        path: Where the list is.
        query: What it lists, in which order.
        from_second: Return what in the query limits it to what changed at or after a moment.
    """

    def __init__(
        self,
        client: GitHubClient,
        path: str,
        query: Mapping[str, str],
        from_second: Callable[[int], Mapping[str, str]],
    ) -> None:
        self._client = client
        self._path = path
        self._query = {**query, "per_page": str(PAGE)}
        self._from_second = from_second

    async def first(self, hint: str = "") -> Page:
        """Return its first page, or the one that a place's hint names."""
        name, _, value = hint.partition("=")
        return await self._page(self._path, {**self._query, name: value} if name else self._query, hint)

    async def since(self, second: int) -> Page:
        """Return the first page of what changed at or after a moment."""
        return await self._page(self._path, {**self._query, **self._from_second(second)}, "")

    async def follow(self, link: str) -> Page:
        """Return the page that a link leads to."""
        given = parse_qs(urlsplit(link).query)
        names = [name for name in ("after", "page") if name in given]
        return await self._page(link, None, f"{names[0]}={given[names[0]][0]}" if names else "")

    async def _page(self, path: str, query: Mapping[str, str] | None, hint: str) -> Page:
        answer = await self._client.read(path, query)
        return Page(
            issues=tuple(parsed(ISSUES, _items(answer.body))),
            next=answer.links.get("next", ""),
            prev=answer.links.get("prev", ""),
            hint=hint,
            at=seconds_at(answer),
        )


def _items(body: JsonValue) -> JsonValue:
    if not isinstance(body, dict):
        return body
    if body.get("incomplete_results"):
        raise UpstreamUnavailableError(
            "GitHub's search ran out of time.", next_step="Repeat the call, or search for rarer words."
        )
    return body.get("items")


async def changed(listing: Listing, place: Place, *, since: int, wanted: Wanted, limit: int) -> Found:
    """Return what changed since a moment, oldest change first.

    Every page begins anew at the second that the one before ended in, so that nothing slips by while issues move to
    the end of the list. What changed in the second of the answer may change once more in it, and comes with the next
    call.
    """
    start = reached = max(since, place.second)
    found: dict[int, Issue] = {}
    link, pages = "", 0
    while True:
        page = await (listing.follow(link) if link else listing.since(reached))
        pages += 1
        found.update({issue.number: issue for issue in page.issues})
        if not page.next or not page.issues:
            over, bound = True, float("inf") if page.at is None else page.at
            break
        last = _changed_at(page.issues[-1])
        link, reached = ("", last) if last > reached else (page.next, reached)
        ripe = _ripe(found, _changed_at, place, bound=reached, wanted=wanted)
        if len(ripe) > limit or (pages >= MOST_PAGES and reached > start):
            over, bound = False, float(reached)
            break
    ripe = _ripe(found, _changed_at, place, bound=bound, wanted=wanted)
    return _cut(ripe, _changed_at, place, limit=limit, read_to=None if over else Place(reached))


async def created(listing: Listing, place: Place, *, since: int, until: float, wanted: Wanted, limit: int) -> Found:
    """Return what was created in [since, until), oldest first.

    A page is a hint: where issues were deleted the list moved to the left, and the pages before it are read again.
    """
    page = await _hinted(listing, place)
    while page.prev and (not page.issues or _made_at(page.issues[0]) > place.key):
        page = await listing.follow(page.prev)
    found: dict[int, Issue] = {}
    hints: dict[int, str] = {}
    pages = 0
    while True:
        pages += 1
        found.update({issue.number: issue for issue in page.issues})
        hints.update({issue.number: page.hint for issue in page.issues})
        last = _created_at(page.issues[-1]) if page.issues else place.second
        over = not page.next or last >= until
        bound = until if over else last
        ripe = [
            issue
            for issue in _ripe(found, _created_at, place, bound=bound, wanted=wanted)
            if _created_at(issue) >= since
        ]
        if over or len(ripe) > limit or (pages >= MOST_PAGES and last > place.second):
            break
        page = await listing.follow(page.next)
    read_to = None if over else Place(last, 0, page.hint)
    return _cut(ripe, _created_at, place, limit=limit, read_to=read_to, hints=hints)


async def _hinted(listing: Listing, place: Place) -> Page:
    if place.hint:
        # Where GitHub no longer has it, the start of the list loses nothing.
        with suppress(InvalidArgumentsError, NotFoundError):
            page = await listing.first(place.hint)
            if page.issues:
                return page
    return await listing.first()


def _ripe(
    found: Mapping[int, Issue], moment: Callable[[Issue], int], place: Place, *, bound: float, wanted: Wanted
) -> list[Issue]:
    """Return what may be handed out, in order: behind the place, and of seconds that were read to their end."""
    ripe = [
        issue
        for issue in found.values()
        if place.key < (moment(issue), issue.number) and moment(issue) < bound and wanted(issue)
    ]
    return sorted(ripe, key=lambda issue: (moment(issue), issue.number))


def _cut(
    ripe: list[Issue],
    moment: Callable[[Issue], int],
    place: Place,
    *,
    limit: int,
    read_to: Place | None,
    hints: Mapping[int, str] | None = None,
) -> Found:
    """Return at most `limit` issues and the place behind them; `read_to` is how far was read, None for to the end."""
    shown = tuple(ripe[:limit])
    if len(ripe) <= limit and read_to is not None:
        # Also where nothing is to be shown the list goes on behind what was read.
        place = max(place, read_to, key=lambda one: one.key)
    elif shown:
        place = Place(moment(shown[-1]), shown[-1].number, (hints or {}).get(shown[-1].number, ""))
    return Found(shown, place, complete=read_to is None and len(ripe) <= limit)


def _changed_at(issue: Issue) -> int:
    return int(issue.updated_at.timestamp())


def _created_at(issue: Issue) -> int:
    return int(issue.created_at.timestamp())


def _made_at(issue: Issue) -> tuple[int, int]:
    return _created_at(issue), issue.number


def stamp(second: int) -> str:
    """Return a moment as GitHub writes it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
