"""Nothing happens that no person allowed, whatever agents, browsers, outsiders and time bring up against it."""

from collections.abc import Callable

import pytest

from adversary.cases import Threat, run
from adversary.table import PLAN, Part, parts
from adversary.world import opened

pytestmark = [
    pytest.mark.anyio,
    # Servers of the SDK that run within the test's own process leave their streams to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <function MemoryObject:pytest.PytestUnraisableExceptionWarning"
    ),
]

FEW = 16
"""Cases of each threat that every run of the tests tries."""


async def _none_succeeds(part: Part, record: Callable[[str, object], None]) -> None:
    async with opened(part.transport, settings=part.threat.settings) as world:
        tally = await run(world, part.threat, part.count, first=part.first)
    assert [violation.what for violation in tally.violations] == []
    record(
        "adversary",
        [
            part.threat.says,
            part.transport,
            tally.cases,
            tally.executed,
            tally.count("execution"),
            tally.count("decision"),
        ],
    )


@pytest.mark.parametrize("threat", [threat for threat, _ in PLAN], ids=lambda threat: threat.name)
async def test_a_few_attempts_of_every_kind_fail(
    threat: Threat, record_property: Callable[[str, object], None]
) -> None:
    await _none_succeeds(Part(threat, "memory", 0, FEW), record_property)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", list(parts()), ids=lambda part: part.name)
async def test_no_attempt_of_ten_thousand_succeeds(part: Part, record_property: Callable[[str, object], None]) -> None:
    await _none_succeeds(part, record_property)


def test_the_plan_has_enough_cases_of_every_threat_and_over_every_transport() -> None:
    hostile = {threat.name: sum(counts.values()) for threat, counts in PLAN if threat.name != "legitimate"}
    assert min(hostile.values()) >= 200
    assert sum(hostile.values()) >= 10_000
    assert sum(part.count for part in parts() if part.threat.name == "legitimate") == 1_000
    assert {transport for _, counts in PLAN for transport in counts} == {"memory", "legacy", "http", "sse", "stdio"}
