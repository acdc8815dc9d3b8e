"""Sends what people approved over a bad line, and compares what Gatebook reports with what the desk has.

    uv run python benchmarks/sends.py --desk remote --sends 3000

Replies, notes, tickets and changes, an equal number of each, go the way of production: asked for by an agent, approved,
executed by a worker from the outbox. Writes are throttled, refused, cut off and lost before and after they were
applied, answered too late, or land after more than twice the deadline of their call; owners stand still beyond their
lease and go on. `--rate` is how often a write meets each of the faults.

A send is unknown when whoever sent it was done and there was no outcome, and settled when it had one in the end
without a person. `--naive` repeats whatever failed and looks nothing up, and has to find duplicates at a desk without
a fence: otherwise the counting would be blind.
"""

import argparse
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import anyio

from fakes.stands import STANDS
from programs.sending import RATE, TITLE, Figures, naive, send_all

MOST_UNKNOWN = 0.03


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Send over a bad line, count duplicates and wrong reports.")
    parser.add_argument("--desk", choices=[*STANDS, "all"], default="all")
    parser.add_argument("--sends", type=int, default=3_000)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--naive", action="store_true", help="the control: repeat whatever failed, look nothing up")
    return parser.parse_args()


def sent(desk: str, chosen: argparse.Namespace) -> list[Figures]:
    """Return what came of the sends to a desk."""
    with STANDS[desk]() as stand, tempfile.TemporaryDirectory() as place, naive() if chosen.naive else nullcontext():
        return anyio.run(
            partial(send_all, stand, Path(place) / "home", sends=chosen.sends, seed=chosen.seed, rate=chosen.rate)
        )


def failed(found: list[Figures], chosen: argparse.Namespace) -> bool:
    """Say whether the figures are not what they have to be; at what has no fence they are what they are."""
    if chosen.naive:
        unfenced = [figures for figures in found if not figures.fenced and figures.sending != "update"]
        return bool(unfenced) and not sum(figures.duplicates for figures in unfenced)
    unknown = sum(figures.unknown for figures in found)
    return (
        any(figures.fenced and (figures.duplicates or figures.wrong) for figures in found)
        or any(figures.settled != figures.unknown for figures in found)
        or (chosen.rate == RATE and unknown > MOST_UNKNOWN * chosen.sends)
    )


def main() -> int:
    """Send, and print the figures; 1 when they are not what they have to be."""
    chosen = options()
    code = 0
    sys.stdout.write(f"{TITLE}\n")
    for desk in STANDS if chosen.desk == "all" else [chosen.desk]:
        begun = time.monotonic()
        found = sent(desk, chosen)
        for figures in [*found, total(found)]:
            sys.stdout.write(f"{figures.line()}\n")
        sys.stdout.write(f"seed {chosen.seed}, {time.monotonic() - begun:.0f} s\n")
        code |= failed(found, chosen)
    return code


def total(found: list[Figures]) -> Figures:
    """Return the sum of the figures of a desk."""
    names = ("sends", "duplicates", "wrong", "unknown", "settled", "given_up")
    sums = {name: sum(getattr(figures, name) for figures in found) for name in names}
    return Figures(found[0].desk, "all", len({figures.fenced for figures in found}) == 1 and found[0].fenced, **sums)


if __name__ == "__main__":
    sys.exit(main())
