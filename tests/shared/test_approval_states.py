"""The states of a request under every order of events: what a person did not allow is never done."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatebook.approvals.models import OPEN_STATES, ApprovalState
from gatebook.approvals.requests import Approvals
from gatebook.approvals.verdicts import Outcome, Verdict
from gatebook.clock import ManualClock
from gatebook.database.sqlite import SqliteDatabase
from gatebook.errors import ConflictError, NotFoundError
from suite import ADA

HOUR_S = 3_600.0
MOVES: dict[ApprovalState, set[ApprovalState]] = {
    "pending": {"approved", "denied", "expired", "cancelled"},
    "approved": {"claimed", "lapsed"},
    "claimed": {"used", "in_doubt", "lapsed", "approved"},
}
REVIEW = Verdict(outcome=Outcome.REVIEW, rules=())
CONTENTS = st.integers(0, 2)


class Broker(RuleBasedStateMachine):
    """Everything that may happen to requests, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.database = SqliteDatabase(Path(self._home.name) / "gatebook.db", self.clock)
        self.ids: list[str] = []
        self.seen: dict[str, ApprovalState] = {}
        self.said_yes: set[str] = set()
        self.grants: dict[str, int] = {}
        self.taken: dict[str, int] = {}

    def teardown(self) -> None:
        self.database.close()
        self._home.cleanup()

    def _in(self, state: ApprovalState, index: int) -> str:
        # In the order of asking: the ids themselves are random, and a run must be repeatable.
        ids = [one for one in self.ids if self.seen[one] == state]
        return ids[index % len(ids)] if ids else "apr_none"

    @rule(content=CONTENTS)
    def ask(self, content: int) -> None:
        with self.database.transaction() as tx:
            known = Approvals(tx).of_fingerprint(tenant="t", fingerprint=f"{content}" * 64)
            refused = Approvals(tx).refusal_of(tenant="t", effect_key=f"e{content}", content_sha256="")
            if (known is not None and known.state in OPEN_STATES) or refused is not None:
                return
            made = Approvals(tx).ask(
                tenant="t", principal="agent:a", run_id="", kind="effect", server="s", tool="t", tool_sha256="",
                arguments={}, effect_key=f"e{content}", target="x", operation="o", content={"n": content},
                fingerprint=f"{content}" * 64, mode="live", verdict=REVIEW, reason="",
                decide_within_s=10 * HOUR_S,
            )  # fmt: skip
        self.ids.append(made.approval_id)
        self.seen[made.approval_id] = "pending"

    @rule(index=st.integers(0, 9), state=st.sampled_from(["pending", "denied", "expired", "used", "approved"]))
    def approve(self, index: int, state: ApprovalState) -> None:
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            stored = Approvals(tx)
            try:
                before = stored.get(chosen)
                stored.approve(chosen, reviewer=ADA, channel="", shown=before.shown, use_within_s=5 * HOUR_S)
            except (ConflictError, NotFoundError):
                return
            assert before.state == "pending"
            self.said_yes.add(chosen)
            self.grants[chosen] = 1

    @rule(index=st.integers(0, 9), state=st.sampled_from(["pending", "approved", "claimed", "expired"]))
    def deny(self, index: int, state: ApprovalState) -> None:
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            try:
                shown = Approvals(tx).get(chosen).shown
                Approvals(tx).deny(chosen, reviewer=ADA, channel="", shown=shown, reason="no")
            except (ConflictError, NotFoundError):
                return

    @rule(index=st.integers(0, 9), state=st.sampled_from(["pending", "approved", "denied"]))
    def cancel(self, index: int, state: ApprovalState) -> None:
        with self.database.transaction() as tx:
            try:
                Approvals(tx).cancel(self._in(state, index), principal="agent:a", reason="")
            except (ConflictError, NotFoundError):
                return

    @rule(content=CONTENTS)
    def consume(self, content: int) -> None:
        with self.database.transaction() as tx:
            taken = Approvals(tx).consume(tenant="t", fingerprint=f"{content}" * 64)
            if taken is None:
                return
            use_by = Approvals(tx).get(taken).use_by
        self.taken[taken] = self.taken.get(taken, 0) + 1
        assert taken in self.said_yes
        assert self.taken[taken] <= self.grants[taken], "a grant is taken once"
        assert use_by is not None
        assert self.clock.now() < use_by

    @precondition(lambda self: "claimed" in self.seen.values())
    @rule(index=st.integers(0, 9), state=st.sampled_from(["used", "in_doubt", "lapsed", "approved"]))
    def settle(self, index: int, state: ApprovalState) -> None:
        chosen = self._in("claimed", index)
        with self.database.transaction() as tx:
            Approvals(tx).settle(chosen, state=state)
        self.grants[chosen] += state == "approved"

    @rule(index=st.integers(0, 9), state=st.sampled_from(list(MOVES)), late=st.booleans())
    def void(self, index: int, state: ApprovalState, late: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            try:
                request = Approvals(tx).get(chosen)
            except NotFoundError:
                return
        if late:
            self.consume(int(request.fingerprint[0]))
        with self.database.transaction() as tx:
            before = Approvals(tx).get(chosen).state
            Approvals(tx).void(request, reason="superseded")
            after = Approvals(tx).get(chosen).state
        assert before in (after, request.state), "what moved on meanwhile is not voided by an old view of it"

    @rule(content=CONTENTS)
    def supersede(self, content: int) -> None:
        del content
        with self.database.transaction() as tx:
            Approvals(tx).supersede(tenant="t", target="x", operation="o", reason="superseded")

    @rule(hours=st.sampled_from([-1, 0.5, 4, 6, 11]))
    def let_time_pass(self, hours: float) -> None:
        self.clock.advance(hours * HOUR_S)

    @invariant()
    def states_only_move_as_they_may(self) -> None:
        with self.database.transaction() as tx:
            requests = [Approvals(tx).get(one) for one in self.ids]
        still_open = [one.fingerprint for one in requests if one.state in OPEN_STATES]
        assert len(still_open) == len(set(still_open))
        for one in requests:
            before = self.seen[one.approval_id]
            assert one.state == before or reachable(before, one.state), (before, one.state)
            assert one.approval_id in self.said_yes or one.state in {"pending", "denied", "expired", "cancelled"}
            self.seen[one.approval_id] = one.state


def reachable(before: ApprovalState, after: ApprovalState) -> bool:
    """Whether `after` can follow `before`; one step of the machine may pass through `claimed`."""
    return after in MOVES.get(before, set()) or (before == "approved" and after in MOVES["claimed"])


TestBroker = Broker.TestCase
TestBroker.settings = settings(
    max_examples=40, database=None, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
