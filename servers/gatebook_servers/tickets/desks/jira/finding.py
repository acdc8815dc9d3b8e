"""Whether a write of ours arrived, asked of Jira itself. Who cannot tell says so, and a person settles it."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from gatebook.errors import NotFoundError, OutcomeUnknownError, UpstreamUnavailableError
from gatebook_servers.tickets.desk import Applied
from gatebook_servers.tickets.desks.jira import jql
from gatebook_servers.tickets.desks.jira.answers import (
    MARKER,
    EntityProperty,
    Issue,
    JiraComment,
    Note,
    marker_in,
    stamp,
)
from gatebook_servers.tickets.desks.jira.client import Call
from gatebook_servers.tickets.desks.jira.site import Site
from gatebook_servers.tickets.desks.jira.words import is_public
from gatebook_servers.tickets.desks.jira.writes import (
    CREATE,
    NOTE,
    UPDATE,
    Sent,
    commented,
    created,
    noted,
    other_visibility,
    update_key,
    updated,
)
from gatebook_servers.tickets.desks.writing import DeskWrites, Recorded

INDEX_LAG_S = 120.0
"""How long after a creation the search may not know of it, seconds."""
MOST_CREATED = 200
"""Issues of ours that are looked at for a marker, newest first."""
MOST_COMMENTS = 1_000
"""Messages that are looked at for a marker, newest first."""
_PAGE = 50
_SLACK = timedelta(minutes=1)


class Finder:
    """Looks markers up.

    Args:
        site: The site.
        writes: The record of what was sent.
        written: Returns the numbers of issues that we wrote to just now.
    """

    def __init__(self, site: Site, writes: DeskWrites, written: Callable[[], Awaitable[Sequence[int]]]) -> None:
        self._site = site
        self._writes = writes
        self._written = written

    async def find(self, ref: str, marker: str) -> Applied | None:
        """Return what became of a marker, None when surely nothing did.

        Raises:
            OutcomeUnknownError: If nobody can tell.
            UpstreamUnavailableError: If it is too early to tell.
        """
        recorded = await self._writes.recorded(marker)
        if not ref:
            return await self._creation(marker, recorded)
        try:
            issue = await self._site.issue(ref)
        except NotFoundError:
            if recorded is None:
                raise
            raise _unknown("the ticket is gone.") from None
        if recorded is None:
            return await self._comment(issue, ref, marker, None) or await self._update(issue, marker)
        sent = Sent.model_validate(recorded.request)
        if recorded.operation == NOTE:
            return await self._note(issue, ref, recorded, sent)
        if recorded.operation == UPDATE:
            return await self._update(issue, marker)
        return await self._comment(issue, ref, marker, datetime.fromisoformat(sent.after))

    async def _creation(self, marker: str, recorded: Recorded | None) -> Applied | None:
        """Look among the newest issues of ours: no query knows properties, but an answer may carry one.

        The search lags, so that not to find a fresh one says nothing.
        """
        looked_at = 0
        async for issue in self._own_issues():
            if marker_in(issue.properties.get(MARKER)) == marker:
                return created(issue)
            looked_at += 1
            if looked_at == MOST_CREATED:
                raise _unknown("too many issues were created since.")
        if recorded and recorded.operation == CREATE and recorded.age_s < INDEX_LAG_S:
            raise UpstreamUnavailableError("Jira's search does not know yet.", next_step="Look again in two minutes.")
        return None

    async def _own_issues(self) -> AsyncGenerator[Issue]:
        clauses = [*jql.within(self._site.projects), "creator = currentUser()"]
        written, token = await self._written(), None
        while True:
            found = await self._site.search(
                jql.query(clauses, order="created DESC"), size=_PAGE, token=token, reconcile=written, properties=MARKER
            )
            for issue in found.issues:
                yield issue
            token = found.token
            if token is None:
                return

    async def _comment(self, issue: Issue, ref: str, marker: str, after: datetime | None) -> Applied | None:
        async for said in self._newest(issue, after - _SLACK if after else None):
            if said.marker == marker:
                if not is_public(said):
                    raise other_visibility("internal")
                return commented(ref, said)
        return None

    async def _update(self, issue: Issue, marker: str) -> Applied | None:
        """A property stands for the update; where it names a status, the issue must have arrived there too."""
        call = Call("GET", f"/issue/{issue.id}/properties/{update_key(marker)}", "/issue/properties")
        try:
            value = (await self._site.client.read(EntityProperty, call)).value
        except NotFoundError:
            return None
        mark = value if isinstance(value, dict) else {}
        if mark.get("to") in (None, issue.fields.status.id):
            return updated(issue, marker)
        if not mark.get("fields") and stamp(issue.fields.updated) == mark.get("base"):
            # Only the marker arrived: since then nothing has happened to the issue.
            return None
        raise _unknown("the ticket's status is another one.")

    async def _note(self, issue: Issue, ref: str, recorded: Recorded, sent: Sent) -> Applied | None:
        """A note carries no marker: it is one of ours, written since, with the same text; and there is only one."""
        text = digest(sent.body["body"])
        account = (await self._site.account()).account_id
        after = datetime.fromisoformat(sent.after)
        matches: list[Note] = []
        async for said in self._newest(issue, after):
            author = said.author.account_id if said.author else ""
            if author != account or said.marker or said.created <= after:
                continue
            path = f"/request/{issue.id}/comment/{said.id}"
            note = await self._site.client.read(Note, Call("GET", path, "/request/comment", desk=True))
            if digest(note.body) == text:
                if is_public(said):
                    raise other_visibility("public")
                matches.append(note)
            elif said.updated and said.updated > said.created:
                raise _unknown("a note of ours was changed since.")
        if not matches:
            return None
        if len(matches) > 1 or await self._writes.twins(recorded):
            raise _unknown("the same note was written more than once.")
        return noted(ref, matches[0])

    async def _newest(self, issue: Issue, since: datetime | None) -> AsyncGenerator[JiraComment]:
        """Yield comments, newest first, back to a moment or all of them.

        Raises:
            OutcomeUnknownError: If there are too many to look at.
        """
        looked_at = 0
        async for said in self._site.newest_comments(issue.id, most=MOST_COMMENTS):
            if since and said.created < since:
                return
            looked_at += 1
            yield said
        if looked_at >= MOST_COMMENTS:
            raise _unknown("too many messages were written since.")


def digest(text: object) -> str:
    """Return the hash of a text without what a desk may do to it: white space and invisible ends."""
    return hashlib.sha256(" ".join(str(text).split()).encode()).hexdigest()


def _unknown(why: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(f"{why} Whether this was done cannot be told.", next_step="A person settles it.")
