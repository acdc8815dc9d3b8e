"""Replicas that send at the same moment: what a person approved is at the desk once."""

from pathlib import Path

import pytest

from fakes.stands import Stand
from programs.racing import same_draft, two_drafts

pytestmark = pytest.mark.anyio

RACES = 3_000
FEW = 20
SEED = 20261128


async def test_two_replicas_that_send_the_same_draft_at_once_send_it_once(stand: Stand, tmp_path: Path) -> None:
    assert await same_draft(stand, tmp_path / "home", races=FEW, seed=SEED) == {1: FEW}


@pytest.mark.full
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_two_replicas_that_send_3000_drafts_at_once_send_each_once(
    stand: Stand, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    found = await same_draft(stand, tmp_path / "home", races=RACES, seed=SEED, database_url=url)
    assert found == {1: RACES}


async def test_of_two_answers_to_one_state_of_a_ticket_a_desk_that_fences_it_takes_one(
    stand: Stand, tmp_path: Path
) -> None:
    if not stand.traits.shared:
        return
    answers, states = await two_drafts(stand, tmp_path, races=FEW // 2)
    if stand.traits.one_at_a_time:
        assert answers == {1: FEW // 2}
        assert states == {"used": FEW // 2, "lapsed": FEW // 2}
    else:
        assert answers == {2: FEW // 2}
        assert states == {"used": FEW}
