"""What people approved, sent over the worst of networks: at every desk once, and reported as it is."""

from pathlib import Path

import pytest

from fakes.stands import Stand
from programs.sending import RATE, TITLE, Figures, naive, send_all

pytestmark = pytest.mark.anyio

SENDS = 3_000
FEW = 48
SEED = 20261128


def require_exact(found: list[Figures]) -> None:
    print("\n".join([TITLE, *(figures.line() for figures in found)]))  # noqa: T201 - the figures are the result
    for figures in found:
        assert figures.settled == figures.unknown
        assert (figures.duplicates, figures.wrong) == (0, 0), figures


async def test_approved_sends_over_a_bad_line_are_sent_once_and_reported_as_they_are(
    stand: Stand, tmp_path: Path
) -> None:
    require_exact(await send_all(stand, tmp_path / "home", sends=FEW, seed=SEED, rate=6 * RATE))


@pytest.mark.full
@pytest.mark.timeout(1_800)
async def test_of_3000_approved_sends_at_most_three_in_a_hundred_are_unknown_for_a_while(
    stand: Stand, tmp_path: Path
) -> None:
    found = await send_all(stand, tmp_path / "home", sends=SENDS, seed=SEED)
    require_exact(found)
    assert sum(figures.unknown for figures in found) <= 0.03 * SENDS


async def test_retrying_whatever_failed_duplicates_all_that_the_desk_does_not_fence(
    stand: Stand, tmp_path: Path
) -> None:
    """The control: the same harness without classes of operations and look-ups."""
    with naive():
        found = await send_all(stand, tmp_path / "home", sends=FEW, seed=SEED, rate=6 * RATE)
    assert sum(figures.duplicates for figures in found if figures.fenced) == 0
    # A tag that is set twice is there once.
    visible = [figures for figures in found if not figures.fenced and figures.sending != "update"]
    assert not visible or sum(figures.duplicates for figures in visible) > 0
