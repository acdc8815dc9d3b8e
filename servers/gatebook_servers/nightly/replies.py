"""Replies from templates: which one fits a ticket, and how it reads."""

import re
from collections import Counter
from collections.abc import Mapping
from math import log

PREFIX = "templates/support/"
FALLBACK = f"{PREFIX}default"
MIN_SCORE = 2.0
"""Below this no template fits and the fallback says that a person will look."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_SUBJECT_CHARS = 80


def choose(templates: Mapping[str, str], *, subject: str, text: str) -> str:
    """Return the key of the template whose first line shares the most telling words with the ticket."""
    titles = {key: _stems(template.partition("\n")[0]) for key, template in templates.items() if key != FALLBACK}
    frequency = Counter(word for words in titles.values() for word in words)
    subject_words, text_words = _stems(subject), _stems(text)

    def score(key: str) -> float:
        shared = titles[key] & (subject_words | text_words)
        weights = (1 + log(len(titles) / frequency[word]) for word in shared)
        return sum(weight * (2 if word in subject_words else 1) for word, weight in zip(shared, weights, strict=True))

    best = max(sorted(titles), key=score, default=FALLBACK)
    return best if best in titles and score(best) >= MIN_SCORE else FALLBACK


def fill(template: str, *, name: str, subject: str, ticket: str) -> str:
    """Return a template's reply for one ticket. What the ticket holds is inserted as text, once."""
    body = template.partition("\n")[2].strip()
    short = subject if len(subject) <= _SUBJECT_CHARS else subject[: _SUBJECT_CHARS - 1].rstrip() + "…"
    values = {"name": name or "there", "subject": short or "your message", "ticket": ticket}
    return re.sub(r"\{(name|subject|ticket)\}", lambda match: values[match[1]], body)


def _stems(text: str) -> set[str]:
    return {word.casefold().removesuffix("s") for word in _WORD.findall(text)}
