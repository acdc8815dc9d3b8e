"""Finds words and domain names that are written in other letters than a reader takes them for.

A word is disguised when one of its scripts is there by look-alikes alone (a Cyrillic "a" in "paypal"), or when all of
it looks Latin in a text that is otherwise not written in that script. Units, names of genes and words of Japanese mix
scripts honestly. A domain name is judged more strictly: no mixture, no punycode, nothing that reads as another name.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from gatebook.lookalikes import fold

__all__ = ["Disguise", "disguises"]

_SCRIPTS = (
    (0x0041, "Latin"), (0x0250, "phonetic"), (0x02B0, ""), (0x0370, "Greek"), (0x0400, "Cyrillic"),
    (0x0530, "Armenian"), (0x0590, ""), (0x13A0, "Cherokee"), (0x1400, ""), (0x1C80, "Cyrillic"),
    (0x1C90, ""), (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, ""), (0x212A, "letter-like"),
    (0x212C, ""), (0x2160, "numeral"), (0x2189, ""), (0x2C60, "Latin"), (0x2C80, "Coptic"),
    (0x2D00, ""), (0x2DE0, "Cyrillic"), (0x2E00, ""), (0xA4D0, "Lisu"), (0xA500, ""),
    (0xA640, "Cyrillic"), (0xA6A0, ""), (0xA720, "Latin"), (0xA800, ""), (0xAB70, "Cherokee"),
    (0xABC0, ""),
)  # fmt: skip
"""From which character on which script stands; empty where none has look-alikes in another."""
_STARTS = [start for start, _ in _SCRIPTS]
_SIGNS = frozenset({"phonetic", "numeral", "letter-like"})
"""Not scripts of their own: odd only within a word of ordinary letters."""

# Closer than what gatebook.lookalikes folds for the search of words: only what an attentive reader takes for the other.
_TWINS = {
    "Cyrillic": frozenset("аеікорсухјѕһԁԛԝӏѵүьАВЕКМНОРСТУХІЈЅҺԌԚԜӀҮѴЬ"),
    "Greek": frozenset("αγηικνορυχϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ"),
    "phonetic": frozenset("ɑɡɩʋ"),  # noqa: RUF001
}
_LATIN_TWINS = {
    "Cyrillic": frozenset("abcdehijklopqsvwxyABCEHIJKMOPSTXY"),
    "Greek": frozenset("aiknopuvxyABEHIKMNOPTXYZ"),
}
_UNSEEN = r"\xad\u200b-\u200f\u2060-\u2064\ufeff"
_DOTS = r".\u2024\u3002\uff0e\uff61"
_FALSE = r"\u2024\u2044\u2215\u29f8\uff0e\uff0f\uff61"
_CHAIN = re.compile(rf"[\w\-\u0300-\u036f\u24b6-\u24e9{_DOTS}{_FALSE}{_UNSEEN}]+")
_WORD = re.compile(rf"(?:[^\W\d_\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff]|[0-9\u0300-\u036f{_UNSEEN}])+")
_NOT_READ = re.compile(rf"[\u0300-\u036f{_UNSEEN}]+")
_NOT_SHOWN = re.compile(r"[^\w\-]+")
_SEPARATOR = re.compile(rf"[{_DOTS}{_FALSE}]")
_ENDING = re.compile(r"(?!\d)[a-zA-Z0-9-]{2,63}")
_DOTTED = re.compile(rf"\w[{_DOTS}][^\W\d]")
_FALSE_SEPARATOR = re.compile(rf"[{_FALSE}]")
_TOLD_APART_BY_CASE = re.compile(r"[A-Z0-9]{2,}[α-ωа-яё]{1,4}[A-Z0-9]*")  # noqa: RUF001
_LONGEST_LABEL = 63
"""Characters, by the rules of the DNS."""
_SHORTEST = 3
"""Letters; below are units and formulas."""


class Disguise(NamedTuple):
    """A word or name that is not what it looks like, and where it stands."""

    start: int
    end: int
    code: Literal["mixed-scripts", "domain"]
    title: str


def disguises(text: str) -> Iterator[Disguise]:
    """Finds disguised words and domain names in the order of the text; the work is linear in its length."""
    if text.isascii() and "xn--" not in text.lower():
        return
    written = _scripts_beyond_doubt(text)
    for chain in _CHAIN.finditer(text):
        if chain.group().isascii() and "xn--" not in chain.group().lower():
            continue
        if title := _disguised_name(chain.group()):
            yield Disguise(chain.start(), chain.end(), "domain", title)
        else:
            yield from _disguised_words(text, chain, written)


def _disguised_words(text: str, chain: re.Match[str], written: set[str]) -> Iterator[Disguise]:
    for word in _WORD.finditer(text, chain.start(), chain.end()):
        if not word.group().isascii() and (title := _disguised_word(_NOT_READ.sub("", word.group()), written)):
            yield Disguise(word.start(), word.end(), "mixed-scripts", title)


def _disguised_word(word: str, written: set[str]) -> str:
    scripts = _scripts_of(word)
    if sum(map(len, scripts.values())) < _SHORTEST or _TOLD_APART_BY_CASE.fullmatch(word):
        return ""
    if len(scripts) > 1:
        borrowed = any(_is_borrowed(script, scripts) for script in scripts)
        return f"mixes {_listed(scripts)} letters" if borrowed else ""
    (script,) = scripts
    alike = script not in {"Latin", *_SIGNS, *written} and all(_is_twin(letter, script) for letter in scripts[script])
    return f"{script} letters, reads as “{fold(word).text}”" if alike else ""


def _is_borrowed(script: str, scripts: dict[str, str]) -> bool:
    """Whether the letters of one script are in a word only because they look like the others'."""
    letters = scripts[script]
    if script == "Latin":
        others = _LATIN_TWINS.keys() & scripts.keys()
        return any(all(letter in _LATIN_TWINS[other] for letter in letters) for other in others)
    if script in _SIGNS and len(scripts.get("Latin", "")) < _SHORTEST:
        return False
    return all(_is_twin(letter, script) for letter in letters)


