r"""Reads text the way an eye does, so that a word is found however it was disguised.

`fold` decodes HTML entities and percent escapes, decomposes compatibility forms (full-width, mathematical, circled),
drops what has no shape of its own (zero-width, bidirectional, soft hyphen, combining marks), replaces letters of other
scripts by the Latin ones they look like and lowers the case. It keeps the way back: `Folded.span` gives the offsets in
the text it was made from. `readings` also sees through HTML tags and repeated letters.

Text set right to left by an override character and look-alikes of several letters ("rn" for "m") are not undone.
"""

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate

__all__ = ["ENTITY", "Folded", "decode_entity", "fold", "readings"]

# Digits are bounded because html.unescape raises ValueError above 4,300 of them.
_ENTITY = r"&(?:amp;){0,3}(?:#[xX][0-9a-fA-F]{1,6};?|#[0-9]{1,7};?|[a-zA-Z][a-zA-Z0-9]{1,31};)"
_TAG = r"</?[a-zA-Z!][^<>]*>"
_REPEATED = r"([a-vx-zA-VX-Z])\1\1+"  # not w: it stands in every web address
_ESCAPED = r"%[2-7][0-9a-fA-F]"  # as in web addresses
_PLAIN_RUN = r"[\t-\r -$'-;=-~]+"

ENTITY = re.compile(_ENTITY)
"""One HTML entity, also one that was escaped several times (`&amp;#117;`)."""

# What is folded as one: whole runs of plain text, unless a repetition may hide in them.
_UNITS = re.compile(rf"{_ENTITY}|{_ESCAPED}|{_PLAIN_RUN}|.", re.DOTALL)
_UNITS_UNTAGGED = re.compile(rf"{_TAG}|{_ENTITY}|{_ESCAPED}|{_PLAIN_RUN}|.", re.DOTALL)
_UNITS_SQUEEZED = re.compile(rf"{_TAG}|{_ENTITY}|{_ESCAPED}|{_REPEATED}|.", re.DOTALL)
_MARKUP = re.compile(_TAG)
_REPETITION = re.compile(_REPEATED)
_NOT_PLAIN = re.compile(r"[^\t-\r -$'-~]")
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|tt|u|var|wbr|!)\b",
    re.IGNORECASE,
)
_LATIN_NAME = re.compile(
    r"(?:NEGATIVE (?:SQUARED|CIRCLED) )?LATIN (?:SMALL LETTER|CAPITAL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .+)?"
    r"|REGIONAL INDICATOR SYMBOL LETTER ([A-Z])",
)

# Cyrillic, Greek, Armenian, Cherokee, Lisu and phonetic letters by the Latin letter a reader takes them for. Letters
# whose Unicode name says it ("LATIN SMALL LETTER O WITH STROKE", "LATIN LETTER SMALL CAPITAL R") are read by name.
_LOOKALIKES = {
    "a": "\u0430\u0410\u03b1\u0391\u0251\u0250\u2200\ua4ee\u13aa\u0414",
    "b": "\u0432\u0412\u044c\u042c\u0431\u0411\u03b2\u0392\u0184\u0185\ua4d0\u13f4",
    "c": "\u0441\u0421\u03f2\u03f9\u2ca5\u2ca4\ua4da\u13df\u00a2",
    "d": "\u0501\u0500\u0434\u03b4\u00f0\u00d0\ua4d3\u13a0\u13e7",
    "e": "\u0435\u0415\u0454\u0404\u044d\u042d\u0437\u0417\u03b5\u0395\u025b\u0190\u0259\u01dd\u018e\u212e\ua4f0\u13ac",
    "f": "\u0493\u0492\u03dd\u03dc\ua4dd",
    "g": "\u0261\u050d\u050c\u0581\ua4d6\u13c0",
    "h": "\u04bb\u04ba\u043d\u041d\u045b\u0397\u0570\ua4e7\u13bb\u13c2",
    "i": "\u0456\u0406\u03b9\u0399\u0131\u0269\ua4f2\u13a5\u00a1",
    "j": "\u0458\u0408\u03f3\ua4d9\u13ab",
    "k": "\u043a\u041a\u03ba\u039a\ua4d7\u13e6",
    "l": "\u04cf\u04c0\u0140\u013f\u01c0\u2223\u05c0\ua4e1\u13de",
    "m": "\u043c\u041c\u039c\ua4df\u13b7",
    "n": "\u043f\u041f\u0418\u03b7\u039d\u0578\u057c\u014b\u014a\ua4e0",
    "o": "\u043e\u041e\u03bf\u039f\u03c3\u0585\u0555\u05e1\u2c9f\u2c9e\ua4f3",
    "p": "\u0440\u0420\u03c1\u03a1\u2ca3\u2ca2\u00fe\u00de\u01bf\ua4d1\u13e2",
    "q": "\u051b\u051a\u0566",
    "r": "\u0433\u0413\u044f\u042f\u0393\u1d26\ua4e3\u13a1\u13d2",
    "s": "\u0455\u0405\u01bd\u03c2\u054f\ua4e2\u13da\u13d5",
    "t": "\u0442\u0422\u03c4\u03a4\u2020\ua4d4\u13a2",
    "u": "\u0446\u0426\u0438\u03c5\u03bc\u028a\u057d\u054d\u222a\ua4f4",
    "v": "\u0475\u0474\u03bd\u2228\ua4e6\u13d9",
    "w": "\u0461\u0460\u051d\u051c\u0448\u0428\u03c9\u0561\ua4ea\u13b3",
    "x": "\u0445\u0425\u03c7\u03a7\u00d7\ua4eb",
    "y": "\u0443\u0423\u04af\u04ae\u03b3\u03a5\ua4ec\u13a9",
    "z": "\u03b6\u0396\ua4dc\u13c3",
}
_LATIN_FOR = {odd: latin for latin, odds in _LOOKALIKES.items() for odd in odds}
_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Me", "Mn"})
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u17b4\u17b5"  # letters by category, nothing to see


