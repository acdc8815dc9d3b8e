"""The queries, in Jira's query language. No text of anybody's gets into one, except words made of letters and digits.

A time in a query has whole minutes and is read in the time zone of whoever asks
(https://support.atlassian.com/jira-software-cloud/docs/jql-fields/), so a query asks for a little more than is wanted,
and what is exact is done with what comes back.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_WORD = re.compile(r"[^\W_]{3,}")
_DROPPED = {
    *("and", "are", "but", "for", "into", "not", "such", "that", "the", "their", "then", "there", "these", "they"),
    *("this", "was", "will", "with"),
}
"""Words that the index does not have; asking for one finds nothing."""
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)
"""Before every issue. A query needs some bound."""


def query(clauses: Iterable[str], *, order: str) -> str:
    """Return the query for issues that fulfil all clauses, by a field and upwards."""
    return f"{' AND '.join(clauses)} ORDER BY {order}"


def within(projects: Sequence[str]) -> list[str]:
    """Return the clause for issues of these projects; none for every project."""
    quoted = ", ".join(f'"{key}"' for key in projects)
    return [f"project in ({quoted})"] if projects else []


def from_moment(field: str, moment: datetime, zone: ZoneInfo) -> str:
    """Return a clause for what was at or after a moment, and a little more."""
    local = moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    # Where clocks are put back an hour comes twice: the query must mean the earlier one whichever Jira takes.
    while _latest(local, zone) > moment:
        local -= _HOUR
    return f'{field} >= "{_spelled(local)}"'


def until_moment(field: str, moment: datetime, zone: ZoneInfo) -> str:
    """Return a clause for what was before a moment, and a little more."""
    local = moment.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0) + _MINUTE
    while _earliest(local, zone) < moment:
        local += _HOUR
    return f'{field} < "{_spelled(local)}"'


def holding(words: Iterable[str]) -> list[str]:
    """Return the clauses for issues that hold words, as far as the index knows them; the rest is for the reader."""
    runs = (run for word in words for run in _WORD.findall(word) if run.casefold() not in _DROPPED)
    # A quoted word inside a quoted text is a phrase: no wildcard, no operator.
    return [f'(summary ~ "\\"{run}\\"" OR description ~ "\\"{run}\\"")' for run in dict.fromkeys(runs)]


def _latest(local: datetime, zone: ZoneInfo) -> datetime:
    return max(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _earliest(local: datetime, zone: ZoneInfo) -> datetime:
    return min(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _spelled(local: datetime) -> str:
    return local.strftime("%Y-%m-%d %H:%M")
