"""What policy says of a call: an outcome, and what a person's yes must be like. The strictest of all wins."""

from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from typing import Literal

from gatebook.intents import Value


class Outcome(IntEnum):
    """What policy says, from mild to strict."""

    ALLOW = 1
    REVIEW = 2
    DENY = 3


Risk = Literal["low", "normal", "high", "critical"]
RISKS: tuple[Risk, ...] = ("low", "normal", "high", "critical")
"""From harmless to grave."""


class Verdict(Value):
    """What policy decided, which rules said so, and what a person's yes must be like.

    Attributes:
        outcome: The strictest that any rule says.
        rules: The rules that say it, by name.
        risk: The highest of the rules that apply.
        quorum: How many distinct persons have to say yes.
        roles: Any of them may decide; empty: every reviewer.
        four_eyes: Whether the editor of a revision does not count as its approver.
        decide_within_s: Seconds until an undecided request expires; None: the settings' time.
        use_within_s: Seconds until an unused yes lapses; None: the settings' time.
        editable: Names of the content's fields that a person may edit.
        batch: Whether it may be decided together with others; never at critical risk.
        shadow: The rules on trial that apply. They are counted and change nothing.
    """

    outcome: Outcome
    rules: tuple[str, ...]
    risk: Risk = "normal"
    quorum: int = 1
    roles: tuple[str, ...] = ()
    four_eyes: bool = False
    decide_within_s: float | None = None
    use_within_s: float | None = None
    editable: tuple[str, ...] = ()
    batch: bool = True
    shadow: tuple[str, ...] = ()


class Demand(Value):
    """What one rule wants of a person's yes; None where it says nothing."""

    risk: Risk = "normal"
    quorum: int = 1
    roles: tuple[str, ...] = ()
    four_eyes: bool = False
    decide_within_s: float | None = None
    use_within_s: float | None = None
    edit: tuple[str, ...] | None = None
    batch: bool = True

    @property
    def strictness(self) -> tuple[int, int, bool, bool, int, tuple[str, ...]]:
        """Order of demands by which the stricter one is told, whatever the order of the rules."""
        return (RISKS.index(self.risk), self.quorum, self.four_eyes, not self.batch, -len(self.roles), self.roles)


def reviewed(rules: tuple[str, ...], demands: Collection[Demand], *, edit: tuple[str, ...]) -> Verdict:
    """Return the verdict that asks a person for all that the rules demand.

    Args:
        rules: The rules that ask.
        demands: What each of them demands.
        edit: What a person may edit where no rule says so.
    """
    risk = RISKS[max((RISKS.index(demand.risk) for demand in demands), default=RISKS.index("normal"))]
    edits = [demand.edit for demand in demands if demand.edit is not None]
    return Verdict(
        outcome=Outcome.REVIEW,
        rules=rules,
        risk=risk,
        quorum=max((demand.quorum for demand in demands), default=1),
        roles=_roles(demands),
        four_eyes=any(demand.four_eyes for demand in demands),
        decide_within_s=_least(demand.decide_within_s for demand in demands),
        use_within_s=_least(demand.use_within_s for demand in demands),
        editable=_common(edits or [edit]),
        batch=risk != "critical" and all(demand.batch for demand in demands),
    )


def _roles(demands: Iterable[Demand]) -> tuple[str, ...]:
    """Return the roles that every demand accepts; where there are none, those of the strictest."""
    naming = [demand for demand in demands if demand.roles]
    if not naming:
        return ()
    strictest = max(naming, key=lambda demand: demand.strictness)
    return _common([demand.roles for demand in naming]) or strictest.roles


def _common(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(set(names[0]).intersection(*names)))


def _least(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)
