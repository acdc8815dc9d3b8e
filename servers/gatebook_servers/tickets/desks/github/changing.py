"""A change of fields as GitHub can express it, and whether an issue is as a change wanted it."""

from pydantic import JsonValue

from gatebook.errors import InvalidArgumentsError, UnsupportedError
from gatebook_servers.tickets.desk import Patch, Priority, StatusChange
from gatebook_servers.tickets.desks.github.reading import (
    Issue,
    User,
    is_priority,
    priority_label,
    priority_of,
    status_of,
)

_STATES: dict[StatusChange, tuple[str, str]] = {
    "new": ("open", "reopened"),
    "open": ("open", "reopened"),
    "solved": ("closed", "completed"),
    "closed": ("closed", "not_planned"),
}
_MOST_LABEL_CHARS = 50
DEFAULT_PRIORITY: Priority = "Medium"
"""What a new ticket has when nobody says otherwise."""


def require_expressible(patch: Patch, prefix: str) -> None:
    """Refuse what GitHub cannot express, whatever the issue is like.

    Raises:
        UnsupportedError: If it has no such status or priority.
        InvalidArgumentsError: If a tag is too long for a label.
    """
    if patch.status is not None and patch.status not in _STATES:
        raise UnsupportedError(
            "GitHub knows open and closed issues only.", next_step="Use open, solved or closed, or add a tag."
        )
    if patch.priority is not None and not prefix:
        raise UnsupportedError(
            "this desk has no labels for priorities.",
            next_step="Add a tag, or have the operator set GATEBOOK_GITHUB_PRIORITY_PREFIX.",
        )
    if any(len(tag) > _MOST_LABEL_CHARS for tag in patch.add_tags):
        raise InvalidArgumentsError("a label has at most 50 characters.", next_step="Use a shorter tag.")


def labels_for(project: str, priority: Priority, prefix: str) -> list[str]:
    """Return the labels of a new issue: its project, and its priority where there are labels for them.

    Raises:
        UnsupportedError: If the priority cannot be expressed.
    """
    if not prefix and priority == DEFAULT_PRIORITY:
        return [project]
    require_expressible(Patch(priority=priority), prefix)
    return [project, priority_label(priority, prefix)]


def change_of(issue: Issue, patch: Patch, prefix: str) -> dict[str, JsonValue]:
    """Return what to send for an issue to become as the patch wants it; empty where it is so already.

    Raises:
        UnsupportedError: If GitHub has no way from here to there.
    """
    fields: dict[str, JsonValue] = {}
    labels = _labels(issue, patch, prefix)
    if labels != list(issue.labels):
        fields["labels"] = list[JsonValue](labels)
    if patch.assignee is not None and not _assigned(issue, patch.assignee):
        fields["assignees"] = [patch.assignee] if patch.assignee else []
        issue = issue.model_copy(update={"assignees": (User(login=patch.assignee),) if patch.assignee else ()})
    if patch.status is not None and status_of(issue) != patch.status:
        state, reason = _STATES[patch.status]
        fields |= {"state": state, "state_reason": reason}
        if status_of(_in_state(issue, state, reason)) != patch.status:
            raise UnsupportedError(
                "GitHub cannot show this status: an open issue is new until somebody is assigned, and never again once "
                "it was closed.",
                next_step="Assign somebody for open, or leave the status as it is.",
            )
    return fields


def holds(issue: Issue, patch: Patch, prefix: str) -> bool:
    """Whether an issue is as the patch wants it."""
    names = {label.casefold() for label in issue.labels}
    removed = {tag.casefold() for tag in patch.remove_tags} - {tag.casefold() for tag in patch.add_tags}
    return (
        patch.status in (None, status_of(issue))
        and patch.priority in (None, priority_of(issue, prefix))
        and (patch.assignee is None or _assigned(issue, patch.assignee))
        and names.issuperset(tag.casefold() for tag in patch.add_tags)
        and names.isdisjoint(removed)
    )


def _labels(issue: Issue, patch: Patch, prefix: str) -> list[str]:
    """Return all labels: GitHub replaces the whole set. Names do not differ by case."""
    removed = {tag.casefold() for tag in patch.remove_tags}
    labels = [label for label in issue.labels if label.casefold() not in removed]
    if patch.priority is not None and patch.priority != priority_of(issue, prefix):
        labels = [label for label in labels if not is_priority(label, prefix)]
        labels.append(priority_label(patch.priority, prefix))
    for tag in patch.add_tags:
        if tag.casefold() not in {label.casefold() for label in labels}:
            labels.append(tag)
    return labels


def _assigned(issue: Issue, assignee: str) -> bool:
    return [user.login.casefold() for user in issue.assignees] == ([assignee.casefold()] if assignee else [])


def _in_state(issue: Issue, state: str, reason: str) -> Issue:
    # An open issue that is opened stays as it was.
    return (
        issue if issue.state == state == "open" else issue.model_copy(update={"state": state, "state_reason": reason})
    )
