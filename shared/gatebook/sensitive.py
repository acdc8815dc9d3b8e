"""The one matcher of sensitive terms.

A ticket or a draft with a hit is held for a person, so recall comes first: a disguised word (zero-width characters,
look-alike letters, spelled out, leet, HTML entities) is found like a plain one, in quoted replies and signatures too.
Only technical senses of "legal", web addresses with a /legal/ segment and breaches of service levels are let go.
Paraphrases that use none of the words are out of reach.

Every step is linear in the text's length: words are looked up in a dictionary and among its prefixes, and what an
operator configures never becomes a regular expression.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from gatebook.lookalikes import Folded, fold, readings
from gatebook.sensitive_words import (
    INNOCENT_AROUND,
    INSIDE,
    NEUTRAL,
    POSSESSIVE,
    SLIPPABLE,
    TERMS,
    TOGETHER,
    Together,
)

__all__ = ["Hit", "SensitiveTerms"]

_WORD = re.compile(r"[^\W_]+")
_LEET_HINT = re.compile(
    r"[0-9@$\u20ac!|+](?:(?<=[a-z].)[a-z]|(?<=[0-9@$\u20ac])[a-z]|(?<=[a-z][0-9@$\u20ac])|[\W_]{1,3}[a-z](?![^\W_]))"
)
_LEET = str.maketrans("0123456789@$\u20ac!|+", "olzeasgtbgaseilt")
_LINKED = re.compile(r"[^:;,]|[^\w\s:;,]{1,4}(?:\r?\n)?|\r?\n[> ]{1,8}")
_CHUNK_EDGE = re.compile(r"[\s<>\"'()\[\]{}`]")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,15}://|www\.|\.{0,2}/|~/|[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}/", re.IGNORECASE)
_WIDEST_GAP = 12
_SHORTEST_SPELLED = 4
_SHORTEST_SPLIT = 5
_ADDRESS_REACH = 300
_SCRIPTS_WITHOUT_SPACES = "\u0e00"


class Hit(BaseModel):
    """One sensitive term found in a text.

    Attributes:
        term: The configured term, such as "refund", whatever form of it the text has.
        category: "refund", "legal", "data_breach" or one of the operator's.
        start: Offset of its first character in the original text.
        end: Offset behind its last character in the original text.
        how: "word" as configured but for case; "inflection" another form of it, or it inside a longer word;
            "normalised" found only after undoing a disguise; "spaced" spelled with something between its letters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    term: str
    category: str
    start: int
    end: int
    how: Literal["word", "inflection", "normalised", "spaced"]


class _Form(NamedTuple):
    """What one run of letters means; without a category it is harmless and shields what it covers."""

    term: str
    category: str
    breaks: frozenset[int]
    built_in: bool


class _Found(NamedTuple):
    start: int
    end: int
    term: str
    category: str
    spelled: bool = False


class _Located(NamedTuple):
    """A finding by its offsets in the original text."""

    start: int
    end: int
    found: _Found
    view: Folded


_Tokens = list[re.Match[str]]  # the words of a text with their places; cheaper than objects of our own


@dataclass(frozen=True, slots=True)
class _Lexicon:
    forms: Mapping[str, _Form]
    prefixes: frozenset[str]
    inside: tuple[tuple[str, str, str], ...]


class SensitiveTerms:
    """Finds refund, legal and data-breach terms and the operator's own, however they are written.

    Args:
        extra: The operator's additional phrases by category, matched literally and as whole words, whatever their
            case, spacing and disguise. List the inflections wanted. Phrases in scripts without spaces match anywhere.

    Raises:
        ValueError: A phrase has no letter or digit, or a category is empty.
    """

    def __init__(self, extra: Mapping[str, Sequence[str]] | None = None) -> None:
        self._lexicon = _extended(_built_in(), extra) if extra else _built_in()

    def find(self, text: str) -> tuple[Hit, ...]:
        """All hits by position; those of one category do not overlap. Never raises, whatever the text."""
        located = [
            _Located(*view.span(found.start, found.end), found, view)
            for reading in readings(text)
            for view in _views(reading)
            for found in _scan(view.text, self._lexicon)
            if view is reading or _is_leet(reading, view, found)
        ]
        counting = (at for at in located if not (at.found.term == "legal" and _in_address(text, at.start)))
        return tuple(_hit(text, at) for at in _without_overlaps(counting))


