"""The passage of a note that shows why it was found.

FTS5's own `snippet` compares every match with every other: a 70 KB note that repeats one word took it 0.2 s.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice, takewhile

SNIPPET_CHARS = 300

_LEAD = 40  # characters shown before the first match
_SPAN = SNIPPET_CHARS - 2 * _LEAD
_MOST_MATCHES = 500
_ENDING = 3  # letters that word forms mostly differ in
_SHORTEST = 3  # letters that a word is recognised by at least
_GAP = re.compile(r"\s+")


class _Folding(dict[int, int]):
    """Characters in lower case without accents, one for one, so that positions stay what they are."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(unicodedata.normalize("NFD", chr(code).lower())[0])
        return self[code]


_FOLDING = _Folding()


def snippet(value: str, words: Sequence[str]) -> str:
    """Return at most 300 characters of `value`, on one line, from where most of `words` stand close together.

    Word forms are recognised by how they begin, which is coarser than the stems of the search; where none is, the
    text's beginning is returned.
    """
    begin = _word_at(value, max(0, _densest(value, words) - _LEAD))
    passage = value[begin : begin + 2 * SNIPPET_CHARS]
    line = " ".join("".join(char if char.isprintable() else " " for char in passage).split())
    line = f"… {line}" if begin else line
    whole = len(line) <= SNIPPET_CHARS and begin + len(passage) == len(value)
    return line if whole else f"{line[: SNIPPET_CHARS - 2]} …"


def _densest(value: str, words: Sequence[str]) -> int:
    """Return where the passage with the most different words begins; the first of equal ones."""
    stems = "|".join(re.escape(_fold(word)[: max(_SHORTEST, len(word) - _ENDING)]) for word in words)
    found = islice(re.finditer(rf"(?<!\w)(?:{stems})", _fold(value)), _MOST_MATCHES)
    matches = [(match.start(), match.group()) for match in found]

    def distinct(index: int) -> int:
        end = matches[index][0] + _SPAN
        return len({word for _, word in takewhile(lambda match: match[0] < end, islice(matches, index, None))})

    best = max(range(len(matches)), key=distinct, default=None)
    return 0 if best is None else matches[best][0]


def _word_at(value: str, begin: int) -> int:
    """Return the beginning of the next word when `begin` is inside a text."""
    gap = _GAP.search(value, begin, begin + _LEAD) if begin else None
    return gap.end() if gap else begin


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_FOLDING)
