"""The cases are worth something: whichever check is missing, they find it."""

from dataclasses import replace

import pytest

from adversary.cases import Tally, run
from adversary.controls import ALONE, TOGETHER, Check, Control
from adversary.world import opened

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROUNDS = 3
"""How often each attempt is made with each tool before a missing check counts as not found."""


async def without(control: Control, checks: tuple[Check, ...], monkeypatch: pytest.MonkeyPatch) -> Tally:
    threat = control.threat
    chosen = replace(
        threat,
        attempts={name: threat.attempts[name] for name in control.attempts or threat.attempts},
        tools=control.tools or threat.tools,
    )
    most = ROUNDS * len(chosen.attempts) * len(chosen.tools)
    for check in checks:
        function, code = check.code()
        monkeypatch.setattr(function, "__code__", code)
    async with opened(seed=control.name, settings=chosen.settings) as world:
        return await run(world, chosen, most, until_found=True)


@pytest.mark.parametrize("control", ALONE, ids=lambda control: control.name)
async def test_without_this_check_the_cases_find_a_violation(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await without(control, control.checks, monkeypatch)).violations


@pytest.mark.parametrize("control", TOGETHER, ids=lambda control: control.name)
async def test_without_these_checks_that_cover_each_other_the_cases_find_a_violation(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await without(control, control.checks, monkeypatch)).violations


@pytest.mark.parametrize(
    ("control", "check"),
    [(control, check) for control in TOGETHER for check in control.checks],
    ids=lambda value: value.name if isinstance(value, Control) else value.words[:30],
)
async def test_what_another_check_covers_lets_nothing_through_when_it_is_missing(
    control: Control, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await without(control, (check,), monkeypatch)).violations == ()
