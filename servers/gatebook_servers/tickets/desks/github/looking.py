"""What became of a write whose answer was lost. GitHub keeps markers in texts, and none of a change of fields."""

from datetime import datetime

from gatebook.errors import OutcomeUnknownError
from gatebook_servers.tickets.desk import Applied, Patch
from gatebook_servers.tickets.desks.github.changing import holds
from gatebook_servers.tickets.desks.github.client import GitHubClient
from gatebook_servers.tickets.desks.github.marking import marker_in
from gatebook_servers.tickets.desks.github.reading import PREFIX, Issue, Said, is_own, number_of, version_of
from gatebook_servers.tickets.desks.github.repository import MOST_SAID, Repository
from gatebook_servers.tickets.desks.writing import DeskWrites, Recorded

MARGIN_S = 600
"""By how much what we know of GitHub's time at a sending may be wrong, seconds."""
MOST_PAGES = 10
"""Pages of new issues that a look-up reads, newest first."""


class LookUp:
    """Looks for what was sent to one repository."""

    def __init__(self, writes: DeskWrites, client: GitHubClient, repository: Repository, *, prefix: str) -> None:
        self._writes = writes
        self._client = client
        self._repository = repository
        self._prefix = prefix

    async def find(self, ref: str, marker: str) -> Applied | None:
        """Return what was applied with a marker; None when surely nothing was.

        Raises:
            OutcomeUnknownError: If GitHub does not tell.
        """
        sent = await self._writes.recorded(marker)
        if not ref:
            return await self._created(marker, sent)
        if sent and sent.operation == "update":
            return self._changed(await self._repository.issue(number_of(ref)), sent, marker)
        return await self._said(ref, marker, sent)

    async def _said(self, ref: str, marker: str, sent: Recorded | None) -> Applied | None:
        login = await self._client.login()
        comments = await self._repository.said(number_of(ref))
        for said in reversed(comments):
            if is_own(said.user, login) and marker_in(said.body or "") == marker:
                return said_applied(ref, said)
        if len(comments) < MOST_SAID or self._before(sent, comments[0].created_at):
            return None
        raise _cannot_tell()

    async def _created(self, marker: str, sent: Recorded | None) -> Applied | None:
        login = await self._client.login()
        listing = self._repository.newest(creator=login)
        page = await listing.first()
        for _ in range(MOST_PAGES):
            for issue in page.issues:
                if is_own(issue.user, login) and marker_in(issue.body or "") == marker:
                    return created_applied(issue)
            if not (page.next and page.issues) or self._before(sent, page.issues[-1].created_at):
                return None
            page = await listing.follow(page.next)
        raise _cannot_tell()

    def _before(self, sent: Recorded | None, moment: datetime) -> bool:
        """Whether a moment of GitHub's is surely before the sending. Our clock is not asked: it may be wrong."""
        read_at = self._client.read_at
        return sent is not None and read_at is not None and moment.timestamp() < read_at - sent.age_s - MARGIN_S

    def _changed(self, issue: Issue, sent: Recorded, marker: str) -> Applied | None:
        """Compare an issue with what a change wanted: where it is so, it does not matter who made it so."""
        if sent.outcome in ("not_applied", "conflict"):
            return None
        patch = Patch.model_validate(sent.request["patch"])
        if sent.outcome == "applied" or holds(issue, patch, self._prefix):
            return changed_applied(issue, marker)
        if version_of(issue) == sent.request["base_version"]:
            return None
        raise _cannot_tell()


def said_applied(ref: str, said: Said) -> Applied:
    """Return the proof of a comment."""
    return Applied(
        ref=ref, operation_id=str(said.id), version=f"{said.created_at:%Y-%m-%dT%H:%M:%SZ}", at=said.created_at
    )


def created_applied(issue: Issue) -> Applied:
    """Return the proof of a new issue."""
    return Applied(
        ref=f"{PREFIX}{issue.number}",
        operation_id=str(issue.number),
        version=version_of(issue),
        at=issue.created_at,
    )


def changed_applied(issue: Issue, marker: str) -> Applied:
    """Return the proof of a change of fields."""
    return Applied(ref=f"{PREFIX}{issue.number}", operation_id=marker, version=version_of(issue), at=issue.updated_at)


def _cannot_tell() -> OutcomeUnknownError:
    return OutcomeUnknownError(
        "GitHub does not tell whether this was applied.", next_step="A person has to look at the issue and settle it."
    )
