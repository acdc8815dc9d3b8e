"""Kills real servers, agents and databases at named points and counts what the desk has afterwards.

An agent works a plan of effects through two servers. What is killed is started again, what got no answer is issued
again as a new call, and in the end the desk, a process that is never killed, must have each effect exactly once.
"""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from programs.trials.installation import Database, installed
from programs.trials.killing import Killing, Kind, Phase, Transport

KINDS: tuple[Kind, ...] = (
    "after_claim",
    "mid_request",
    "after_effect",
    "before_complete",
    "mid_checkpoint",
    "random",
    "stop",
    "agent",
    "postgres",
)


@dataclass(frozen=True)
class Row:
    """What came of the effects while one kind of kills went on: how many were in flight, begun, lost, duplicated.

    `amid` is how many of the kills met at least one effect in flight.
    """

    database: Database
    transport: Transport
    kind: Kind
    kills: int
    amid: int
    in_flight: int
    planned: int
    lost: int
    duplicated: int


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: a row for each kind, how the effects ended, and what made the agent try again.

    `unsettled` is how many effects the suite's own record does not have as done, `swallowed` how many repetitions the
    desk's fence kept from being applied.
    """

    rows: Sequence[Row]
    unsettled: int
    swallowed: int
    answers: Mapping[str, int]
    delays: Mapping[str, int]


@dataclass(frozen=True)
class Trial:
    """One database, one transport, and how often to kill in which way."""

    database: Database
    transport: Transport
    kills: Mapping[Kind, int]

    def run(self, directory: Path, *, fenced: bool, seed: int, recall: bool = True) -> Outcome:
        """Kill, let the agent finish, and count.

        Args:
            directory: For files; it need not exist.
            fenced: Whether the desk knows a marker again.
            seed: For what is left to chance: passings, moments, victims.
            recall: False lets the suite forget every effect: the control.
        """
        with installed(directory, self.database, fenced=fenced, recall=recall) as installation:
            with closing(Killing(installation, self.transport, random.Random(seed))) as killing:
                phases = [killing.phase(kind, kills) for kind, kills in self.kills.items()]
                killing.finish()
            rows = self._rows(phases, installation.done()[: killing.begun])
            return Outcome(
                rows,
                unsettled=installation.unsettled(),
                swallowed=installation.swallowed(),
                answers=killing.answers,
                delays=killing.delays,
            )

    def _rows(self, phases: Sequence[Phase], done: Sequence[int]) -> list[Row]:
        """Give a lost effect to the phase in which it was begun, a duplicate to the one in which it appeared."""
        ends = [*(phase.first for phase in phases[1:]), len(done)]
        duplicated = [0, *(phase.duplicated for phase in phases[:-1]), sum(times > 1 for times in done)]
        return [
            Row(
                self.database,
                self.transport,
                phase.kind,
                kills=phase.kills,
                amid=phase.amid,
                in_flight=phase.in_flight,
                planned=end - phase.first,
                lost=done[phase.first : end].count(0),
                duplicated=after - before,
            )
            for phase, end, (before, after) in zip(phases, ends, pairwise(duplicated), strict=True)
        ]


def run_all(
    chosen: Sequence[Trial], directory: Path, *, fenced: bool, seed: int, recall: bool = True, at_once: int = 2
) -> list[Outcome]:
    """Run trials, some at a time, each in a directory of its own; see `Trial.run`."""

    def run(number: int, trial: Trial) -> Outcome:
        place = directory / f"{trial.database}-{trial.transport}"
        return trial.run(place, fenced=fenced, seed=seed + number, recall=recall)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, range(len(chosen)), chosen))


def deal(
    kills: int, databases: Sequence[Database], transports: Sequence[Transport], kinds: Sequence[Kind] = KINDS
) -> list[Trial]:
    """Deal kills out, the same number of every kind, to every database and transport that knows the kind."""
    places = list(product(databases, transports))
    known: list[Kind] = [kind for kind in kinds if kind != "postgres" or "postgres" in databases]
    dealt: dict[tuple[Database, Transport], dict[Kind, int]] = {place: {} for place in places}
    for kind, share in zip(known, _shares(kills, len(known)), strict=True):
        knowing = [place for place in places if kind != "postgres" or place[0] == "postgres"]
        for place, number in zip(knowing, _shares(share, len(knowing)), strict=True):
            if number:
                dealt[place][kind] = number
    return [Trial(database, transport, kinds) for (database, transport), kinds in dealt.items() if kinds]


def _shares(total: int, parts: int) -> list[int]:
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]