def _disguised_name(chain: str) -> str:
    """What is wrong with a domain name; empty when nothing is or it is none."""
    name = _NOT_READ.sub("", chain).strip("-.")
    labels = _SEPARATOR.split(name)
    if len(labels) == 1:
        return ""
    for label in labels:
        if label.lower().startswith("xn--"):
            return f"punycode, reads as “{_decoded(label)}”"
    read = [_reading(label) for label in labels]
    if not _ENDING.fullmatch(read[-1]):
        return ""
    plain = all(map(str.isascii, read))
    if plain and _FALSE_SEPARATOR.search(name):
        return "a dot or slash that is none" if _DOTTED.search(name) else ""
    return _disguised_label(labels, read) if plain or labels[-1].isascii() else ""


def _disguised_label(labels: list[str], read: list[str]) -> str:
    for label in labels:
        scripts = _scripts_of(label)
        if len(scripts) > 1:
            return f"a name that mixes {_listed(scripts)} letters"
    if any(seen.isascii() and not label.isascii() for label, seen in zip(labels, read, strict=True)):
        return f"a name that reads as “{'.'.join(_NOT_SHOWN.sub('', seen) for seen in read)}”"
    return ""


def _decoded(label: str) -> str:
    if len(label) > _LONGEST_LABEL:
        return "\ufffd"
    try:
        return _NOT_SHOWN.sub("\ufffd", label[4:].encode("ascii").decode("punycode"))
    except UnicodeError:
        return "\ufffd"


def _reading(label: str) -> str:
    """A label with every letter replaced by the plain one it cannot be told from."""
    return "".join(map(_read, label))


@lru_cache(maxsize=4096)
def _read(character: str) -> str:
    if character.isascii():
        return character
    compatible = unicodedata.normalize("NFKC", character)
    if len(compatible) == 1 and compatible.isascii() and compatible.isalnum():
        return compatible.lower()
    script = _script_of(character)
    if character == "\u0131" or (script not in {"Latin", ""} and _is_twin(character, script)):
        return fold(character).text
    return character


def _scripts_beyond_doubt(text: str) -> set[str]:
    """The scripts of which a text has letters that look like no Latin one."""
    return {script for letter in set(text) if (script := _script_of(letter)) and not _is_twin(letter, script)}


def _scripts_of(word: str) -> dict[str, str]:
    scripts: dict[str, list[str]] = {}
    for letter in word:
        if script := _script_of(letter):
            scripts.setdefault(script, []).append(letter)
    return {script: "".join(letters) for script, letters in scripts.items()}


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """The script of a letter, as far as scripts have look-alikes in each other; empty for all others."""
    if not letter.isalpha() and not "\u2160" <= letter <= "\u2188":
        return ""
    return _SCRIPTS[bisect_right(_STARTS, ord(letter)) - 1][1]


@lru_cache(maxsize=4096)
def _is_twin(letter: str, script: str) -> bool:
    if script not in _TWINS:
        return fold(letter).text.isascii()
    return unicodedata.normalize("NFD", letter)[0] in _TWINS[script]


def _listed(scripts: dict[str, str]) -> str:
    return " and ".join(sorted(scripts))
