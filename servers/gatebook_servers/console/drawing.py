"""How the templates draw: texts of outsiders as inert pieces, times in the operator's zone, names as words."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal, cast
from zoneinfo import ZoneInfo

import jinja2

from gatebook.intents import Value
from gatebook.rendering import render

SENTENCES: dict[str, str] = {
    "approved": "Approved. It is being done now.",
    "voted": "Your yes is recorded. It waits for others to say yes too.",
    "released": "Released. The agent may work on it from its next run on.",
    "passes": "Approved. Exactly this call passes once, when it is asked for.",
    "raised": "Approved; the run's limits are raised.",
    "denied": "Denied. The reason reaches the agent, and exactly this content stays denied.",
    "kept": "It stays held. The agent leaves it alone.",
    "edited": "This is the new request with your text. Nobody has approved it yet.",
    "batch": "Approved together. They are being done now.",
    "settled": "Settled.",
    "paused": "Paused. Nothing is written or sent until somebody resumes.",
    "resumed": "Resumed.",
    "signed-out": "You are signed out.",
}
"""What a page says after something was done, by the word in its address; nothing else from there is shown."""

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_WORDS_COMPARED = 20_000
"""Characters up to which two texts are compared word by word; longer ones are by line."""


class Change(Value):
    """A piece of a comparison of two texts."""

    kind: Literal["same", "added", "removed"]
    text: str


class Moments:
    """Times as a page shows them: of one zone, as seen from one now."""

    def __init__(self, now: float, zone: ZoneInfo) -> None:
        self._now = datetime.fromtimestamp(now, zone)
        self._zone = zone

    def exact(self, seconds: float) -> str:
        """Return a time for machines and for whoever points at it."""
        return datetime.fromtimestamp(seconds, self._zone).isoformat(timespec="seconds")

    def clock(self, seconds: float) -> str:
        """Return a time of day to the thousandth of a second."""
        return datetime.fromtimestamp(seconds, self._zone).strftime("%H:%M:%S.%f")[:-3]

    def plain(self, seconds: float) -> str:
        """Return a time as people say it: `today 21:40`, `Mon 23 Nov 08:00`."""
        at = datetime.fromtimestamp(seconds, self._zone)
        days = (at.date() - self._now.date()).days
        near = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(days)
        form = "%a %-d %b" if at.year == self._now.year else "%-d %b %Y"
        return f"{near or at.strftime(form)} {at:%H:%M}"

    def span(self, seconds: float) -> str:
        """Return a length of time: `2 h 5 min`."""
        return _duration(seconds) or "a minute"

    def distance(self, seconds: float) -> str:
        """Return how far away a time is: `in 2 h 5 min`, `3 days ago`."""
        away = seconds - self._now.timestamp()
        words = _duration(abs(away))
        if not words:
            return "now"
        return f"in {words}" if away > 0 else f"{words} ago"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return ""
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    if seconds < 2 * _DAY:
        hours, minutes = int(seconds // _HOUR), int(seconds % _HOUR // _MINUTE)
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"  # noqa: PLR2004 - exact enough
    return f"{int(seconds // _DAY)} days"


def compared(before: str, after: str) -> list[Change]:
    """Return what became of a text, piece by piece."""
    if before == after:
        return [Change(kind="same", text=after)] if after else []
    small = len(before) + len(after) <= _WORDS_COMPARED
    old, new = (_words(text) if small else text.splitlines(keepends=True) for text in (before, after))
    return list(_changes(old, new))


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Change(kind="same", text="".join(new[j1:j2]))
            continue
        if i2 > i1:
            yield Change(kind="removed", text="".join(old[i1:i2]))
        if j2 > j1:
            yield Change(kind="added", text="".join(new[j1:j2]))


def _words(text: str) -> list[str]:
    words: list[str] = []
    for line in text.splitlines(keepends=True):
        parts = line.split(" ")
        words += [f"{part} " for part in parts[:-1]]
        words.append(parts[-1])
    return words


def person_name(person: str) -> str:
    """Return somebody's name without what kind of being they are."""
    return person.partition(":")[2] or person


def in_words(name: str) -> str:
    """Return the name of a tool, state or field as words."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def notices_of(texts: Sequence[str]) -> list[str]:
    """Return what a person should know before they read these texts, each sentence once."""
    return list(dict.fromkeys(notice.sentence for text in texts for notice in render(text).notices))


def environment() -> jinja2.Environment:
    """Return the templates. Whatever they print is escaped, and a name that is not there is an error."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("gatebook_servers.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The library types these two by what it puts into them itself.
    filters = cast("dict[str, Callable[[str], object]]", templates.filters)
    filters.update(rendered=render, words=in_words, person=person_name)
    cast("dict[str, object]", templates.globals)["sentences"] = SENTENCES
    return templates
