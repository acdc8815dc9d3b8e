"""Everything that may happen to a call, in any order: what is done is what persons allowed, and at most once."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adversary import wishes
from adversary.by_agents import OTHER
from adversary.by_persons import BEN, LEA, change
from adversary.controls import ALONE, TOGETHER, Control
from adversary.ledger import Demand, Permit
from adversary.wishes import WRITING, Wish
from adversary.world import CaseOver, World, opened
from fakes.troubled_desk import ProcessDiedError, Trouble, TroubledDesk
from gatebook.approvals.models import Approval, Reviewer
from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook.worker import Worker
from gatebook_servers.catalogue import catalogue
from gatebook_servers.tickets.ports import open_desk
from suite import ADA

T = TypeVar("T")
HOUR_S = 3_600.0
INDEX = st.integers(0, 2)
"""Counted from the newest: what happens soon after something else is what matters."""
VOTERS = st.lists(st.sampled_from([ADA, BEN, LEA]), max_size=3)
POLICIES = [Demand(), Demand(quorum=2), Demand(role="lead"), Demand(four_eyes=True), Demand("deny")]

MISSED = (
    "review", "never", "a no sticks to the call", "stricter of then and now", "binding to the content",
    "binding to the principal", "the role", "distinct persons", "decide-by",
    "use-by, by the clocks and in the statement that takes the grant",
    "the quorum, when people decide and when the grant is used",
)  # fmt: skip
"""Checks, as `controls` names them, whose lack the machine has to find as well."""


def documented_edges() -> dict[str, set[str]]:
    document = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \|$", document.partition("## States")[2].partition("\n## ")[0], re.MULTILINE
    )
    return {before: set(re.findall(r"`(\w+)`", afters)) for before, afters in rows}


EDGES = documented_edges()


def reachable(before: str, after: str) -> bool:
    """Whether documented edges lead from one state to another; one rule may go several."""
    known: set[str] = {before}
    while grown := {after for one in known for after in EDGES.get(one, set())} - known:
        known |= grown
    return after in known


@asynccontextmanager
async def with_agents() -> AsyncGenerator[World]:
    async with opened(seed="machine") as world:
        await world.seat()
        await world.seat(OTHER)
        yield world


class Decisions(RuleBasedStateMachine):
    """Agents, persons, workers, clocks and policies around one installation."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.wishes: list[Wish] = []
        self.of: dict[str, Wish] = {}
        self.states: dict[str, str] = {}
        self.denied: set[str] = set()

    @initialize()
    def open(self) -> None:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.world = self._stack.enter_context(self._portal.wrap_async_context_manager(with_agents()))

    def teardown(self) -> None:
        self._stack.close()

    def _do(self, work: Callable[..., Awaitable[T]], *arguments: object) -> T | None:
        try:
            return self._portal.call(work, *arguments)
        except CaseOver:
            return None

    def _chosen(self, index: int) -> Permit | None:
        open_ = [one for one in self.world.ledger.permits if not one.closed and not one.used]
        return open_[-1 - index % len(open_)] if open_ else None

    @rule(tool=st.sampled_from(WRITING), demand=st.none() | st.sampled_from(POLICIES), voters=VOTERS)
    def ask(self, tool: str, demand: Demand | None, voters: list[Reviewer]) -> None:
        if demand:
            self.world.set_policy(demand)
        self._do(self._ask, tool)
        self._vote(voters)

    def _vote(self, voters: list[Reviewer]) -> None:
        for reviewer in voters:
            if permit := self._chosen(0):
                self.world.approve(permit.approval_id, reviewer)

    async def _ask(self, tool: str) -> None:
        seat = await self.world.seat()
        wish = await self.world.wish(seat, tool)
        self.wishes.append(wish)
        await self._call(wish)

    @rule(index=INDEX)
    def repeat(self, index: int) -> None:
        if self.wishes:
            self._do(self._call, self.wishes[-1 - index % len(self.wishes)])

    async def _call(self, wish: Wish) -> None:
        seat = await self.world.seat()
        answer = await self.world.call(seat, wish.tool, wish.arguments)
        if str(wish.arguments) in self.denied:
            assert answer.code in ("approval_denied", "policy_blocked"), "a denial sticks"
        waiting = str(answer.error.get("approval_id", ""))
        if answer.code == "approval_required" and waiting not in self.of:
            for before in self.world.ledger.permits:
                before.closed = before.closed or (before.deed == wish.deed and not before.used)
            self.of[self.world.note(seat.actor, wish, answer)] = wish

    @rule(index=INDEX, reviewer=st.sampled_from([ADA, BEN, LEA]), hours=st.sampled_from([0, 1, 73]))
    def approve(self, index: int, reviewer: Reviewer, hours: int) -> None:
        self.world.suite.clock.advance(hours * HOUR_S)
        if permit := self._chosen(index):
            self.world.approve(permit.approval_id, reviewer)

    @rule(index=INDEX, late=st.booleans())
    def deny(self, index: int, late: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        permits = self.world.ledger.permits
        permit = permits[-1 - index % len(permits)] if late and permits else self._chosen(index)
        if permit is None:
            return
        try:
            self.world.deny(permit.approval_id)
        except GatebookError:
            return
        self.denied.add(str(self.of[permit.approval_id].arguments))

    @rule(index=INDEX, voters=VOTERS)
    def edit(self, index: int, voters: list[Reviewer]) -> None:
        permit = self._chosen(index)
        if permit and self.of[permit.approval_id].tool in ("send_reply", "create_ticket"):
            wish = self.of[permit.approval_id]
            if edited := self._do(change, self.world, wish, permit.approval_id):
                self.of[edited] = wish
                self._vote(voters)

    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        if permit := self._chosen(index):
            self._do(self._cancel, permit)

    async def _cancel(self, permit: Permit) -> None:
        seat = await self.world.seat()
        answer = await self.world.call(seat, "cancel_approval", {"approval_id": permit.approval_id})
        if not answer.code:
            permit.closed = True
            self.denied.add(str(self.of[permit.approval_id].arguments))

    @rule(index=INDEX)
    def call_otherwise(self, index: int) -> None:
        if self.wishes:
            self._do(self._call_otherwise, self.wishes[-1 - index % len(self.wishes)])

    async def _call_otherwise(self, wish: Wish) -> None:
        seat = await self.world.seat()
        ticket_id = self.world.fresh_ticket()
        draft = await self.world.draft(seat, ticket_id, wishes.words(self.world.chance))
        other = wishes.mutated(wish, self.world.chance, other_ref=f"local:{ticket_id}", other_draft=draft)
        if other != wish.arguments:
            await self.world.call(seat, wish.tool, other)

    @rule(index=INDEX)
    def call_by_another_agent(self, index: int) -> None:
        if self.wishes:
            wish = self.wishes[-1 - index % len(self.wishes)]
            self._do(self._by_another, wish)

    async def _by_another(self, wish: Wish) -> None:
        await self.world.call(await self.world.seat(OTHER), wish.tool, wish.arguments)

    @rule()
    def work(self) -> None:
        self._do(self.world.outbox)

    @rule(index=INDEX, landed=st.booleans())
    def crash(self, index: int, landed: bool) -> None:  # noqa: FBT001 - as above
        if permit := self._chosen(index):
            self._do(self._crash, permit, landed)

    async def _crash(self, permit: Permit, landed: bool) -> None:  # noqa: FBT001 - as above
        """Let the process die around the effect; another one takes it over once the lease is over."""
        died: list[Exception] = [ProcessDiedError()]
        runtime = self.world.suite.another_process()
        runtime.ports[open_desk] = TroubledDesk(runtime, Trouble(after=died) if landed else Trouble(before=died))
        await Worker(runtime, Guard(runtime, catalogue())).run_one(subject=permit.approval_id)
        self.world.look(None)
        self.world.suite.clock.advance(runtime.settings.lease_s + runtime.settings.settle_s + 1)
        successor = self.world.suite.another_process()
        await Worker(successor, Guard(successor, catalogue())).run_due()
        self.world.look(None)

    @rule(hours=st.sampled_from([0.5, 6, 40, 73]))
    def let_time_pass(self, hours: float) -> None:
        self.world.suite.clock.advance(hours * HOUR_S)

    @rule(demand=st.sampled_from(POLICIES))
    def change_policy(self, demand: Demand) -> None:
        self.world.set_policy(demand)

    @invariant()
    def only_what_persons_allowed_was_done(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.look(None)
        self.world.audit_decisions()
        self.world.audit_effects()
        assert [violation.what for violation in self.world.ledger.violations] == []

    @invariant()
    def states_only_move_as_documented(self) -> None:
        for request in self.world.suite.requests("all") if hasattr(self, "world") else list[Approval]():
            before = self.states.get(request.approval_id, "pending")
            assert reachable(before, request.state), (before, request.state)
            self.states[request.approval_id] = request.state


@pytest.mark.slow
@pytest.mark.parametrize(
    "control", [one for one in (*ALONE, *TOGETHER) if one.name in MISSED], ids=lambda one: one.name
)
def test_the_machine_finds_a_missing_check(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in control.checks:
        function, code = check.code()
        monkeypatch.setattr(function, "__code__", code)
    searching = settings(TestDecisions.settings, max_examples=200, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Decisions, settings=searching)


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
