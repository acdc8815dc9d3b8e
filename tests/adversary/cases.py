"""A case, and how many of them there are for a threat: every attempt with every tool, over and over."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, product
from random import Random

from adversary.ledger import Violation
from adversary.seats import Transport
from adversary.wishes import WRITING
from adversary.world import CaseOver, World

Attempt = Callable[[World, str], Awaitable[None]]


@dataclass(frozen=True)
class Threat:
    """One row of the table of threats: what is tried, with which tools."""

    name: str
    says: str
    attempts: Mapping[str, Attempt]
    tools: tuple[str, ...] = WRITING
    settings: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Case:
    threat: str
    number: int
    tool: str
    transport: Transport
    attempt: str


@dataclass
class Tally:
    """What came of cases."""

    cases: int = 0
    executed: int = 0
    violations: tuple[Violation, ...] = ()

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for violation in self.violations)


def cases_of(threat: Threat, transport: Transport, *, first: int = 0) -> Iterator[Case]:
    """Yield cases without end; all combinations come before any comes again, and a few are a fair sample."""
    combinations = list(product(threat.tools, threat.attempts))
    Random(threat.name).shuffle(combinations)
    number = 0
    while True:
        for tool, attempt in combinations:
            if number >= first:
                yield Case(threat.name, number, tool, transport, attempt)
            number += 1


async def run(world: World, threat: Threat, count: int, *, first: int = 0, until_found: bool = False) -> Tally:
    """Try cases in a world.

    Args:
        world: The world.
        threat: Whose cases.
        count: How many.
        first: The number of the first one.
        until_found: Whether to stop at the first violation.
    """
    tally = Tally()
    for case in islice(cases_of(threat, world.transport, first=first), count):
        world.chance.seed(f"{case.threat} {case.number} {case.transport}")
        with suppress(CaseOver):
            await threat.attempts[case.attempt](world, case.tool)
        world.look(None)
        world.audit_decisions()
        world.audit_effects()
        tally.cases += 1
        if until_found and world.ledger.violations:
            break
    tally.executed, tally.violations = world.ledger.executed, tuple(world.ledger.violations)
    return tally
