"""What GitHub answers, as the desk's values. Fields that are not named here are ignored."""

import hashlib
import json
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, field_validator

from gatebook.errors import UpstreamUnavailableError
from gatebook_servers.tickets.desk import Comment, Person, Priority, Role, Status, Ticket
from gatebook_servers.tickets.desks.github.marking import unmarked
from gatebook_servers.tickets.refusals import unknown_ref

PREFIX = "github:"
PRIORITIES: tuple[Priority, ...] = ("Critical", "High", "Medium", "Low")
_OURS = {"OWNER", "MEMBER", "COLLABORATOR"}
_GHOST = "ghost"
"""Who GitHub itself shows where an account is gone."""
_MOST_NUMBER_DIGITS = 10

T = TypeVar("T")


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class User(_Answered):
    """Somebody with an account."""

    login: str


class Named(_Answered):
    """A label, or the type of an issue."""

    name: str


class Issue(_Answered):
    """An issue, or a pull request: GitHub lists both (https://docs.github.com/en/rest/issues/issues)."""

    number: int
    title: str
    body: str | None = None
    state: Literal["open", "closed"]
    state_reason: str | None = None
    user: User | None = None
    author_association: str = "NONE"
    labels: tuple[str, ...] = ()
    assignees: tuple[User, ...] = ()
    comments: int = 0
    type: Named | None = None
    pull_request: JsonValue = None
    created_at: datetime
    updated_at: datetime

    @field_validator("labels", mode="before")
    @classmethod
    def _names(cls, labels: list[JsonValue] | tuple[JsonValue, ...]) -> list[JsonValue]:
        return [label.get("name") if isinstance(label, dict) else label for label in labels]


class Said(_Answered):
    """A comment (https://docs.github.com/en/rest/issues/comments)."""

    id: int
    body: str | None = None
    user: User | None = None
    author_association: str = "NONE"
    created_at: datetime
    updated_at: datetime


ISSUE = TypeAdapter(Issue)
ISSUES = TypeAdapter(list[Issue])
SAID = TypeAdapter(Said)
ALL_SAID = TypeAdapter(list[Said])
USER = TypeAdapter(User)


def parsed(kind: TypeAdapter[T], body: JsonValue) -> T:
    """Return an answer as what it should be.

    Raises:
        UpstreamUnavailableError: If it is something else.
    """
    try:
        return kind.validate_python(body)
    except ValidationError:
        raise UpstreamUnavailableError(
            "GitHub answered with something that is not what its API describes.",
            next_step="Tell the operator; the address may be another service's.",
        ) from None


def number_of(ref: str) -> int:
    """Return the number of the issue that a ref names.

    Raises:
        NotFoundError: If it is no ref of this desk.
    """
    digits = ref.removeprefix(PREFIX) if ref.startswith(PREFIX) else ""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_NUMBER_DIGITS and digits[0] != "0"):
        raise unknown_ref()
    return int(digits)


def status_of(issue: Issue) -> Status:
    """Return what GitHub's two states and their reasons mean.

    Open, nobody's and never closed before: new. Closed as completed: solved. Closed as not planned or as a duplicate:
    closed.
    """
    if issue.state == "open":
        return "open" if issue.assignees or issue.state_reason == "reopened" else "new"
    return "solved" if issue.state_reason in (None, "completed") else "closed"


def priority_label(priority: Priority, prefix: str) -> str:
    """Return the label of a priority."""
    return f"{prefix}{priority.lower()}"


def priority_of(issue: Issue, prefix: str) -> Priority | None:
    """Return the priority that the labels say, the highest of several; None without a prefix."""
    names = {label.casefold() for label in issue.labels}
    wanted = PRIORITIES if prefix else ()
    return next((one for one in wanted if priority_label(one, prefix).casefold() in names), None)


def is_priority(label: str, prefix: str) -> bool:
    """Whether a label says a priority, and is no tag."""
    return bool(prefix) and label.casefold() in {priority_label(one, prefix).casefold() for one in PRIORITIES}


def version_of(issue: Issue) -> str:
    """Return a version. The stamp has whole seconds, so what it stamps is part of it."""
    content = issue.model_dump(mode="json", exclude={"author_association", "type", "pull_request", "user"})
    content |= {"labels": sorted(issue.labels), "assignees": sorted(user.login for user in issue.assignees)}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{issue.updated_at:%Y-%m-%dT%H:%M:%SZ}-{digest[:16]}"


def ticket_of(issue: Issue, *, login: str, prefix: str) -> Ticket:
    """Return an issue as a ticket; `login` is our own, `prefix` that of the labels of priorities."""
    author = _person(issue.user, issue.author_association, login)
    body = issue.body or ""
    return Ticket(
        ref=f"{PREFIX}{issue.number}",
        subject=issue.title,
        body=unmarked(body) if author.role == "bot" else body,
        status=status_of(issue),
        priority=priority_of(issue, prefix),
        kind=issue.type.name if issue.type else "",
        requester=author,
        channel="github",
        assignee=", ".join(user.login for user in issue.assignees),
        tags=tuple(label for label in issue.labels if not is_priority(label, prefix)),
        created_at=issue.created_at,
        updated_at=issue.updated_at,
        version=version_of(issue),
    )


def comment_of(said: Said, *, login: str) -> Comment:
    """Return a comment as a message; all are public."""
    author = _person(said.user, said.author_association, login)
    body = said.body or ""
    return Comment(
        comment_id=str(said.id),
        author=author,
        visibility="public",
        body=unmarked(body) if author.role == "bot" else body,
        created_at=said.created_at,
        ours=author.role != "customer",
    )


def is_own(author: User | None, login: str) -> bool:
    """Whether we wrote it; logins do not differ by case."""
    return author is not None and author.login.casefold() == login.casefold()


def _person(user: User | None, association: str, login: str) -> Person:
    role: Role = "bot" if is_own(user, login) else "agent" if association in _OURS else "customer"
    return Person(name=user.login if user else _GHOST, role=role)
