"""A real suite with its agents, persons and clock; whatever is done in it is compared with what persons decided."""

import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pydantic import JsonValue

from adversary import wishes
from adversary.deeds import DeskWatch
from adversary.ledger import Actor, Demand, Ledger, Permit
from adversary.seats import Seat, Transport, seated
from adversary.wishes import Wish
from gatebook.approvals.models import Approval, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.clock import ManualClock, Steady, SystemClock
from gatebook.deciding import approve, deny
from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook.toolset import Toolset
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from suite import ADA, Answer, Suite, ticket

MEMORY = next((path for path in [Path("/dev/shm")] if path.is_dir()), None)  # noqa: S108 - a case waits for no disk
AGENT = Actor()
NO_SETTINGS: Mapping[str, object] = {}


class CaseOver(Exception):  # noqa: N818 - how a case ends early, no error
    """What the case builds on did not come about; that nothing forbidden happened is looked at all the same."""


class RealClock(ManualClock):
    """The machine's clock, for a world in which another process runs."""

    def now(self) -> float:
        return SystemClock().now() + self.ahead

    def steady(self) -> Steady:
        return SystemClock().steady()


@dataclass
class World:
    """One installation in which cases are tried, one after another.

    Args:
        suite: The installation.
        transport: How its agents reach it.
        stack: Ends what the world begins.
    """

    suite: Suite
    transport: Transport
    stack: AsyncExitStack
    ledger: Ledger = field(default_factory=Ledger)
    chance: Random = field(default_factory=Random)
    rooms: dict[str, object] = field(default_factory=dict[str, object])
    """What cases of a kind share, by name."""

    def __post_init__(self) -> None:
        self._seats: dict[tuple[Actor, str], Seat] = {}
        self._number = 0
        self._seen = 0
        self._effects: set[str] = set()
        self.desk = DeskWatch(self.suite.home / "gatebook.db")
        self.tables = sqlite3.connect(self.suite.home / "gatebook.db", check_same_thread=False)
        self.stack.callback(self.tables.close)
        self.stack.callback(self.desk.close)
        self.set_policy(self.ledger.demand)

    @property
    def now(self) -> float:
        return self.suite.clock.now()

    async def seat(self, actor: Actor = AGENT, *, tickets: Toolset | None = None, form: str = "") -> Seat:
        """Return an agent's seat; `form` names the changed room of `tickets`."""
        if (actor, form) not in self._seats:
            opened = seated(self.suite, actor, self.transport, tickets=tickets)
            self._seats[actor, form] = await self.stack.enter_async_context(opened)
        return self._seats[actor, form]

    # What the operator does.

    def set_policy(self, demand: Demand, *, rules: str = "") -> None:
        """Write the policy file, and note what it demands of every write."""
        then = [f'outcome = "{demand.outcome}"']
        if demand.outcome == "review":
            then += [f"quorum = {demand.quorum}", 'edit = ["body", "description"]']
            then += [f'roles = ["{demand.role}"]'] if demand.role else []
            then += ["four_eyes = true"] if demand.four_eyes else []
        tools = ", ".join(f'"tickets.{tool}"' for tool in wishes.WRITING)
        rule = f'[[rule]]\nid = "all"\ntools = [{tools}]\nthen = {{ {", ".join(then)} }}\n'
        # Another length each time: the file is read again when its time or size changed.
        self._number += 1
        text = f"version = 1\n{rule}{rules}\n#{'.' * self._number}\n"
        (self.suite.home / "policy.toml").write_text(text, encoding="utf-8")
        self.ledger.demand = demand

    def sql(self, statement: str, **values: str | float) -> None:
        """Change the database behind the program's back."""
        with self.suite.runtime.database.transaction() as tx:
            tx.execute(statement, **values)

    # What outsiders do.

    def import_ticket(self, ticket_id: str, **more: JsonValue) -> None:
        self.suite.tickets([ticket(ticket_id, **more)])
        self.desk.take_as_known()

    # What agents do.

    async def wish(self, seat: Seat, tool: str, *, ticket_id: str = "", text: str = "") -> Wish:
        """Return a call that nobody has asked for before, with its draft where it needs one."""
        chosen = ticket_id or self.fresh_ticket()
        if tool == "create_ticket":
            return wishes.creation(self.chance, text=text)
        if tool == "escalate_ticket":
            return wishes.escalation(chosen, self.chance, text=text)
        if tool == "update_ticket":
            return wishes.update(chosen, self.chance)
        body = text or wishes.words(self.chance)
        return wishes.reply(chosen, await self.draft(seat, chosen, body), body)

    def fresh_ticket(self) -> str:
        self._number += 1
        ticket_id = f"CD-{self._number}"
        self.import_ticket(ticket_id)
        return ticket_id

    async def draft(self, seat: Seat, ticket_id: str, body: str) -> str:
        drafted = await self.call(seat, "draft_reply", {"ref": f"local:{ticket_id}", "body": body})
        if drafted.code:
            raise CaseOver(drafted.code)
        return str(drafted.content["draft_id"])

    async def call(self, seat: Seat, tool: str, arguments: Mapping[str, JsonValue]) -> Answer:
        answer = await seat.agent.call(tool, dict(arguments))
        self.look(seat.actor)
        return answer

    async def ask(self, seat: Seat, wish: Wish) -> str:
        """Make the call, which has to wait for a person; the request's id."""
        answer = await self.call(seat, wish.tool, wish.arguments)
        return self.note(seat.actor, wish, answer)

    def note(self, actor: Actor, wish: Wish, answer: Answer, *, editor: str = "") -> str:
        """Write down that a person was asked, and hold the request against the wish."""
        if answer.code != "approval_required":
            raise CaseOver(answer.code)
        return self.note_request(actor, wish, str(answer.error["approval_id"]), editor=editor)

    def note_request(self, actor: Actor, wish: Wish, approval_id: str, *, editor: str = "") -> str:
        request = self.request(approval_id)
        if any(request.content.get(name) != value for name, value in wish.shown.items()):
            self.ledger.accuse("decision", "a person is shown something else than would be done")
        self.ledger.permits.append(
            Permit(
                approval_id,
                wish.deed,
                actor,
                self.ledger.demand,
                self.now + self.settings.decide_within_s,
                editor=editor,
            )
        )
        return approval_id

    @property
    def settings(self) -> Settings:
        return self.suite.runtime.settings

    def request(self, approval_id: str) -> Approval:
        with self.suite.runtime.database.transaction() as tx:
            return Approvals(tx).get(approval_id)

    # What persons do.

    def approve(self, approval_id: str, reviewer: Reviewer = ADA, *, shown: str = "") -> bool:
        """Try to say yes, and judge whether it may count; whether the broker took it."""
        permit = self.ledger.of(approval_id)
        rightful = permit.may_vote(reviewer, now=self.now)
        try:
            with self.suite.runtime.database.transaction() as tx:
                seen = shown or Approvals(tx).get(approval_id).shown
                approve(tx, self.settings, approval_id, reviewer=reviewer, channel="test", shown=seen)
        except GatebookError:
            return False
        self.voted(permit, reviewer, rightful=rightful)
        return True

    def voted(self, permit: Permit, reviewer: Reviewer, *, rightful: bool) -> None:
        """Write down a yes that the broker took."""
        self.ledger.decided.add((permit.approval_id, reviewer.person, "approve"))
        if not rightful:
            self.ledger.accuse("decision", f"a yes of {reviewer.person} counted that may not")
            return
        permit.votes.append(reviewer)
        permit.until = self.now + self.settings.use_within_s

    def deny(self, approval_id: str, reviewer: Reviewer = ADA) -> None:
        with self.suite.runtime.database.transaction() as tx:
            shown = Approvals(tx).get(approval_id).shown
            deny(tx, approval_id, reviewer=reviewer, channel="test", shown=shown, reason="not so")
        self.ledger.decided.add((approval_id, reviewer.person, "deny"))
        self.ledger.close(approval_id)

    # What workers do.

    async def outbox(self, runtime: Runtime | None = None) -> None:
        """Do all jobs that are due."""
        chosen = runtime or self.suite.runtime
        worker = Worker(chosen, Guard(chosen, catalogue()))
        while await worker.run_one() is not None:
            self.look(None)

    # What is looked at.

    def look(self, actor: Actor | None) -> None:
        """Judge what was done since the last look."""
        for deed in self.desk.news():
            self.ledger.judge(deed, actor, now=self.now)

    def audit_decisions(self) -> None:
        """No decision and no grant exists that no person of this world made."""
        rows = self.tables.execute(
            "SELECT rowid, approval_id, person, verdict FROM decisions WHERE rowid > ?", (self._seen,)
        ).fetchall()
        for number, approval_id, person, verdict in rows:
            self._seen = max(self._seen, number)
            if (approval_id, person, verdict) not in self.ledger.decided:
                self.ledger.accuse("decision", f"{verdict} by {person} that nobody made")
        granted = self.tables.execute(
            "SELECT approval_id, kind FROM approvals WHERE state IN ('approved', 'claimed', 'used', 'in_doubt')"
        ).fetchall()
        said_yes = {approval_id for approval_id, _, verdict in self.ledger.decided if verdict == "approve"}
        for approval_id, kind in granted:
            if approval_id not in said_yes:
                self.ledger.accuse("decision", f"a request of kind {kind} is granted and nobody said yes")

    def audit_effects(self) -> None:
        """Every effect on record rests on a person's yes, unless policy allowed it."""
        rows = self.tables.execute(
            "SELECT effect_key, approval_id FROM effects WHERE state IN ('claimed', 'done') AND mode = 'live'"
        ).fetchall()
        granted = {permit.approval_id for permit in self.ledger.permits if permit.votes}
        for key, approval_id in rows:
            if key in self._effects:
                continue
            self._effects.add(key)
            if self.ledger.demand.outcome != "allow" and approval_id not in granted:
                self.ledger.accuse("execution", "an effect on record rests on no person's yes")


@asynccontextmanager
async def opened(
    transport: Transport = "memory", *, seed: str = "", settings: Mapping[str, object] = NO_SETTINGS
) -> AsyncGenerator[World]:
    """Open a world of its own."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        home = Path(directory) / "home"
        clock = RealClock() if transport == "stdio" else ManualClock()
        suite = Suite(home, clock=clock, overrides={"claude_prompt_wait_s": 0, **settings})
        async with AsyncExitStack() as stack:
            stack.callback(suite.close)
            yield World(suite, transport, stack, chance=Random(seed))
