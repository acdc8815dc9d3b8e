"""An agent that pulls a service's tickets and is interrupted, and what was acknowledged in the end.

A version of a ticket is acknowledged when the cursor behind the page that held it is presented and the call is
answered, whether or not the agent gets to see the answer.
"""

import gc
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import cast

from fakes.lossy import one_percent
from fakes.stands import Stand, tickets
from gatebook_servers.tickets.desk import TicketDesk, Window
from programs.sending import ATTEMPT_S, asking, in_short_time
from programs.standing import closed
from suite import Agent, Answer, Json, Suite

SINCE = datetime(2026, 9, 20, tzinfo=UTC)
LONG_CHARS = 200_000
OUTAGE: Json = {"kind": "status", "status": 503, "when": "before", "on": ".*", "times": 8}
"""More than one call tries."""
INTERRUPTIONS = ("restart", "answer lost", "everything forgotten", "outage", "restart, everything forgotten")
_PUT_AT_ONCE = 500
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = 4_096

Version = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """What is pulled, and what happens meanwhile.

    Args:
        tickets: How many there are.
        long: How many have a text of 200,000 characters, one after the other.
        interruptions: How often the agent, the server or the desk fails.
        changes: How many tickets change while they are pulled.
        limits: The sizes of pages that the agent asks for.
    """

    tickets: int
    long: int
    interruptions: int
    changes: int
    limits: Sequence[int]


@dataclass
class Pulled:
    """What came of it.

    Attributes:
        missed: Tickets whose last version was not acknowledged.
        again: Versions that were acknowledged more than once.
        unknown: What was acknowledged and is no ticket.
        calls: Calls of the tool.
        refused: Calls that failed.
        longest: Characters of the longest answer.
        grown_mb: By how much the process grew between the first fifth and the end, megabytes.
    """

    missed: set[str] = field(default_factory=set[str])
    again: list[Version] = field(default_factory=list[Version])
    unknown: set[str] = field(default_factory=set[str])
    calls: int = 0
    refused: int = 0
    longest: int = 0
    grown_mb: float = 0.0


async def pull_all(stand: Stand, home: Path, plan: Plan, *, seed: int) -> Pulled:
    """Pull everything there is, and what changed meanwhile."""
    suite = asking(stand, home)
    for first in range(1, plan.tickets + 1, _PUT_AT_ONCE):
        numbers = range(first, min(first + _PUT_AT_ONCE, plan.tickets + 1))
        stand.put(suite, *(_row(number, plan) for number in numbers))
    with in_short_time(suite):
        pull = Pull(stand, suite, plan, random.Random(seed))
        await pull.work()
        stand.faults()
        desk = stand.open(suite, suite.another_process())
        there = await _versions(desk)
        await closed(desk)
    suite.close()
    assert set(there) == {stand.ref(number) for number in range(1, plan.tickets + 1)}
    pull.result.missed = {ref for ref, version in there.items() if (ref, version) not in pull.acknowledged}
    pull.result.again = [version for version, times in pull.acknowledged.items() if times > 1]
    pull.result.unknown = {ref for ref, _ in pull.acknowledged} - set(there)
    return pull.result


def _row(number: int, plan: Plan) -> Json:
    created = SINCE + timedelta(seconds=number // 3)
    # Early, so that memory has been at its most when it is measured first.
    long = plan.tickets // 10 <= number < plan.tickets // 10 + plan.long
    body = "How do I rename a board? " * (LONG_CHARS // 25) if long else f"How do I rename board {number}?"
    return tickets([number], created_at=created.isoformat(), body=body)[0]


async def _versions(desk: TicketDesk) -> dict[str, str]:
    """Return every ticket's version, as the desk has it."""
    found: dict[str, str] = {}
    position, complete = "", False
    while not complete:
        page = await desk.page(Window(since=SINCE), position=position, limit=50)
        found |= {ticket.ref: ticket.version for ticket in page.tickets}
        position, complete = page.position, page.complete
    return found


@dataclass
class Pull:
    """The agent, its server, and the cursor that it remembers."""

    stand: Stand
    suite: Suite
    plan: Plan
    dice: random.Random
    cursor: str = ""
    acknowledged: Counter[Version] = field(default_factory=Counter[Version])
    result: Pulled = field(default_factory=Pulled)
    _handed: dict[str, list[Version]] = field(default_factory=dict[str, list[Version]])
    _first_mb: float = 0.0

    async def work(self) -> None:
        """Pull until nothing waits."""
        at_least = self.plan.tickets // max(self.plan.limits)
        places = self.dice.sample(range(1, at_least), self.plan.interruptions)
        interrupted = dict(zip(places, cycle(INTERRUPTIONS), strict=False))
        changing = Counter(self.dice.choices(range(1, at_least), k=self.plan.changes))
        left = False
        while not left:
            runtime = self.suite.another_process()
            desk = self.stand.open(self.suite, runtime)
            self._weather()
            async with AsyncExitStack() as stack:
                agent = await stack.enter_async_context(self.suite.agent("tickets", runtime=runtime))
                left = await self._until_restart(agent, interrupted, changing)
            await closed(desk)
            runtime.close()
        self.result.grown_mb = _resident_mb() - self._first_mb

    async def _until_restart(self, agent: Agent, interrupted: Mapping[int, str], changing: Counter[int]) -> bool:
        """Pull until the server is started again, or nothing waits: then True."""
        while True:
            self._change(changing.pop(self.result.calls, 0))
            self._measure()
            interruption = interrupted.get(self.result.calls, "")
            if interruption == "outage":
                self.stand.faults(OUTAGE)
            answer = await self._pulled(agent)
            if interruption == "outage":
                self._weather()
            if "forgotten" in interruption:
                self.cursor = ""
            elif interruption in ("", "restart") and not answer.code:
                # Its checkpoint is saved, and from now on it presents the new cursor.
                self.cursor = str(answer.content["next_cursor"] or "")
            if not interruption and not answer.code and not answer.content["tickets"]:
                assert answer.content["complete"]
                assert not changing
                return True
            if "restart" in interruption:
                return False

    async def _pulled(self, agent: Agent) -> Answer:
        presented = self.cursor
        answer = await agent.call(
            "pull_tickets",
            subscription="all of them",
            since=SINCE.isoformat(),
            cursor=presented,
            limit=self.dice.choice(self.plan.limits),
            preview_chars=self.dice.choice([0, 200, 1_200]),
        )
        self.result.calls += 1
        if answer.code:
            assert answer.code == "upstream_unavailable", answer.text
            self.result.refused += 1
            return answer
        self.acknowledged.update(self._handed.pop(presented, []))
        found = cast("list[Json]", answer.content["tickets"])
        self._handed[str(answer.content["next_cursor"])] = [(str(one["ref"]), str(one["version"])) for one in found]
        self.result.longest = max(self.result.longest, len(answer.text), len(json.dumps(answer.content)))
        return answer

    def _change(self, count: int) -> None:
        for _ in range(count):
            self.stand.customer_writes(self.suite, self.dice.randint(1, self.plan.tickets), "Any news?")

    def _weather(self) -> None:
        self.stand.faults(*one_percent(1.5 * ATTEMPT_S), seed=self.dice.randrange(10**9))

    def _measure(self) -> None:
        """Note the size of the process once a fifth is acknowledged."""
        if not self._first_mb and len(self.acknowledged) >= self.plan.tickets // 5:
            self._first_mb = _resident_mb()


def _resident_mb() -> float:
    gc.collect()
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES / 1e6
