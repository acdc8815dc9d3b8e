"""Makes visible what a text hides, for the person who approves it.

`render` cuts a text into pieces: characters that nobody sees become marks like ⟦U+202E⟧, padding is folded with a
count, words and domain names in borrowed letters are flagged. Honest text of any language comes out as it is and raises
no notice. Pieces are plain text: whatever displays them escapes them, and no markup is ever interpreted. The brackets
of the marks are themselves marked when a text holds them, so that no text can pass for a mark. A phrase that lies in
honest letters is for the reader to judge.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple

from gatebook.disguises import Disguise, disguises
from gatebook.unseen import BLANK, ORDINARY, Unseen, combining_marks, kind_of, name_of, unseen_characters

__all__ = ["Code", "Notice", "Piece", "Rendered", "render"]

Code = Unseen | Literal["padding", "stacked", "mixed-scripts", "domain", "imitation"]

SENTENCES: dict[Code, str] = {
    "direction": "Characters that change the order of what is read are spelled out; the text stands in its true order.",
    "invisible": "Characters that cannot be seen are spelled out.",
    "control": "Control characters are spelled out.",
    "unknown": "Characters without a meaning of their own are spelled out.",
    "padding": "So many blanks or empty lines that what follows would be out of sight; they are folded.",
    "stacked": "Marks piled on one letter are folded.",
    "mixed-scripts": "Words are written with letters of another alphabet that look alike.",
    "domain": "A domain name is not the one it looks like.",
    "imitation": "The text imitates the marks of this page; its own brackets are spelled out.",
}

_MOST_BLANKS = 40
_TAB = 4
"""Blanks that a tab counts for."""
_HIDING_BLANKS = 120
_HIDING_LINES = 20
"""More than these push what follows out of sight. Logs and tables of honest people have fewer, and are only folded."""
_MOST_MARKS_IN_A_ROW = 16
_PLAIN = r"!-~\xc0-\u02ff\u0391-\u03a1\u03a3-\u03c9\u0400-\u0481\u048a-\u052f\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3"
"""Nothing to look at: most of any text, passed over in one go."""
_BORROWED_MARKS = r"\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Marks of no script of their own, of which a letter has two at most; those of a script may be five."""
_ISOLATES = frozenset("\u202a\u202b\u202c\u2066\u2067\u2068\u2069")
_IMPLICIT = frozenset("\u061c\u200e\u200f")
_NOTHING_ODD = re.compile(rf"(?:[{_PLAIN}]++|[ \t]{{1,10}}+(?![{BLANK}])|\r?\n(?![{BLANK}]*+\r?\n))*+")
"""Most texts: they need no look at Unicode's tables."""
_AT_HOME = _ISOLATES | _IMPLICIT
_RIGHT_TO_LEFT = re.compile(r"[\u05d0-\u05f2\u0620-\u064a\u066e-\u06d3\u06fa-\u08c9\ufb1d-\ufdfc\ufe70-\ufefc]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a rendered text.

    Attributes:
        text: What to show, to be escaped like any text.
        kind: `text` as it was written, `flag` as it was written but not what it looks like, `mark` for one character
            that cannot be seen, `fold` for many.
        title: What a mark or flag is about, in words.
        hidden: The characters that a mark or fold stands for.
    """

    text: str
    kind: Literal["text", "mark", "fold", "flag"] = "text"
    title: str = ""
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know of a text before deciding on it."""

    code: Code
    sentence: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text in pieces, and what is odd about it; honest text has no notices."""

    pieces: tuple[Piece, ...]
    notices: tuple[Notice, ...] = ()

    def plain(self) -> str:
        """The text for a terminal: marks and folds in white brackets, and behind each flagged word what it is."""
        return "".join(f"{piece.text}⟦{piece.title}⟧" if piece.kind == "flag" else piece.text for piece in self.pieces)


class _Cut(NamedTuple):
    """A stretch of the text and the piece in its place; without a code it is nothing to warn about."""

    start: int
    end: int
    piece: Piece
    code: Code | None


def render(text: str) -> Rendered:
    """Makes visible what a text hides; any `str` will do and the work is linear in its length."""
    cuts, flags = list(_cuts(text)), list(disguises(text))
    found = {*(cut.code for cut in cuts), *(flag.code for flag in flags)}
    notices = tuple(Notice(code, sentence) for code, sentence in SENTENCES.items() if code in found)
    return Rendered(tuple(_pieces(text, cuts=cuts, flags=flags)), notices)


@cache
def _tokens() -> re.Pattern[str]:
    """What needs a look; made at the first use because it asks Unicode about every character."""
    unseen, marks = unseen_characters(), combining_marks()
    return re.compile(
        rf"(?P<plain>(?:[{_PLAIN}]++| (?![{BLANK}]))++)"
        rf"|(?P<ordinary>{ORDINARY})"
        rf"|(?P<lines>\r?\n(?:[{BLANK}]*+\r?\n){{4,}}+)"
        rf"|(?P<blanks>[{BLANK}]{{11,}}+)"
        rf"|(?P<stacked>[{_BORROWED_MARKS}]{{3,}}+[{marks}]*+|[{marks}]{{6,}}+)"
        r"|(?P<bracket>[⟦⟧〚〛])"
        rf"|(?P<unseen>(?:[{unseen}]|\r(?!\n))++)"
    )


def _cuts(text: str) -> Iterator[_Cut]:
    if _NOTHING_ODD.fullmatch(text):
        return
    mirrored = _MirroredLines(text)
    for match in _tokens().finditer(text):
        match match.lastgroup:
            case "lines":
                yield _folded_lines(match)
            case "blanks":
                yield from _folded_blanks(match)
            case "stacked":
                yield _folded_marks(match)
            case "bracket":
                yield _mark(match.start(), match.group(), "imitation")
            case "unseen":
                yield from _marks(match, mirrored)
            case _:
                pass


def _folded_lines(match: re.Match[str]) -> _Cut:
    start = match.start() + match.group().index("\n") + 1
    end = match.end() - (2 if match.group().endswith("\r\n") else 1)
    lines = match.group().count("\n") - 1
    code = _padding(match) if lines > _HIDING_LINES else None
    return _fold(match.string, start, end, title=f"{lines} blank lines", code=code)


def _folded_blanks(match: re.Match[str]) -> Iterator[_Cut]:
    blanks = len(match.group()) + match.group().count("\t") * (_TAB - 1)
    if blanks > _MOST_BLANKS:
        title = f"{len(match.group())} blanks"
        code = _padding(match) if blanks > _HIDING_BLANKS else None
        yield _fold(match.string, match.start(), match.end(), title=title, code=code)


def _padding(match: re.Match[str]) -> Code | None:
    """Nothing hides behind the blanks at the end of a line, or the lines at the end of a text."""
    behind = match.string[match.end() : match.end() + 1]
    return "padding" if behind.strip("\r\n") else None


def _folded_marks(match: re.Match[str]) -> _Cut:
    start = match.start() + 2
    return _fold(match.string, start, match.end(), title=f"{match.end() - start} more marks", code="stacked")


def _fold(text: str, start: int, end: int, *, title: str, code: Code | None) -> _Cut:
    return _Cut(start, end, Piece(f"⟦{title}⟧", "fold", title, text[start:end]), code)


def _marks(match: re.Match[str], mirrored: "_MirroredLines") -> Iterator[_Cut]:
    """Spells out unseen characters; of many in a row the first ones."""
    start, end = match.start(), min(match.end(), match.start() + _MOST_MARKS_IN_A_ROW)
    for index in range(start, end):
        character = match.string[index]
        at_home = character in _AT_HOME and mirrored.holds(index)
        if not (at_home and character in _IMPLICIT):
            yield _mark(index, character, None if at_home else kind_of(character) or "control")
    if end < match.end():
        title = f"{match.end() - end} more unseen characters"
        yield _fold(match.string, end, match.end(), title=title, code="invisible")


def _mark(index: int, character: str, code: Code | None) -> _Cut:
    return _Cut(index, index + 1, _mark_of(character), code)


@lru_cache(maxsize=1024)
def _mark_of(character: str) -> Piece:
    return Piece(f"⟦U+{ord(character):04X}⟧", "mark", name_of(character), character)


class _MirroredLines:
    """The lines with letters that are written from right to left.

    There the marks for direction are at home: they do nothing that such a letter does not do. Isolates and embeddings
    could carry whole words elsewhere and are spelled out all the same, without a notice.
    """

    def __init__(self, text: str) -> None:
        lines = text.split("\n") if _RIGHT_TO_LEFT.search(text) else []
        self._mirrored = [bool(_RIGHT_TO_LEFT.search(line)) for line in lines]
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]

    def holds(self, index: int) -> bool:
        return bool(self._mirrored) and self._mirrored[bisect_right(self._starts, index) - 1]


def _pieces(text: str, *, cuts: Sequence[_Cut], flags: Sequence[Disguise]) -> Iterator[Piece]:
    upcoming = list(reversed(flags))
    position = 0
    for cut in cuts:
        yield from _as_written(text, position, cut.start, upcoming)
        yield cut.piece
        position = cut.end
    yield from _as_written(text, position, len(text), upcoming)


def _as_written(text: str, start: int, end: int, upcoming: list[Disguise]) -> Iterator[Piece]:
    """Gives the text of a stretch, with what is flagged in it; takes from `upcoming` what is behind."""
    while start < end:
        while upcoming and upcoming[-1].end <= start:
            upcoming.pop()
        flag = upcoming[-1] if upcoming and upcoming[-1].start < end else Disguise(end, end, "domain", "")
        if start < flag.start:
            yield Piece(text[start : flag.start])
            start = flag.start
        if start < end:
            yield Piece(text[start : min(end, flag.end)], "flag", flag.title)
            start = min(end, flag.end)
