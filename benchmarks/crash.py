"""Kills servers, agents and databases for real, and counts lost and duplicated effects.

    uv run python benchmarks/crash.py --kills 500

A scripted agent works effects through two servers at a time, against a ticket service in a process of its own that is
never killed and counts at the end. SIGKILL falls at named points of a call (the claim committed; the request at the
service, applied or not; the effect done and not recorded; its record not committed; a checkpoint whose commit is not
answered) and at random moments, on servers, on the agent, and on PostgreSQL (an immediate stop); `stop` holds a server
still (SIGSTOP) until another one took over what it had begun, and lets it go on. What got no answer is issued again as
a new call.

`amid` counts the kills that met at least one effect in flight, `in flight` those effects. From 500 kills on, 40 of each
500 have to be amid effects at each point, or the run proves too little and ends with 1. What a service with a fence is
sent again is no duplicate there, so it is told how often that was: 0 duplicated is the suite's merit where that is 0.

With `--unfenced` the service applies whatever it is sent. Look-up and settle time make duplicates rare then and not
impossible: what stands still amid the sending of a request, and for longer than lease and settle time, sends it late.

`--control` runs the same code with the recall of effects switched off, against a service without a fence, and has to
find duplicates: otherwise the counting would be blind. It is to be compared with `--unfenced`, which is the same desk,
kills and counting with the recall on.
"""

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from programs.trials.installation import DATABASES
from programs.trials.killing import TRANSPORTS
from programs.trials.trial import Outcome, Row, deal, run_all

TITLES = ("database", "transport", "killed", "kills", "amid", "in flight", "effects", "lost", "duplicated")
COLUMNS = "{:<9} {:<9} {:<15} {:>5} {:>5} {:>9} {:>8} {:>5} {:>10}\n"
JUDGED = 500
"""From so many kills on there have to be enough amid effects at each point."""
FOR_ONE = 12.5
"""How many kills there are for each that has to be amid effects, at each point."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Kill for real, count lost and duplicated effects.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--transport", choices=[*TRANSPORTS, "both"], default="both")
    fence = parser.add_mutually_exclusive_group()
    fence.add_argument("--fenced", action="store_true", help="a service that knows a marker again (default)")
    fence.add_argument("--unfenced", action="store_true", help="a service that applies a repeated request again")
    fence.add_argument("--control", action="store_true", help="no fence, and every effect is forgotten at once")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--at-once", type=int, default=3, help="trials at a time")
    parser.add_argument("--keep", type=Path, help="directory for logs and databases, which stay; it must not exist")
    return parser.parse_args()


def report(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Print what came of it; how many effects were lost and how many duplicated."""
    write = sys.stdout.write
    write(COLUMNS.format(*TITLES))
    rows = [row for outcome in outcomes for row in outcome.rows]
    for row in rows:
        write(COLUMNS.format(row.database, row.transport, row.kind, *_figures([row])))
    for kind in dict.fromkeys(row.kind for row in rows):
        write(COLUMNS.format("all", "all", kind, *_figures([row for row in rows if row.kind == kind])))
    write(COLUMNS.format("all", "all", "all", *_figures(rows)))
    for title, counts in (
        ("answers", [outcome.answers for outcome in outcomes]),
        ("issued again because of", [outcome.delays for outcome in outcomes]),
    ):
        total = sum((Counter(one) for one in counts), Counter[str]())
        write(f"{title}: {', '.join(f'{number} {name}' for name, number in total.most_common())}\n")
    write(f"not known to be done at the end: {sum(outcome.unsettled for outcome in outcomes)}\n")
    return sum(row.lost for row in rows), sum(row.duplicated for row in rows)


def shortfalls(outcomes: Sequence[Outcome], kills: int) -> list[str]:
    """Say at which points too few of so many kills were amid effects."""
    if kills < JUDGED:
        return []
    amid = Counter[str]()
    for outcome in outcomes:
        for row in outcome.rows:
            amid[row.kind] += row.amid
    wanted = math.ceil(kills / FOR_ONE)
    return [
        f"{kind}: only {number} kills met an effect in flight, and {wanted} have to; this run proves too little."
        for kind, number in amid.items()
        if number < wanted
    ]


def main() -> int:
    """Run the trials; 1 when an effect was lost or duplicated, the control found no duplicate, or a point too little.

    Without a fence, duplicates are what happened and no failure: look-up and settle time make them rare, nothing more.
    """
    chosen = options()
    databases = DATABASES if chosen.database == "both" else [chosen.database]
    transports = TRANSPORTS if chosen.transport == "both" else [chosen.transport]
    fenced = not (chosen.unfenced or chosen.control)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        outcomes = run_all(
            deal(chosen.kills, databases, transports),
            chosen.keep or Path(place) / "trials",
            fenced=fenced,
            seed=chosen.seed,
            recall=not chosen.control,
            at_once=chosen.at_once,
        )
    lost, duplicated = report(outcomes)
    if fenced:
        swallowed = sum(outcome.swallowed for outcome in outcomes)
        sys.stdout.write(f"sent again and swallowed by the service's fence: {swallowed}\n")
    what = "control, without recall" if chosen.control else "fenced service" if fenced else "service without a fence"
    sys.stdout.write(f"{what}, seed {chosen.seed}, {time.monotonic() - begun:.0f} s\n")
    short = shortfalls(outcomes, chosen.kills)
    sys.stdout.writelines(f"{sentence}\n" for sentence in short)
    failed = not duplicated if chosen.control else lost or (fenced and duplicated)
    return int(bool(failed or short))


def _figures(rows: Sequence[Row]) -> tuple[int, ...]:
    return (
        sum(row.kills for row in rows),
        sum(row.amid for row in rows),
        sum(row.in_flight for row in rows),
        sum(row.planned for row in rows),
        sum(row.lost for row in rows),
        sum(row.duplicated for row in rows),
    )


if __name__ == "__main__":
    sys.exit(main())
