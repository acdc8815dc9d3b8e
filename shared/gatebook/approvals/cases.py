"""One call as policy sees it, and how often the like of it happened before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

from pydantic import JsonValue

from gatebook.database.port import Transaction
from gatebook.intents import Facts, Passage
from gatebook.reach import Reach

Counted = Literal["principal", "tool"]
MAX_DEPTH = 20
"""How deep texts are looked for in an argument."""


@dataclass(frozen=True)
class Case:
    """One call as policy sees it.

    Args:
        name: The tool, `server.tool`.
        reach: How far it reaches.
        facts: What the server fetched itself.
        content: What will leave, or be stored: resolved by the server, never the agent's summary.
        principal: Who calls.
        mode: `live` or `dry-run`.
        at: The local time; None when unknown.
        earlier: How many writes and sends were claimed or asked for in the last so many seconds, of the tools that some
            globs name, by this principal or with this tool; None when unknown.
    """

    name: str
    reach: Reach
    facts: Facts
    content: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    principal: str = ""
    mode: str = "live"
    at: datetime | None = None
    earlier: Callable[[tuple[str, ...], float, Counted], int] | None = None

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The texts of the facts and of the content; a text of the content is named by its argument."""
        return (*self.facts.passages, *_texts(self.content, "args"))

    def argument(self, path: str) -> JsonValue:
        """Return what stands at `args.a.b` in the content; None when nothing does."""
        found: JsonValue = dict(self.content)
        for part in path.split(".")[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        return found


@dataclass(frozen=True)
class Earlier:
    """Counts what was claimed and asked for before, in the transaction that judges.

    Args:
        tx: The transaction.
        name: The tool of this call.
        principal: Who calls.
        tenant: Whose effects count.
        mode: Of which mode.
        effect_key: The effect of this call, which does not count as an earlier one.
    """

    tx: Transaction
    name: str
    principal: str
    tenant: str
    mode: str
    effect_key: str

    def __call__(self, tools: tuple[str, ...], within_s: float, by: Counted) -> int:
        """Return how many there were; what was approved and executed counts once, when it was asked for."""
        rows = self.tx.all(
            """SELECT server, tool, COUNT(*) AS n FROM (
                 SELECT server, tool, principal FROM effects
                 WHERE tenant = :tenant AND mode = :mode AND approval_id = '' AND claimed_at > :since
                   AND effect_key <> :key
                 UNION ALL
                 SELECT server, tool, principal FROM approvals
                 WHERE tenant = :tenant AND mode = :mode AND kind IN ('effect', 'foreign') AND created_at > :since
                   AND effect_key <> :key) AS done
               WHERE :principal = '' OR principal = :principal
               GROUP BY server, tool""",
            tenant=self.tenant,
            mode=self.mode,
            since=self.tx.now - within_s,
            key=self.effect_key,
            principal=self.principal if by == "principal" else "",
        )
        counted = {f"{row['server']}.{row['tool']}": int(row["n"] or 0) for row in rows}
        if by == "tool":
            return counted.get(self.name, 0)
        return sum(count for name, count in counted.items() if matches(tools, name))


def matches(globs: tuple[str, ...], name: str) -> bool:
    """Whether one of the globs names this; `*` matches any run of characters."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _texts(value: JsonValue | Mapping[str, JsonValue], where: str, depth: int = 0) -> tuple[Passage, ...]:
    if isinstance(value, str):
        return (Passage(where=where, text=value),)
    if depth > MAX_DEPTH:
        return ()
    if isinstance(value, Mapping):
        return tuple(found for name, part in value.items() for found in _texts(part, f"{where}.{name}", depth + 1))
    if isinstance(value, list):
        return tuple(found for part in value for found in _texts(part, where, depth + 1))
    return ()
