"""What this desk changes in Jira. None of it is fenced by Jira, so every request is sent once and leaves a trace."""

import logging
from collections import deque

from pydantic import BaseModel, ConfigDict, JsonValue

from gatebook.clock import moment
from gatebook.errors import ConflictError, GatebookError, OutcomeUnknownError, UnsupportedError
from gatebook.retry import AmbiguousError
from gatebook_servers.tickets.desk import Applied, NewTicket, Patch, Priority, Visibility
from gatebook_servers.tickets.desks.jira.adf import document
from gatebook_servers.tickets.desks.jira.answers import (
    MARKER,
    Created,
    Issue,
    JiraComment,
    Note,
    Transition,
    Transitions,
    stamp,
)
from gatebook_servers.tickets.desks.jira.client import Call
from gatebook_servers.tickets.desks.jira.site import PREFIX, Site
from gatebook_servers.tickets.desks.jira.words import SERVICE_DESK, Words, comment_of, is_public
from gatebook_servers.tickets.desks.local import MAX_COMMENTS
from gatebook_servers.tickets.desks.writing import Request, Write
from gatebook_servers.tickets.refusals import changed_since_read, customer_wrote_again

logger = logging.getLogger(__name__)

COMMENT, NOTE, UPDATE, CREATE = "comment", "note", "update", "create"


class Sent(BaseModel):
    """What the record of a write to an issue says beside its body."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issue: str
    """The issue's id, which it keeps when it is moved."""
    after: str
    """When the issue last changed before the write, by Jira's own clock."""
    body: dict[str, JsonValue]


def update_key(marker: str) -> str:
    """Return the key of the issue property that carries the marker of an update; one each, so that none is lost."""
    return f"gatebook.{marker}"


class Writer:
    """The writes to a site.

    Args:
        site: The site.
        words: How it names things.
        issue_type: The type of new issues.
        made: Takes the numbers of new issues.
    """

    def __init__(self, site: Site, words: Words, *, issue_type: str, made: deque[int]) -> None:
        self._site = site
        self._words = words
        self._issue_type = issue_type
        self._made = made

    def creation(self, new: NewTicket, *, marker: str) -> Write:
        """Return the write that creates an issue."""
        fields: Request = {
            "project": {"key": new.project},
            "issuetype": {"name": self._issue_type},
            "summary": new.title,
            **self._priority(new.priority, required=False),
            **({"description": document(new.description)} if new.description else {}),
        }
        request: Request = {"body": {"fields": fields, "properties": [_property(MARKER, {"marker": marker})]}}
        return Write(marker=marker, ref="", operation=CREATE, request=request)

    async def create(self, request: Request) -> Applied:
        """Create an issue."""
        made = await self._site.client.write(Created, Call("POST", "/issue", "/issue"), request["body"])
        self._made.append(int(made.id))
        return created(await self._read_back(made.id))

    def message(self, issue: Issue, text: str, *, visibility: Visibility, marker: str) -> Write:
        """Return the write that adds a message.

        Raises:
            UnsupportedError: If it is internal and the project has no service desk.
        """
        if visibility == "public":
            body: Request = {"body": document(text), "properties": [_property(MARKER, {"marker": marker})]}
            return _write(issue, COMMENT, body, marker=marker)
        if issue.fields.project.kind != SERVICE_DESK:
            raise UnsupportedError(
                "this project has no internal notes.", next_step="Leave it to a person; do not send it to the customer."
            )
        return _write(issue, NOTE, {"body": text, "public": False}, marker=marker)

    async def comment(self, request: Request, *, ref: str, head: str | None) -> Applied:
        """Add a public message."""
        sent = Sent.model_validate(request)
        await self._require_head(ref, head)
        call = Call("POST", f"/issue/{sent.issue}/comment", "/issue/comment", issue=sent.issue)
        said = await self._site.client.write(JiraComment, call, sent.body)
        if not is_public(said):
            raise other_visibility("internal")
        return commented(ref, said)

    async def note(self, request: Request, *, ref: str, head: str | None) -> Applied:
        """Add an internal note, through the one API that knows them."""
        sent = Sent.model_validate(request)
        await self._require_head(ref, head)
        call = Call("POST", f"/request/{sent.issue}/comment", "/request/comment", issue=sent.issue, desk=True)
        said = await self._site.client.write(Note, call, sent.body)
        if said.public is not False:
            raise other_visibility("public")
        return noted(ref, said)

    def change(self, issue: Issue, patch: Patch, *, base_version: str, marker: str) -> Write:
        """Return the write that changes fields and status."""
        request: Request = {"fields": self._fields(patch), "status": patch.status, "version": base_version}
        return _write(issue, UPDATE, request, marker=marker)

    async def update(self, request: Request, *, ref: str, marker: str) -> Applied:
        """Change fields first, which nobody outside sees, together with the marker; then the status.

        Raises:
            ConflictError: If the issue changed, or the fields did and the status did not.
            UnsupportedError: If the workflow has no way to the status.
        """
        sent = Sent.model_validate(request)
        issue = await self._site.issue(ref)
        if stamp(issue.fields.updated) != sent.body["version"]:
            raise changed_since_read(stamp(issue.fields.updated))
        way = await self._way(issue, sent.body["status"])
        mark: Request = {"base": sent.body["version"], **({"to": way.to.id} if way else {})}
        fields = sent.body["fields"]
        client = self._site.client
        if fields:
            assert isinstance(fields, dict)
            call = Call("PUT", f"/issue/{issue.id}", "/issue", issue=issue.id)
            await client.change(
                call, {**fields, "properties": [_property(update_key(marker), {**mark, "fields": True})]}
            )
        else:
            path = f"/issue/{issue.id}/properties/{update_key(marker)}"
            await client.change(Call("PUT", path, "/issue/properties", issue=issue.id), mark)
        if way:
            await self._go(issue, way, changed=bool(fields))
        return updated(await self._read_back(issue.id), marker)

    async def _go(self, issue: Issue, way: Transition, *, changed: bool) -> None:
        call = Call("POST", f"/issue/{issue.id}/transitions", "/issue/transitions", issue=issue.id)
        try:
            await self._site.client.change(call, {"transition": {"id": way.id}})
        except GatebookError as error:
            if not changed:
                raise
            raise ConflictError(
                "the fields changed, the status did not.", next_step="Read the ticket again and decide anew."
            ) from error

    async def _way(self, issue: Issue, wanted: JsonValue) -> Transition | None:
        if wanted is None or self._words.status(issue.fields.status) == wanted:
            return None
        call = Call("GET", f"/issue/{issue.id}/transitions", "/issue/transitions")
        ways = (await self._site.client.read(Transitions, call)).transitions
        found = next((way for way in ways if way.available and self._words.status(way.to) == wanted), None)
        if found is None:
            raise UnsupportedError(
                "the workflow has no way from here to this status.",
                next_step="Choose another, or leave it to a person.",
            )
        return found

    def _fields(self, patch: Patch) -> Request:
        """Return what the update sets; empty when it sets no field.

        Raises:
            UnsupportedError: If a tag cannot be a label.
        """
        if any(" " in tag for tag in patch.add_tags):
            raise UnsupportedError("Jira's labels have no spaces.", next_step="Use a tag of one word.")
        fields: Request = {}
        if patch.priority:
            fields |= self._priority(patch.priority, required=True)
        if patch.assignee is not None:
            fields["assignee"] = {"accountId": patch.assignee} if patch.assignee else None
        labels: list[JsonValue] = [
            *({"remove": tag} for tag in patch.remove_tags),
            *({"add": tag} for tag in patch.add_tags),
        ]
        return {**({"fields": fields} if fields else {}), **({"update": {"labels": labels}} if labels else {})}

    def _priority(self, priority: Priority, *, required: bool) -> Request:
        """Return a priority as a field; nothing where the operator says that the site has none."""
        name = self._words.priority_name(priority)
        if required and not name:
            raise UnsupportedError("this desk has no such priority.", next_step="Leave it as it is.")
        return {"priority": {"name": name}} if name else {}

    async def _require_head(self, ref: str, head: str | None) -> None:
        if head is None:
            return
        issue, account = await self._site.issue(ref), await self._site.account()
        newest = ""
        async for said in self._site.newest_comments(issue.id, most=MAX_COMMENTS):
            comment = comment_of(said, reporter=issue.fields.reporter, account=account)
            if comment.visibility == "public" and not comment.ours:
                newest = comment.comment_id
                break
        if newest != head:
            raise customer_wrote_again()

    async def _read_back(self, issue_id: str) -> Issue:
        """Read what was written. It is there: without an answer it has to be looked up, never written again."""
        try:
            return await self._site.issue_by(issue_id)
        except GatebookError as error:
            raise AmbiguousError from error