def _is_leet(reading: Folded, view: Folded, found: _Found) -> bool:
    """Whether reading it as leet made the difference; at least half must be letters, or numbers become words."""
    plain = reading.text[found.start : found.end]
    if plain == view.text[found.start : found.end]:
        return False
    return 2 * sum(map(str.isalpha, plain)) >= sum(map(str.isalnum, plain))


def _views(reading: Folded) -> Iterator[Folded]:
    yield reading
    if _LEET_HINT.search(reading.text):
        yield reading.with_text(reading.text.translate(_LEET))


def _scan(text: str, lexicon: _Lexicon) -> list[_Found]:
    tokens = list(_WORD.finditer(text))
    words = [token.group() for token in tokens]
    found: list[_Found] = []
    taken: set[int] = set()
    index = 0
    while index < len(tokens):
        match = _longest(tokens, index, text, lexicon) if words[index] in lexicon.prefixes else None
        if match is None:
            index += 1
            continue
        form, after = match
        if form.category:
            covered = tokens[index:after]
            spelled = bool(_inner_gaps(form, covered, text))
            found.append(_Found(covered[0].start(), covered[-1].end(), form.term, form.category, spelled))
            taken.update(range(index, after))
        index = after
    return [*found, *_inside(text, lexicon), *_together(tokens, words, taken)]


def _longest(tokens: _Tokens, first: int, text: str, lexicon: _Lexicon) -> tuple[_Form, int] | None:
    """The longest form that starts with this token, and the index behind its last token."""
    best = None
    joined = ""
    previous_end = tokens[first].start()
    for index in range(first, len(tokens)):
        token = tokens[index]
        joined += token.group()
        if joined not in lexicon.prefixes or token.start() - previous_end > _WIDEST_GAP:
            break
        form = lexicon.forms.get(joined)
        if form and _fits(form, tokens, first, index + 1, text):
            best = form, index + 1
        previous_end = token.end()
    return best


def _fits(form: _Form, tokens: _Tokens, first: int, after: int, text: str) -> bool:
    covered = tokens[first:after]
    if not form.category and form.breaks:
        owned = first > 0 and tokens[first - 1].group() in POSSESSIVE
        return not owned and all(right.start() - left.end() <= 1 for left, right in pairwise(covered))
    gaps = _inner_gaps(form, covered, text)
    if not gaps:
        return True
    letters = sum(len(token.group()) for token in covered)
    if letters == len(covered):
        return letters >= _SHORTEST_SPELLED
    if letters < _SHORTEST_SPLIT or not all(map(_LINKED.fullmatch, gaps)):
        return False
    # "a part" is no operator's "apart"; "re fund" is a refund.
    return form.built_in or len(gaps) > 1 or not gaps[0].isspace()


def _inner_gaps(form: _Form, covered: _Tokens, text: str) -> list[str]:
    """What stands between the pieces where the form has no word boundary."""
    gaps: list[str] = []
    length = 0
    for left, right in pairwise(covered):
        length += len(left.group())
        if length not in form.breaks:
            gaps.append(text[left.end() : right.start()])
    return gaps


def _inside(text: str, lexicon: _Lexicon) -> Iterator[_Found]:
    for stem, term, category in lexicon.inside:
        start = text.find(stem)
        while start >= 0:
            if not any(_is_around(text, start, stem, word) for word in INNOCENT_AROUND):
                yield _Found(start, start + len(stem), term, category)
            start = text.find(stem, start + len(stem))


def _is_around(text: str, start: int, stem: str, word: str) -> bool:
    offset = word.find(stem)
    return offset >= 0 and start >= offset and text.startswith(word, start - offset)


def _together(tokens: _Tokens, words: list[str], taken: set[int]) -> Iterator[_Found]:
    for index, word in enumerate(words):
        if word in _BY_ANCHOR and index not in taken:
            for rule in _BY_ANCHOR[word]:
                chosen = _neighbours(rule, words, index)
                if chosen:
                    yield _Found(tokens[min(chosen)].start(), tokens[max(chosen)].end(), rule.term, rule.category)


