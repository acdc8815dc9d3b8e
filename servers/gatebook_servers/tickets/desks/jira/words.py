"""The words of Jira and of the port for the same things: status, priority, people, texts."""

from collections.abc import Mapping

from gatebook_servers.tickets.desk import Comment, Person, Priority, Role, Status, Ticket
from gatebook_servers.tickets.desks.jira.adf import text_of
from gatebook_servers.tickets.desks.jira.answers import Attachment, Issue, JiraComment, StatusAnswer, User, stamp
from gatebook_servers.tickets.desks.jira.site import PREFIX

SERVICE_DESK = "service_desk"
"""The kind of a project whose customers have a portal, and which therefore has internal notes."""

_BY_NAME: dict[str, Status] = {
    "waiting for customer": "pending",
    "pending": "pending",
    "awaiting customer": "pending",
    "on hold": "hold",
    "blocked": "hold",
    "reopened": "open",
    "waiting for support": "open",
}
_DONE_BY_NAME: dict[str, Status] = {"closed": "closed", "canceled": "closed", "cancelled": "closed"}
_BY_CATEGORY: dict[str, Status] = {"new": "new", "indeterminate": "open", "done": "solved"}
_PRIORITIES: dict[str, Priority] = {
    "highest": "Critical",
    "blocker": "Critical",
    "critical": "Critical",
    "high": "High",
    "major": "High",
    "medium": "Medium",
    "normal": "Medium",
    "low": "Low",
    "lowest": "Low",
    "minor": "Low",
    "trivial": "Low",
}
PRIORITY_NAMES: dict[Priority, str] = {"Critical": "Highest", "High": "High", "Medium": "Medium", "Low": "Low"}
"""The names in the priority scheme that Jira begins with."""


class Words:
    """How one site names things.

    Args:
        statuses: What a status of the site means, by its name, where that differs from its category.
        priorities: The site's names of our priorities, where they differ from those that Jira begins with.
    """

    def __init__(self, *, statuses: Mapping[str, Status], priorities: Mapping[Priority, str]) -> None:
        self._statuses: dict[str, Status] = {name.casefold(): status for name, status in statuses.items()}
        self._names = {**PRIORITY_NAMES, **priorities}
        self._priorities: dict[str, Priority] = {
            **_PRIORITIES,
            **{name.casefold(): priority for priority, name in priorities.items() if name},
        }

    def status(self, answer: StatusAnswer) -> Status:
        """Return what a status means: as the operator says, by a well-known name, or by its category."""
        name, category = answer.name.casefold(), answer.category.key
        by_name: dict[str, Status] = {**(_DONE_BY_NAME if category == "done" else _BY_NAME), **self._statuses}
        return by_name.get(name) or _BY_CATEGORY.get(category) or "open"

    def priority_name(self, priority: Priority) -> str:
        """Return the site's name of a priority."""
        return self._names[priority]

    def ticket(self, issue: Issue) -> Ticket:
        """Return an issue as a ticket."""
        fields = issue.fields
        return Ticket(
            ref=f"{PREFIX}{issue.key}",
            subject=fields.summary,
            body=text_of(fields.description) + "".join(_listed(file) for file in fields.attachment),
            status=self.status(fields.status),
            priority=self._priorities.get(fields.priority.name.casefold()) if fields.priority else None,
            kind=fields.issuetype.name if fields.issuetype else "",
            requester=person(fields.reporter, "customer"),
            channel="jira",
            # The account's id: only that can be given back, names are not unique.
            assignee=(fields.assignee.account_id or fields.assignee.name) if fields.assignee else "",
            tags=fields.labels,
            created_at=fields.created,
            updated_at=fields.updated,
            version=stamp(fields.updated),
        )


def comment_of(comment: JiraComment, *, reporter: User | None, account: User) -> Comment:
    """Return a comment as a message."""
    role = role_of(comment.author, reporter=reporter, account=account)
    return Comment(
        comment_id=comment.id,
        author=person(comment.author, role),
        visibility="public" if is_public(comment) else "internal",
        body=text_of(comment.body),
        created_at=comment.created,
        ours=role in ("agent", "bot"),
    )


def is_public(comment: JiraComment) -> bool:
    """Whether the customer may read a comment: one that is for a role or group only is internal on every project."""
    return comment.public and comment.restriction is None


def role_of(author: User | None, *, reporter: User | None, account: User) -> Role:
    """Return whose a comment is. A customer is who has a portal account or reported the issue, unless that is us."""
    if author is None:
        return "unknown"
    if author.account_id and author.account_id == account.account_id:
        return "bot"
    if author.account_type == "customer" or (
        reporter and author.account_id and author.account_id == reporter.account_id
    ):
        return "customer"
    return "bot" if author.account_type == "app" else "agent"


def person(user: User | None, role: Role) -> Person:
    """Return somebody; many hide their address."""
    return Person(name=user.name, email=user.email, role=role) if user else Person(name="")


def _listed(file: Attachment) -> str:
    return f"\n\n[file: {file.filename}, {file.mime or 'unknown type'}, {file.size} bytes]"
