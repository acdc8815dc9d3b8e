"""An agent at work through two servers, and what kills its servers, its database and itself."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from gatebook.transports.auth import ensure_token
from programs.agent_servers import IN_USE, Json, Order
from programs.failpoints import Failpoint, Point
from programs.trials.agent_process import AgentProcess
from programs.trials.installation import SERVE, Installation
from programs.trials.replicas import Replicas

T = TypeVar("T")
Transport = Literal["stdio", "http"]
TRANSPORTS: tuple[Transport, ...] = ("stdio", "http")
Kind = Point | Literal["mid_request", "random", "stop", "agent", "postgres"]
"""What is killed, and where. `stop` stands a server still until another one took over what it had begun, `agent` kills
the agent, `postgres` the database server; the others kill a server of ours."""

HANDS = 6
"""Effects that the agent has in flight at a time."""
AHEAD = 500
"""Tickets that are there before the agent comes to them."""
PATIENCE_S = 60.0
_WRITES = r"(POST|PATCH) .*"
_SLOW: Json = {"kind": "slow", "on": _WRITES, "seconds": 0.05, "times": None}
"""The desk takes its time, so that kills meet requests under way."""
_SLOWER: Json = {**_SLOW, "seconds": 0.4}
"""The same where the kill itself is at no request, but at a checkpoint between two of them."""


@dataclass(frozen=True)
class Phase:
    """Kills of one kind and the effects in flight at them.

    `amid` is how many of the kills met at least one effect in flight, `first` the number of the first effect begun
    meanwhile, `duplicated` how many were duplicated by the end of it.
    """

    kind: Kind
    kills: int
    amid: int
    in_flight: int
    first: int
    duplicated: int


class Killing:
    """One agent after the other, until it is told to finish.

    Attributes:
        begun: How many effects were begun.
        answers: How often an effect ended as it did.
        delays: What made the agent try again, and how often.
    """

    def __init__(self, installation: Installation, transport: Transport, dice: random.Random) -> None:
        self.begun = 0
        self.answers, self.delays = Counter[str](), Counter[str]()
        self._installation = installation
        self._dice = dice
        self._planned = 0
        self._directory = installation.home.parent / "logs"
        self._directory.mkdir()
        self._replicas = Replicas(installation, self._directory) if transport == "http" else None
        self._order = Order(
            key="the night",
            hands=HANDS,
            directory=self._directory,
            command=SERVE if transport == "stdio" else (),
            environment=installation.environment,
            replicas=self._replicas.file if self._replicas else Path(),
            token=ensure_token(installation.home / "token"),
        )
        self._tend()
        self._agent = self._hired()

    def phase(self, kind: Kind, kills: int) -> Phase:
        """Kill in one way, some effects being in flight each time, and wait until those are answered."""
        self._installation.service.faults(_SLOWER if kind == "mid_checkpoint" else _SLOW)
        first, met = self._begun(), list[int]()
        for _ in range(kills):
            self._until(lambda: len(self._agent.connected) >= IN_USE and len(self._agent.in_flight) >= IN_USE)
            met.append(self._kill(kind))
        begun = self._begun()
        self._until(lambda: self._agent.answered(begun))
        return Phase(
            kind,
            kills,
            amid=sum(in_flight > 0 for in_flight in met),
            in_flight=sum(met),
            first=first,
            duplicated=self.duplicated(),
        )

    def duplicated(self) -> int:
        """Return how many effects are at the desk more than once."""
        return sum(times > 1 for times in self._installation.done())

    def finish(self) -> None:
        """Let the agent end what it and those before it began."""
        self._until(lambda: self._agent.answered(self.begun))
        self._agent.finish()
        self._until(lambda: self._agent.finished)
        self._agent.wait()
        self._note()

    def close(self) -> None:
        """End every process."""
        self._agent.kill()
        if self._replicas:
            self._replicas.end()

    def _kill(self, kind: Kind) -> int:
        """Kill once; the effects that were in flight."""
        match kind:
            case "mid_request":
                return self._kill_in_request()
            case "random":
                time.sleep(self._dice.uniform(0, 0.25))
                victim = self._dice.choice(self._agent.connected[:IN_USE])
                os.kill(victim, signal.SIGKILL)
                return self._loss_of(victim)
            case "stop":
                return self._stand_still()
            case "agent":
                return self._kill_agent()
            case "postgres":
                return self._crash_database()
            case _:
                self._arm(kind)
                return self._loss_of(self._until(self._installation.failpoints.taken))

    def _kill_in_request(self) -> int:
        lost = set(self._agent.lost)
        when = self._dice.choice(["before", "after"])
        self._installation.service.faults({"kind": "kill", "on": _WRITES, "when": when, "times": 1}, _SLOW)
        return self._loss_of(self._until(lambda: next(iter(set(self._agent.lost) - lost), None)))

    def _stand_still(self) -> int:
        stuck = set[int]()
        while not stuck:
            self._arm(self._dice.choice(["after_claim", "after_effect"]), stops=True)
            stopped = self._until(self._installation.failpoints.stopped)
            # None where it only finished what the agent had given up before.
            stuck = self._agent.at(stopped)
            try:
                self._until(lambda stuck=stuck: not stuck & self._agent.unanswered())
            finally:
                os.kill(stopped, signal.SIGCONT)
        return len(stuck)

    def _kill_agent(self) -> int:
        in_flight = len(self._agent.in_flight)
        self._agent.kill()
        self._note()
        self._agent = self._hired()
        return in_flight

    def _crash_database(self) -> int:
        assert self._installation.postgres is not None
        in_flight = len(self._agent.in_flight)
        self._installation.postgres.crash()
        return in_flight

    def _arm(self, point: Point, *, stops: bool = False) -> None:
        passing = 1 if point == "mid_checkpoint" else self._dice.randint(1, 4)
        self._installation.failpoints.arm(Failpoint(point=point, passing=passing, stops=stops))

    def _loss_of(self, pid: int) -> int:
        self._until(lambda: pid in self._agent.lost)
        return self._agent.lost[pid]

    def _hired(self) -> AgentProcess:
        return AgentProcess(self._order, self._directory / "agent.log")

    def _begun(self) -> int:
        return max(self.begun, self._agent.begun)

    def _note(self) -> None:
        self.begun = self._begun()
        self.answers += self._agent.answers
        self.delays += self._agent.delays

    def _until(self, found: Callable[[], T | None]) -> T:
        """Wait for something that is neither None nor false, and see to the processes meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert time.monotonic() < deadline, f"waited in vain; see {self._directory}"
            self._agent.require_alive()
            self._tend()
            time.sleep(0.01)
        return value

    def _tend(self) -> None:
        if self._replicas:
            self._replicas.tend()
        if not self._planned or self._begun() + AHEAD > self._planned:
            self._installation.plan(range(self._planned, self._planned + AHEAD))
            self._planned += AHEAD
