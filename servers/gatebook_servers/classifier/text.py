"""From a ticket as people write it to the words the classifier counts.

Tickets are hostile input: everything here runs in time linear in the text, and at most `MAX_CHARACTERS` of it are read.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARACTERS = 20_000
MAX_WORD_LENGTH = 40
_PIECE = 500
_MANY = 3
_SHORTEST_SHOUT = 4
_SHOUTED_SHARE = 0.25

# Placeholders are made of letters only, so that they pass through the tokeniser as words.
CODE = "codetok"
ERROR = "errortok"
TRACE = "tracetok"
URL = "urltok"
MAIL = "mailtok"
MONEY = "moneytok"
NUMBER = "numtok"
LONG_NUMBER = "longnumtok"
QUESTION_TITLE = "questiontitletok"
SHOUT = "shouttok"
EXCLAIM = "exclaimtok"
PLACEHOLDERS = frozenset({CODE, ERROR, TRACE, URL, MAIL, MONEY, NUMBER, LONG_NUMBER, QUESTION_TITLE, SHOUT, EXCLAIM})

_FENCE = ("```", "~~~")
_QUOTE_HEADERS = ("-----original message-----", "________________________________", "begin forwarded message:")
_TRACE_STARTS = ("at ", 'file "', "traceback (most recent", "caused by:", "goroutine ", "panic:")
_ERROR = re.compile(r"error|exception|traceback|fatal|failed|panic|segfault", re.IGNORECASE)
# Every repetition is either of one class that the next item cannot match, or bounded: no backtracking to speak of.
_INLINE_CODE = re.compile(r"`[^`\n]{1,200}`")
_TAG = re.compile(r"<[/a-zA-Z][^<>]{0,300}>")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>()\[\]\"']+", re.IGNORECASE)
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[\w-]{2,24}")
_MONEY = re.compile(r"[$£€]\s?\d[\d.,]{0,15}|\b\d[\d.,]{0,15}\s?(?:usd|eur|gbp|dollars|euros|pounds)\b", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"(?<![\w.])\+?\d[\d -]{3,18}\d(?![\w.])")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]{1,3})?")


@dataclass(frozen=True, slots=True)
class TicketText:
    """A ticket as lower-case words, placeholders included.

    Attributes:
        title: The words of the subject.
        words: The words of the subject and of the body's own text, then markers of how it is written.
        letters: The cleaned text that the words came from, for checks that look at characters.
    """

    title: tuple[str, ...]
    words: tuple[str, ...]
    letters: str


def read_ticket(*, subject: str, body: str) -> TicketText:
    """Clean and tokenise a ticket: comments and quoted replies dropped, code, addresses and numbers as placeholders."""
    title = _placeholders(_normalise(subject))
    own = _placeholders(_without_code(_without_quotes(_without_comments(_normalise(body)))))
    title_words = tuple(_words(title))
    return TicketText(
        title=title_words,
        words=(*title_words, *_words(own), *_style(f"{title}\n{own}", subject=title)),
        letters=f"{title}\n{own}",
    )


def _normalise(text: str) -> str:
    cut = text[:MAX_CHARACTERS]
    # In pieces, because unicodedata sorts a run of combining marks in quadratic time.
    pieces = (unicodedata.normalize("NFKC", cut[start : start + _PIECE]) for start in range(0, len(cut), _PIECE))
    # Compatibility forms can be 18 times as long as the original, hence the second cut.
    folded = "".join(pieces)[:MAX_CHARACTERS]
    visible = "".join(character for character in folded if unicodedata.category(character) != "Cf")
    return visible.replace("\u2019", "'").replace("\r\n", "\n")


def _without_comments(text: str) -> str:
    kept: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        kept.append(text[position:start])
        end = text.find("-->", start)
        if end < 0:
            return " ".join(kept)
        position = end + 3
    kept.append(text[position:])
    return " ".join(kept)


def _without_quotes(text: str) -> str:
    own: list[str] = []
    for line in text.split("\n"):
        bare = line.strip().lower()
        if bare.startswith(_QUOTE_HEADERS) or (bare.startswith("on ") and bare.endswith("wrote:")):
            break
        if not bare.startswith(">"):
            own.append(line)
    # A message that is nothing but a quotation still has to be classified by something.
    return "\n".join(own) if any(line.strip() for line in own) else text


def _without_code(text: str) -> str:
    return "\n".join(_INLINE_CODE.sub(_code_marker, line) for line in _outside_fences(text))


def _outside_fences(text: str) -> Iterator[str]:
    fenced = False
    in_trace = False
    for line in text.split("\n"):
        bare = line.strip().lower()
        if bare.startswith(_FENCE):
            fenced = not fenced
            yield f" {CODE} " if fenced else ""
        elif fenced:
            yield f" {ERROR} " if _ERROR.search(line) else ""
        elif bare.startswith(_TRACE_STARTS) and _looks_like_frame(bare):
            # One marker for a whole stack trace, however deep it is.
            yield "" if in_trace else f" {TRACE} "
            in_trace = True
            continue
        else:
            yield line
        in_trace = False


def _looks_like_frame(line: str) -> bool:
    return not line.startswith("at ") or "(" in line or "/" in line or "::" in line


def _code_marker(match: re.Match[str]) -> str:
    return f" {ERROR} " if _ERROR.search(match.group()) else f" {CODE} "


def _placeholders(text: str) -> str:
    for pattern, placeholder in (
        (_URL, URL),
        (_MAIL, MAIL),
        (_TAG, ""),
        (_MONEY, MONEY),
        (_LONG_NUMBER, LONG_NUMBER),
        (_NUMBER, NUMBER),
    ):
        text = pattern.sub(f" {placeholder} ", text)
    return text


def _words(text: str) -> Iterator[str]:
    return (match.group()[:MAX_WORD_LENGTH] for match in _WORD.finditer(text.lower()))


def _style(text: str, *, subject: str) -> Iterator[str]:
    if subject.rstrip().endswith("?"):
        yield QUESTION_TITLE
    if text.count("!") >= _MANY:
        yield EXCLAIM
    long_words = [word for word in text.split() if len(word) >= _SHORTEST_SHOUT and word.isalpha()]
    shouted = sum(word.isupper() for word in long_words)
    if shouted >= _MANY and shouted >= _SHOUTED_SHARE * len(long_words):
        yield SHOUT
