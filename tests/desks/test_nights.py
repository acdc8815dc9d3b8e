"""A night with faults, kills and decisions amid it ends as a calm one."""

from pathlib import Path

import pytest

from fakes.stands import STANDS
from programs.nights import DECIDED, TICKETS, Left, Night
from programs.sending import weather
from suite import Json

NIGHTS = ("remote", "zendesk", "jira", "github")
RATE = 0.02
LATE: Json = {"kind": "late", "seconds": 0.1, "on": "(POST|PATCH|PUT) .*", "rate": RATE, "times": None}


def night(name: str, home: Path, *, faults: list[Json], kills: int) -> Left:
    with STANDS[name]() as stand:
        return Night(stand, home, faults, kills).left()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NIGHTS)
def test_a_night_with_faults_and_two_kills_leaves_what_a_calm_one_leaves(name: str, tmp_path: Path) -> None:
    calm = night(name, tmp_path / "calm", faults=[], kills=0)
    assert sum(state == "used" for _, _, state in calm.asked.elements()) == DECIDED
    assert any(kind == "hold" for _, kind, _ in calm.asked)
    assert f"{TICKETS} tickets" in calm.summary
    # What is held back lands only when a test says so; a real network delivers it by itself.
    faults = [fault for fault in weather(RATE) if fault["kind"] not in ("held", "slow")]
    assert night(name, tmp_path / "rough", faults=[*faults, LATE], kills=2) == calm