def _neighbours(rule: Together, words: list[str], anchor: int) -> list[int]:
    """The indexes of the anchor and of the nearest word of each other group; empty when one is missing."""
    if not rule.unless_near.isdisjoint(words[max(0, anchor - 2) : anchor + 3]):
        return []
    around = range(max(0, anchor - rule.within), min(len(words), anchor + rule.within + 1))
    nearest_first = sorted(around, key=lambda index: abs(index - anchor))
    chosen = [next((index for index in nearest_first if words[index] in group), None) for group in rule.others]
    found = [index for index in chosen if index is not None]
    return [anchor, *found] if len(found) == len(chosen) else []


def _hit(text: str, at: _Located) -> Hit:
    start, end, found, view = at
    shown = " ".join(text[start:end].casefold().split())
    how: Literal["word", "inflection", "normalised", "spaced"] = "normalised"
    if found.spelled:
        how = "spaced"
    elif shown == found.term.casefold():
        how = "word"
    elif shown == " ".join(view.text[found.start : found.end].split()) and shown.replace(" ", "").isalpha():
        how = "inflection"
    return Hit(term=found.term, category=found.category, start=start, end=end, how=how)


def _in_address(text: str, start: int) -> bool:
    """Whether the word is part of a web address or a path."""
    before = text[max(0, start - _ADDRESS_REACH) : start]
    return _ADDRESS.match(_CHUNK_EDGE.split(before)[-1]) is not None


def _without_overlaps(located: Iterable[_Located]) -> Iterator[_Located]:
    """By position; where two of a category overlap, the earlier and longer one."""
    reached: dict[str, int] = {}
    for at in sorted(located, key=lambda at: (at.start, -at.end)):
        if at.start >= reached.get(at.found.category, 0):
            reached[at.found.category] = at.end
            yield at


def _phrase(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(fold(text).text))


def _form(words: Sequence[str], term: str, category: str, *, built_in: bool) -> tuple[str, _Form]:
    ends = list(accumulate(map(len, words)))
    return "".join(words), _Form(term, category, frozenset(ends[:-1]), built_in)


def _slips(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The phrase with one slip of the keyboard: two letters swapped, one doubled, or i and l confused."""
    for index, word in enumerate(words):
        for at in range(len(word)):
            swapped = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :] if at else word
            confused = word[:at] + {"i": "l", "l": "i"}.get(word[at], word[at]) + word[at + 1 :]
            for slip in (swapped, word[: at + 1] + word[at:], confused):
                yield (*words[:index], slip, *words[index + 1 :])


def _vocabulary() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Category, term and words of each built-in form."""
    for category, lines in TERMS.items():
        for entry in "; ".join(lines).split("; "):
            term, *_ = forms = entry.split(", ")
            for form in forms:
                yield category, term, _phrase(form)


@cache
def _built_in() -> _Lexicon:
    forms = dict(_form(_phrase(text), text, "", built_in=True) for text in NEUTRAL)
    slips: dict[str, _Form] = {}
    for category, term, words in _vocabulary():
        glued, form = _form(words, term, category, built_in=True)
        known = forms.get(glued, form)  # "charge back" is also a form of "chargeback"
        forms[glued] = known._replace(breaks=known.breaks | form.breaks)
        misread = [[word.replace("i", "l") for word in words], *(_slips(words) if term in SLIPPABLE else ())]
        slips.update(_form(slip, term, category, built_in=True) for slip in misread)
    inside = tuple((fold(stem).text, term, group) for group, stems in INSIDE.items() for stem, term in stems.items())
    return _Lexicon(slips | forms, _prefixes(slips | forms), inside)


def _extended(lexicon: _Lexicon, extra: Mapping[str, Sequence[str]]) -> _Lexicon:
    forms = dict(lexicon.forms)
    inside = list(lexicon.inside)
    for category, phrases in extra.items():
        for phrase in phrases:
            words = _phrase(phrase)
            if not (category and words):
                raise ValueError(f"not a sensitive phrase with a category: {category!r}: {phrase!r}")
            forms.update([_form(words, phrase, category, built_in=False)])
            if max(phrase) >= _SCRIPTS_WITHOUT_SPACES:
                inside.append((fold(phrase).text, phrase, category))
    return _Lexicon(forms, _prefixes(forms), tuple(inside))


def _prefixes(forms: Iterable[str]) -> frozenset[str]:
    return frozenset(form[:end] for form in forms for end in range(1, len(form) + 1))


_BY_ANCHOR = {
    word: tuple(rule for rule in TOGETHER if word in rule.anchor) for rule in TOGETHER for word in rule.anchor
}
