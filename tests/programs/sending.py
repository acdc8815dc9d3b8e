"""Sends what people approved over a bad line, and compares what Gatebook reports with what the service has.

Everything goes the way of production: an agent asks, a person approves, a worker executes the jobs of the outbox, and
what got no answer is taken over and looked up. Time is the test's: leases, deadlines and a request's way through the
network pass at once, in the order in which they would.
"""

import random
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from fakes.lossy import timed_by
from fakes.stands import Sending, Stand, overrides, tickets
from gatebook.clock import ManualClock
from gatebook.performing import Performance
from gatebook.retry import ATTEMPTS, TransientError, without_waiting
from programs.standing import Standing, tied
from suite import Agent, Json, Suite

BATCH = 50
"""Sends that are under way together."""
STILL = 25
"""One in so many has an owner that stands still beyond its lease."""
ROUNDS = 40
"""More than it takes to settle anything."""
ATTEMPT_S = 2.0
"""Longest time of an attempt here, seconds, for a slow answer costs as much."""
RATE = 0.004
"""How often a write meets each of the faults."""
POLICY = 'version = 1\nalways_review = ["tickets.update_ticket"]\n'
_WRITES = r"(POST|PATCH|PUT|DELETE) .*"
_NOT_SENT = {"lapsed", "expired", "cancelled", "denied"}


@dataclass
class Figures:
    """What came of the sends of one kind.

    Attributes:
        sends: How many were approved.
        duplicates: At the service more than once.
        wrong: Reported as sent and not there, or as not sent and there, at any time.
        unknown: Without an outcome when whoever sent them was done.
        settled: Of these, the ones that had one in the end without a person.
        given_up: Reported as not sent for good, and rightly.
    """

    desk: str
    sending: str
    fenced: bool
    sends: int = 0
    duplicates: int = 0
    wrong: int = 0
    unknown: int = 0
    settled: int = 0
    given_up: int = 0

    def line(self) -> str:
        """Return a row of the table."""
        return COLUMNS.format(*(_shown(getattr(self, column.name)) for column in fields(self)))


COLUMNS = "{:<16} {:<8} {:<7} {:>6} {:>10} {:>6} {:>8} {:>8} {:>9}"
TITLE = COLUMNS.format(*(column.name.replace("_", " ") for column in fields(Figures)))


def _shown(value: object) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


