"""Where a reader of a search is, in a text that outlives every token of Jira's.

Jira's search lags behind, so a ticket may turn up late, before one that was handed out already. A position therefore
says how far the reader is (`high`), and back to a `floor` which tickets it was handed: what lies between the two and is
not among them is new. As many are remembered as fit, of at most the last five minutes before `high`.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from gatebook_servers.tickets.refusals import foreign_cursor

Key = tuple[int, int]
"""When a ticket was created or changed, milliseconds since the epoch, and the remainder of its number."""

OVERLAP_MS = 300_000
_BITS = 21
NUMBERS = 1 << _BITS
"""Two tickets of one millisecond are taken for one if their numbers differ by a multiple of this."""
CAPACITY = 22
"""Tickets that are remembered; a position has at most 200 characters."""
_ENTRY_BYTES = 5
_ENTRY_CHARS = 7
_KEY = r"[0-9a-f]{1,11}\.[0-9a-f]{1,6}"
_FORM = re.compile(
    rf"(?P<field>[cu])(?P<high>{_KEY})-(?P<floor>{_KEY})-(?P<seen>([A-Za-z0-9_-]{{{_ENTRY_CHARS}}}){{0,{CAPACITY}}})"
)
_NOWHERE: Key = (-1, 0)


@dataclass(frozen=True)
class Position:
    """A reader's place among tickets in the order of `field`: c (created) or u (changed)."""

    field: str
    high: Key = _NOWHERE
    floor: Key = _NOWHERE
    seen: tuple[Key, ...] = ()

    @classmethod
    def parsed(cls, text: str, field: str) -> "Position":
        """Read a position; an empty text is the beginning.

        Raises:
            InvalidArgumentsError: If it is not one of ours, or of another order.
        """
        if not text:
            return cls(field)
        form = _FORM.fullmatch(text)
        if form is None or form["field"] != field:
            raise foreign_cursor()
        high, floor = _key(form["high"]), _key(form["floor"])
        entries = re.findall(f".{{{_ENTRY_CHARS}}}", form["seen"])
        return cls(field, high, floor, tuple(_unpacked(entry, high) for entry in entries))

    def __str__(self) -> str:
        if self.high == _NOWHERE:
            return ""
        entries = "".join(_packed(key, self.high) for key in self.seen)
        return f"{self.field}{_text(self.high)}-{_text(self.floor)}-{entries}"

    def is_new(self, key: Key) -> bool:
        """Whether a ticket was not handed out yet."""
        return key > self.high or (key > self.floor and key not in self.seen)

    def after(self, handed: Sequence[Key], *, passed: Key | None = None) -> "Position":
        """Return the position behind tickets that are handed out.

        Args:
            handed: Their keys, the smallest of the new ones: as many are forgotten at most as are handed out, so the
                floor stays below every one that waits.
            passed: How far the reader has looked beyond them.
        """
        high: Key = max(self.high, passed or _NOWHERE, *handed)
        if high == _NOWHERE:
            return self
        floor = max(self.floor, (high[0] - OVERLAP_MS, 0))
        seen = sorted(key for key in {*self.seen, *handed} if key > floor)
        surplus = max(len(seen) - CAPACITY, 0)
        if surplus:
            floor = seen[surplus - 1]
        return Position(self.field, high, floor, tuple(seen[surplus:]))


def key_of(milliseconds: int, number: int) -> Key:
    """Return where a ticket stands in the order."""
    return milliseconds, number % NUMBERS


def _text(key: Key) -> str:
    return f"{max(key[0], 0):x}.{key[1]:x}"


def _key(text: str) -> Key:
    milliseconds, number = text.split(".")
    return int(milliseconds, 16), int(number, 16)


def _packed(key: Key, high: Key) -> str:
    packed = ((high[0] - key[0]) << _BITS) | key[1]
    return urlsafe_b64encode(packed.to_bytes(_ENTRY_BYTES, "big")).decode().rstrip("=")


def _unpacked(entry: str, high: Key) -> Key:
    packed = int.from_bytes(urlsafe_b64decode(f"{entry}="), "big")
    return high[0] - (packed >> _BITS), packed & (NUMBERS - 1)