class Folded:
    """A folded text and the way back to the original.

    Attributes:
        text: The folded text, lower case.
    """

    def __init__(self, text: str, *, sources: Sequence[str] = (), folds: Sequence[str] = ()) -> None:
        self.text = text
        self._sources = sources
        self._folds = folds

    @cached_property
    def _fold_ends(self) -> list[int]:
        return list(accumulate(map(len, self._folds)))

    @cached_property
    def _source_ends(self) -> list[int]:
        return list(accumulate(map(len, self._sources)))

    def with_text(self, text: str) -> "Folded":
        """The same mapping for another text of the same length."""
        return Folded(text, sources=self._sources, folds=self._folds)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The offsets in the original text of `text[start:end]`, which must not be empty."""
        return (self._source(start)[0], self._source(end - 1)[1]) if self._sources else (start, end)

    def _source(self, index: int) -> tuple[int, int]:
        """The offsets in the original text of one folded character."""
        unit = bisect_right(self._fold_ends, index)
        source, folded = self._sources[unit], self._folds[unit]
        start = self._source_ends[unit] - len(source)
        if len(source) != len(folded):
            return start, start + len(source)
        start += index - (self._fold_ends[unit] - len(folded))
        return start, start + 1


def fold(text: str) -> Folded:
    """Folds a text as it stands, tags and all; the work is linear in its length and any `str` will do."""
    return _folded(text, _UNITS) if _NOT_PLAIN.search(text) else Folded(text.lower())


def readings(text: str) -> tuple[Folded, ...]:
    """The folded text and, where that differs, once more without HTML tags and repeated letters.

    In the second, tags within a line join what they split, others become a space, and a letter written three times
    or more counts once.
    """
    repeated = _REPETITION.search(text)
    if not (repeated or _MARKUP.search(text)):
        return (fold(text),)
    return fold(text), _folded(text, _UNITS_SQUEEZED if repeated else _UNITS_UNTAGGED)


def decode_entity(entity: str) -> str:
    """The character of one match of `ENTITY`, or the entity itself when there is no such character."""
    text = html.unescape(entity)
    while text != entity and ENTITY.fullmatch(text):
        entity, text = text, html.unescape(text)
    return text


def _folded(text: str, units: re.Pattern[str]) -> Folded:
    sources = [match.group() for match in units.finditer(text)]
    folds = list(map(_fold_squeezed if units is _UNITS_SQUEEZED else _fold_unit, sources))
    return Folded("".join(folds), sources=sources, folds=folds)


def _fold_squeezed(unit: str) -> str:
    return _fold_unit(unit[0] if len(unit) > 1 and unit[0].isalpha() else unit)  # no runs here: it is a repetition


def _fold_unit(unit: str) -> str:
    return _fold_character(unit) if len(unit) == 1 else _fold_longer(unit)


def _fold_longer(unit: str) -> str:
    if unit.startswith("&"):
        return "".join(map(_fold_character, decode_entity(unit)))
    if unit.startswith("%"):
        return chr(int(unit[1:], 16)).lower()
    if unit.startswith("<"):
        return "" if _INLINE_TAG.match(unit) else " "
    return unit.lower()


@lru_cache(maxsize=8192)
def _fold_character(character: str) -> str:
    if "\u3400" <= character < "\ua000" or "\uac00" <= character < "\ud7a4":
        return character  # Han and Hangul: nothing to fold
    parts = unicodedata.normalize("NFKD", _LATIN_FOR.get(character, character))
    return "".join(map(_fold_part, parts))


def _fold_part(part: str) -> str:
    if part.isspace():
        return part
    if part in _BLANK_LETTERS or unicodedata.category(part) in _SHAPELESS:
        return ""
    return _LATIN_FOR.get(part) or _latin_by_name(part) or "".join(_LATIN_FOR.get(c, c) for c in part.casefold())


def _latin_by_name(character: str) -> str:
    if "\u2c80" <= character < "\ua700" or "\ua800" <= character < "\U0001f100" or character > "\U0001f200":
        return ""  # no such names there; a look-up costs more than the rest
    match = _LATIN_NAME.fullmatch(unicodedata.name(character, ""))
    return (match[1] or match[2]).lower() if match else ""