def weather(rate: float = RATE) -> list[Json]:
    """Return what goes wrong: each fault of the network with this rate in writes, and less often in reads."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    kinds: list[Json] = [
        {"kind": "status", "status": 429, "when": "before", "retry_after": "0"},
        {"kind": "status", "status": 429, "when": "before", "retry_after": date},
        *({"kind": "status", "status": status, "when": when} for status in (500, 503) for when in ("before", "after")),
        *({"kind": kind, "when": when} for kind in ("reset", "lost") for when in ("before", "after")),
        {"kind": "half"},
        {"kind": "slow", "seconds": 1.5 * ATTEMPT_S},
        {"kind": "held"},
    ]
    writes: list[Json] = [{**kind, "on": _WRITES, "times": None, "rate": rate} for kind in kinds]
    harmless = ("slow", "held")
    reads = [{**kind, "on": "GET .*", "rate": rate / 8} for kind in writes if kind["kind"] not in harmless]
    return [*writes, *reads]


@contextmanager
def in_short_time(suite: Suite) -> Generator[None]:
    """Have the clock of the suite be the time of everything, and attempts short."""
    with tied(suite.clock), without_waiting(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatebook.http.ATTEMPT_S", ATTEMPT_S)
        patch.setattr("gatebook.http.Upstream", lambda: timed_by(suite.clock))
        yield


@contextmanager
def naive() -> Generator[None]:
    """The control: repeat whatever failed, and look nothing up, as most retry stacks do."""

    def may_repeat(call: object, error: BaseException) -> bool:
        return isinstance(error, TransientError) and vars(call)["attempts"] < ATTEMPTS

    async def look_up(_: Performance) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatebook.retry._Call.may_repeat", may_repeat)
        patch.setattr("gatebook.performing.Performance._look_up", look_up)
        yield


async def send_all(stand: Stand, home: Path, *, sends: int, seed: int, rate: float = RATE) -> list[Figures]:
    """Send about as many of each kind as of the others; the figures of each kind."""
    suite = asking(stand, home)
    with in_short_time(suite):
        stand.open(suite, suite.runtime)
        mail = Mail(stand, suite, random.Random(seed), rate)
        done = 0
        while done < sends:
            await mail.batch(range(done + 1, min(done + BATCH, sends) + 1))
            done += BATCH
    suite.close()
    return list(mail.figures.values())


def asking(stand: Stand, home: Path, *, clock: ManualClock | None = None, **more: object) -> Suite:
    """Return an installation at a desk where every write is asked for, and as many may wait as a trial wants."""
    home.mkdir(parents=True)
    (home / "policy.toml").write_text(POLICY, encoding="utf-8")
    many = 10**6
    room = {"max_pending_per_principal": many, "max_pending_per_tool": many, "max_calls_per_day": many}
    return Suite(home, clock or stand.clock(), {**overrides(stand, home), **room, **more})


@dataclass(frozen=True)
class Sent:
    """One approved send: its word, which nothing else at the service has, and its approval."""

    sending: Sending
    word: str
    approval_id: str


@dataclass
class Mail:
    """The sends of one installation."""

    stand: Stand
    suite: Suite
    dice: random.Random
    rate: float
    figures: dict[Sending, Figures] = field(init=False)

    def __post_init__(self) -> None:
        traits = self.stand.traits
        self.figures = {sending: Figures(traits.name, sending, sending in traits.fenced) for sending in traits.sendings}

    async def batch(self, numbers: Sequence[int]) -> None:
        """Ask for some sends, approve them, and wait until nothing is under way any more."""
        self.stand.faults()
        sent = await self._approved(numbers)
        unknown, wrong = set[str](), set[str]()
        for one in sent:
            if self.dice.randrange(STILL) == 0:
                await Standing(self.suite, self.stand, one.approval_id).stand_still(
                    self.dice.choice(["before", "after"])
                )
        self.stand.faults(*weather(self.rate), seed=self.dice.randrange(10**9))
        for round_ in range(ROUNDS):
            await self.suite.work()
            states = self._states()
            unknown |= {one.word for one in sent if states[one.approval_id][1] == "claimed"}
            wrong |= self._wrong(sent, states)
            if not await self._later(beyond_the_lease=round_ % 2 == 1) and self._quiet(sent):
                break
        self._count(sent, unknown, wrong)

    async def _approved(self, numbers: Sequence[int]) -> list[Sent]:
        self.stand.put(self.suite, *tickets(numbers))
        sent: list[Sent] = []
        sendings = self.stand.traits.sendings
        async with self.suite.agent("tickets") as agent:
            for number in numbers:
                sending, word = sendings[number % len(sendings)], f"wordnumber{number}end"
                approval_id = await asked(agent, sending, self.stand, number, word)
                self.suite.approve(approval_id)
                sent.append(Sent(sending, word, approval_id))
        return sent

    async def _later(self, *, beyond_the_lease: bool) -> int:
        """Let what is on its way land after more than twice the deadline of its call; then claims may be taken over.

        Where the service applies everything once, it may as well land after somebody took the claim over.
        """
        settings, landed = self.suite.runtime.settings, 0
        self.suite.clock.advance(2 * settings.call_s + 5)
        if not (self.stand.traits.fences_everything and beyond_the_lease):
            landed = await self.stand.land()
        self.suite.clock.advance(settings.lease_s + settings.settle_s)
        return landed

    def _quiet(self, sent: Sequence[Sent]) -> bool:
        states = self._states()
        return all(states[one.approval_id][0] not in ("approved", "claimed") for one in sent)

    def _states(self) -> dict[str, tuple[str, str]]:
        """Return the state of every approval and of its effect, empty where there is none."""
        with self.suite.runtime.database.transaction() as tx:
            rows = tx.all(
                """SELECT a.approval_id AS id, a.state AS state, COALESCE(e.state, '') AS effect FROM approvals a
                   LEFT JOIN effects e ON e.approval_id = a.approval_id"""
            )
        return {str(row["id"]): (str(row["state"]), str(row["effect"])) for row in rows}

    def _wrong(self, sent: Sequence[Sent], states: dict[str, tuple[str, str]]) -> set[str]:
        times = self._times(sent)
        says_sent = {one.word for one in sent if states[one.approval_id][0] == "used"}
        says_not = {
            one.word
            for one in sent
            if states[one.approval_id][1] == "not_applied" or states[one.approval_id][0] in _NOT_SENT
        }
        return {word for word in says_sent if not times[word]} | {word for word in says_not if times[word]}

    def _times(self, sent: Sequence[Sent]) -> Counter[str]:
        texts = self.stand.texts(self.suite)
        joined = "\n".join(texts)
        return Counter({one.word: joined.count(one.word) for one in sent})

    def _count(self, sent: Sequence[Sent], unknown: set[str], wrong: set[str]) -> None:
        states, times = self._states(), self._times(sent)
        for one in sent:
            figures, (state, _) = self.figures[one.sending], states[one.approval_id]
            figures.sends += 1
            figures.duplicates += times[one.word] > 1
            figures.wrong += one.word in wrong
            figures.unknown += one.word in unknown
            figures.settled += one.word in unknown and state in ("used", *_NOT_SENT)
            figures.given_up += state in _NOT_SENT


async def asked(agent: Agent, sending: Sending, stand: Stand, number: int, word: str) -> str:
    """Have an agent ask for a send that holds a word; the approval's id."""
    ref = stand.ref(number)
    if sending in ("reply", "note"):
        draft = await agent.ok("draft_reply", ref=ref, body=f"Open the menu and choose Rename. {word}")
        visibility = "public" if sending == "reply" else "internal"
        refused = await agent.call("send_reply", draft_id=draft["draft_id"], visibility=visibility)
    elif sending == "create":
        new: Json = {"title": f"Rename is missing {word}", "description": "It is not in the menu."}
        refused = await agent.call("create_ticket", new, project=stand.traits.project)
    else:
        version = (await agent.ok("get_ticket", ref=ref))["version"]
        refused = await agent.call("update_ticket", ref=ref, version=version, add_tags=[word])
    assert refused.code == "approval_required", refused.text
    return str(refused.error["approval_id"])
