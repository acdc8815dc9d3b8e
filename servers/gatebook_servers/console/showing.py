"""A request as its page shows it: what the server knows, and what exactly would happen."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from gatebook.approvals.models import Approval
from gatebook.deciding import limit_changes
from gatebook.foreign import input_of
from gatebook.intents import Value
from gatebook_servers.console.drawing import Change, compared, in_words

LONG_CHARS = 3_000
LONG_LINES = 60
"""Beyond these a text is cut on a request's page, and cannot be approved before all of it was asked for."""
SHORT_CHARS = 120
"""Up to here a value stands in the table of facts; a longer one is a text of its own."""
MOST_IN_A_BATCH = 20

_BODIES = ("body", "note", "description")
"""Fields that always stand as texts, however short: they are what is read outside."""
_LABELS = {
    "recipients": "To",
    "visibility": "Visibility",
    "ref": "Ticket",
    "account": "Desk",
    "draft_id": "Draft",
    "head": "Answers message",
    "body": "Text",
}
"""Words for the fields of a content that every desk has, in the order in which they matter."""

PartKind = Literal["text", "fact"]


class Part(Value):
    """A field of what would happen, as text."""

    name: str
    label: str
    text: str
    kind: PartKind
    editable: bool = False

    @property
    def long(self) -> bool:
        """Whether it has to be asked for to be seen whole."""
        return len(self.text) > LONG_CHARS or self.text.count("\n") > LONG_LINES

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.text.count("\n") + 1

    @property
    def beginning(self) -> str:
        """What of it is shown before all of it is asked for."""
        return "\n".join(self.text[:LONG_CHARS].split("\n")[:LONG_LINES])


class Difference(Value):
    """What became of one field since an earlier form of the request."""

    label: str
    changes: tuple[Change, ...]


def parts_of(request: Approval) -> list[Part]:
    """Return everything that would leave, be released or be raised, as named texts."""
    if request.kind == "foreign":
        return [_part(request, name, text, label=label) for name, label, text in input_of(request)]
    if request.kind == "limit":
        changes = limit_changes(request).items()
        return [_part(request, name, f"{change['from']} → {change['to']}") for name, change in changes]
    rank = list(_LABELS)
    ordered = sorted(request.content.items(), key=lambda item: rank.index(item[0]) if item[0] in rank else len(rank))
    return [part for name, value in ordered for part in _parts(request, name, value)]


def is_whole(parts: Sequence[Part]) -> bool:
    """Whether a page shows all of these without being asked for more."""
    return not any(part.long for part in parts)


def title_of(request: Approval) -> str:
    """Return what a yes would do, in a few words."""
    if request.kind == "hold":
        return "Release for the agent"
    if request.kind == "foreign":
        return f"Let {request.tool} run, which is not Gatebook's"
    return "Raise limits of a run" if request.kind == "limit" else in_words(request.tool)


def differences(earlier: Approval, later: Approval) -> list[Difference]:
    """Return what a later form of a request has changed, field by field."""
    before = {part.name: part for part in parts_of(earlier)}
    after = {part.name: part for part in parts_of(later)}
    names = [name for name in dict.fromkeys([*before, *after]) if name != "draft_id"]
    return [
        Difference(
            label=(after.get(name) or before[name]).label,
            changes=tuple(compared(_text(before, name), _text(after, name))),
        )
        for name in names
        if _text(before, name) != _text(after, name)
    ]


def since_draft(request: Approval, parts: Sequence[Part]) -> list[Difference]:
    """Return what changed since the earlier text that the server knows, where there is one."""
    previous = request.facts.previous
    body = next((part for part in parts if part.name in _BODIES), None)
    if not previous or body is None or previous == body.text:
        return []
    return [Difference(label=body.label, changes=tuple(compared(previous, body.text)))]


def _text(parts: Mapping[str, Part], name: str) -> str:
    return parts[name].text if name in parts else ""


def _parts(request: Approval, name: str, value: object) -> list[Part]:
    if name == "passages":
        entries = cast("list[dict[str, str]]", value)
        return [_part(request, str(entry["where"]), str(entry["text"]), kind="text") for entry in entries]
    if value in (None, "", []):
        return []
    if isinstance(value, list) and all(isinstance(entry, str) for entry in cast("list[object]", value)):
        return [_part(request, name, ", ".join(cast("list[str]", value)))]
    return [_part(request, name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _part(request: Approval, name: str, text: str, *, kind: PartKind | None = None, label: str = "") -> Part:
    brief = len(text) <= SHORT_CHARS and "\n" not in text and name not in _BODIES
    return Part(
        name=name,
        label=label or _LABELS.get(name) or in_words(name),
        text=text,
        kind=kind or ("fact" if brief else "text"),
        editable=name in request.editable,
    )
