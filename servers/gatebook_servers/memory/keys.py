"""What a note may be called, who may write it, and what it may hold."""

import re
import unicodedata
from collections.abc import Iterable

from gatebook.errors import ForbiddenError, InvalidArgumentsError, TooLargeError

PEOPLE_ONLY = ("policy/", "templates/")
"""Folders that agents read and only people write: what an agent can write must not steer it."""

MAX_KEY_CHARS = 200
MAX_VALUE_BYTES = 100 * 1024
MAX_TAGS = 20
MAX_TAG_CHARS = 50

_PERSON = "person:"
_SHAPE = re.compile(r"[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9._-]+)*")
_LAST = "~"  # sorts behind every character that a key may have


def valid_key(key: str) -> str:
    """Return a key that fits the rules; it is ASCII, and so in every Unicode normal form.

    Raises:
        InvalidArgumentsError: If it is empty, longer than 200 characters, or not a path of plain words.
    """
    if len(key) > MAX_KEY_CHARS or not _SHAPE.fullmatch(key) or ".." in key or "." in key.split("/"):
        raise InvalidArgumentsError(
            "a key is a path of 1 to 200 characters such as tickets/2026-11-22: a-z, 0-9, '.', '_' and '-', "
            "behind the first '/' also A-Z, without '..'.",
            next_step="Correct the key and call again.",
        )
    return key


def require_writable(key: str, *, actor: str) -> None:
    """Refuse what only people may write; a note named like such a folder would block it.

    Raises:
        ForbiddenError: If the key is a person's to write and the actor is not `person:...`.
    """
    if f"{key}/".startswith(PEOPLE_ONLY) and not actor.startswith(_PERSON):
        raise ForbiddenError(
            "only people write below policy/ and templates/.", next_step="Use another key, or ask a person to write it."
        )


def folders(key: str) -> list[str]:
    """Return the keys that a note `key` makes folders: `a` and `a/b` for `a/b/c`."""
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def end_of(prefix: str) -> str:
    """Return the key before which every key with this prefix sorts."""
    return prefix + _LAST


def valid_value(value: str) -> str:
    """Return a value that can be kept as it is.

    Raises:
        TooLargeError: If it has more than 100 KiB in UTF-8.
        InvalidArgumentsError: If it has U+0000 or half a surrogate pair, which not every database can hold.
    """
    if len(_utf8(value)) > MAX_VALUE_BYTES:
        raise TooLargeError("the value is larger than 100 KiB.", next_step="Split it into several notes.")
    return value


def valid_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags in NFC, each once, in order, so that the same tags are always the same.

    Raises:
        InvalidArgumentsError: If there are more than 20, or one is empty, longer than 50 characters, or not printable.
    """
    found = sorted({unicodedata.normalize("NFC", tag.strip()) for tag in tags})
    if len(found) > MAX_TAGS or any(not (tag.isprintable() and 0 < len(tag) <= MAX_TAG_CHARS) for tag in found):
        raise InvalidArgumentsError(
            "tags are at most 20 printable words of 1 to 50 characters.", next_step="Correct the tags and call again."
        )
    return tuple(found)


def _utf8(text: str) -> bytes:
    try:
        if "\0" not in text:
            return text.encode()
    except UnicodeEncodeError:
        pass
    raise InvalidArgumentsError(
        "the value is not plain Unicode text.", next_step="Leave U+0000 and lone surrogates out."
    )
