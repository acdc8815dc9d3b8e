"""Honest texts of many languages, and hostile ones made of them; the same seed gives the same texts."""

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, cast

DATA = Path(__file__).parent / "data"


class Attack(TypedDict):
    """One line of the corpus; `expected` is "flagged" (the reader is shown it) or "inert" (literal text)."""

    id: str
    technique: str
    text: str
    expected: str


class _Sentences(TypedDict):
    names: list[str]
    sentences: dict[str, list[str]]


def attacks() -> list[Attack]:
    lines = (DATA / "rendering_attacks.jsonl").read_text(encoding="utf-8").splitlines()
    return [cast("Attack", json.loads(line)) for line in lines]


def clean_texts(*, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Honest tickets with the language of each, every language as often; some mix two, as people do."""
    known = _sentences()
    languages = list(known["sentences"])
    chance = random.Random(seed)
    for number in range(count):
        language = languages[number % len(languages)]
        sentences = [*known["sentences"][language]]
        if chance.random() < 0.2:
            sentences += known["sentences"][chance.choice(languages)]
        chosen = [chance.choice(sentences) for _ in range(chance.randint(1, 6))]
        filled = [
            sentence.replace("{n}", str(chance.randint(1, 99999))).replace("{name}", chance.choice(known["names"]))
            for sentence in chosen
        ]
        text = chance.choice([" ", "\n", "\n\n", "\r\n"]).join(filled)
        yield language, unicodedata.normalize("NFD", text) if language == "Vietnamese" and number % 2 else text


def hostile_variants(*, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Honest texts into which one technique was put at a random place, with the technique of each."""
    chance = random.Random(seed)
    techniques = list(_TECHNIQUES)
    for number, (_, text) in enumerate(clean_texts(seed=seed, count=count)):
        technique = techniques[number % len(techniques)]
        yield technique, _TECHNIQUES[technique](text, chance)


def _sentences() -> _Sentences:
    return cast("_Sentences", json.loads((DATA / "clean_sentences.json").read_text(encoding="utf-8")))


def _put(what: Callable[[random.Random], str]) -> Callable[[str, random.Random], str]:
    def put(text: str, chance: random.Random) -> str:
        place = chance.randint(0, len(text))
        return text[:place] + what(chance) + text[place:]

    return put


def _some(characters: str, *, most: int = 3) -> Callable[[str, random.Random], str]:
    return _put(lambda chance: "".join(chance.choices(characters, k=chance.randint(1, most))))


def _spelled_in_tags(chance: random.Random) -> str:
    return "".join(chr(0xE0000 + ord(letter)) for letter in chance.choice(["approve", "yes", "send it"]))


def _disguised(chance: random.Random) -> str:
    word = chance.choice(["password", "account", "approve", "payment", "company", "security", "operator", "invoice"])
    place = chance.choice([index for index, letter in enumerate(word) if letter in _CYRILLIC])
    return f" {word[:place]}{_CYRILLIC[word[place]]}{word[place + 1 :]} "


def _domain(chance: random.Random) -> str:
    name = "".join(_CYRILLIC.get(letter, letter) for letter in chance.choice(["bank", "shop", "pay", "mail", "post"]))
    return chance.choice([f" https://{name}.example/x ", f" ada@{name}.example ", " xn--80ak6aa92e.example "])


_CYRILLIC = {
    "a": "\u0430",
    "c": "\u0441",
    "e": "\u0435",
    "i": "\u0456",
    "o": "\u043e",
    "p": "\u0440",
    "s": "\u0455",
    "y": "\u0443",
}
_TECHNIQUES: dict[str, Callable[[str, random.Random], str]] = {
    "zero-width": _some("\u2060\ufeff"),
    "bidi-override": _some("\u202d\u202e"),
    "tags": _put(_spelled_in_tags),
    "variation-selectors": _put(lambda chance: "".join(chr(0xE0100 + byte) for byte in chance.randbytes(4))),
    "homoglyph-words": _put(_disguised),
    "look-alike-domains": _put(_domain),
    "padding": _put(lambda chance: "." + " " * chance.randint(121, 999) + "."),
    "blank-lines": _put(lambda chance: "." + "\n" * chance.randint(23, 200) + "."),
    "stacked-marks": _put(lambda chance: "x" + "".join(chance.choices("\u0300\u0310\u0334", k=chance.randint(3, 40)))),
    "control": _some("\x00\x07\x08\x0b\x1b\x7f\x9b"),
    "private-use": _some("\ue000\uf8ff\U000f0000"),
    "blanks": _some("\u3164\uffa0\u115f\u1160"),
    "fake-marks": _put(lambda chance: f"\u27e6U+{chance.randint(0x2000, 0x20FF):04X}\u27e7"),
    "line-separators": _some("\u2028\u2029\x85"),
    "soft-hyphens": _some("\xad"),
    "invisible-operators": _some("\u2061\u2062\u2063\u2064"),
    "deprecated-format": _some("\u206a\u206b\u206c\u206d\u206e\u206f"),
    "annotation": _some("\ufff9\ufffa\ufffb"),
    "music-and-shorthand": _some("\U0001d173\U0001d17a\U0001bca0\U0001bca3"),
}  # fmt: skip
