"""Which characters have nothing for the eye, and where they are ordinary all the same.

Without a shape of their own are control, format, private, unassigned and surrogate characters, variation selectors and
blank letters. Many languages need some of them, and emoji are joined by them: `ORDINARY` matches those uses. Unassigned
is what this Python's Unicode does not know; reserved places for emoji and Han count as seen, because newer ones get
drawn as a box at least.
"""

import unicodedata
from functools import cache, lru_cache
from itertools import groupby
from typing import Literal

__all__ = ["BLANK", "ORDINARY", "Unseen", "combining_marks", "kind_of", "name_of", "unseen_characters"]

Unseen = Literal["invisible", "direction", "control", "unknown"]

BLANK = r" \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""Blanks within a line, as ranges for a regular expression."""

_EMOJI = r"[\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u27bf\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_DRESSED = rf"{_EMOJI}[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?"
_FLAGS = "|".join("".join(chr(0xE0000 + ord(letter)) for letter in flag) for flag in ("gbeng", "gbsct", "gbwls"))
_JOINING = r"[\u0620-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17d3\u1807-\u18aa]"
_VIRAMA = r"[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca]"
_UNSPACED = r"[\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17e9]"
_HAN = r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"

ORDINARY = "|".join(
    (
        rf"\U0001f3f4(?:{_FLAGS})\U000e007f",
        rf"{_DRESSED}(?:\u200d{_DRESSED})*+",
        r"(?<=[0-9#*])\ufe0f",  # keycaps
        rf"{_HAN}[\ufe00-\ufe02\U000e0100-\U000e011f]",  # the form of a character in a name
        rf"(?<={_JOINING})[\u200c\u200d](?={_JOINING})",
        rf"(?<={_VIRAMA})[\u200c\u200d]",
        r"(?<=[\u0620-\u064a])\u200d",  # an Arabic letter standing for a word
        rf"(?<={_UNSPACED})\u200b(?={_UNSPACED})",
        r"(?<=[\u1820-\u18aa])[\u180b-\u180f]",
        r"(?<=[\u2801-\u28ff])\u2800(?=[\u2801-\u28ff])",
    )
)
"""A regular expression for sequences whose unseen characters do what they are for."""

_SPEAKING = frozenset("\t\n\r\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format and control characters by category that a reader sees."""
_SHAPELESS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u2d7f\u3164\uffa0\U00016fe4\U0001d159"
) | frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Letters, marks and symbols by category that nobody sees."""
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KINDS: dict[str, Unseen] = {
    "Cc": "control", "Cf": "invisible", "Cn": "unknown", "Co": "unknown", "Cs": "unknown", "Zl": "control",
    "Zp": "control",
}  # fmt: skip
_NAMELESS = {"Cc": "CONTROL", "Cn": "UNASSIGNED", "Co": "PRIVATE USE", "Cs": "LONE SURROGATE"}
_CONTROLS = (
    "NULL", "START OF HEADING", "START OF TEXT", "END OF TEXT", "END OF TRANSMISSION", "ENQUIRY", "ACKNOWLEDGE", "BELL",
    "BACKSPACE", "TAB", "LINE FEED", "LINE TABULATION", "FORM FEED", "CARRIAGE RETURN", "SHIFT OUT", "SHIFT IN",
    "DATA LINK ESCAPE", "DEVICE CONTROL ONE", "DEVICE CONTROL TWO", "DEVICE CONTROL THREE", "DEVICE CONTROL FOUR",
    "NEGATIVE ACKNOWLEDGE", "SYNCHRONOUS IDLE", "END OF TRANSMISSION BLOCK", "CANCEL", "END OF MEDIUM", "SUBSTITUTE",
    "ESCAPE", "FILE SEPARATOR", "GROUP SEPARATOR", "RECORD SEPARATOR", "UNIT SEPARATOR",
)  # fmt: skip
_REST = 0x20000
"""From here on whole planes are of one kind."""


def name_of(character: str) -> str:
    """The Unicode name of a character, or what it is when it has none."""
    if character < " ":
        return _CONTROLS[ord(character)]
    category = unicodedata.category(character)
    return unicodedata.name(character, _NAMELESS.get(category, "UNNAMED"))


@lru_cache(maxsize=4096)
def kind_of(character: str) -> Unseen | None:
    """Why a character cannot be seen; None for one that can."""
    if character in _DIRECTION:
        return "direction"
    if character in _SHAPELESS or "\U000e0000" <= character <= "\U000e0fff":
        return "invisible"
    if character in _SPEAKING or _reserved(character):
        return None
    return _KINDS.get(unicodedata.category(character))


@cache
def unseen_characters() -> str:
    """Every unseen character, as ranges for a regular expression."""
    return _ranges([kind_of.__wrapped__(chr(code)) is not None for code in range(_REST)]) + r"\U00040000-\U0010ffff"


@cache
def combining_marks() -> str:
    """Every mark that is set above or below another character, as ranges for a regular expression."""
    marks = [unicodedata.category(chr(code)) in {"Mn", "Me"} for code in range(_REST)]
    return _ranges([mark and kind_of.__wrapped__(chr(code)) is None for code, mark in enumerate(marks)])


def _reserved(character: str) -> bool:
    return "\U0001f000" <= character <= "\U0001faff" or "\U00020000" <= character <= "\U0003ffff"


def _ranges(wanted: list[bool]) -> str:
    ranges: list[str] = []
    for is_wanted, run in groupby(range(len(wanted)), key=wanted.__getitem__):
        if is_wanted:
            codes = list(run)
            ranges.append(rf"\U{codes[0]:08x}-\U{codes[-1]:08x}")
    return "".join(ranges)
