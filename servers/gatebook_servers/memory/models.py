"""The memory's records and answers."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from gatebook.intents import Value

PAGE_CHARS = 8_000
"""How long an answer is by default, in characters of JSON."""

_FRAME_CHARS = 300
"""What stands around a list of items: the names of the fields and a key."""

Operation = Literal["put", "restore", "delete"]
V = TypeVar("V", bound=Value)


def _from_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


Tags = Annotated[tuple[str, ...], BeforeValidator(_from_json)]
"""Tags; the database keeps them as JSON text."""


class Note(Value):
    """A note as it is now; a deleted one keeps its place, so that its version numbers go on."""

    key: str
    value: str
    tags: Tags
    version: int
    deleted: bool
    actor: str
    run_id: str
    updated_at: datetime


class Version(Value):
    """What a note held at one version."""

    key: str
    version: int
    operation: Operation
    value: str
    actor: str
    run_id: str
    created_at: datetime


class Written(Value):
    """What a put, restore or delete came to."""

    key: str
    version: int
    changed: bool = Field(description="False when the note held exactly this already.")


class Entry(Value):
    """A note without its text."""

    key: str
    version: int
    tags: Tags
    chars: int
    updated_at: datetime


class Hit(Value):
    """A note that a search found."""

    key: str
    version: int
    tags: Tags
    snippet: str
    updated_at: datetime


class Change(Value):
    """One version in a note's history."""

    version: int
    operation: Operation
    chars: int
    actor: str
    run_id: str
    created_at: datetime


class NoteView(Value):
    """A note, or a page of a long one."""

    key: str
    version: int
    tags: Tags | None = Field(description="Null for a version that was asked for: a note's tags have no history.")
    actor: str
    run_id: str
    written_at: datetime
    text: str = ""
    next_offset: int | None = Field(default=None, description="Set when the text goes on: pass it with this version.")


class Hits(Value):
    """Notes that match, best first."""

    hits: list[Hit]
    more: bool = Field(description="There are further hits: raise limit, or ask more exactly.")


class EntryPage(Value):
    """Notes in order of their keys."""

    notes: list[Entry]
    next_cursor: str | None = None


class History(Value):
    """A note's versions, newest first."""

    key: str
    versions: list[Change]
    more: bool = Field(description="There are older versions.")


def fitting(items: Sequence[V], *, room: int) -> list[V]:
    """Return the first of `items` that fit into an answer of `room` characters; at least one."""
    room -= _FRAME_CHARS
    shown: list[V] = []
    for item in items:
        room -= len(item.model_dump_json()) + 1
        if shown and room < 0:
            break
        shown.append(item)
    return shown


def page(note: Note | Version, *, offset: int) -> NoteView:
    """Return a note with as much of its text from `offset` on, in characters, as fits into one answer."""
    head = NoteView(
        key=note.key,
        version=note.version,
        tags=note.tags if isinstance(note, Note) else None,
        actor=note.actor,
        run_id=note.run_id,
        written_at=note.updated_at if isinstance(note, Note) else note.created_at,
    )
    room = PAGE_CHARS - len(head.model_dump_json()) - len(str(len(note.value)))
    text = _beginning(note.value[offset : offset + room], room)
    end = offset + len(text)
    return head.model_copy(update={"text": text, "next_offset": end if end < len(note.value) else None})


def _beginning(text: str, room: int) -> str:
    """Shorten `text` until its JSON form, where one character may take six, fits into `room`."""
    while (size := len(json.dumps(text, ensure_ascii=False))) > room:
        text = text[: len(text) * room // size]
    return text