def created(issue: Issue) -> Applied:
    """Return the proof that an issue was created."""
    return _applied(f"{PREFIX}{issue.key}", issue.key, stamp(issue.fields.updated), issue.fields.created.timestamp())


def commented(ref: str, said: JiraComment) -> Applied:
    """Return the proof that a comment is there."""
    return _applied(ref, said.id, stamp(said.created), said.created.timestamp())


def noted(ref: str, said: Note) -> Applied:
    """Return the proof that a note is there."""
    at = said.created.milliseconds / 1000
    return _applied(ref, said.id, stamp(moment(at)), at)


def updated(issue: Issue, marker: str) -> Applied:
    """Return the proof that an issue was changed: its version is that of now."""
    at = issue.fields.updated
    return _applied(f"{PREFIX}{issue.key}", marker, stamp(at), at.timestamp())


def _applied(ref: str, operation_id: str, version: str, at: float) -> Applied:
    return Applied(ref=ref, operation_id=operation_id, version=version, at=moment(at))


def _write(issue: Issue, operation: str, body: Request, *, marker: str) -> Write:
    request: Request = {"issue": issue.id, "after": stamp(issue.fields.updated), "body": body}
    return Write(marker=marker, ref=f"{PREFIX}{issue.key}", operation=operation, request=request)


def _property(key: str, value: JsonValue) -> JsonValue:
    return {"key": key, "value": value}


def other_visibility(became: Visibility) -> OutcomeUnknownError:
    """Log that a message is not as visible as asked, and return what to raise: it is there, and a person must look."""
    logger.error("a message became visible to others than asked", extra={"became": became})
    return OutcomeUnknownError(
        f"the message was added, but Jira made it {became}.", next_step="A person has to look at the ticket now."
    )
