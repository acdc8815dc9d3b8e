"""A night at a desk in real processes, calm or with faults and kills, and the state that it leaves at the service."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fakes.lossy import COMMAND as PROGRAM
from fakes.stands import Stand, overrides, variables
from gatebook.clock import ManualClock
from programs.processes import environment, gatebook, kill_tree, rows, start
from suite import Json, Suite

COMMAND = (sys.executable, str(PROGRAM))
WINDOW = ("--since", "2026-09-20T18:00:00Z", "--until", "2026-09-21T06:00:00Z")
SUMMARY = "tickets/2026-09-21"
DEMO_DAYS = {"2026-11-21": "2026-09-20", "2026-11-22": "2026-09-21"}
"""The days of the bundled inbox, and those of the services."""
TICKETS = 30
DECIDED = 4
"""Replies that a person approves while the night goes on: the first ones that it asked for."""
PATIENCE = {"GATEBOOK_LEASE_S": "4", "GATEBOOK_SETTLE_S": "0.5"}
PATIENCE_S = 240.0
_REQUESTED = "SELECT COUNT(*) FROM approvals WHERE kind = 'effect'"
_OPEN = "SELECT COUNT(*) FROM approvals WHERE kind = 'effect' AND state IN ('approved', 'claimed')"
_STEPS = "SELECT COALESCE(MAX(steps), 0) FROM runs"


@dataclass(frozen=True)
class Left:
    """What a night left behind.

    Attributes:
        texts: What the service has: messages, tags, subjects, each as often as it is there.
        asked: The requests and their states by ticket, holds among them.
        summary: The note for the next reader.
    """

    texts: Counter[str]
    asked: Counter[tuple[str, str, str]]
    summary: str


@dataclass
class Night:
    """One night.

    Args:
        stand: The desk, with nothing in it.
        home: A directory that does not exist yet.
        faults: What goes wrong at the desk meanwhile.
        kills: How often the agent and all its servers are killed.
    """

    stand: Stand
    home: Path
    faults: Sequence[Json] = ()
    kills: int = 0

    def left(self) -> Left:
        """Work the night to its end, send what was approved, and look."""
        self.home.mkdir(parents=True)
        suite = Suite(self.home, ManualClock(time.time()), overrides(self.stand, self.home))
        try:
            self.stand.tick()
            self.stand.put(suite, *self._inbox())
            self.stand.faults(*self.faults, seed=7)
            self._to_the_middle(suite)
            for kill in range(1, self.kills):
                self._killed(self._night(), self._steps() + 5 * kill)
            self._finished()
            self._sent()
            self.stand.faults()
            return Left(Counter(self.stand.texts(suite)), self._asked(), suite.note(SUMMARY))
        finally:
            suite.close()

    def _inbox(self) -> list[Json]:
        text = resources.files("gatebook_servers.demo").joinpath("inbox.jsonl").read_text(encoding="utf-8")
        for day, ours in DEMO_DAYS.items():
            text = text.replace(day, ours)
        found: list[Json] = [json.loads(line) for line in text.splitlines()[:TICKETS]]
        return [{**row, "id": f"AB-{number}"} for number, row in enumerate(found, start=1)]

    def _to_the_middle(self, suite: Suite) -> None:
        """Begin the night and decide amid it. The agent stands still meanwhile, or is dead."""
        night = self._night()
        self._until(lambda: self._number(_REQUESTED) >= DECIDED, night)
        if self.kills:
            kill_tree(night.pid)
            night.communicate()
            self._decide(suite)
            return
        os.kill(night.pid, signal.SIGSTOP)
        self._decide(suite)
        os.kill(night.pid, signal.SIGCONT)
        printed = night.communicate(timeout=PATIENCE_S)
        assert night.returncode == 0, printed

    def _decide(self, suite: Suite) -> None:
        suite.clock.seconds = time.time()
        asked = sorted(
            (request for request in suite.requests() if request.kind == "effect"), key=lambda one: one.created_at
        )
        for request in asked[:DECIDED]:
            suite.approve(request.approval_id)

    def _night(self) -> "subprocess.Popen[str]":
        return start(self.home, "nightly", *WINDOW, "--json", command=COMMAND, **self._settings())

    def _killed(self, night: "subprocess.Popen[str]", steps: int) -> None:
        self._until(lambda: self._steps() >= steps, night)
        kill_tree(night.pid)
        night.communicate()

    def _finished(self) -> None:
        """Run the same command until the night is complete."""
        for _ in range(5):
            done = subprocess.run(
                [*COMMAND, "nightly", *WINDOW, "--json"],
                env=environment(self.home, **self._settings()),
                capture_output=True,
                encoding="utf-8",
                timeout=PATIENCE_S,
                check=False,
            )
            assert done.returncode in (0, 4), done.stderr
            if json.loads(done.stdout)["status"] == "completed":
                return
        raise AssertionError("the night never completed")

    def _sent(self) -> None:
        """Let one worker after the other work until everything approved was sent."""
        deadline = time.monotonic() + PATIENCE_S
        while self._number(_OPEN):
            assert time.monotonic() < deadline, "approved and never sent"
            gatebook(self.home, "worker", "--once", code=0, command=COMMAND, **self._settings())

    def _asked(self) -> Counter[tuple[str, str, str]]:
        found = rows(self.home, "SELECT target, kind, state FROM approvals")
        return Counter((str(target), str(kind), str(state)) for target, kind, state in found)

    def _until(self, reached: Callable[[], bool], night: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert night.poll() is None, night.communicate()
            assert time.monotonic() < deadline, "the night does not get there"
            time.sleep(0.002)

    def _steps(self) -> int:
        return self._number(_STEPS)

    def _number(self, sql: str) -> int:
        return int(str(rows(self.home, sql)[0][0]))

    def _settings(self) -> dict[str, str]:
        return {**variables(self.stand, self.home), **PATIENCE}
