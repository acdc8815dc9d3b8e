"""Everything that a service has is pulled, whatever happens meanwhile: nothing is missed, no version comes twice."""

from pathlib import Path

import pytest

from fakes.stands import Stand
from gatebook.toolspec import MAX_RESULT_CHARS
from programs.pulling import Plan, Pulled, pull_all

pytestmark = pytest.mark.anyio

SEED = 20261128
FEW = Plan(tickets=240, long=8, interruptions=15, changes=12, limits=(5, 15))
MANY = Plan(tickets=20_000, long=200, interruptions=50, changes=200, limits=(15, 25, 50))
MOST_GROWN_MB = 32.0


def require_whole(pulled: Pulled) -> None:
    print(pulled)  # noqa: T201 - the figures are the result
    assert (pulled.missed, pulled.again, pulled.unknown) == (set(), [], set())
    assert pulled.longest <= MAX_RESULT_CHARS


async def test_an_interrupted_pull_misses_nothing_and_acknowledges_each_version_once(
    stand: Stand, tmp_path: Path
) -> None:
    pulled = await pull_all(stand, tmp_path / "home", FEW, seed=SEED)
    require_whole(pulled)
    assert bool(pulled.refused) is (stand.traits.desk != "local")


@pytest.mark.full
@pytest.mark.timeout(1_800)
async def test_20000_tickets_pulled_with_50_interruptions_are_whole_and_memory_stays_flat(
    stand: Stand, tmp_path: Path
) -> None:
    pulled = await pull_all(stand, tmp_path / "home", MANY, seed=SEED)
    require_whole(pulled)
    assert pulled.grown_mb <= MOST_GROWN_MB
